"""The tab "Compare": one caption and one seed under the paper's four objectives and by the page's own model.

The four models of the objectives may be there twice: by the networks of the page's own model, and by the paper's.
"""

import json
from pathlib import Path
from typing import Any

from ...errors import InputError
from ...metrics.table import METRICS, find_value
from ...registry import OBJECTIVES, ModelSpec, comparisons
from ..component import add_api_event, add_panel
from ..schemas import MAX_SEED
from ..service import Service, errors_as_json

MAX_FIGURE = 1e9  # in absolute value: anything may stand in a stranger's file, NaN too
SEEDS_PER_MODEL = 5  # the first is shown large, the others small
GROUP_TITLES = {"projected": "This page’s networks", "paper": "The paper’s networks"}
FLAGSHIP = {
    "projected": "The model of the other tabs: it learned both for longer, and has sliders with names.",
    "paper": "The best model here: it gets the words at every step, and its critic had already seen a million photos.",
}
HINGE_LOSSES = "These networks have hinge losses instead of logarithms, and D also scores pictures without captions."
COMPARED_METRICS = tuple(metric for metric in METRICS if metric.compare_label)


def compare_tab(service: Service) -> None:
    """Build the tab inside the surrounding Blocks."""
    groups = [_group(service, name, specs) for name, specs in _compared(service).items()]
    metrics = [{"label": m.compare_label, "better": m.better, "meaning": m.meaning} for m in COMPARED_METRICS]
    limits = {"seedsPerModel": SEEDS_PER_MODEL, "maxSeed": MAX_SEED}
    add_panel("compare", [service.compare], **limits, groups=groups, metrics=metrics)

    def compare_event(caption: str, seeds: list[int] | None = None, models: list[str] | None = None) -> dict:
        """Draw a caption with several models, each with the same seeds.

        Args:
            caption: what to draw, in English; 201 characters are read.
            seeds: up to 16 whole numbers from 0 to 999999, by default 1 to 16.
            models: up to 5 names of models, by default those of the paper's four objectives.

        Returns:
            compared: for each model what draw returns: pictures, size, ms, model and parameters
            seeds: the seeds of the pictures
            note: says if the caption was cut
            hint: says if no model knows words of the caption
            elsewhere: with a hint, the name of a model that knows the words; empty if there is none
            error: what was wrong, in words, instead of everything else
        """
        request = {"caption": caption, "seeds": seeds, "models": models}
        return errors_as_json(lambda: service.compare(request, kind="PNG"))

    add_api_event(compare_event, "compare")


def _compared(service: Service) -> dict[str, list[ModelSpec]]:
    """The models of the objectives by their networks, each time with the page's first model if that draws the same."""
    flagship = service.models[service.default]
    return {
        name: specs + [flagship] * (flagship.subject == specs[0].subject and not flagship.group)
        for name, specs in comparisons(service.models).items()
    }


def _group(service: Service, name: str, specs: list[ModelSpec]) -> dict[str, Any]:
    rows = figure_rows([_figures_of(service, spec.name) for spec in specs])
    columns = [_column(service, spec, figures, FLAGSHIP[name]) for spec, figures in zip(specs, rows, strict=True)]
    return {"name": name, "title": GROUP_TITLES[name], "columns": columns}


def _column(service: Service, spec: ModelSpec, figures: list[dict[str, Any]], flagship: str) -> dict[str, Any]:
    """What the page shows of a model before it draws."""
    objective = OBJECTIVES.get(spec.objective)
    title = objective.name.upper() if objective else spec.title
    words = {"title": title, "description": objective.description if objective else flagship}
    formula = "" if not objective else objective.formula if spec.paper else f"{objective.formula}\n{HINGE_LOSSES}"
    shown = {"formula": formula, "isAvailable": service.is_available(spec.name), "figures": figures}
    return {"name": spec.name, **words, **shown}


def _figures_of(service: Service, model: str) -> dict[str, float]:
    try:
        return read_figures(service.documents(model))
    except InputError:
        return {}


def read_figures(folder: Path) -> dict[str, float]:
    """The measured figures of a model by their label; empty if `evaluation.json` is not beside its weights."""
    try:
        measured = json.loads((folder / "evaluation.json").read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    figures = {metric.compare_label: _find_figure(measured, metric.path) for metric in COMPARED_METRICS}
    return {label: value for label, value in figures.items() if value is not None}


def figure_rows(measured: list[dict[str, float]]) -> list[list[dict[str, Any]]]:
    """For each model its figures as text, and whether each is the best; equal texts are equally good."""
    rows: list[list[dict[str, Any]]] = [[] for _ in measured]
    for metric in COMPARED_METRICS:
        label = metric.compare_label
        values = [figures[label] for figures in measured if label in figures]
        differ = len({metric.compare_format(value) for value in values}) > 1
        choose = {"lower": min, "higher": max}.get(metric.better)
        best = metric.compare_format(choose(values)) if choose and differ else None
        for row, figures in zip(rows, measured, strict=True):
            if label in figures:
                text = metric.compare_format(figures[label])
                row.append({"label": label, "text": text, "best": text == best})
    return rows


def _find_figure(measured: object, path: str) -> float | None:
    """The number at a path of evaluation.json; None if there is none or it is out of range."""
    try:
        value = find_value(measured, path)
    except TypeError:
        return None
    return value if value is not None and abs(value) < MAX_FIGURE else None
