"""Names to folders, and networks to files and back."""

import copy
import errno
import json
import os
import re
import shutil
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

import t2i.hub
from t2i import locate, registry, store
from t2i.errors import InputError
from t2i.locate import Checkpoint
from t2i.models import DCGANGenerator
from t2i.registry import MODELS, OBJECTIVES, WEIGHTS, ModelSpec
from t2i.web.component import _is_offered

NAMES = ("text_encoder", "generator", "discriminator")


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A Hub that gives `tmp_path` and notes what it was asked for."""
    asked = []

    def fetch(hub_id, revision):
        asked.append((hub_id, revision))
        return tmp_path

    monkeypatch.setattr(t2i.hub, "fetch", fetch)
    return asked


def test_registered_models_can_stand_in_a_menu():
    for name, spec in MODELS.items():
        assert name == spec.name and re.fullmatch(r"[a-z]+(-[a-z]+)*", name)  # so is T2I_NAME a variable's
        assert spec.title and spec.placeholder and spec.examples
        assert (spec.hub_id is None) == (spec.revision is None)


def test_the_models_to_compare_are_one_for_each_objective_and_may_be_missing(monkeypatch, tmp_path):
    compared = {spec.objective: name for name, spec in MODELS.items() if spec.objective}
    assert list(compared) == list(OBJECTIVES) and compared["gan-int"] == "flowers-gan-int"
    monkeypatch.setattr(registry, "WEIGHTS", tmp_path)
    monkeypatch.delenv("T2I_FLOWERS_GAN_INT", raising=False)
    assert not locate.is_available("flowers-gan-int")
    monkeypatch.setenv("T2I_FLOWERS_GAN_INT", str(tmp_path))
    assert locate.is_available("flowers-gan-int") and locate.resolve("flowers-gan-int") == tmp_path


def test_the_papers_own_networks_stand_behind_the_main_models_and_may_be_missing(monkeypatch, tmp_path):
    papers = [spec.paper for spec in MODELS.values()]
    assert papers == sorted(papers) and list(MODELS)[:4] == ["flowers", "birds", "scenes", "flowers-paper"]
    assert all(spec.paper for spec in MODELS.values() if spec.objective)
    monkeypatch.setattr(registry, "WEIGHTS", tmp_path)
    monkeypatch.delenv("T2I_FLOWERS_PAPER", raising=False)
    assert [spec.name for spec in MODELS.values() if _is_offered(spec)] == ["flowers", "birds", "scenes"]
    (tmp_path / "flowers-paper").mkdir()
    assert [spec.name for spec in MODELS.values() if _is_offered(spec)] == [
        "flowers",
        "birds",
        "scenes",
        "flowers-paper",
    ]


def test_a_registered_name_is_looked_for_in_the_environment_then_in_weights_then_on_the_hub(monkeypatch, tmp_path, hub):
    spec = ModelSpec("flowers", "Flowers", hub_id="owner/flowers", revision="abc123")
    monkeypatch.setitem(MODELS, "flowers", spec)
    monkeypatch.setattr(registry, "WEIGHTS", tmp_path / "weights")
    monkeypatch.delenv("T2I_FLOWERS", raising=False)
    assert locate.resolve("flowers") == tmp_path
    assert hub == [("owner/flowers", "abc123")]
    (tmp_path / "weights" / "flowers").mkdir(parents=True)
    assert locate.resolve("flowers") == tmp_path / "weights" / "flowers"
    (tmp_path / "mine").mkdir()
    monkeypatch.setenv("T2I_FLOWERS", str(tmp_path / "mine"))
    assert locate.resolve("flowers") == tmp_path / "mine"
    assert len(hub) == 1


def test_weights_lie_beside_the_package():
    assert WEIGHTS.name == "weights" and (WEIGHTS.parent / "t2i" / "checkpoint.py").is_file()


def test_a_local_folder_is_itself_but_does_not_hide_a_registered_name(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("T2I_FLOWERS", str(tmp_path))
    (tmp_path / "flowers").mkdir()
    assert locate.resolve(tmp_path / "flowers") == tmp_path / "flowers"
    assert locate.resolve("./flowers").samefile(tmp_path / "flowers")
    assert locate.resolve("flowers") == tmp_path


@pytest.mark.parametrize(
    "name, asked", [("owner/repo", ("owner/repo", None)), ("o-w.n/r_1@v1.0", ("o-w.n/r_1", "v1.0"))]
)
def test_any_hub_id_is_downloaded_at_its_revision(name, asked, hub, tmp_path):
    assert locate.resolve(name) == tmp_path
    assert hub == [asked]


@pytest.mark.parametrize("name", ["roses", "", "..x", "/no/such/folder", "owner/repo@", "a b/c", "a\0b", "x" * 5000])
def test_an_unknown_name_is_told_with_the_known_ones(name, hub):
    with pytest.raises(InputError, match="known: flowers"):
        locate.resolve(name)
    assert not hub


def test_what_cannot_be_had_is_an_input_error(monkeypatch, tmp_path):
    monkeypatch.setenv("T2I_FLOWERS", str(tmp_path / "gone"))
    with pytest.raises(InputError, match="T2I_FLOWERS.*gone"):
        locate.resolve("flowers")
    monkeypatch.delenv("T2I_FLOWERS")
    monkeypatch.setattr(registry, "WEIGHTS", tmp_path)
    monkeypatch.setitem(MODELS, "flowers", ModelSpec("flowers", "Flowers"))
    with pytest.raises(InputError, match="flowers: is missing"):
        locate.resolve("flowers")


def test_networks_come_back_as_they_were_to_half_precision(tiny_model, tiny_networks):
    found = Checkpoint(tiny_model).read(*NAMES)
    assert tuple(found) == NAMES
    for name, network in found.items():
        assert not network.training and network.config == tiny_networks[name].config
        wanted, state = tiny_networks[name].state_dict(), network.state_dict()
        assert state.keys() == wanted.keys()
        for key, value in state.items():
            assert value.dtype == wanted[key].dtype and value.device.type == "cpu"
            torch.testing.assert_close(value, wanted[key].half().to(value.dtype), rtol=0, atol=0)
    stored = load_file(tiny_model / "generator.safetensors")
    assert {v.dtype for v in stored.values()} == {torch.float16, torch.int64}


def test_any_module_can_be_saved_channels_last_too(tmp_path):
    network = nn.Sequential(nn.Conv2d(4, 4, 3), nn.RMSNorm(4, elementwise_affine=False)).to(
        memory_format=torch.channels_last
    )
    store.save(tmp_path, {"image_projection": network}, {})
    weight = load_file(tmp_path / "image_projection.safetensors")["0.weight"]
    torch.testing.assert_close(weight, network[0].weight.detach().half(), rtol=0, atol=0)


def test_saving_merges_the_configuration_and_training_one_level_deep(tmp_path):
    store.save(tmp_path, {}, {"text_encoder": {"a": 1, "b": 2}, "training": {"text_encoder": {"c": 1}}})
    store.save(tmp_path, {}, {"text_encoder": {"a": 3}, "generator": {}, "training": {"gan": {"d": 1}}})
    assert store.read_config(tmp_path) == {
        "text_encoder": {"a": 3},
        "generator": {},
        "training": {"text_encoder": {"c": 1}, "gan": {"d": 1}},
    }
    store.save(tmp_path, {}, {"generator": {"width": 8}})
    assert store.read_config(tmp_path)["training"] == {"text_encoder": {"c": 1}, "gan": {"d": 1}}


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")

    def fail(partial):
        partial.write_text("half of the n")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.write(path, fail)
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["file"]


def _truncate(folder):
    path = folder / "generator.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])


def _reshape(folder):
    tensors = load_file(folder / "generator.safetensors")
    save_file(tensors | {"project.0.bias": tensors["project.0.bias"][:-1]}, folder / "generator.safetensors")
    checkpoint.record(folder)  # its hash is right, its shape is not


def _lose(folder):
    tensors = load_file(folder / "generator.safetensors")
    tensors.pop("project.0.bias")
    save_file(tensors, folder / "generator.safetensors")


def _add(folder):
    tensors = load_file(folder / "generator.safetensors")
    save_file(tensors | {"more": torch.zeros(1)}, folder / "generator.safetensors")


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "generator.safetensors").unlink(),
        lambda folder: (folder / "generator.safetensors").write_bytes(b""),
        lambda folder: (folder / "generator.safetensors").write_bytes(b"version https://git-lfs.github.com/spec/v1\n"),
        lambda folder: (folder / "generator.safetensors").write_bytes(b"\xff" * 5000),
        _truncate,
        _reshape,
        _lose,
        _add,
    ],
)
def test_broken_weights_are_named_with_what_to_do(tiny_model, damage):
    damage(tiny_model)
    with pytest.raises(InputError, match="generator.safetensors: .*restore it with git, download it again or train"):
        Checkpoint(tiny_model).read("text_encoder", "generator")


@pytest.mark.parametrize(
    "text",
    [
        None,
        b"",
        b"{",
        b"[]",
        b"\xff\xfe",
        b"{}",
        b'{"generator": 3}',
        b'{"generator": {"depth": 3}}',
        b'{"generator": {"width": -8}}',
        b'{"generator": {"width": "8"}}',
        b'{"generator": {"width": [8]}}',
        b'{"generator": {"width": null}}',
        b'{"generator": {"width": true}}',
        b'{"generator": {"width": 1e999}}',
        b'{"generator": {"width": 99999999999999999999}}',
        b'{"generator": {"width": 4097}}',
        b'{"text_encoder": {}, "generator": {}, "optimizer": {}}',
        b'{"generator": {}, "sha256": ["generator"]}',
        b"[" * 100_000,
        b'{"generator": {}}' + b" " * 2**20,
    ],
)
def test_a_broken_configuration_is_named_with_what_to_do(tiny_model, text):
    path = tiny_model / "config.json"
    if text is None:
        path.unlink()
    else:
        path.write_bytes(text)
    with pytest.raises(InputError, match="config.json: .*restore it with git, download it again or train"):
        Checkpoint(tiny_model).read("generator")


@pytest.mark.parametrize(
    "fields",
    [
        {"generator": {"width": 4096, "noise": 4096, "embedding": 4096}},  # 40 GB
        {"text_encoder": {"length": 65}},
        {"text_encoder": {"length": 2**40}},  # shapes no tensor: 70 TB as one caption is read
        {"text_encoder": {"widths": [1, 2]}},
        {"text_encoder": {"widths": [4096] * 3, "hidden": 4096}},
    ],
)
def test_a_huge_or_senseless_configuration_takes_no_memory(tiny_model, fields):
    described = store.read_config(tiny_model)
    (tiny_model / "config.json").write_text(json.dumps(described | fields))
    with pytest.raises(InputError, match=r"restore it with git"):
        Checkpoint(tiny_model).read(*fields)


@pytest.mark.parametrize(
    "name, change, words",
    [
        ("project.0.bias", lambda tensor: tensor.double(), "is of float64"),
        ("project.0.bias", lambda tensor: tensor.to(torch.int8), "is of int8"),
        ("draw.1.num_batches_tracked", lambda tensor: tensor.to(torch.int32), "is of int32"),
        ("project.0.bias", lambda tensor: tensor * torch.inf, "not finite"),
        ("project.0.bias", lambda tensor: tensor * torch.nan, "not finite"),
        ("project.0.bias", lambda tensor: tensor[:-1], "has the shape"),
    ],
)
def test_a_tensor_of_the_wrong_kind_is_named(tiny_model, name, change, words):
    path = tiny_model / "generator.safetensors"
    tensors = load_file(path)
    save_file(tensors | {name: change(tensors[name]).contiguous()}, path)
    checkpoint.record(tiny_model)
    with pytest.raises(InputError, match=f"generator.safetensors: .*{name} .*{words}"):
        Checkpoint(tiny_model).read("generator")


def test_every_file_is_held_to_the_hash_that_was_recorded_when_it_was_written(tiny_model, tiny_networks):
    recorded = store.read_config(tiny_model)["sha256"]
    for name in NAMES:
        assert recorded[name] == sha256((tiny_model / f"{name}.safetensors").read_bytes()).hexdigest()
    config = tiny_networks["generator"].config
    store.save(tiny_model, {"generator": DCGANGenerator(config)}, {"generator": asdict(config)})  # trained on
    again = store.read_config(tiny_model)["sha256"]
    assert {name for name in again if again[name] != recorded[name]} == {"generator"}
    Checkpoint(tiny_model).read(*NAMES)
    path = tiny_model / "discriminator.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1  # one bit of a weight
    path.write_bytes(data)
    with pytest.raises(InputError, match="discriminator.safetensors: is not the file whose SHA-256 .*; restore it"):
        Checkpoint(tiny_model).read(*NAMES)


def test_a_checkpoint_from_before_hashes_were_kept_is_read_and_can_be_recorded(tiny_model):
    described = store.read_config(tiny_model)
    recorded = described.pop("sha256")
    (tiny_model / "config.json").write_text(json.dumps(described))
    Checkpoint(tiny_model).read(*NAMES)
    checkpoint.record(tiny_model)
    assert store.read_config(tiny_model) == described | {"sha256": recorded}


@pytest.mark.parametrize("folder", sorted({path.parent for path in WEIGHTS.rglob("*.safetensors")}), ids=str)
def test_the_weights_of_this_repository_are_those_recorded(folder):
    recorded = store.read_config(folder)["sha256"]
    assert recorded.keys() == {path.stem for path in folder.glob("*.safetensors")} | {"text_encoder"}
    for name in recorded:
        path = checkpoint.home(folder, name) / f"{name}.safetensors"
        assert store.has_recorded_hash(folder, name, path.read_bytes())


def shares(folder, reference):
    """This checkpoint with a reference in place of its text encoder."""
    described = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(described | {"text_encoder": reference}))
    (folder / "text_encoder.safetensors").unlink(missing_ok=True)
    return folder


def test_a_text_encoder_is_shared_by_a_registered_name(tiny_model, tiny_networks, tmp_path, monkeypatch):
    store.save(tmp_path / "variant", tiny_networks, {n: asdict(w.config) for n, w in tiny_networks.items()})
    monkeypatch.setenv("T2I_FLOWERS", str(tiny_model))
    variant = shares(tmp_path / "variant", "flowers")
    assert (
        Checkpoint(variant).owner("text_encoder").folder == tiny_model
        and Checkpoint(variant).owner("generator").folder == variant
    )
    one, other = (Checkpoint(f).read("text_encoder")["text_encoder"].state_dict() for f in (variant, tiny_model))
    assert all(torch.equal(one[k], other[k]) for k in one)
    assert np.array_equal(t2i.load(variant).draw_array("a red flower"), t2i.load(tiny_model).draw_array("a red flower"))


@pytest.mark.parametrize("reference", ["roses", "../tiny", "/etc", "owner/repo"])
def test_a_shared_text_encoder_must_be_a_registered_one(tiny_model, reference):
    with pytest.raises(InputError, match="must be described, or for an encoder be one of flowers"):
        Checkpoint(shares(tiny_model, reference)).read("text_encoder")


def test_with_a_shared_text_encoder_comes_its_image_encoder(tiny_model, tiny_networks, tmp_path, monkeypatch):
    monkeypatch.setenv("T2I_FLOWERS", str(tiny_model))
    generator = {"generator": tiny_networks["generator"]}
    described = {"generator": asdict(tiny_networks["generator"].config)}
    store.save(tmp_path / "blind", generator, described | {"text_encoder": "flowers"})
    monkeypatch.setenv("T2I_FLOWERS_GAN", str(tmp_path / "blind"))
    store.save(tmp_path / "chained", generator, described | {"text_encoder": "flowers-gan"})
    for folder in (tmp_path / "blind", tmp_path / "chained"):
        assert (
            Checkpoint(folder).owner("text_encoder").folder
            == Checkpoint(folder).owner("image_encoder").folder
            == tiny_model
        )
        assert t2i.load(folder).has_image_encoder and not Checkpoint(folder).has("style_encoder")
    own = {"image_encoder": tiny_networks["image_encoder"]}
    store.save(tmp_path / "blind", own, {"image_encoder": asdict(own["image_encoder"].config)})
    assert Checkpoint(tmp_path / "blind").owner("image_encoder").folder == tmp_path / "blind"


def test_a_shared_text_encoder_is_the_one_that_was_learnt_with(tiny_model, tiny_networks, tmp_path, monkeypatch):
    """Whatever the environment puts in its place, this very checkpoint included."""
    weights = tmp_path / "weights"
    monkeypatch.setattr(registry, "WEIGHTS", weights)
    shutil.copytree(tiny_model, weights / "flowers")
    generator = {"generator": tiny_networks["generator"]}
    described = {"generator": asdict(tiny_networks["generator"].config)}
    store.save(tmp_path / "variant", generator, described | locate.shared_text_encoder("flowers"))
    store.save(tmp_path / "old", generator, described | {"text_encoder": "flowers"})
    other = type(tiny_networks["text_encoder"])(tiny_networks["text_encoder"].config)
    store.save(tiny_model, {"text_encoder": other}, {})
    for here in (tiny_model, tmp_path / "variant"):
        monkeypatch.setenv("T2I_FLOWERS", str(here))
        assert Checkpoint(tmp_path / "variant").owner("text_encoder").folder == weights / "flowers"
    monkeypatch.setenv("T2I_FLOWERS", str(weights / "flowers"))
    checkpoint.record(tmp_path / "old")
    monkeypatch.setenv("T2I_FLOWERS", str(tiny_model))
    assert Checkpoint(tmp_path / "old").owner("text_encoder").folder == weights / "flowers"
    shutil.rmtree(weights)
    with pytest.raises(InputError, match="was trained with another text encoder than that of 'flowers' here"):
        Checkpoint(tmp_path / "variant").read("text_encoder")


def test_sharing_goes_in_no_circle_and_is_for_encoders_alone(tiny_model, monkeypatch):
    monkeypatch.setenv("T2I_FLOWERS", str(shares(tiny_model, "flowers")))
    described = json.loads((tiny_model / "config.json").read_text())
    del described["sha256"]  # as before the hash of a shared one was recorded
    (tiny_model / "config.json").write_text(json.dumps(described))
    with pytest.raises(InputError, match="text_encoder: is shared in a circle"):
        Checkpoint(tiny_model).read("text_encoder")
    (tiny_model / "config.json").write_text(json.dumps(described | {"generator": "flowers"}))
    with pytest.raises(InputError, match="generator must be described"):
        Checkpoint(tiny_model).read("generator")


@pytest.mark.parametrize("value", [float("nan"), 70_000.0])  # the largest number in half precision is 65,504
def test_weights_that_went_astray_leave_the_last_good_checkpoint(tiny_model, tiny_networks, value):
    before = {path.name: path.read_bytes() for path in tiny_model.iterdir()}
    network = copy.deepcopy(tiny_networks["generator"])
    with torch.no_grad():
        next(network.parameters()).view(-1)[0] = value
    with pytest.raises(InputError, match="the generator's .* is no longer finite"):
        store.save(tiny_model, {"generator": network}, {})
    assert {path.name: path.read_bytes() for path in tiny_model.iterdir()} == before


def test_a_disk_that_fills_up_leaves_the_last_good_checkpoint(tiny_model, tiny_networks, monkeypatch):
    before = {path.name: path.read_bytes() for path in tiny_model.iterdir()}
    others = {name: type(tiny_networks[name])(tiny_networks[name].config) for name in ("generator", "discriminator")}
    whole = Path.write_bytes

    def full(path, data):
        if "generator" in path.name:  # there is room for this one
            return whole(path, data)
        with open(path, "wb") as file:
            file.write(data[: len(data) // 2])
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        store.save(tiny_model, others, {})
    assert {path.name: path.read_bytes() for path in tiny_model.iterdir()} == before
