"""Checkpoints on disk: how networks are written and read. Safetensors and JSON, no pickles."""

import base64
import io
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load as tensors_from_bytes
from safetensors.torch import save as tensors_to_bytes
from torch import Tensor, nn

from .errors import InputError
from .models import NETWORKS, describe

FIELDS = (*NETWORKS, "attributes", "words", "caption_mean", "training", "sha256")  # of config.json
MAX_ATTRIBUTES = 8
MAX_WORDS_LENGTH = 200_000  # characters
MAX_NETWORK_SIZE = 4096  # of any number in a network's configuration: 64 times the paper's n
MAX_CONFIG_BYTES, MAX_WEIGHTS_BYTES = 2**20, 2**30
FLOAT_TYPES = (torch.float16, torch.bfloat16, torch.float32)
REMEDY = "restore it with git, download it again or train it again"


@dataclass(frozen=True)
class AttributeSlider:
    """An attribute slider: what it changes, and the labels of its two ends."""

    name: str
    low: str = "−"
    high: str = "+"


def vector_to_text(vector: Tensor) -> str:
    """A vector (E,) for `config.json`: its numbers in little-endian float16, as base64."""
    return base64.b64encode(vector.numpy().astype("<f2").tobytes()).decode()


def text_to_vector(text: str) -> Tensor:
    """The vector (E,), float32, of `vector_to_text`; `ValueError` if the text is something else."""
    numbers = np.frombuffer(base64.b64decode(text, validate=True), "<f2").astype(np.float32)
    if not np.isfinite(numbers).all():
        raise ValueError("a number is not finite")
    return torch.from_numpy(numbers)


def write(path: Path, save: Callable[[Path], object]) -> None:
    """Save under a temporary name, then rename: a stopped or failed write leaves the old file whole."""
    _write_all({path: save})


def write_tensors(path: Path, values: dict) -> None:
    """Save tensors and plain values, as `torch.save` does.

    If the disk is full, torch raises the same error as for its own faults, so Python writes the bytes.
    """
    buffer = io.BytesIO()
    torch.save(values, buffer)
    write(path, lambda p: p.write_bytes(buffer.getbuffer()))


def _write_all(saves: dict[Path, Callable[[Path], object]]) -> None:
    """`write` for files that belong together: none is renamed before all are written.

    If the process ends between two renames, the written files stay for `_finish_save`.
    """
    partials = {path: path.with_name(f".{path.name}.{os.getpid()}.part") for path in saves}
    is_complete = False
    try:
        for path, partial in partials.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            saves[path](partial)
        for path, partial in partials.items():
            if partial.exists() or not is_complete:  # a reader may have renamed it already
                os.replace(partial, path)
            is_complete = True
    except OSError as error:
        error.filename = error.filename or str(path)  # that of a full disk names no file
        raise
    finally:
        if not is_complete:
            for partial in partials.values():
                partial.unlink(missing_ok=True)


def _finish_save(folder: Path, config: dict) -> None:
    """Rename the networks of a save that ended after its `config.json` was renamed: they have the recorded hashes."""
    for written in folder.glob(".*.safetensors.*.part"):
        role = written.name.split(".")[1]
        if role not in NETWORKS or role not in config.get("sha256", {}):
            continue
        try:
            if has_recorded_hash(config, role, read_bytes(written)):
                os.replace(written, folder / f"{role}.safetensors")
        except (InputError, OSError):  # another process has renamed it, or the folder is read-only
            pass


def save(folder: str | Path, networks: dict[str, nn.Module], config: dict) -> None:
    """Write `<role>.safetensors`, half precision, for each network, and merge `config` into `config.json`.

    Each network's type and sizes and its file's SHA-256 are added to the configuration. If a weight is not finite, as
    after a training that diverged, nothing is written and `InputError` is raised.
    """
    folder = Path(folder)
    weights = {f"{role}.safetensors": tensors_to_bytes(_to_half(role, network)) for role, network in networks.items()}
    hashes = {role: sha256(weights[f"{role}.safetensors"]).hexdigest() for role in networks}
    config = _merge(folder, config | describe(networks) | {"sha256": config.get("sha256", {}) | hashes})
    # The configuration comes first: with its new hashes the save is decided, and a reader can finish it.
    files = {"config.json": (json.dumps(config, indent=2) + "\n").encode()} | weights
    # Python writes the bytes, because only its owner may read a file that safetensors itself writes.
    _write_all({folder / name: partial(Path.write_bytes, data=data) for name, data in files.items()})


