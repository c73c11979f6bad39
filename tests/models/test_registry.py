"""The types of networks as a checkpoint names them."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from t2i import store
from t2i.errors import InputError
from t2i.locate import Checkpoint
from t2i.models import NETWORKS, CBNGenerator, CBNGeneratorConfig, DCGANGenerator, DCGANGeneratorConfig, describe
from tests.generators import tiny_cbn

CHANNELS = (4,) * 8
ROOT = Path(__file__).parents[2]


@pytest.fixture
def folder(tmp_path):
    """A checkpoint of a generator of the second type."""
    store.save(tmp_path, {"generator": tiny_cbn(32, CHANNELS)}, {})
    return tmp_path


def told(folder, **fields) -> str:
    """What is said of the generator in a sentence, once these fields of its configuration are changed."""
    path = folder / "config.json"
    config = json.loads(path.read_text())
    config["generator"] |= fields
    path.write_text(json.dumps(config))
    with pytest.raises(InputError) as error:
        Checkpoint(folder).read("generator")
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_generator_is_read_as_what_it_was_saved_as(folder):
    for generator in (tiny_cbn(64, CHANNELS), DCGANGenerator(DCGANGeneratorConfig(width=4))):
        store.save(folder, {"generator": generator}, {})
        found = Checkpoint(folder).read("generator")["generator"]
        assert type(found) is type(generator) and found.config == generator.config and not found.training


def test_without_a_type_it_is_the_papers(folder):
    generator = DCGANGenerator(DCGANGeneratorConfig(width=4))
    store.save(folder, {"generator": generator}, {})
    path = folder / "config.json"
    config = json.loads(path.read_text())
    assert config["generator"].pop("type") == "dcgan"
    path.write_text(json.dumps(config))
    assert type(Checkpoint(folder).read("generator")["generator"]) is DCGANGenerator


@pytest.mark.parametrize("kind", ["gan", "CBN", "", 1, None, ["cbn"], {"cbn": 1}])
def test_a_type_nobody_knows_is_told(folder, kind):
    assert "generator.type must be dcgan or cbn, not " in told(folder, type=kind)


@pytest.mark.parametrize("size", [1, 16, 48, 96, 100, 127, 1024, 4096])
def test_a_size_that_is_no_power_of_two_from_32_to_512_is_told(folder, size):
    assert f"generator: size must be a power of two from 32 to 512, not {size}" in told(folder, size=size)


@pytest.mark.parametrize("size", [0, -64, 64.0, "64", True, None, 10**9])
def test_a_size_that_is_no_whole_number_or_too_large_is_told(folder, size):
    assert "generator.size must be a whole number" in told(folder, size=size)


@pytest.mark.parametrize("fields", [{"channels": 4}, {"channels": [4, 4]}, {"size": [32]}, {"depth": 3}])
def test_other_configurations_that_make_no_generator_are_told(folder, fields):
    assert "config.json: generator: " in told(folder, **fields)


@pytest.mark.parametrize("fields", [{"size": 64}, {"mapped": 8}, {"channels": [8] * 8}, {"projected": 64}])
def test_tensors_that_do_not_fit_the_configuration_are_told(folder, fields):
    assert "generator.safetensors: does not fit config.json: " in told(folder, **fields)


def test_tensors_of_the_other_type_are_told(folder):
    fields = DCGANGeneratorConfig(width=4).__dict__
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"generator": {}}))
    assert "generator.safetensors: does not fit config.json: " in told(folder, type="dcgan", **fields)


@pytest.mark.parametrize("role, name", [(role, name) for role, types in NETWORKS.items() for name in types])
def test_networks_are_described_by_their_types(role, name):
    network_class, config_class = NETWORKS[role][name]
    assert describe({role: network_class(config_class())})[role]["type"] == name


def test_generators_tell_what_the_engine_asks():
    for generator in (DCGANGenerator(), CBNGenerator(CBNGeneratorConfig(size=256))):
        config = generator.config
        assert (config.noise, config.embedding, config.size) in {(100, 1024, 64), (100, 1024, 256)}
        assert generator.directions().shape == (4, config.noise)


def test_reading_a_checkpoint_imports_nothing_slow(folder):
    command = "import sys, t2i.checkpoint as c; c.read(sys.argv[1], 'generator'); print('torch._dynamo' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", command, str(folder)], check=True, capture_output=True, cwd=ROOT)
    assert found.stdout.split() == [b"False"]
