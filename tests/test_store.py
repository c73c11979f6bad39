"""Networks to files and back, and the errors for files that cannot be used."""

import contextlib
import copy
import errno
import json
import os
import shutil
from hashlib import sha256
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from t2i import store
from t2i.errors import InputError
from t2i.locate import Checkpoint
from t2i.models import DCGANGenerator, ImageProjection, ImageProjectionConfig
from t2i.registry import WEIGHTS

ROLES = ("text_encoder", "generator", "discriminator")
REMEDY = "restore it with git, download it again or train it again"


def record_hash(folder: Path, role: str) -> None:
    """Record the SHA-256 that a network's file has now."""
    config = store.read_config(folder)
    config["sha256"][role] = sha256((folder / f"{role}.safetensors").read_bytes()).hexdigest()
    (folder / "config.json").write_text(json.dumps(config))


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_networks_come_back_rounded_to_half_precision(tiny_model, tiny_networks):
    networks = Checkpoint(tiny_model).read(*ROLES)
    assert tuple(networks) == ROLES
    for role, network in networks.items():
        assert not network.training and network.config == tiny_networks[role].config
        expected, state = tiny_networks[role].state_dict(), network.state_dict()
        assert state.keys() == expected.keys()
        for key, value in state.items():
            assert value.dtype == expected[key].dtype and value.device.type == "cpu"
            torch.testing.assert_close(value, expected[key].half().to(value.dtype), rtol=0, atol=0)
    stored = load_file(tiny_model / "generator.safetensors")
    assert {v.dtype for v in stored.values()} == {torch.float16, torch.int64}


def test_an_image_projection_is_a_network_like_the_others(tmp_path):
    projection = ImageProjection(ImageProjectionConfig(features=3, embedding=2))
    store.save(tmp_path, {"image_projection": projection}, {})
    assert store.read_config(tmp_path)["image_projection"] == {"type": "linear", "features": 3, "embedding": 2}
    [network] = Checkpoint(tmp_path).read("image_projection").values()
    assert network.config == projection.config and torch.equal(network[2].weight, projection[2].weight.half().float())


def test_a_network_in_channels_last_format_is_saved_with_the_right_values(tmp_path):
    network = nn.Sequential(nn.Conv2d(4, 4, 3)).to(memory_format=torch.channels_last)
    store.save(tmp_path, {"discriminator": network}, {})
    weight = load_file(tmp_path / "discriminator.safetensors")["0.weight"]
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


def _truncate(path):
    path.write_bytes(path.read_bytes()[:-1000])


def _reshape(path):
    tensors = load_file(path)
    save_file(tensors | {"project.0.bias": tensors["project.0.bias"][:-1]}, path)


def _remove_tensor(path):
    tensors = load_file(path)
    tensors.pop("project.0.bias")
    save_file(tensors, path)


def _add_tensor(path):
    save_file(load_file(path) | {"more": torch.zeros(1)}, path)


@pytest.mark.parametrize(
    "damage, words",
    [
        (lambda path: path.write_bytes(b""), "header"),
        (lambda path: path.write_bytes(b"version https://git-lfs.github.com/spec/v1\n"), "header"),
        (lambda path: path.write_bytes(b"\xff" * 5000), "header"),
        (_truncate, "not fully covered"),
        (_reshape, "does not fit config.json: project.0.bias has the shape"),
        (_remove_tensor, "does not fit config.json: 'project.0.bias' is missing"),
        (_add_tensor, "does not fit config.json: 'more' is too many"),
    ],
)
@pytest.mark.parametrize("is_recorded", [False, True])
def test_broken_weights_are_named_with_what_to_do(tiny_model, damage, words, is_recorded):
    damage(tiny_model / "generator.safetensors")
    if is_recorded:  # its hash is right, its contents are not
        record_hash(tiny_model, "generator")
    else:
        words = "is not the file whose SHA-256 config.json records"
    with pytest.raises(InputError, match=f"generator.safetensors: .*{words}.*; {REMEDY}"):
        Checkpoint(tiny_model).read("text_encoder", "generator")


def test_missing_weights_are_named_with_what_to_do(tiny_model):
    (tiny_model / "generator.safetensors").unlink()
    with pytest.raises(InputError, match=f"generator.safetensors: is missing; {REMEDY}"):
        Checkpoint(tiny_model).read("text_encoder", "generator")


def _generator(fields: str) -> bytes:
    return b'{"generator": {"type": "dcgan", %s}}' % fields.encode()


SIZE = "must be a whole number from 1 to 4096, not "


