"""Checkpoints from the Hugging Face Hub. Nothing that is downloaded is run or unpickled."""

import errno
from contextlib import suppress
from http import HTTPStatus
from pathlib import Path

from huggingface_hub import HfApi, errors, hf_hub_download, snapshot_download
from huggingface_hub.hf_api import RepoFile, ResolvedRevision

from . import store
from .errors import InputError
from .models import NETWORKS

FILES = ("config.json", *(f"{role}.safetensors" for role in NETWORKS))  # nothing else is downloaded
MAX_CHECKPOINT_BYTES = 2**30


def fetch(hub_id: str, revision: str | None = None) -> Path:
    """Download the checkpoint in a repository at a revision (a branch, tag or commit); returns its cached folder.

    Files in the client's cache are not downloaded again, and a cached commit needs no network at all. Every file must
    have the SHA-256 that the repository's `config.json` records. One that differs or is missing is fetched once more:
    a cache may have been copied without its links. `InputError` says in one line why a checkpoint is not available.
    """
    try:
        commit = _commit(hub_id, revision)
        folder = _snapshot(hub_id, commit)
        _mend(hub_id, commit, folder)
    except InputError:
        raise
    except Exception as error:  # the Hub's client has no common base class for its errors
        raise InputError(f"{hub_id}: {describe_error(error)}") from None
    if mismatched := store.mismatched_files(folder):
        raise InputError(f"{hub_id}: {mismatched[0].name} is not the file whose SHA-256 its config.json records")
    return folder


def _commit(hub_id: str, revision: str | None) -> ResolvedRevision:
    """The commit of a revision now, or if the Hub does not answer, at the last download."""
    try:
        return HfApi().resolve_revision(hub_id, revision=revision)  # asks the cache itself when the Hub is down
    except errors.HfHubHTTPError as error:
        if error.response.status_code != HTTPStatus.TOO_MANY_REQUESTS:
            raise
        return HfApi().resolve_revision(hub_id, revision=revision, local_files_only=True)


def _snapshot(hub_id: str, commit: ResolvedRevision) -> Path:
    """The cached folder of a commit, after downloading what is missing."""
    try:
        return Path(snapshot_download(hub_id, revision=commit, allow_patterns=list(FILES), local_files_only=True))
    except errors.LocalEntryNotFoundError:
        files = HfApi().get_paths_info(hub_id, list(FILES), revision=commit.resolved)
        sizes = {file.path: file.size for file in files if isinstance(file, RepoFile)}
        if (total := sum(sizes.values())) > MAX_CHECKPOINT_BYTES:
            allowed = f"{MAX_CHECKPOINT_BYTES:,} allowed"
            raise InputError(f"{hub_id}: holds {total:,} bytes, more than the {allowed}") from None
        if "config.json" not in sizes:
            raise InputError(f"{hub_id}: is not a checkpoint of t2i: it has no config.json") from None
        return _download(hub_id, commit)


def _download(hub_id: str, commit: ResolvedRevision) -> Path:
    """Download all files of a commit. A second attempt is needed, because the client resumes only cut connections."""
    try:
        return Path(snapshot_download(hub_id, revision=commit, allow_patterns=list(FILES)))
    except OSError as error:  # the client's own errors are subclasses
        response = getattr(error, "response", None)
        if not _is_incomplete(error) and not (response is not None and response.is_server_error):
            raise
    return Path(snapshot_download(hub_id, revision=commit, allow_patterns=list(FILES)))


def _mend(hub_id: str, commit: ResolvedRevision, folder: Path) -> None:
    """Fetch the files of a cached commit that are missing or damaged."""
    broken = _broken_files(folder)
    if "config.json" in broken:  # it says which others there must be
        _fetch_again(hub_id, commit, folder / "config.json")
        broken = _broken_files(folder)
    for name in broken:
        with suppress(errors.EntryNotFoundError):  # a network may be described that is not in the repository
            _fetch_again(hub_id, commit, folder / name)


def _broken_files(folder: Path) -> list[str]:
    """The files of a checkpoint that are missing, or do not have the SHA-256 that `config.json` records."""
    try:
        config = store.read_config(folder)
    except InputError:
        return ["config.json"]
    described = [folder / f"{role}.safetensors" for role in NETWORKS if isinstance(config.get(role), dict)]
    missing = [path for path in described if not path.exists()]
    return [path.name for path in (*missing, *store.mismatched_files(folder))]


def _fetch_again(hub_id: str, commit: ResolvedRevision, path: Path) -> None:
    is_damaged = path.exists()
    if is_damaged and not path.is_symlink():  # the client would keep it
        path.unlink()
    hf_hub_download(hub_id, path.name, revision=commit, force_download=is_damaged)  # if missing, only linked again


def describe_error(error: Exception) -> str:
    """Why the Hub's client failed, in one line for the user."""
    causes: list[BaseException] = [error]
    while cause := causes[-1].__cause__ or causes[-1].__context__:
        causes.append(cause)
    for error_class, message in (
        (errors.GatedRepoError, "is gated: ask for access on its page, then log in with `hf auth login`"),
        (errors.RevisionNotFoundError, "the Hub has no such revision of it (any more)"),
        (errors.RepositoryNotFoundError, "the Hub has no such repository, or it is private and you are not logged in"),
        (errors.HFValidationError, "is not a Hub id: it must be owner/name"),
    ):
        if any(isinstance(cause, error_class) for cause in causes):
            return message
    for cause in causes:
        if isinstance(cause, errors.HfHubHTTPError):
            return _describe_status(cause.response.status_code)
        if isinstance(cause, OSError) and cause.errno == errno.ENOSPC:
            return "the disk is full"
        if _is_incomplete(cause):
            return "a file was incomplete; try again"
        if isinstance(cause, OSError) and cause.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR):
            return f"{cause.filename}: {str(cause.strerror).lower()}"
    return f"the Hub cannot be reached, and the model is not in the cache ({type(causes[-1]).__name__})"


def _is_incomplete(error: BaseException) -> bool:
    return isinstance(error, OSError) and str(error).startswith("Consistency check failed")


def _describe_status(status: int) -> str:
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return "the Hub got too many requests; try again later"
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return "the Hub refuses access; log in with `hf auth login`, with a token that has the permission"
    return f"the Hub answered with status {status}; try again later"
