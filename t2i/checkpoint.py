"""Checkpoints: where weights live, and how networks are written and read. Safetensors and JSON, no pickles."""

import json
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as to_bytes
from torch import nn

from .errors import InputError
from .models import (
    Discriminator,
    DiscriminatorConfig,
    Generator,
    GeneratorConfig,
    ImageEncoder,
    ImageEncoderConfig,
    StyleEncoder,
    StyleEncoderConfig,
    TextEncoder,
    TextEncoderConfig,
)


@dataclass(frozen=True)
class ModelSpec:
    """What a menu says of a model, and where the Hub has it."""

    name: str
    title: str
    hub_id: str | None = None  # None until it is published
    revision: str | None = None  # the commit on the Hub
    placeholder: str = "one sentence that says what to draw"
    examples: tuple[str, ...] = ()
    knows: str = ""  # what it draws, in a word
    more: tuple[str, ...] = ()  # captions beside the examples, for an index of pictures to search


MODELS = {
    spec.name: spec
    for spec in (
        ModelSpec(
            name="flowers",
            title="Flowers",
            knows="flowers",
            placeholder="this flower has pink petals and a yellow center",
            examples=(
                "this flower has pink petals and a yellow center",
                "a flower with long white petals that droop around a brown center",
                "this flower is purple, with thin pointed petals",
                "a bright orange flower with many layers of petals",
                "the petals are deep red with yellow tips",
                "a small blue flower with five round petals among green leaves",
            ),
            more=(
                "a white flower with a large yellow center",
                "a yellow flower with many thin petals around a dark center",
                "the flower is light pink with soft ruffled petals",
                "this flower has purple petals with dark veins",
                "an orange flower with black spots and curled petals",
                "a red flower with long stamens in the middle",
                "a round purple flower made of many spiky petals",
                "the petals are white at the edge and pink in the middle",
                "tiny yellow flowers in clusters on a green stem",
                "a blue flower with pointed petals that open like a star",
                "this flower is yellow and shaped like a trumpet",
                "a flower with broad white petals and a pale green center",
                "a dark red flower with smooth velvet petals",
                "pale lilac petals, thin and straight, around a yellow disc",
            ),
        ),
    )
}


@dataclass(frozen=True)
class Style:
    """A style slider: what it changes, and the words at its two ends."""

    name: str
    low: str = "−"
    high: str = "+"


UNNAMED = tuple(Style(f"Style {i}") for i in range(1, 5))  # directions that nobody chose

NETWORKS = {  # file and key of config.json: network, its configuration
    "text_encoder": (TextEncoder, TextEncoderConfig),
    "generator": (Generator, GeneratorConfig),
    "discriminator": (Discriminator, DiscriminatorConfig),
    "style_encoder": (StyleEncoder, StyleEncoderConfig),
    "image_encoder": (ImageEncoder, ImageEncoderConfig),
}

WEIGHTS = Path(__file__).parent.parent / "weights"
HUB_ID = re.compile(r"([\w.-]+/[\w.-]+)(?:@([\w./-]+))?")
MOST_STYLES = 8
MOST_WORDS = 200_000  # characters
MEND = "restore it with git, download it again or train it again"


def resolve(name: str | Path) -> Path:
    """The folder of a model: a registered name, a local folder, or a Hub id `owner/repo`, `owner/repo@revision`.

    A registered name is looked for in the environment (`T2I_FLOWERS`, a folder), then in `weights/` beside the
    package, then on the Hub at its pinned revision. `InputError` if there is no such model or it cannot be had.
    """
    name = str(name)
    if spec := MODELS.get(name):
        variable = f"T2I_{name.upper()}"
        if folder := os.environ.get(variable):
            if not os.path.isdir(folder):
                raise InputError(f"{variable}: {folder} is not a folder")
            return Path(folder)
        if (WEIGHTS / name).is_dir():
            return WEIGHTS / name
        if spec.hub_id is None:
            raise InputError(f"{WEIGHTS / name}: is missing; {MEND}")
        return _download(spec.hub_id, spec.revision)
    if os.path.isdir(name):
        return Path(name)
    if match := HUB_ID.fullmatch(name):
        return _download(*match.groups())
    raise InputError(f"unknown model {name!r}; known: {', '.join(MODELS)}, a folder, or a Hub id owner/repo[@revision]")


def _download(hub_id: str, revision: str | None) -> Path:
    from huggingface_hub import snapshot_download  # slow to import, and most models are local

    try:
        return Path(snapshot_download(hub_id, revision=revision, allow_patterns=["config.json", "*.safetensors"]))
    except Exception as error:  # the Hub's client has no common base for what it raises
        reason = str(error).partition("\n")[0]
        raise InputError(f"{hub_id}: no such folder, and the Hub does not give it ({reason})") from None