@pytest.mark.parametrize(
    "text, words",
    [
        (None, "is missing"),
        (b"", "Expecting value"),
        (b"{", "Expecting property name"),
        (b"[]", "is not a JSON object"),
        (b"\xff\xfe", "codec can't decode|Expecting value"),
        (b"{}", "does not describe generator"),
        (b'{"generator": 3}', "does not describe generator"),
        (b'{"generator": {"width": 8}}', "generator.type must be dcgan or cbn, not 'None'"),
        (_generator('"depth": 3'), "unexpected keyword argument 'depth'"),
        (_generator('"width": -8'), f"generator.width {SIZE}-8"),
        (_generator('"width": "8"'), f"generator.width {SIZE}8"),
        (_generator('"width": [8]'), "generator: "),
        (_generator('"width": null'), f"generator.width {SIZE}None"),
        (_generator('"width": true'), f"generator.width {SIZE}True"),
        (_generator('"width": 1e999'), f"generator.width {SIZE}inf"),
        (_generator('"width": 99999999999999999999'), f"generator.width {SIZE}9999"),
        (_generator('"width": 4097'), f"generator.width {SIZE}4097"),
        (b'{"caption_mean": 5}', "caption_mean must be base64 of at most 4096 numbers"),
        (b'{"caption_mean": "not base64"}', "caption_mean must be base64"),
        (b'{"caption_mean": "AHw="}', "caption_mean must be base64"),  # infinite
        (b'{"text_encoder": {}, "generator": {}, "optimizer": {}}', "has the unknown field 'optimizer'; known: text_"),
        (b'{"generator": {}, "sha256": ["generator"]}', "sha256 must be an object"),
        (b'{"generator": {}, "training": 3}', "training must be an object"),
        (b"[" * 100_000, "is not JSON"),
        (b'{"generator": {}}' + b" " * 2**20, "is larger than 1,048,576 bytes"),
    ],
)
def test_a_broken_configuration_is_named_with_what_to_do(tiny_model, text, words):
    path = tiny_model / "config.json"
    if text is None:
        path.unlink()
    else:
        path.write_bytes(text)
    with pytest.raises(InputError, match=f"config.json: .*({words}).*; {REMEDY}"):
        Checkpoint(tiny_model).read("generator")


HUGE_GENERATOR = {"type": "dcgan", "width": 4096, "noise": 4096, "embedding": 4096}


@pytest.mark.parametrize(
    "role, fields, words",
    [
        ("generator", HUGE_GENERATOR, "does not fit config.json"),  # 40 GB
        ("text_encoder", {"length": 65}, "text_encoder: "),
        ("text_encoder", {"length": 2**40}, "text_encoder.length must be"),  # no tensor's shape: 70 TB for one caption
        ("text_encoder", {"widths": [1, 2]}, "text_encoder: "),
        ("text_encoder", {"widths": [4096] * 3, "hidden": 4096}, "does not fit config.json"),
    ],
)
def test_a_huge_or_senseless_configuration_takes_no_memory(tiny_model, role, fields, words):
    config = store.read_config(tiny_model)
    config[role] = {"type": "char-cnn-rnn"} | fields
    (tiny_model / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match=f"{words}.*; {REMEDY}"):
        Checkpoint(tiny_model).read(role)


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
def test_a_tensor_of_the_wrong_type_or_value_is_named(tiny_model, name, change, words):
    path = tiny_model / "generator.safetensors"
    tensors = load_file(path)
    save_file(tensors | {name: change(tensors[name]).contiguous()}, path)
    record_hash(tiny_model, "generator")
    with pytest.raises(InputError, match=f"generator.safetensors: .*{name} .*{words}"):
        Checkpoint(tiny_model).read("generator")


def test_every_file_is_checked_against_the_hash_that_was_recorded_when_it_was_written(tiny_model, tiny_networks):
    recorded = store.read_config(tiny_model)["sha256"]
    for role in ROLES:
        assert recorded[role] == sha256((tiny_model / f"{role}.safetensors").read_bytes()).hexdigest()
    store.save(tiny_model, {"generator": DCGANGenerator(tiny_networks["generator"].config)}, {})  # trained further
    again = store.read_config(tiny_model)["sha256"]
    assert {role for role in again if again[role] != recorded[role]} == {"generator"}
    Checkpoint(tiny_model).read(*ROLES)
    path = tiny_model / "discriminator.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1  # one bit of a weight
    path.write_bytes(data)
    with pytest.raises(InputError, match="discriminator.safetensors: is not the file whose SHA-256 .*; restore it"):
        Checkpoint(tiny_model).read(*ROLES)