def _to_half(role: str, network: nn.Module) -> dict[str, Tensor]:
    halved = {k: (v.half() if v.is_floating_point() else v).contiguous() for k, v in network.state_dict().items()}
    if bad := [k for k, v in halved.items() if not v.isfinite().all()]:
        raise InputError(f"the {role}'s {bad[0]} is no longer finite in half precision: the last save is kept")
    return halved


def _merge(folder: Path, config: dict) -> dict:
    """The folder's configuration with the new fields; `training` and `sha256` are merged one level deep."""
    old = read_config(folder) if (folder / "config.json").exists() else {}
    nested = {name: old.get(name, {}) | config.get(name, {}) for name in ("training", "sha256")}
    return {name: fields for name, fields in (old | config | nested).items() if fields or name not in nested}


def read_config(folder: str | Path) -> dict:
    """The folder's `config.json`: a key a network, `attributes`, `words`, `caption_mean`, `training`, and `sha256`.

    `InputError` names the file and what is wrong with it.
    """
    path = Path(folder) / "config.json"
    text = read_bytes(path, MAX_CONFIG_BYTES)
    try:
        config = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise file_error(path, "is not JSON" if isinstance(error, RecursionError) else error) from None
    if not isinstance(config, dict):
        raise file_error(path, "is not a JSON object")
    if unknown := [name for name in config if name not in FIELDS]:
        raise file_error(path, f"has the unknown field {unknown[0][:40]!r}; known: {', '.join(FIELDS)}")
    for name in ("training", "sha256"):
        if not isinstance(config.get(name, {}), dict):
            raise file_error(path, f"{name} must be an object")
    words = config.get("words", "")
    if not isinstance(words, str) or len(words) > MAX_WORDS_LENGTH:
        raise file_error(path, f"words must be text of at most {MAX_WORDS_LENGTH} characters")
    if not _are_attributes(config.get("attributes", [["name", "low", "high"]])):
        raise file_error(path, f"attributes must be 1 to {MAX_ATTRIBUTES} lists of a name, a low end and a high end")
    if not _is_vector(config.get("caption_mean", "")):
        raise file_error(path, f"caption_mean must be base64 of at most {MAX_NETWORK_SIZE} numbers in float16")
    _finish_save(path.parent, config)
    return config


def _is_vector(value: object) -> bool:
    try:
        return isinstance(value, str) and len(text_to_vector(value)) <= MAX_NETWORK_SIZE
    except ValueError:
        return False


def _are_attributes(value: object) -> bool:
    rows = value if isinstance(value, list) and 0 < len(value) <= MAX_ATTRIBUTES else [None]
    return all(isinstance(row, list) and len(row) == 3 and all(map(_is_label, row)) for row in rows)


def _is_label(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) < 40


def read_bytes(path: Path, max_bytes: int = MAX_WEIGHTS_BYTES) -> bytes:
    """A file's contents; `InputError` if it cannot be read or is larger than `max_bytes`."""
    try:
        if path.stat().st_size > max_bytes:
            raise file_error(path, f"is larger than {max_bytes:,} bytes, the most allowed")
        return path.read_bytes()
    except OSError as error:
        raise file_error(path, error) from None


def read_network(folder: Path, config: dict, role: str) -> nn.Module:
    """A network of this folder as its configuration describes it, float32, on the CPU, in evaluation mode.

    The file must have the SHA-256 that the configuration records, if it records one, and every tensor the name, shape
    and type that the network expects; all must be finite. Otherwise `InputError` names the file.
    """
    network, path = _build(folder, config, role), folder / f"{role}.safetensors"
    data = read_bytes(path)
    if not has_recorded_hash(config, role, data):
        raise file_error(path, "is not the file whose SHA-256 config.json records")
    try:
        tensors = tensors_from_bytes(data)
    except (SafetensorError, ValueError) as error:
        raise file_error(path, error) from None
    if mismatch := _mismatch(network.state_dict(), tensors):
        raise file_error(path, f"does not fit config.json: {mismatch}")
    tensors = {k: v.float() if v.is_floating_point() else v for k, v in tensors.items()}
    for key, tensor in tensors.items():
        if not tensor.sum().isfinite():  # ten times as fast as checking each number
            raise file_error(path, f"{key} holds numbers that are not finite")
    network.load_state_dict(tensors, assign=True)
    return network.eval()


