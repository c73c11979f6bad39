import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from t2i.data import features, imagefolder
from t2i.errors import InputError
from t2i.models import TextEncoder, TextEncoderConfig
from t2i.models.image_projection import ImageProjectionConfig
from t2i.models.text_encoder import embed
from t2i.training import fit, text
from t2i.training.text import JointEmbedding, TextTraining, contrastive_loss
from tests.datasets import COLOURS


@pytest.fixture(autouse=True)
def quick_features(monkeypatch):
    """Pooled pixels instead of EfficientNet, which has its own test."""

    def pooled(images, view=None):
        x = torch.from_numpy(images.copy()).float().div(255).mean((1, 2))  # (N, 3)
        return x.repeat(1, ImageProjectionConfig.features // 3 + 1)[:, : ImageProjectionConfig.features]

    monkeypatch.setattr(features, "features", pooled)


@pytest.fixture
def config(dataset, tmp_path, monkeypatch):
    """A short run with a narrow encoder; its embedding has the usual size, which the image projection needs."""
    narrow = TextEncoderConfig(widths=(16, 16, 16), hidden=16)
    monkeypatch.setattr(text, "TextEncoder", lambda: TextEncoder(narrow))
    return TextTraining(str(dataset), str(tmp_path / "out"), epochs=2, batch=8, size=24)


def test_it_writes_a_checkpoint_and_measures_retrieval(config):
    out = text.train(config)
    written = json.loads((out / "config.json").read_text())
    assert written["training"]["text_encoder"]["epochs"] == 2
    assert written["words"] == "a all blue green is it of red square this"  # white is the test split
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2] and all(0 <= line["top1"] <= 1 for line in lines)
    assert (out / "text_encoder.safetensors").exists() and (out / "image_projection.safetensors").exists()


def test_the_loss_on_a_fixed_batch_falls():
    torch.manual_seed(0)
    model = JointEmbedding(0.0)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    codes = text.encode([f"a {colour} square" for colour in COLOURS])
    pictures, classes = torch.randn(4, ImageProjectionConfig.features), torch.arange(4)
    losses = []
    for _ in range(24):
        loss = contrastive_loss(model(codes, pictures), classes)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]


def test_an_interrupted_run_resumes_bit_for_bit(config, tmp_path, monkeypatch):
    uninterrupted = text.train(config)
    interrupted = replace(config, out=str(tmp_path / "interrupted"))

    save = fit.RunState.save

    def save_and_stop(*args):
        save(*args)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(fit.RunState, "save", save_and_stop)  # after the first epoch
        with pytest.raises(KeyboardInterrupt):
            text.train(interrupted)
    folders = (uninterrupted, text.train(interrupted))
    expected, actual = (load_file(folder / "text_encoder.safetensors") for folder in folders)
    assert all(torch.equal(expected[k], actual[k]) for k in expected)


def test_a_data_set_without_training_pictures_raises_an_error(config, dataset):
    lines = (dataset / "metadata.jsonl").read_text()
    (dataset / "metadata.jsonl").write_text(lines.replace('"train"', '"test"'))
    with pytest.raises(InputError, match="squares: has 0 training pictures, and 2 are the fewest"):
        text.train(config)


def test_one_class_raises_an_error_before_anything_is_computed(config, dataset):
    lines = [json.loads(line) for line in (dataset / "metadata.jsonl").read_text().splitlines()]
    (dataset / "metadata.jsonl").write_text("\n".join(json.dumps(line | {"class_id": 1}) for line in lines))
    with pytest.raises(InputError, match="squares: all training pictures are of one class, .*leave out class_id"):
        text.train(config)


def test_a_data_set_that_has_grown_raises_an_error(config, dataset):
    out = text.train(config)
    lines = (dataset / "metadata.jsonl").read_text().splitlines()
    (dataset / "metadata.jsonl").write_text("\n".join([*lines, lines[0]]))
    with pytest.raises(InputError, match="--data .*squares: is not what this run began with; .*state.pt"):
        text.train(config)
    (out / "state.pt").unlink()
    text.train(config)


def test_all_captions_of_a_class_match_its_pictures():
    scores = torch.tensor([[9.0, 9.0, -9.0], [9.0, 9.0, -9.0], [-9.0, -9.0, 9.0]])
    diagonal = torch.tensor([[9.0, -9.0, -9.0], [-9.0, 9.0, -9.0], [-9.0, -9.0, 9.0]])
    same, distinct = torch.tensor([1, 1, 2]), torch.tensor([1, 2, 3])
    assert contrastive_loss(scores, same) < contrastive_loss(diagonal, same)
    assert contrastive_loss(diagonal, distinct) < contrastive_loss(scores, distinct)


def test_embedding_in_chunks_changes_nothing():
    torch.manual_seed(0)
    encoder = JointEmbedding(0.0).text.eval()
    codes = text.encode(["a", "a flower " * 20, "red", "a flower with many long thin petals", "x" * 201])
    with torch.inference_mode():
        assert torch.allclose(embed(encoder, codes, chunk=2), encoder(codes), atol=1e-5)


def test_features_of_one_colour_are_similar(dataset):
    """The real EfficientNet-lite0: pictures of one colour are nearer to each other than to another colour's."""
    images = imagefolder.read(dataset, 24).images[[0, 1, 8, 9]]
    network = features.EfficientNetFeatures()
    with torch.inference_mode():
        x = network(torch.from_numpy(images.copy()).permute(0, 3, 1, 2).float() / 127.5 - 1)
    assert x.shape == (4, 1280)
    assert torch.cosine_similarity(x[0], x[1], 0) > torch.cosine_similarity(x[0], x[2], 0)


def test_features_are_computed_once_for_all_runs(config, tmp_path, monkeypatch):
    compute, computed = features.features, []
    monkeypatch.setattr(features, "features", lambda images, view: computed.append(view) or compute(images, view))
    text.train(config)
    text.train(replace(config, out=str(tmp_path / "other"), seed=1))
    assert computed == list(features.VIEWS)
    text.train(replace(config, out=str(tmp_path / "larger"), size=32))
    assert len(computed) == 4
