import json
from dataclasses import asdict, replace

import pytest
import torch
from safetensors.torch import load_file

import t2i
from t2i import store
from t2i.errors import InputError
from t2i.models import (
    DCGANGenerator,
    DCGANGeneratorConfig,
    StyleEncoder,
    StyleEncoderConfig,
    TextEncoder,
    TextEncoderConfig,
)
from t2i.training import style
from t2i.training.style import StyleTraining


@pytest.fixture
def model(tmp_path):
    """A model whose pictures depend on the noise."""
    torch.manual_seed(1)
    networks = {
        "text_encoder": TextEncoder(TextEncoderConfig(widths=(16, 16, 16), hidden=16)),
        "generator": DCGANGenerator(DCGANGeneratorConfig(width=8)),
    }
    store.save(tmp_path / "model", networks, {name: asdict(n.config) for name, n in networks.items()})
    return tmp_path / "model"


@pytest.fixture
def config(dataset, model, tmp_path):
    return StyleTraining(str(dataset), str(model), str(tmp_path / "out"), steps=6, batch=8, width=8)


def test_it_learns_to_infer_the_noise(config):
    out = style.train(replace(config, steps=200, batch=32, ema_decay=0.9))
    errors = [json.loads(line)["cycle_error"] for line in (out / "log.jsonl").read_text().splitlines()]
    assert errors[-1] < 0.75  # 1 is chance; captions and noise are new
    written = json.loads((out / "config.json").read_text())
    record = written["training"]["style_encoder"]
    assert record["steps"] == 200 and record["model"] == "model" and record["cycle_error"] == round(errors[-1], 4)


def test_it_can_write_into_the_models_own_folder(config):
    style.train(replace(config, out=config.model))
    studio = t2i.load(config.model, "cpu")
    assert studio.style(studio.draw("a red square")[0]).shape == (100,)


def test_an_interrupted_run_resumes_bit_for_bit(config, tmp_path, monkeypatch):
    monkeypatch.setattr(style, "SAVE_EVERY", 2)
    uninterrupted = style.train(config)
    interrupted = replace(config, out=str(tmp_path / "interrupted"))
    calls, interpolate = [], style.interpolate

    def failing(*args):
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return interpolate(*args)

    monkeypatch.setattr(style, "interpolate", failing)
    with pytest.raises(KeyboardInterrupt):
        style.train(interrupted)
    monkeypatch.setattr(style, "interpolate", interpolate)
    folders = (uninterrupted, style.train(interrupted))
    expected, actual = (load_file(folder / "style_encoder.safetensors") for folder in folders)
    assert expected.keys() == actual.keys() and all(torch.equal(expected[k], actual[k]) for k in expected)


@pytest.mark.parametrize("steps", [1, 2, 9, 10, 11])
def test_any_number_of_steps_works(config, steps):
    out = style.train(replace(config, steps=steps))
    assert json.loads((out / "log.jsonl").read_text())["step"] == steps


def test_a_model_that_was_trained_further_raises_an_error(config):
    style.train(config)
    store.save(config.model, {"generator": DCGANGenerator(DCGANGeneratorConfig(width=8))}, {})
    with pytest.raises(InputError, match="--model .*model: is not what this run began with; .*style-state.pt"):
        style.train(config)


def test_another_configuration_raises_an_error(config):
    style.train(config)
    with pytest.raises(InputError, match="width was 8, now 16"):
        style.train(replace(config, width=16))


def test_an_unknown_model_raises_an_error(config):
    with pytest.raises(InputError, match="unknown model 'roses'"):
        style.train(replace(config, model="roses"))


def test_it_maps_pictures_to_noise():
    network = StyleEncoder(StyleEncoderConfig(width=8)).eval()
    assert network(torch.zeros(3, 3, 64, 64)).shape == (3, 100)
