"""The training photos and the embeddings of their captions, from which batches are taken."""

import numpy as np
import pytest
import torch

from t2i.data import imagefolder
from t2i.data.corpus import Corpus, load_corpus
from t2i.models import TextEncoder, TextEncoderConfig, encode


@pytest.fixture
def text() -> TextEncoder:
    torch.manual_seed(1)
    return TextEncoder(TextEncoderConfig(widths=(16, 16, 16), hidden=16, embedding=32)).eval()


@pytest.fixture
def corpus(dataset, text) -> Corpus:
    return load_corpus(imagefolder.read(dataset, 24), text, 20, 1, "cpu")


def test_photos_and_embeddings_stay_on_the_disk(corpus):
    """A copy in memory, or a file that is mapped to be written, would need as much memory as there is data."""
    for array in (corpus.images, corpus.embeddings):
        assert isinstance(array, np.memmap) and array.mode == "r"


def test_batches_have_photos_with_their_own_captions(corpus, dataset, text):
    data = imagefolder.read(dataset, 24)
    rows, g = torch.tensor([23, 0, 9]), torch.Generator().manual_seed(0)
    captions = [data.captions[data.rows("train", "val")[row]] for row in rows]
    with torch.inference_mode():
        expected = torch.stack([text(encode(list(each))).half().float() for each in captions])
    for h, own in zip(corpus.captions(rows, 2, g), expected):
        assert min((h - mean).abs().max() for mean in (own[0], own[1], own.mean(0))) < 1e-3
    means = corpus.crops(rows, g).mean((2, 3))
    pictures = data.images[data.rows("train", "val")[rows.numpy()]] / 127.5 - 1
    assert (means - torch.from_numpy(pictures).mean((1, 2))).abs().max() < 0.02
    assert corpus.crops(rows[:1], g).shape == (1, 3, 20, 20) and corpus.captions(rows[:1], 2, g).shape == (1, 32)


def test_the_mean_caption_is_that_of_all_captions(corpus, dataset, text):
    data = imagefolder.read(dataset, 24)
    captions = [caption for i in data.rows("train", "val") for caption in data.captions[i]]
    with torch.inference_mode():
        expected = text(encode(captions)).half().float().mean(0)
    assert (corpus.mean_caption() - expected).abs().max() < 1e-3
