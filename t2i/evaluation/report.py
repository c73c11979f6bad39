"""Results of `evaluate` as text: lines for one model, and tables of all measured models in docs/ and the cards."""

import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple

from .. import registry, store
from ..errors import InputError
from ..metrics.table import METRICS, Metric, find_value
from . import study

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "evaluation.md"
STUDY = "objectives.md"
START, END = "<!-- figures -->", "<!-- /figures -->"
NOT_MEASURED = "–"
REMEDY = "`evaluate MODEL --data ZIP --json FILE` writes it again"


class _Row(NamedTuple):
    label: str
    published: Mapping[str, str]  # the paper's value, by data set
    write: Callable[[dict], str]  # an evaluation.json to a cell; `KeyError` if the value is missing


def _objective(figures: dict) -> str:
    """With n of the paper's networks, or the size of the pictures of a model that has no n."""
    size = f"n = {figures['width']}" if figures["width"] else f"{figures['size']} pixels"
    return f"{figures['objective']}, {size}"


def _training_length(figures: dict) -> str:
    """Epochs or steps on the model's own data, and those on other data from which training started."""
    if "steps" in figures:
        own, before, unit = figures["steps"], figures["steps_before"], " steps"
    else:
        own, before, unit = figures["epochs"], figures.get("epochs_before", {}), ""
    return ", after ".join([f"{own:,}{unit}", *(f"{n:,}{unit} on {data}" for data, n in before.items())])


def _training_cost(figures: dict) -> str:
    hours = figures["trained"]["seconds"] / 3600
    time = f"{hours:.1f} h" if hours >= 1 else f"{60 * hours:.0f} min"
    return f"{figures['trained']['hardware']}, {time}"


def _measured_on(figures: dict) -> str:
    precision = f" ({figures['precision']})" if "precision" in figures else ""  # earlier evaluations do not record it
    return f"{figures['pictures']} test pictures, {figures['hardware']}{precision}, {figures['seconds']} s"


def _metric(metric: Metric, figures: dict) -> str:
    """The value, ± its standard deviation, and in brackets the values that it is compared with, if they exist."""
    value = find_value(figures, metric.path)
    if value is None:
        raise KeyError(metric.path)
    text = metric.format(value)
    if metric.deviation and (deviation := find_value(figures, metric.deviation)) is not None:
        text += f" ± {metric.format(deviation)}"
    others = [find_value(figures, path) for path in metric.compared_with]
    brackets = "; ".join(metric.format(other) for other in others if other is not None)
    return f"{text} ({brackets})" if brackets else text


ROWS = (
    _Row("objective", {}, _objective),
    _Row("epochs", {"flowers": "600", "birds": "600"}, _training_length),
    _Row("trained on", {}, _training_cost),
    *(_Row(metric.label, metric.published, partial(_metric, metric)) for metric in METRICS),
    _Row("measured on", {}, _measured_on),
)


def read(path: Path) -> dict:
    """The contents of an evaluation.json; `InputError` if it is damaged or not what `evaluate` writes."""
    try:
        figures = json.loads(path.read_text("utf-8"))
    except (ValueError, RecursionError):
        raise InputError(f"{path}: is not JSON; {REMEDY}") from None
    try:
        if not isinstance(figures["model"], str) or not isinstance(figures["data"], str):
            raise TypeError
        for row in ROWS:
            _cell(row, figures)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        raise InputError(f"{path}: is not what `evaluate --json` writes; {REMEDY}") from None
    return figures


def lines(figures: dict) -> str:
    """The results of one model, a line each, and what was left out."""
    cells = {row.label: _cell(row, figures) for row in ROWS}
    return "\n".join([
        f"{figures['model']} on {figures['data']}",
        *(f"  {label}: {cell}" for label, cell in cells.items() if cell != NOT_MEASURED),
        *(f"  left out: {name} ({reason})" for name, reason in figures["left_out"].items()),
    ])  # fmt: skip


def table(evaluations: list[dict]) -> str:
    """Markdown: a column for each model, a row for each metric, and in the last column the published values."""
    data = evaluations[0]["data"]
    rows = [["", *(figures["model"] for figures in evaluations), "published"], ["---"] * (len(evaluations) + 2)]
    for row in ROWS:
        cells = [_cell(row, figures) for figures in evaluations]
        published = next((value for name, value in row.published.items() if name in data), "")
        if any(cell != NOT_MEASURED for cell in cells):
            rows.append([row.label, *cells, published])
    return "\n".join(f"| {' | '.join(cells)} |" for cells in rows)


def write(document: Path = DOCUMENT, weights: Path = registry.WEIGHTS) -> list[Path]:
    """Write tables of `weights/*/evaluation.json` between the two marks of each page; returns the pages.

    The document gets all models, in a table for each data set. A model card that has the marks gets its own model. The
    page `STUDY` beside the document compares the objectives, if they have been measured.
    """
    evaluations = {path.parent / "README.md": read(path) for path in sorted(weights.glob("*/evaluation.json"))}
    if not evaluations:
        raise InputError(f"{weights}: holds no evaluation.json; `evaluate MODEL --data ZIP --json FILE` writes one")
    by_data: dict[str, list[dict]] = {}
    for figures in evaluations.values():
        by_data.setdefault(figures["data"], []).append(figures)
    tables = {card: [table([figures])] for card, figures in evaluations.items() if _has_mark(card)}
    tables[document] = [table(models) for models in by_data.values()]
    groups = registry.comparisons(registry.read_models(weights)).values()
    if studies := [paths for models in groups if (paths := study.paths(models, weights))]:
        tables[document.parent / STUDY] = [study.table([read(path) for path in paths]) for paths in studies]
    texts = {page: _insert(page, parts) for page, parts in tables.items()}  # all, before any file is changed
    for page, text in texts.items():
        store.write(page, partial(Path.write_text, data=text, encoding="utf-8"))
    return list(texts)


def _has_mark(page: Path) -> bool:
    text = page.read_text("utf-8") if page.is_file() else ""
    return START in text or END in text


def _insert(page: Path, tables: list[str]) -> str:
    """A page's text with these tables between its marks."""
    text = page.read_text("utf-8")
    if not (text.count(START) == text.count(END) == 1 and text.index(START) < text.index(END)):
        raise InputError(f"{page}: must have the line {START} and, after it, the line {END}, once")
    before, after = text.partition(START)[0], text.partition(END)[2]
    return before + "\n\n".join([START, *tables, END]) + after


def _cell(row: _Row, figures: dict) -> str:
    try:
        return row.write(figures)
    except KeyError:
        return NOT_MEASURED
