"""Checkpoints from the Hub, over real connections to a small local one, with the faults of real networks."""

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


@pytest.fixture
def files(tiny_model) -> dict[str, bytes]:
    """The files of a checkpoint, and others beside them that must not be downloaded."""
    extras = {"README.md": b"# tiny", "pytorch_model.bin": b"a pickle", "run.py": b"import os", "x.safetensors": b"?"}
    return contents(tiny_model) | extras


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_model_is_loaded_by_its_id_and_draws_as_the_local_one(hub, files, tiny_model):
    hub.put("owner/tiny", files)
    remote, local = t2i.load("owner/tiny"), t2i.load(tiny_model)
    assert np.array_equal(remote.draw_array("a red flower", [1, 2]), local.draw_array("a red flower", [1, 2]))
    assert remote.name == "tiny"


def test_only_the_configuration_and_known_networks_are_downloaded_and_each_once(hub, files):
    hub.put("owner/tiny", files)
    expected = {name: files[name] for name in FILES if name in files}
    assert contents(fetch("owner/tiny")) == expected
    assert hub.download_counts() == dict.fromkeys(expected, 1)
    hub.requests.clear()
    assert contents(fetch("owner/tiny")) == expected
    assert not hub.download_counts()


def test_a_revision_is_a_branch_or_a_commit(hub, files):
    first = hub.put("owner/tiny", files)
    changed = json.loads(files["config.json"]) | {"attributes": [["Size", "small", "large"]]}
    second = hub.put("owner/tiny", {"config.json": json.dumps(changed).encode()}, branch="next")
    hub.refs["models/owner/tiny"]["main"] = first
    for revision, commit in ((None, first), ("main", first), ("next", second), (first, first), (second, second)):
        assert fetch("owner/tiny", revision).name == commit
    assert Checkpoint("owner/tiny@next").attributes[0].name == "Size"
    assert hub.download_counts()["generator.safetensors"] == 1  # the same file in both


def test_after_the_first_download_no_network_is_needed(hub, files, monkeypatch):
    commit = hub.put("owner/tiny", files)
    expected = contents(fetch("owner/tiny"))
    hub.requests.clear()
    assert contents(fetch("owner/tiny", commit)) == expected and not hub.requests  # a commit does not change
    for status in (429, 500, 503):
        hub.faults["/api/"] = [status] * 9
        assert contents(fetch("owner/tiny")) == expected
    hub.faults.clear()
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")  # nobody listens
    assert contents(fetch("owner/tiny")) == expected
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert contents(fetch("owner/tiny")) == expected


@pytest.mark.parametrize(
    "name, words",
    [
        ("owner/none", "no such repository, or it is private"),
        ("owner/tiny@gone", "no such revision"),
        ("owner/tiny@" + "0" * 40, "no such revision"),
        ("owner/gated", "is gated: ask for access"),
        ("owner/other", "is not a checkpoint of t2i: it has no config.json"),
        ("owner/-", "is not a Hub id"),
    ],
)
def test_an_unavailable_model_is_an_input_error_of_one_line(hub, files, name, words):
    hub.put("owner/tiny", files)
    hub.put("owner/gated", files)
    hub.put("owner/other", {"model.safetensors": b"another"})
    hub.gated.add("models/owner/gated")
    with pytest.raises(t2i.InputError, match=words) as error:
        locate.resolve(name)
    assert "\n" not in str(error.value) and str(error.value).startswith(name.split("@")[0])


def test_without_a_network_the_error_says_so(hub, monkeypatch):
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(t2i.InputError, match="the Hub cannot be reached, and the model is not in the cache"):
        fetch("owner/tiny")


@pytest.mark.parametrize("status, words", [(429, "too many requests"), (500, "status 500"), (403, "refuses access")])
def test_an_error_status_of_the_hub_is_an_input_error(hub, files, status, words):
    hub.put("owner/tiny", files)
    hub.faults["/api/models"] = [status] * 9
    with pytest.raises(t2i.InputError, match=words):
        fetch("owner/tiny")


@pytest.mark.parametrize("fault", ["cut", "short", "wrong", 429, 500, 503])
def test_a_download_recovers_from_one_fault(hub, files, fault):
    hub.put("owner/tiny", files)
    hub.faults["/cdn/"] = [fault]
    assert contents(fetch("owner/tiny")) == {name: files[name] for name in FILES if name in files}


def test_a_cut_connection_is_resumed_where_it_broke(hub, files):
    hub.put("owner/tiny", files)
    hub.faults["generator.safetensors"] = ["cut"] * 3
    assert contents(fetch("owner/tiny"))["generator.safetensors"] == files["generator.safetensors"]
    assert hub.download_counts()["generator.safetensors"] == 4


@pytest.mark.parametrize(
    "fault, words",
    [("short", "was incomplete; try again"), ("wrong", "is not the file whose SHA-256"), (500, "status 500")],
)
def test_a_lasting_fault_is_an_input_error_and_leaves_nothing_broken_in_the_cache(hub, files, fault, words):
    hub.put("owner/tiny", files)
    hub.faults["generator.safetensors"] = [fault] * 99
    with pytest.raises(t2i.InputError, match=words):
        fetch("owner/tiny")
    hub.faults.clear()
    assert contents(fetch("owner/tiny")) == {name: files[name] for name in FILES if name in files}
    assert not list(Path(constants.HF_HUB_CACHE).rglob("*.incomplete"))