def write(path: Path, save: Callable[[Path], None]) -> None:
    """Save under a temporary name, then rename: a stopped or failed write leaves the old file whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.part")
    try:
        save(partial)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def save(folder: str | Path, networks: dict[str, nn.Module], config: dict) -> None:
    """Write `<name>.safetensors`, half precision, for each network, and merge `config` into `config.json`."""
    folder = Path(folder)
    path = folder / "config.json"
    merged = read_config(folder) if path.exists() else {}
    training = merged.get("training", {}) | config.get("training", {})
    merged |= config | ({"training": training} if training else {})
    for name, network in networks.items():
        tensors = {k: (v.half() if v.is_floating_point() else v).contiguous() for k, v in network.state_dict().items()}
        data = to_bytes(tensors)  # safetensors' own file would be readable by its owner alone
        write(folder / f"{name}.safetensors", lambda p: p.write_bytes(data))
    write(path, lambda p: p.write_text(json.dumps(merged, indent=2) + "\n", "utf-8"))


def read_config(folder: str | Path) -> dict:
    """The folder's `config.json`: a key a network, and `training`."""
    path = Path(folder) / "config.json"
    try:
        config = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise _broken(path, error) from None
    if not isinstance(config, dict):
        raise _broken(path, "is not a JSON object")
    return config


def read_styles(folder: str | Path) -> tuple[Style, ...] | None:
    """What the first coordinates of z steer, as `train gan --styles` taught them; None where nothing was taught."""
    described = read_config(folder).get("styles")
    if described is None:
        return None
    rows = described if isinstance(described, list) and 0 < len(described) <= MOST_STYLES else [None]
    if not all(isinstance(row, list) and len(row) == 3 and all(map(_is_word, row)) for row in rows):
        told = f"styles must be 1 to {MOST_STYLES} lists of a name, a low end and a high end"
        raise _broken(Path(folder) / "config.json", told)
    return tuple(Style(*row) for row in rows)


def read_words(folder: str | Path) -> frozenset[str]:
    """The words that the text encoder met often in its training; none where they were not recorded."""
    folder = home(folder, "text_encoder")
    described = read_config(folder).get("words", "")
    if not isinstance(described, str) or len(described) > MOST_WORDS:
        raise _broken(folder / "config.json", f"words must be text of at most {MOST_WORDS} characters")
    return frozenset(described.split())


def _is_word(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) < 40


def read(folder: str | Path, *names: str) -> dict[str, nn.Module]:
    """These networks of a checkpoint, float32, on the CPU, in evaluation mode.

    `InputError` names the file that is missing, damaged or does not fit the others.
    """
    return {name: _read_network(home(folder, name), name) for name in names}


def home(folder: str | Path, name: str) -> Path:
    """The folder that holds a network of this checkpoint: its own, or that of the model it shares a text encoder with.

    Sharing is a registered model's name in place of the configuration; a path or a Hub id there is refused, for a
    checkpoint may come from a stranger.
    """
    described = read_config(folder).get(name)
    if not isinstance(described, str):
        return Path(folder)
    if name != "text_encoder" or described not in MODELS:
        told = f"{name} must be described, or for the text encoder be one of {', '.join(MODELS)}; not {described!r}"
        raise _broken(Path(folder) / "config.json", told)
    return resolve(described)


def _read_network(folder: Path, name: str) -> nn.Module:
    network_class, config_class = NETWORKS[name]
    fields = read_config(folder).get(name)
    described, path = folder / "config.json", folder / f"{name}.safetensors"
    if not isinstance(fields, dict):
        raise _broken(described, f"does not describe {name}")
    fields = {k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()}
    for key, value in fields.items():
        if not all(type(size) is int and size > 0 for size in (value if isinstance(value, tuple) else [value])):
            raise _broken(described, f"{name}.{key} must be a whole number from 1, not {value!r}")
    try:
        with torch.device("meta"):  # shapes alone: no time spent on weights that are replaced at once
            network = network_class(config_class(**fields))
    except (TypeError, ValueError, RuntimeError) as error:
        raise _broken(described, f"{name}: {error}") from None
    return load_tensors(network, path)


def load_tensors(network: nn.Module, path: Path) -> nn.Module:
    """Give a network the tensors of a file, float32, in evaluation mode; `InputError` if they are not its own."""
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise _broken(path, error) from None
    tensors = {k: v.float() if v.is_floating_point() else v for k, v in tensors.items()}
    try:
        network.load_state_dict(tensors, assign=True)
    except RuntimeError:
        raise _broken(path, "its tensors are not those that config.json describes") from None
    return network.eval()


def _broken(path: Path, reason: object) -> InputError:
    told = "is missing" if isinstance(reason, FileNotFoundError) else str(reason).partition("\n")[0]
    return InputError(f"{path}: {told}; {MEND}")