def network_class_and_config(folder: Path, config: dict, role: str) -> tuple[type[nn.Module], Any]:
    """A network's class, and its own configuration, a frozen dataclass, from this folder's `config.json`."""
    path, fields = folder / "config.json", config.get(role)
    if not isinstance(fields, dict):
        raise file_error(path, f"does not describe {role}")
    types, name = NETWORKS[role], fields.get("type")
    if not isinstance(name, str) or name not in types:
        raise file_error(path, f"{role}.type must be {' or '.join(types)}, not {str(name)[:40]!r}")
    network_class, config_class = types[name]
    fields = {k: tuple(v) if isinstance(v, list) else v for k, v in fields.items() if k != "type"}
    for key, value in fields.items():
        if not all(map(_is_size, value if isinstance(value, tuple) else [value])):
            allowed = f"a whole number from 1 to {MAX_NETWORK_SIZE}"
            raise file_error(path, f"{role}.{key[:40]} must be {allowed}, not {str(value)[:40]}")
    try:
        return network_class, config_class(**fields)
    except (TypeError, ValueError) as error:
        raise file_error(path, f"{role}: {error}") from None


def _build(folder: Path, config: dict, role: str) -> nn.Module:
    """A network without weights."""
    network_class, network_config = network_class_and_config(folder, config, role)
    try:
        with torch.device("meta"):  # shapes alone: the weights are replaced at once
            return network_class(network_config)
    except (TypeError, ValueError, RuntimeError) as error:
        raise file_error(folder / "config.json", f"{role}: {error}") from None


def _is_size(value: object) -> bool:
    return type(value) is int and 0 < value <= MAX_NETWORK_SIZE


def has_recorded_hash(config: dict, role: str, data: bytes) -> bool:
    """Whether these bytes have the SHA-256 that a configuration records for a network, or it records none."""
    recorded = config.get("sha256", {}).get(role)
    return recorded is None or recorded == sha256(data).hexdigest()


def mismatched_files(folder: Path) -> list[Path]:
    """The networks' files that do not have the SHA-256 that `config.json` records; `InputError` if it records none."""
    config = read_config(folder)
    files = [path for path in sorted(folder.glob("*.safetensors")) if path.exists()]  # not a link to nothing
    if unrecorded := [path for path in files if path.stem not in config.get("sha256", {})]:
        raise file_error(folder / "config.json", f"records no SHA-256 of {unrecorded[0].name}")
    return [path for path in files if not has_recorded_hash(config, path.stem, read_bytes(path))]


def _mismatch(expected: dict[str, Tensor], tensors: dict[str, Tensor]) -> str | None:
    """The first way in which tensors differ from a network's own in name, shape or type."""
    if expected.keys() != tensors.keys():
        [name, *_] = expected.keys() ^ tensors.keys()
        return f"{name[:80]!r} is {'missing' if name in expected else 'too many'}"
    for name, tensor in tensors.items():
        if tensor.shape != expected[name].shape:
            return f"{name} has the shape {tuple(tensor.shape)}, not {tuple(expected[name].shape)}"
        allowed = FLOAT_TYPES if expected[name].is_floating_point() else (expected[name].dtype,)
        if tensor.dtype not in allowed:
            return f"{name} is of {str(tensor.dtype).removeprefix('torch.')}"
    return None


def file_error(path: Path, reason: object) -> InputError:
    """The error for a file that cannot be used: one line that says why, and what to do about it."""
    if isinstance(reason, OSError):
        reason = "is missing" if isinstance(reason, FileNotFoundError) else reason.strerror
    return InputError(f"{path}: {str(reason).partition(chr(10))[0]}; {REMEDY}")
