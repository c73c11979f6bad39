"""The Hugging Face Hub: checkpoints fetched from it, which never runs or unpickles anything that it sends."""

import errno
from pathlib import Path

from huggingface_hub import HfApi, errors, hf_hub_download, snapshot_download

from . import store
from .errors import InputError
from .models import NETWORKS

FILES = ("config.json", *(f"{name}.safetensors" for name in NETWORKS))  # all that is ever fetched
LARGEST = 2**30  # bytes of a checkpoint


def fetch(hub_id: str, revision: str | None = None) -> Path:
    """The folder, in the client's cache, of the checkpoint in a repository at a revision: a branch, tag or commit.

    What is in the cache already is not fetched again, and a commit that is there needs no network at all. Every file
    is held to the SHA-256 that the repository's `config.json` records; one that differs is fetched once more.
    `InputError` says in a line why a checkpoint cannot be had.
    """
    try:
        commit = _commit(hub_id, revision)
        folder = _snapshot(hub_id, commit)
        for name in _unrecorded(folder):
            hf_hub_download(hub_id, f"{name}.safetensors", revision=commit, force_download=True)
    except InputError:
        raise
    except Exception as error:  # the Hub's client has no common base for what it raises
        raise InputError(f"{hub_id}: {in_words(error)}") from None
    if broken := _unrecorded(folder):
        raise InputError(f"{hub_id}: {broken[0]}.safetensors is not the file whose SHA-256 its config.json records")
    return folder


def _commit(hub_id: str, revision: str | None) -> str:
    """The commit that a revision is now, or was when the Hub last told."""
    try:
        return HfApi().resolve_revision(hub_id, revision=revision)  # asks the cache itself when the Hub is down
    except errors.HfHubHTTPError as error:
        if error.response.status_code != 429:
            raise
        return HfApi().resolve_revision(hub_id, revision=revision, local_files_only=True)


def _snapshot(hub_id: str, commit: str) -> Path:
    """The cached files of a commit, after fetching what is not there."""
    try:
        return Path(snapshot_download(hub_id, revision=commit, allow_patterns=list(FILES), local_files_only=True))
    except errors.LocalEntryNotFoundError:
        listed = HfApi().get_paths_info(hub_id, list(FILES), revision=commit.resolved)
        sizes = {file.path: file.size for file in listed}
        if (total := sum(sizes.values())) > LARGEST:
            raise InputError(f"{hub_id}: holds {total:,} bytes, more than the {LARGEST:,} allowed") from None
        if "config.json" not in sizes:
            raise InputError(f"{hub_id}: is no checkpoint of t2i: it has no config.json") from None
        return _download(hub_id, commit)


def _download(hub_id: str, commit: str) -> Path:
    """All the files of a commit; twice tried, for the client itself resumes cut connections alone."""
    for last in (False, True):
        try:
            return Path(snapshot_download(hub_id, revision=commit, allow_patterns=list(FILES)))
        except OSError as error:  # the client's own errors are of this kind too
            if last or not (_is_short(error) or getattr(error, "response", None) and error.response.is_server_error):
                raise


def _unrecorded(folder: Path) -> list[str]:
    """The networks here whose files are not those that `config.json` records; from a stranger, none may be left out."""
    config = store.read_config(folder)
    found = [name for name in NETWORKS if (folder / f"{name}.safetensors").exists()]
    if left_out := [name for name in found if name not in config.get("sha256", {})]:
        raise InputError(f"{folder / 'config.json'}: records no SHA-256 of {left_out[0]}.safetensors")
    return [n for n in found if not store.has_recorded_hash(config, n, (folder / f"{n}.safetensors").read_bytes())]


def in_words(error: Exception) -> str:
    """Why the Hub's client failed, in a line for a person."""
    causes = [error]
    while cause := causes[-1].__cause__ or causes[-1].__context__:
        causes.append(cause)
    for kind, told in (
        (errors.GatedRepoError, "is gated: ask for access on its page, then log in with `hf auth login`"),
        (errors.RevisionNotFoundError, "the Hub has no such revision of it (any more)"),
        (errors.RepositoryNotFoundError, "the Hub has no such repository, or it is private and you are not logged in"),
        (errors.HFValidationError, "is no id of the Hub: it must read owner/name"),
    ):
        if any(isinstance(cause, kind) for cause in causes):
            return told
    for cause in causes:
        if isinstance(cause, errors.HfHubHTTPError):
            return _answered(cause.response.status_code)
        if isinstance(cause, OSError) and cause.errno == errno.ENOSPC:
            return "the disk is full"
        if _is_short(cause):
            return "a file came incomplete; try again"
        if isinstance(cause, (PermissionError, NotADirectoryError)):
            return f"{cause.filename}: {cause.strerror.lower()}"
    return f"the Hub cannot be reached, and the cache does not have it ({type(causes[-1]).__name__})"


def _is_short(error: BaseException) -> bool:
    return isinstance(error, OSError) and str(error).startswith("Consistency check failed")


def _answered(status: int) -> str:
    if status == 429:
        return "the Hub had too many requests; try again later"
    if status in (401, 403):
        return "the Hub does not let you; log in with `hf auth login`, with a token that may"
    return f"the Hub answered with status {status}; try again later"
