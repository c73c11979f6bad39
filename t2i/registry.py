"""The models of this project, as `weights/<name>/model.json` describes them."""

import json
import os
from dataclasses import dataclass, fields
from pathlib import Path

from .errors import InputError

# T2I_WEIGHTS names another folder of models, for instance on a disk that several copies of the app share.
WEIGHTS = Path(os.environ.get("T2I_WEIGHTS") or Path(__file__).parent.parent / "weights")
OBJECTIVES = ("gan", "gan-cls", "gan-int", "gan-int-cls")  # the paper's, sections 4.1 to 4.3


@dataclass(frozen=True)
class ModelSpec:
    """What the menus and the examples say about a model, and where the Hub has it."""

    name: str
    title: str
    hub_id: str | None = None  # None until it is published
    revision: str | None = None  # the commit on the Hub
    placeholder: str = "Describe a picture\u00a0…"
    examples: tuple[str, ...] = ()
    subject: str = ""  # what it draws, in a word
    gallery_captions: tuple[str, ...] = ()  # beside the examples, for the pictures that the Search tab draws
    failures: tuple[tuple[str, str], ...] = ()  # captions it fails on, and what seeds 1 to 4 then show
    paper: bool = False  # drawn by the paper's own networks, for comparison
    objective: str = ""  # of a model that the Compare tab shows: such models differ in the objective alone


def read_spec(folder: Path, **defaults: object) -> ModelSpec:
    """The description in a folder's `model.json`, with defaults for what it leaves out.

    `InputError` names the file and the field that is wrong.
    """
    path = folder / "model.json"
    try:
        described = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    except (ValueError, RecursionError, OSError):
        raise InputError(f"{path}: is not readable JSON") from None
    if not isinstance(described, dict):
        raise InputError(f"{path}: must be a JSON object")
    described.pop("order", None)
    allowed = {field.name: field.type for field in fields(ModelSpec)}
    for name, value in described.items():
        if name not in allowed:
            raise InputError(f"{path}: has the unknown field {name[:40]!r}; known: {', '.join(allowed)}, order")
        described[name] = _tuples(value)
    try:
        return ModelSpec(**{"name": folder.name, "title": folder.name} | defaults | described)
    except TypeError as error:
        raise InputError(f"{path}: {error}") from None


def _tuples(value: object) -> object:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def _read_models(weights: Path) -> dict[str, ModelSpec]:
    """The models of a folder, in the order that they give."""
    paths = sorted(weights.glob("*/model.json"), key=lambda path: (json.loads(path.read_text("utf-8"))["order"], path))
    return {path.parent.name: read_spec(path.parent) for path in paths}


MODELS = _read_models(WEIGHTS)