def test_a_file_damaged_in_the_cache_is_downloaded_again(hub, files):
    commit = hub.put("owner/tiny", files)
    damaged = fetch("owner/tiny", commit) / "generator.safetensors"
    damaged.resolve().write_bytes(damaged.read_bytes()[:-8])
    assert (fetch("owner/tiny", commit) / "generator.safetensors").read_bytes() == files["generator.safetensors"]


def drop(link: Path) -> None:
    link.unlink()


def write_as_text(link: Path) -> None:
    target = os.readlink(link)
    link.unlink()
    link.write_text(target)


def follow(link: Path) -> None:
    data = link.read_bytes()
    link.unlink()
    link.write_bytes(data)


def lose_target(link: Path) -> None:
    link.resolve().unlink()


@pytest.mark.parametrize("client", ["new", "old"])
@pytest.mark.parametrize("copy, downloads", [(drop, 0), (follow, 0), (write_as_text, 1), (lose_target, 1)])
def test_a_cache_that_was_copied_without_links_mends_itself(hub, files, monkeypatch, client, copy, downloads):
    commit = hub.put("owner/tiny", files)
    folder = fetch("owner/tiny")
    expected = contents(folder)
    if client == "old":  # which did not record what a commit consists of
        monkeypatch.setattr("huggingface_hub._snapshot_download.read_tree_cache", lambda *_: None)
    for link in [path for path in folder.iterdir() if path.is_symlink()]:
        copy(link)
    hub.requests.clear()
    for revision in (None, commit):
        assert contents(fetch("owner/tiny", revision)) == expected
    assert hub.download_counts() == (dict.fromkeys(expected, 1) if downloads else {})


@pytest.mark.parametrize("client", ["new", "old"])
def test_one_lost_link_is_restored(hub, files, monkeypatch, client):
    hub.put("owner/tiny", files)
    (fetch("owner/tiny") / "generator.safetensors").unlink()
    if client == "old":
        monkeypatch.setattr("huggingface_hub._snapshot_download.read_tree_cache", lambda *_: None)
    assert len(t2i.load("owner/tiny").draw("a red flower")) == 1


def test_a_network_that_is_described_and_not_in_the_repository_is_not_needed(hub, files, monkeypatch):
    del files["discriminator.safetensors"]
    hub.put("owner/tiny", files)
    assert len(t2i.load("owner/tiny").draw("a red flower")) == 1
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert len(t2i.load("owner/tiny").draw("a red flower")) == 1


def test_a_read_only_cache_is_an_input_error(hub, files, monkeypatch):
    def refuse(path, *_, **__):
        raise OSError(errno.EROFS, "Read-only file system", str(path))

    hub.put("owner/tiny", files)
    monkeypatch.setattr("huggingface_hub.file_download.os.makedirs", refuse)
    with pytest.raises(t2i.InputError, match="owner/tiny: .*: read-only file system$"):
        fetch("owner/tiny")


def test_a_new_revision_that_is_broken_leaves_the_old_one_whole(hub, files):
    old = hub.put("owner/tiny", files)
    cached = contents(fetch("owner/tiny"))
    hub.put("owner/tiny", {"generator.safetensors": files["generator.safetensors"][:-1]})
    with pytest.raises(t2i.InputError, match="generator.safetensors is not the file whose SHA-256"):
        fetch("owner/tiny")
    assert contents(fetch("owner/tiny", old)) == cached


def test_a_repository_that_moved_is_followed(hub, files):
    hub.put("owner/new", files)
    hub.moved["owner/old"] = "owner/new"
    assert "generator.safetensors" in contents(fetch("owner/old"))


def test_a_checkpoint_that_is_too_large_is_refused_before_the_download(hub, files, monkeypatch):
    monkeypatch.setattr(t2i.hub, "MAX_CHECKPOINT_BYTES", 10_000)
    hub.put("owner/tiny", files)
    with pytest.raises(t2i.InputError, match="more than the 10,000 allowed"):
        fetch("owner/tiny")
    assert not hub.download_counts()


def test_a_checkpoint_on_the_hub_must_record_every_hash(hub, files):
    config = json.loads(files["config.json"])
    del config["sha256"]["generator"]
    hub.put("owner/tiny", files | {"config.json": json.dumps(config).encode()})
    with pytest.raises(t2i.InputError, match="records no SHA-256 of generator.safetensors"):
        fetch("owner/tiny")


def test_a_full_disk_is_an_input_error(hub, files, monkeypatch):
    def fill_disk(url, file, **_):
        file.write(b"half of it")
        raise OSError(errno.ENOSPC, "No space left on device")

    hub.put("owner/tiny", files)
    with monkeypatch.context() as patch:
        patch.setattr("huggingface_hub.file_download.http_get", fill_disk)
        with pytest.raises(t2i.InputError, match="owner/tiny: the disk is full"):
            fetch("owner/tiny")
    assert contents(fetch("owner/tiny"))["generator.safetensors"] == files["generator.safetensors"]


def test_the_command_line_draws_a_model_of_the_hub(hub, files, tmp_path):
    hub.put("owner/tiny", files)
    environment = os.environ | {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "home"), "HF_HUB_DISABLE_XET": "1"}
    command = ["-m", "t2i", "draw", "a red flower", "--out", str(tmp_path / "grid.png"), "--model", "owner/tiny"]
    subprocess.run([sys.executable, *command], cwd=ROOT, env=environment, check=True, capture_output=True)
    assert (tmp_path / "grid.png").is_file()


def test_the_command_line_reports_an_unavailable_model_in_one_line(hub, capsys):
    assert main(["draw", "a red flower", "--model", "owner/none"]) == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith("t2i: owner/none: the Hub has no such repository")
