"""The tab "Compare": one caption and one seed under the paper's four objectives, side by side."""

import json
from pathlib import Path

from ...errors import InputError
from ...locate import is_available
from ...metrics.table import METRICS, find_value
from ...registry import OBJECTIVES, ModelSpec
from ..component import event, panel
from ..schemas import SEED_MAX
from ..service import Desk, in_words

MOST = 1e9  # in size of a figure; no NaN, either
SEEDS = 5  # of each model: one large, the next ones small
FIGURES = tuple(metric for metric in METRICS if metric.compare_label)


def compare_tab(desk: Desk) -> None:
    """Build the tab inside the surrounding Blocks."""

    # A plain function, because Gradio marks what it may call with an attribute.
    def compare(request):
        return in_words(lambda: desk.compare(request))

    specs = [spec for spec in desk.models.values() if spec.objective]
    measured = told([_figures_of(desk, spec.name) for spec in specs])
    shown = {
        "compared": [_column(spec, rows) for spec, rows in zip(specs, measured, strict=True)],
        "meanings": [{"label": one.compare_label, "better": one.better, "meaning": one.meaning} for one in FIGURES],
    }
    panel("compare", [compare], desk, seeds=SEEDS, seedMax=SEED_MAX, **shown)

    def compare_event(caption: str, seeds: list[int] | None = None, models: list[str] | None = None) -> dict:
        """Draw a caption with several models, each from the same seeds.

        Args:
            caption: what to draw, in English; 201 characters are read.
            seeds: up to 16 whole numbers from 0 to 999999, else 1 to 16.
            models: up to 4 names of models, else those of the paper's four objectives.

        Returns:
            compared: for each model what draw answers: pictures, size, ms, model and parameters
            seeds: of the pictures
            note: what was left out of the caption
            hint: that the caption is far from what all of them learnt
            error: what was wrong, in words, instead of all else
        """
        request = {"caption": caption, "seeds": seeds, "models": models}
        return in_words(lambda: desk.compare(request, kind="PNG"))

    event(compare_event, "compare")


def _column(spec: ModelSpec, rows: list[dict]) -> dict:
    """What the page knows of a model before it draws: whether it is here, and what was measured."""
    here = is_available(spec.name)
    objective = OBJECTIVES[spec.objective]
    words = {"objective": objective.name, "formula": objective.formula, "description": objective.description}
    return {"name": spec.name, **words, "here": here, "figures": rows}


def _figures_of(desk: Desk, model: str) -> dict[str, float]:
    try:
        return figures(desk.checkpoint(model).folder)
    except InputError:
        return {}


def figures(folder: Path) -> dict[str, float]:
    """The figures of a model, by label; those alone that lie beside its weights."""
    try:
        measured = json.loads((folder / "evaluation.json").read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    found = {one.compare_label: _at(measured, one.path) for one in FIGURES}
    return {label: value for label, value in found.items() if value is not None}


def told(measured: list[dict[str, float]]) -> list[list[dict]]:
    """The figures of models in words, and which are the best of their row: those that read as the best one does."""
    rows = [[] for _ in measured]
    for one in FIGURES:
        values = [model[one.compare_label] for model in measured if one.compare_label in model]
        differ = len({one.compare_format(value) for value in values}) > 1
        choose = {"lower": min, "higher": max}.get(one.better)
        best = one.compare_format(choose(values)) if choose and differ else None
        for row, model in zip(rows, measured, strict=True):
            if one.compare_label in model:
                text = one.compare_format(model[one.compare_label])
                row.append({"label": one.compare_label, "text": text, "best": text == best})
    return rows


def _at(measured: object, path: str) -> float | None:
    """The number at a path of evaluation.json; None if there is none, as in anybody's folder."""
    try:
        value = find_value(measured, path)
    except TypeError:
        return None
    return value if value is not None and abs(value) < MOST else None
