import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from t2i import store
from t2i.data import features
from t2i.errors import InputError
from t2i.locate import Checkpoint
from t2i.models import ImageProjection, TextEncoder, TextEncoderConfig
from t2i.models.image_projection import ImageProjectionConfig
from t2i.training import image
from t2i.training.image import ImageTraining


@pytest.fixture
def config(dataset, tmp_path, monkeypatch):
    """The teacher is a random projection of the mean colours."""

    def colours(images, view=None):
        means = torch.from_numpy(images.astype("float32")).mean((1, 2)) / 255
        return torch.nn.functional.pad(means, (0, ImageProjectionConfig.features - 3))

    monkeypatch.setattr(features, "features", colours)
    torch.manual_seed(1)
    text = TextEncoder(TextEncoderConfig(widths=(16, 16, 16), hidden=16))
    networks = {"text_encoder": text, "image_projection": ImageProjection()}
    store.save(tmp_path / "text", networks, {"text_encoder": asdict(text.config)})
    return ImageTraining(
        str(dataset), str(tmp_path / "text"), str(tmp_path / "out"), epochs=2, batch=8, width=8, size=24
    )


def test_it_learns_the_embeddings_of_the_teacher(config):
    out = image.train(replace(config, epochs=20))
    log = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    assert log[-1]["loss"] < 0.3 * log[0]["loss"]
    assert log[-1].keys() >= {"top1", "ap50", "teacher_top1", "teacher_ap50"}
    network = Checkpoint(out).read("image_encoder")["image_encoder"]
    x = network(torch.zeros(3, 3, 64, 64))
    assert x.shape == (3, 1024) and torch.allclose(x.square().mean(1), torch.ones(3), atol=1e-3)
    assert json.loads((out / "config.json").read_text())["training"]["image_encoder"]["epochs"] == 20


def test_an_interrupted_run_resumes_bit_for_bit(config, tmp_path, monkeypatch):
    monkeypatch.setattr(image, "SAVE_EVERY", 1)
    uninterrupted = image.train(config)
    interrupted, calls, random_crops = replace(config, out=str(tmp_path / "interrupted")), [], image.random_crops

    def failing(*args):
        calls.append(1)
        if len(calls) == 5:  # in the second epoch, of three steps each
            raise KeyboardInterrupt
        return random_crops(*args)

    monkeypatch.setattr(image, "random_crops", failing)
    with pytest.raises(KeyboardInterrupt):
        image.train(interrupted)
    monkeypatch.setattr(image, "random_crops", random_crops)
    folders = (uninterrupted, image.train(interrupted))
    expected, actual = (load_file(folder / "image_encoder.safetensors") for folder in folders)
    assert expected.keys() == actual.keys() and all(torch.equal(expected[k], actual[k]) for k in expected)


def test_exactly_ten_steps_work(config):
    out = image.train(replace(config, epochs=10, batch=24))
    assert [json.loads(line)["epoch"] for line in (out / "log.jsonl").read_text().splitlines()] == list(range(1, 11))


def test_another_teacher_raises_an_error(config):
    image.train(config)
    store.save(config.text, {"image_projection": ImageProjection()}, {})
    with pytest.raises(InputError, match="--text .*text: is not what this run began with; .*image-state.pt"):
        image.train(config)


def test_a_broken_projection_raises_an_error(config):
    path = f"{config.text}/image_projection.safetensors"
    store.write(Path(path), lambda p: p.write_bytes(b"broken"))
    with pytest.raises(InputError, match="image_projection.safetensors"):
        image.train(config)
