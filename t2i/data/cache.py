"""A cache on disk for what takes long to compute: decoded photos, features and embeddings."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import nn

from ..errors import InputError
from ..store import write, write_tensors

T = TypeVar("T")


def digest(*parts: object) -> str:
    """SHA-256 of values: of a network's weights, and of the `repr` of anything else."""
    result = sha256()
    for part in parts:
        if isinstance(part, nn.Module):
            for weight in part.state_dict().values():
                result.update(weight.cpu().contiguous().numpy())
        else:
            result.update(repr(part).encode())
    return result.hexdigest()


def cache_dir() -> Path:
    """The folder of the cache: `$XDG_CACHE_HOME/t2i`, or `~/.cache/t2i`. It is safe to delete."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "t2i"


def cached(name: str, source: str, compute: Callable[[], T]) -> T:
    """The result of `compute()`, from the cache if it has one of this name and this digest of its source.

    A broken file is replaced.
    """
    file = cache_dir() / f"{name}-{source[:16]}.pt"
    try:
        entry = torch.load(file, weights_only=True)
        if entry["source"] == source:
            return entry["made"]
    except Exception:  # torch has no common base class for the errors of a broken file
        pass
    result = compute()
    with _explained_errors(file):
        write_tensors(file, {"source": source, "made": result})
    return result


def mapped_array(
    name: str, source: str, shape: tuple[int, ...], dtype: str, parts: Callable[[], Iterator[tuple[int, np.ndarray]]]
) -> np.ndarray:
    """An array that may be larger than memory: read-only, and read from the disk where it is used.

    The cache has it by this name and this digest of its source, in numpy's own format. If its file is missing or
    broken, `parts()` yields it as the first row and the values of some rows at a time, in any order.
    """
    file = cache_dir() / f"{name}-{source[:16]}.npy"

    def save(temporary: Path) -> None:
        # Not memory-mapped: on a full disk the kernel would end the process, instead of an error.
        with open(temporary, "wb") as opened:
            np.lib.format.write_array_header_1_0(opened, {"descr": dtype, "fortran_order": False, "shape": shape})
            start = opened.tell()
            for row, values in parts():
                opened.seek(start + row * values[0].nbytes)
                opened.write(values.tobytes())

    try:
        return np.load(file, mmap_mode="r")
    except (OSError, ValueError, EOFError):  # missing, or broken
        pass
    with _explained_errors(file):
        write(file, save)
    return np.load(file, mmap_mode="r")


@contextmanager
def _explained_errors(file: Path) -> Iterator[None]:
    """What fails when the cache's file is written, as on a full disk, becomes an `InputError` with the remedy."""
    try:
        yield
    except OSError as error:
        remedy = "free some space, or set XDG_CACHE_HOME to a folder that can be written"
        raise InputError(f"{file}: cannot be written ({error.strerror or error}): {remedy}") from None
