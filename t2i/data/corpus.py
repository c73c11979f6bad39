"""The training photos of a data set with the embeddings of their captions, from which GAN trainers take batches."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from ..models import TextEncoder, encode
from ..models.text_encoder import embed
from .cache import cached, digest
from .imagefolder import CaptionedImages

PHOTO_SIZE = 76  # pixels along a side of the photos from which crops of 64 are taken


@dataclass(frozen=True)
class Corpus:
    """Photos, somewhat larger than the pictures to be generated, and the embeddings of their captions.

    Random choices come from the generator `g` that the caller passes.
    """

    images: Tensor  # (N, L, L, 3) uint8, on the training device
    embeddings: Tensor  # (N, C, E) float16, C the largest number of captions of a photo, on the training device
    counts: Tensor  # (N,) captions of each photo, on the CPU
    classes: Tensor  # (N,), on the CPU
    size: int  # S of the crops, at most L

    def crops(self, rows: Tensor, g: torch.Generator) -> Tensor:
        """Random crops of photos `rows` (B,), half of them mirrored: (B, 3, S, S) in -1…1."""
        return random_crops(self.images, rows, self.size, g)

    def captions(self, rows: Tensor, max_captions: int, g: torch.Generator) -> Tensor:
        """Embeddings h (B, E) of photos `rows` (B,), each the mean of 1 to `max_captions` of its captions."""
        return mean_embeddings(self.embeddings, self.counts, rows, max_captions, g)

    def mean_caption(self) -> Tensor:
        """The mean embedding (E,) of all captions, float32, on the CPU."""
        return (self.embeddings.sum((0, 1), dtype=torch.float32) / self.counts.sum()).cpu()

    def mismatched(self, rows: Tensor, g: torch.Generator) -> Tensor:
        """A random row (B,) of another class for each of `rows` (B,)."""
        result = torch.randint(len(self.images), (len(rows),), generator=g)
        while (same := self.classes[result] == self.classes[rows]).any():
            result[same] = torch.randint(len(self.images), (int(same.sum()),), generator=g)
        return result

    def batch(self, size: int, max_captions: int, g: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """One step's photos (B, 3, S, S) in -1…1, their embeddings h (B, E), and mismatching embeddings (B, E).

        B is `size`, and no photo comes twice. A mismatching embedding is of captions of another class.
        """
        rows = torch.randperm(len(self.images), generator=g)[:size]
        mismatched = self.mismatched(rows, g)
        h, wrong = (self.captions(part, max_captions, g) for part in (rows, mismatched))
        return self.crops(rows, g), h, wrong

    def pairs(self, count: int = 1000) -> tuple[Tensor, Tensor]:
        """Photos (count, 3, S, S) in -1…1, and for each another photo of its class (any, if it is alone there)."""
        g = torch.Generator().manual_seed(0)
        first = torch.randint(len(self.images), (count,), generator=g)
        second = torch.stack([self._same_class(int(row), g) for row in first])
        return self.crops(first, g), self.crops(second, g)

    def _same_class(self, row: int, g: torch.Generator) -> Tensor:
        rows = (self.classes == self.classes[row]).nonzero()[:, 0]
        rows = rows[rows != row] if len(rows) > 1 else torch.arange(len(self.classes))
        return rows[torch.randint(len(rows), (), generator=g)]


def random_crops(images: Tensor, rows: Tensor, size: int, g: torch.Generator) -> Tensor:
    """Random crops of images (N, L, L, 3) `rows` (B,), half of them mirrored: (B, 3, S, S) in -1…1."""
    shift = torch.randint(images.shape[1] - size + 1, (2, len(rows), 1), generator=g)
    y, x = shift + torch.arange(size)
    x = torch.where(torch.rand(len(rows), 1, generator=g) < 0.5, x, x.flip(1))
    pixels = images[rows[:, None, None], y[:, :, None], x[:, None, :]]
    return (pixels.float() / 127.5 - 1).permute(0, 3, 1, 2)  # channels-last without a copy


@torch.inference_mode()
def load_corpus(dataset: CaptionedImages, text: TextEncoder, size: int, batch: int, device: str) -> Corpus:
    """The training part of a data set, with crops of size×size.

    `InputError` if it has fewer photos than a batch, fewer than two classes, or captions that cannot be read.
    """
    rows = dataset.training_rows(batch, min_classes=2)
    classes = torch.from_numpy(dataset.classes[rows])
    counts = torch.tensor([len(dataset.captions[i]) for i in rows])
    embeddings = embed_all(text, [dataset.captions[i] for i in rows], device)
    images = torch.from_numpy(dataset.images[rows])
    return Corpus(images.to(device), embeddings.to(device), counts, classes, size)


@torch.inference_mode()
def held_out_embeddings(dataset: CaptionedImages, text: TextEncoder, device: str) -> Tensor:
    """Embeddings (8, E) of test captions for the sample sheet; of training captions if there is no test split."""
    rows = dataset.rows("test") if len(dataset.rows("test")) else dataset.rows("train", "val")
    rows = rows[np.linspace(0, len(rows) - 1, 8).astype(int)]
    return embed(text, encode([dataset.captions[i][0] for i in rows], text.config.length).to(device)).cpu()


def embed_all(text: TextEncoder, captions: list[tuple[str, ...]], device: str) -> Tensor:
    """Embeddings (N, C, E) float16 of each photo's captions, zero where it has fewer than C; cached on disk."""

    def compute() -> Tensor:
        result = torch.zeros(len(captions), max(map(len, captions)), text.config.embedding, dtype=torch.float16)
        for start in tqdm(range(0, len(captions), 32), desc="captions", unit="batch"):
            batch = captions[start : start + 32]
            codes = encode([caption for photo in batch for caption in photo], text.config.length)
            embeddings = embed(text, codes.to(device)).half().cpu().split([len(photo) for photo in batch])
            for row, h in enumerate(embeddings, start):
                result[row, : len(h)] = h
        return result

    return cached("embeddings", digest(captions, text), compute)


def mean_embeddings(embeddings: Tensor, counts: Tensor, rows: Tensor, max_captions: int, g: torch.Generator) -> Tensor:
    """Embeddings h (B, E) of photos `rows` (B,), each the mean of 1 to `max_captions` of its captions.

    Of `embed_all`'s embeddings (N, C, E), a photo has the first `counts` (N,).
    """
    picked = (torch.rand(max_captions, len(rows), generator=g) * counts[rows]).long()
    used = torch.arange(max_captions)[:, None] < torch.randint(1, max_captions + 1, (len(rows),), generator=g)
    weights = (used.float() / used.sum(0)).to(embeddings.device)
    return (embeddings[rows, picked].float() * weights[..., None]).sum(0)
