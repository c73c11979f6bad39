import json
from dataclasses import asdict, replace

import pytest
import torch
from safetensors.torch import load_file

from t2i import checkpoint
from t2i.errors import InputError
from t2i.models import TextEncoder, TextEncoderConfig
from t2i.training import features, image_encoder, text_encoder
from t2i.training.image_encoder import ImageTraining


@pytest.fixture
def config(corpus, tmp_path, monkeypatch):
    """A teacher with a random projection of the mean colours."""

    def colours(images, view=None):
        found = torch.from_numpy(images.astype("float32")).mean((1, 2)) / 255
        return torch.nn.functional.pad(found, (0, features.WIDTH - 3))

    monkeypatch.setattr(features, "features", colours)
    torch.manual_seed(1)
    text = TextEncoder(TextEncoderConfig(widths=(16, 16, 16), hidden=16))
    networks = {"text_encoder": text, "image_projection": text_encoder.image_projection()}
    checkpoint.save(tmp_path / "text", networks, {"text_encoder": asdict(text.config)})
    return ImageTraining(
        str(corpus), str(tmp_path / "text"), str(tmp_path / "out"), epochs=2, batch=8, width=8, size=24
    )


def test_it_learns_what_the_teacher_sees(config):
    out = image_encoder.train(replace(config, epochs=20))
    log = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    assert log[-1]["loss"] < 0.3 * log[0]["loss"]
    assert log[-1].keys() >= {"top1", "ap50", "teacher_top1", "teacher_ap50"}
    network = checkpoint.read(out, "image_encoder")["image_encoder"]
    seen = network(torch.zeros(3, 3, 64, 64))
    assert seen.shape == (3, 1024) and torch.allclose(seen.square().mean(1), torch.ones(3), atol=1e-3)
    assert json.loads((out / "config.json").read_text())["training"]["image_encoder"]["epochs"] == 20


def test_an_interrupted_run_resumes_bit_for_bit(config, tmp_path, monkeypatch):
    monkeypatch.setattr(image_encoder, "SAVE_EVERY", 1)
    whole = image_encoder.train(config)
    broken, calls, crops = replace(config, out=str(tmp_path / "broken")), [], image_encoder.crops

    def failing(*args):
        calls.append(1)
        if len(calls) == 5:  # in the second epoch, of three steps each
            raise KeyboardInterrupt
        return crops(*args)

    monkeypatch.setattr(image_encoder, "crops", failing)
    with pytest.raises(KeyboardInterrupt):
        image_encoder.train(broken)
    monkeypatch.setattr(image_encoder, "crops", crops)
    one, other = (load_file(f / "image_encoder.safetensors") for f in (whole, image_encoder.train(broken)))
    assert one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


def test_exactly_ten_steps_will_do(config):
    out = image_encoder.train(replace(config, epochs=10, batch=24))
    assert [json.loads(line)["epoch"] for line in (out / "log.jsonl").read_text().splitlines()] == [5, 10]


def test_another_teacher_is_told(config):
    image_encoder.train(config)
    checkpoint.save(config.text, {"image_projection": text_encoder.image_projection()}, {})
    with pytest.raises(InputError, match="--text .*text: is not what this run began with; .*image-state.pt"):
        image_encoder.train(config)


def test_a_folder_without_a_projection_is_told(config):
    path = f"{config.text}/image_projection.safetensors"
    checkpoint.write(checkpoint.Path(path), lambda p: p.write_bytes(b"broken"))
    with pytest.raises(InputError, match="image_projection.safetensors"):
        image_encoder.train(config)