def test_a_configuration_without_hashes_is_read(tiny_model):
    config = store.read_config(tiny_model)
    del config["sha256"]
    (tiny_model / "config.json").write_text(json.dumps(config))
    assert tuple(Checkpoint(tiny_model).read(*ROLES)) == ROLES


@pytest.mark.parametrize("folder", sorted({path.parent for path in WEIGHTS.rglob("*.safetensors")}), ids=str)
def test_the_weights_of_this_repository_have_the_recorded_hashes(folder):
    checkpoint = Checkpoint(folder)
    recorded = checkpoint.config["sha256"]
    assert recorded.keys() == {path.stem for path in folder.glob("*.safetensors")} | {"text_encoder"}
    for role in recorded:
        path = checkpoint.owner(role).folder / f"{role}.safetensors"
        assert store.has_recorded_hash(checkpoint.config, role, path.read_bytes())


@pytest.mark.parametrize("value", [float("nan"), 70_000.0])  # the largest number in half precision is 65,504
def test_weights_that_diverged_leave_the_last_good_checkpoint(tiny_model, tiny_networks, value):
    before = contents(tiny_model)
    network = copy.deepcopy(tiny_networks["generator"])
    with torch.no_grad():
        next(network.parameters()).view(-1)[0] = value
    with pytest.raises(InputError, match="the generator's .* is no longer finite"):
        store.save(tiny_model, {"generator": network}, {})
    assert contents(tiny_model) == before


@pytest.mark.parametrize("renames", range(5))
@pytest.mark.parametrize("is_killed", [False, True])
def test_a_save_that_is_cut_between_two_files_leaves_a_whole_model(
    tiny_model, tiny_networks, tmp_path, monkeypatch, renames, is_killed
):
    """Killed, or stopped by an exception, before any of its four renames, or after the last.

    What a kill leaves is the folder as it stands at that moment. A copy of it is read in place of killing a process:
    a forked child that runs torch can wait for ever on a lock that a thread of its parent held.
    """
    roles = ("generator", "discriminator", "style_encoder")
    networks = {role: type(tiny_networks[role])(tiny_networks[role].config) for role in roles}
    old, replace, renamed = contents(tiny_model), os.replace, []
    folder = tmp_path / "killed" if is_killed else tiny_model

    def stop_or_replace(source, target):
        if len(renamed) == renames:
            if not is_killed:
                raise KeyboardInterrupt
            shutil.copytree(tiny_model, folder)
        renamed.append(target)
        replace(source, target)

    with monkeypatch.context() as patched, contextlib.suppress(KeyboardInterrupt):
        patched.setattr(os, "replace", stop_or_replace)
        store.save(tiny_model, networks, {"words": "new"})
    if not folder.exists():  # killed after the last
        shutil.copytree(tiny_model, folder)
    read = Checkpoint(folder).read(*roles)
    assert store.read_config(folder).get("words") == ("new" if renames else None)
    for role, network in read.items():
        expected = (networks if renames else tiny_networks)[role].state_dict()
        assert all(torch.equal(v, expected[k].half().to(v.dtype)) for k, v in network.state_dict().items())
    store.save(folder, {}, {"words": "next"})
    Checkpoint(folder).read(*ROLES)
    if renames or not is_killed:
        assert contents(folder).keys() == old.keys()


def test_a_finished_save_is_read_while_files_of_others_lie_beside_it(tiny_model):
    (tiny_model / ".generator.safetensors.1.part").write_bytes(b"half of one")
    (tiny_model / ".anything.safetensors.1.part").write_bytes(b"?")
    before = contents(tiny_model)
    Checkpoint(tiny_model).read(*ROLES)
    assert contents(tiny_model) == before


def test_a_disk_that_fills_up_leaves_the_last_good_checkpoint(tiny_model, tiny_networks, monkeypatch):
    before = contents(tiny_model)
    networks = {role: type(tiny_networks[role])(tiny_networks[role].config) for role in ("generator", "discriminator")}
    write_bytes = Path.write_bytes

    def fill_disk(path, data):
        if "generator" in path.name:  # there is room for this one
            return write_bytes(path, data)
        with open(path, "wb") as file:
            file.write(data[: len(data) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")  # it names no file

    monkeypatch.setattr(Path, "write_bytes", fill_disk)
    with pytest.raises(OSError, match="No space left on device: .*/tiny/config.json'"):
        store.save(tiny_model, networks, {})
    assert contents(tiny_model) == before
