"""The models of this project, as `weights/<name>/model.json` describes them."""

import json
import math
import os
from collections import UserDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path

from .errors import InputError

# T2I_WEIGHTS names another folder of models, for instance on a disk that several copies of the app share.
WEIGHTS = Path(os.environ.get("T2I_WEIGHTS") or Path(__file__).parent.parent / "weights")


@dataclass(frozen=True)
class Objective:
    """One of the paper's training objectives (sections 4.1 to 4.3), for the trainers and the Compare tab.

    In `formula`, s is the probability by D that picture and caption are real and match: s_r of a photo and its
    caption, s_w of a photo and a wrong caption, s_f of a fake and its caption, s_i of a fake of an interpolated
    caption, and s_f,i of both kinds of fakes. Each network maximises its own line.
    """

    name: str
    mismatching: bool  # CLS: D also learns that photos do not match other captions
    interpolated: bool  # INT: G is also trained on interpolated captions
    formula: str
    description: str  # how it differs from the others, in the words of the Compare tab


OBJECTIVES: dict[str, Objective] = {
    objective.name: objective
    for objective in (
        Objective(
            "gan",
            mismatching=False,
            interpolated=False,
            formula="D: log s_r + log(1 − s_f)\nG: log s_f",
            description="Learns only to look like photos; what the words mean it must find out by itself.",
        ),
        Objective(
            "gan-cls",
            mismatching=True,
            interpolated=False,
            formula="D: log s_r + ½ (log(1 − s_w) + log(1 − s_f))\nG: log s_f",
            description="Its critic also sees photos with the wrong words, and so learns what words mean.",
        ),
        Objective(
            "gan-int",
            mismatching=False,
            interpolated=True,
            formula="D: log s_r + log(1 − s_f,i)\nG: log s_f + log s_i",
            description="Also practises on what lies between two sentences, so that one picture flows into another.",
        ),
        Objective(
            "gan-int-cls",
            mismatching=True,
            interpolated=True,
            formula="D: log s_r + ½ (log(1 − s_w) + log(1 − s_f,i))\nG: log s_f + log s_i",
            description="Both: wrong words for the critic, sentences in between for the artist.",
        ),
    )
}


@dataclass(frozen=True)
class ModelSpec:
    """What the page says about a model, and where it is on the Hub."""

    name: str
    title: str
    hub_id: str | None = None  # owner/repo; None until it is published
    revision: str | None = None  # the commit on the Hub
    placeholder: str = "Describe a picture\u00a0…"
    examples: tuple[str, ...] = ()
    short_examples: tuple[str, ...] = ()  # what their buttons say, in the same order; else the start of each
    subject: str = ""  # what it draws, in a word or two
    gallery_captions: tuple[str, ...] = ()  # with the examples, the captions of the Search tab's own pictures
    failures: tuple[tuple[str, str], ...] = ()  # captions it fails on, and what seeds 1 to 4 show instead
    paper: bool = False  # whether it is of the paper's own networks, kept for comparison
    objective: str = ""  # for the Compare tab: one of four models that differ only in it

    @property
    def group(self) -> str:
        """Its group in a menu; empty for the main models, which come first."""
        return "The paper's networks" if self.paper else "For comparison" if self.objective else ""


# By the type of a field, what `model.json` must hold for it.
_ALLOWED_VALUES: dict[object, tuple[str, Callable[[object], bool]]] = {
    str: ("text", lambda value: isinstance(value, str)),
    str | None: ("text or null", lambda value: value is None or isinstance(value, str)),
    bool: ("true or false", lambda value: isinstance(value, bool)),
    tuple[str, ...]: ("a list of texts", lambda value: _is_text_list(value)),
    tuple[tuple[str, str], ...]: (
        "a list of pairs of texts",
        lambda value: isinstance(value, list) and all(_is_text_list(pair) and len(pair) == 2 for pair in value),
    ),
}


def read_spec(folder: Path, **defaults: object) -> ModelSpec:
    """The description in a folder's `model.json`, with defaults for what it leaves out; its name is the folder's.

    `InputError` names the file and the field that is wrong.
    """
    path = folder / "model.json"
    fields_in_file = _read_object(path) if path.is_file() else {}
    fields_in_file.pop("order", None)
    types = {field.name: field.type for field in fields(ModelSpec) if field.name != "name"}
    for name, value in fields_in_file.items():
        if name not in types:
            raise InputError(f"{path}: has the unknown field {name[:40]!r}; known: {', '.join(types)}, order")
        description, is_allowed = _ALLOWED_VALUES[types[name]]
        if not is_allowed(value):
            raise InputError(f"{path}: {name} must be {description}")
        fields_in_file[name] = _as_tuples(value)
    spec = ModelSpec(**{"name": folder.name, "title": folder.name} | defaults | fields_in_file)
    if spec.objective:
        check_objective(spec.objective, f"{path}: ")
    return spec


def check_objective(name: str, place: str = "") -> None:
    """`InputError`, which begins with `place`, if there is no objective of this name."""
    if name not in OBJECTIVES:
        raise InputError(f"{place}unknown objective {name!r}; allowed: {', '.join(OBJECTIVES)}")


def comparisons(models: Mapping[str, ModelSpec]) -> dict[str, list[ModelSpec]]:
    """The models that differ only in their objective, by their networks: "projected", then the "paper"'s own."""
    compared = [spec for spec in models.values() if spec.objective]
    groups = {"projected": [s for s in compared if not s.paper], "paper": [s for s in compared if s.paper]}
    return {name: specs for name, specs in groups.items() if specs}


def _is_text_list(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _as_tuples(value: object) -> object:
    return tuple(map(_as_tuples, value)) if isinstance(value, list) else value


def _read_object(path: Path) -> dict:
    try:
        value = json.loads(path.read_text("utf-8"))
    except (ValueError, RecursionError, OSError):
        raise InputError(f"{path}: is not readable JSON") from None
    if not isinstance(value, dict):
        raise InputError(f"{path}: must be a JSON object")
    return value


def read_models(weights: Path) -> dict[str, ModelSpec]:
    """The models of a folder by name, sorted by the `order` in their `model.json`; those without one come last."""
    orders: dict[Path, float] = {}
    for path in sorted(weights.glob("*/model.json")):
        order = _read_object(path).get("order", math.inf)
        if order != math.inf and type(order) is not int:
            raise InputError(f"{path}: order must be a whole number, the model's place in the menu")
        orders[path.parent] = order
    return {folder.name: read_spec(folder) for folder in sorted(orders, key=orders.__getitem__)}


class _Models(UserDict[str, ModelSpec]):
    """The models of `WEIGHTS` by name. Read at their first use, so that a malformed file does not break the import."""

    def __init__(self) -> None:
        pass  # UserDict's own would set `data`

    @cached_property
    def data(self) -> dict[str, ModelSpec]:  # type: ignore[override]  # UserDict has an attribute
        return read_models(WEIGHTS)


MODELS = _Models()
