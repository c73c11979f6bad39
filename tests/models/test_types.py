"""The types of networks, which `config.json` names."""

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
    """A checkpoint of a CBN generator."""
    store.save(tmp_path, {"generator": tiny_cbn(32, CHANNELS)}, {})
    return tmp_path


def error_after(folder, **fields) -> str:
    """The one-line error of reading the generator after these fields of its configuration are changed."""
    path = folder / "config.json"
    config = json.loads(path.read_text())
    config["generator"] |= fields
    path.write_text(json.dumps(config))
    with pytest.raises(InputError) as error:
        Checkpoint(folder).read("generator")
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_generator_is_read_as_the_type_that_it_was_saved_as(folder):
    for generator in (tiny_cbn(64, CHANNELS), DCGANGenerator(DCGANGeneratorConfig(width=4))):
        store.save(folder, {"generator": generator}, {})
        network = Checkpoint(folder).read("generator")["generator"]
        assert type(network) is type(generator) and network.config == generator.config and not network.training


def test_a_network_without_a_type_is_refused(folder):
    path = folder / "config.json"
    config = json.loads(path.read_text())
    assert config["generator"].pop("type") == "cbn"
    path.write_text(json.dumps(config))
    assert "config.json: generator.type must be dcgan or cbn, not 'None'" in error_after(folder)


@pytest.mark.parametrize("type_", ["gan", "CBN", "", 1, None, ["cbn"], {"cbn": 1}])
def test_an_unknown_type_is_refused(folder, type_):
    assert "generator.type must be dcgan or cbn, not " in error_after(folder, type=type_)


@pytest.mark.parametrize("size", [1, 16, 48, 96, 100, 127, 1024, 4096])
def test_a_size_must_be_a_power_of_two_from_32_to_512(folder, size):
    assert f"generator: size must be a power of two from 32 to 512, not {size}" in error_after(folder, size=size)


@pytest.mark.parametrize("size", [0, -64, 64.0, "64", True, None, 10**9])
def test_a_size_must_be_a_whole_number_that_is_not_too_large(folder, size):
    assert "generator.size must be a whole number" in error_after(folder, size=size)


@pytest.mark.parametrize("fields", [{"channels": 4}, {"channels": [4, 4]}, {"size": [32]}, {"depth": 3}])
def test_other_configurations_that_make_no_generator_are_refused(folder, fields):
    assert "config.json: generator: " in error_after(folder, **fields)


@pytest.mark.parametrize("fields", [{"size": 64}, {"mapped": 8}, {"channels": [8] * 8}, {"projected": 64}])
def test_tensors_that_do_not_fit_the_configuration_are_refused(folder, fields):
    assert "generator.safetensors: does not fit config.json: " in error_after(folder, **fields)


def test_tensors_of_the_other_type_are_refused(folder):
    fields = DCGANGeneratorConfig(width=4).__dict__
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"generator": {}}))
    assert "generator.safetensors: does not fit config.json: " in error_after(folder, type="dcgan", **fields)


@pytest.mark.parametrize("role, name", [(role, name) for role, types in NETWORKS.items() for name in types])
def test_networks_are_described_by_their_types(role, name):
    network_class, config_class = NETWORKS[role][name]
    assert describe({role: network_class(config_class())})[role]["type"] == name


def test_generators_have_what_the_engine_needs():
    for generator in (DCGANGenerator(), CBNGenerator(CBNGeneratorConfig(size=256))):
        config = generator.config
        assert (config.noise, config.embedding, config.size) in {(100, 1024, 64), (100, 1024, 256)}
        assert generator.directions().shape == (4, config.noise)


def test_reading_a_checkpoint_imports_no_compiler(folder):
    program = (
        "import sys; from t2i.locate import Checkpoint\n"
        "Checkpoint(sys.argv[1]).read('generator'); print('torch._dynamo' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program, str(folder)], check=True, capture_output=True, cwd=ROOT)
    assert done.stdout.split() == [b"False"]
