"""Checkpoints from the Hub, over a real connection to a small one of our own, with all that goes wrong on the way."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import constants

import t2i
from t2i import locate
from t2i.__main__ import main
from t2i.hub import FILES, fetch
from t2i.locate import Checkpoint

ROOT = Path(__file__).parents[1]
LARGE = [name for name in FILES if name != "config.json"]


@pytest.fixture
def files(tiny_model) -> dict[str, bytes]:
    """A checkpoint, and what nobody asked for beside it."""
    found = {path.name: path.read_bytes() for path in tiny_model.iterdir()}
    more = {"README.md": b"# tiny", "pytorch_model.bin": b"a pickle", "run.py": b"import os", "x.safetensors": b"?"}
    return found | more


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_model_is_loaded_by_its_id_and_draws_as_the_local_one(hub, files, tiny_model):
    hub.put("owner/tiny", files)
    there, here = t2i.load("owner/tiny"), t2i.load(tiny_model)
    assert np.array_equal(there.draw_array("a red flower", [1, 2]), here.draw_array("a red flower", [1, 2]))
    assert there.name == "owner/tiny"


def test_only_the_configuration_and_known_networks_are_fetched_and_each_once(hub, files):
    hub.put("owner/tiny", files)
    wanted = {name: files[name] for name in FILES if name in files}
    assert contents(fetch("owner/tiny")) == wanted
    assert hub.fetched() == dict.fromkeys(wanted, 1)
    hub.asked.clear()
    assert contents(fetch("owner/tiny")) == wanted
    assert not hub.fetched()


def test_a_revision_is_a_branch_or_a_commit(hub, files):
    first = hub.put("owner/tiny", files)
    changed = json.loads(files["config.json"]) | {"attributes": [["Size", "small", "large"]]}
    second = hub.put("owner/tiny", {"config.json": json.dumps(changed).encode()}, branch="next")
    hub.refs["models/owner/tiny"]["main"] = first
    for revision, commit in ((None, first), ("main", first), ("next", second), (first, first), (second, second)):
        assert fetch("owner/tiny", revision).name == commit
    assert Checkpoint("owner/tiny@next").attributes[0].name == "Size"
    assert hub.fetched()["generator.safetensors"] == 1  # the same file in both


def test_after_the_first_download_no_network_is_needed(hub, files, monkeypatch):
    commit = hub.put("owner/tiny", files)
    wanted = contents(fetch("owner/tiny"))
    hub.asked.clear()
    assert contents(fetch("owner/tiny", commit)) == wanted and not hub.asked  # a commit does not change
    for status in (429, 500, 503):
        hub.faults["/api/"] = [status] * 9
        assert contents(fetch("owner/tiny")) == wanted
    hub.faults.clear()
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")  # nobody listens
    assert contents(fetch("owner/tiny")) == wanted
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert contents(fetch("owner/tiny")) == wanted


@pytest.mark.parametrize(
    "name, words",
    [
        ("owner/none", "no such repository, or it is private"),
        ("owner/tiny@gone", "no such revision"),
        ("owner/tiny@" + "0" * 40, "no such revision"),
        ("owner/gated", "is gated: ask for access"),
        ("owner/other", "is no checkpoint of t2i: it has no config.json"),
        ("owner/-", "is no id of the Hub"),
    ],
)
def test_what_is_not_there_is_told_in_a_line(hub, files, name, words):
    hub.put("owner/tiny", files)
    hub.put("owner/gated", files)
    hub.put("owner/other", {"model.safetensors": b"another"})
    hub.gated.add("models/owner/gated")
    with pytest.raises(t2i.InputError, match=words) as told:
        locate.resolve(name)
    assert "\n" not in str(told.value) and str(told.value).startswith(name.split("@")[0])


def test_without_a_network_it_says_so(hub, monkeypatch):
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(t2i.InputError, match="the Hub cannot be reached, and the cache does not have it"):
        fetch("owner/tiny")


@pytest.mark.parametrize("status, words", [(429, "too many requests"), (500, "status 500"), (403, "does not let you")])
def test_a_hub_that_refuses_is_told(hub, files, status, words):
    hub.put("owner/tiny", files)
    hub.faults["/api/models"] = [status] * 9
    with pytest.raises(t2i.InputError, match=words):
        fetch("owner/tiny")


@pytest.mark.parametrize("fault", ["cut", "short", "wrong", 429, 500, 503])
def test_a_fault_on_the_way_is_made_good(hub, files, fault):
    hub.put("owner/tiny", files)
    hub.faults["/cdn/"] = [fault]
    assert contents(fetch("owner/tiny")) == {name: files[name] for name in FILES if name in files}


def test_a_cut_connection_is_resumed_where_it_broke(hub, files):
    hub.put("owner/tiny", files)
    hub.faults["generator.safetensors"] = ["cut"] * 3
    assert contents(fetch("owner/tiny"))["generator.safetensors"] == files["generator.safetensors"]
    assert hub.fetched()["generator.safetensors"] == 4


@pytest.mark.parametrize(
    "fault, words",
    [("short", "came incomplete; try again"), ("wrong", "is not the file whose SHA-256"), (500, "status 500")],
)
def test_a_fault_that_stays_is_told_and_leaves_nothing_broken_behind(hub, files, fault, words):
    hub.put("owner/tiny", files)
    hub.faults["generator.safetensors"] = [fault] * 99
    with pytest.raises(t2i.InputError, match=words):
        fetch("owner/tiny")
    hub.faults.clear()
    assert contents(fetch("owner/tiny")) == {name: files[name] for name in FILES if name in files}
    assert not list(Path(constants.HF_HUB_CACHE).rglob("*.incomplete"))


def test_a_file_damaged_in_the_cache_is_fetched_again(hub, files):
    commit = hub.put("owner/tiny", files)
    damaged = fetch("owner/tiny", commit) / "generator.safetensors"
    damaged.resolve().write_bytes(damaged.read_bytes()[:-8])
    assert (fetch("owner/tiny", commit) / "generator.safetensors").read_bytes() == files["generator.safetensors"]


def test_a_new_revision_that_breaks_leaves_the_old_one_whole(hub, files):
    old = hub.put("owner/tiny", files)
    kept = contents(fetch("owner/tiny"))
    hub.put("owner/tiny", {"generator.safetensors": files["generator.safetensors"][:-1]})
    with pytest.raises(t2i.InputError, match="generator.safetensors is not the file whose SHA-256"):
        fetch("owner/tiny")
    assert contents(fetch("owner/tiny", old)) == kept


def test_a_repository_that_moved_is_followed(hub, files):
    hub.put("owner/new", files)
    hub.moved["owner/old"] = "owner/new"
    assert "generator.safetensors" in contents(fetch("owner/old"))


def test_too_much_is_refused_before_it_is_fetched(hub, files, monkeypatch):
    monkeypatch.setattr(t2i.hub, "LARGEST", 10_000)
    hub.put("owner/tiny", files)
    with pytest.raises(t2i.InputError, match="more than the 10,000 allowed"):
        fetch("owner/tiny")
    assert not hub.fetched()


def test_a_stranger_must_record_every_hash(hub, files):
    config = json.loads(files["config.json"])
    del config["sha256"]["generator"]
    hub.put("owner/tiny", files | {"config.json": json.dumps(config).encode()})
    with pytest.raises(t2i.InputError, match="records no SHA-256 of generator.safetensors"):
        fetch("owner/tiny")


def test_a_full_disk_is_told(hub, files, monkeypatch):
    def full(url, file, **_):
        file.write(b"half of it")
        raise OSError(errno.ENOSPC, "No space left on device")

    hub.put("owner/tiny", files)
    with monkeypatch.context() as patch:
        patch.setattr("huggingface_hub.file_download.http_get", full)
        with pytest.raises(t2i.InputError, match="owner/tiny: the disk is full"):
            fetch("owner/tiny")
    assert contents(fetch("owner/tiny"))["generator.safetensors"] == files["generator.safetensors"]


def test_the_command_line_draws_a_model_of_the_hub(hub, files, tmp_path):
    hub.put("owner/tiny", files)
    environment = os.environ | {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "home"), "HF_HUB_DISABLE_XET": "1"}
    command = ["-m", "t2i", "draw", "a red flower", "--out", str(tmp_path / "grid.png"), "--model", "owner/tiny"]
    subprocess.run([sys.executable, *command], cwd=ROOT, env=environment, check=True, capture_output=True)
    assert (tmp_path / "grid.png").is_file()


def test_the_command_line_tells_in_a_line_what_is_not_there(hub, capsys):
    assert main(["draw", "a red flower", "--model", "owner/none"]) == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith("t2i: owner/none: the Hub has no such repository")
