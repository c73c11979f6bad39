"""What takes long to make and can be made again, on the disk: decoded photos, features and embeddings."""

import os
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import torch
from torch import Tensor, nn

from ..store import write_tensors


def digest(*parts: object) -> str:
    """SHA-256 of what these hold: networks by their weights, anything else as Python writes it."""
    found = sha256()
    for part in parts:
        if isinstance(part, nn.Module):
            for weight in part.state_dict().values():
                found.update(weight.cpu().contiguous().numpy())
        else:
            found.update(repr(part).encode())
    return found.hexdigest()


def cache() -> Path:
    """The folder of what takes long to make and can be made again: `$XDG_CACHE_HOME/t2i`, or `~/.cache/t2i`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "t2i"


def kept(name: str, source: str, make: Callable[[], Tensor]) -> Tensor:
    """`make()`, kept in the cache by this name and the digest of its source; made anew if what is there is broken."""
    file = cache() / f"{name}-{source[:16]}.pt"
    try:
        found = torch.load(file, weights_only=True)
        if found["source"] == source:
            return found["made"]
    except Exception:  # torch names no common base for what a broken file raises
        pass
    made = make()
    write_tensors(file, {"source": source, "made": made})
    return made
