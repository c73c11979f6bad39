"""The paper's objectives compared over training runs of several seeds: what wrong captions and interpolation change.

The four objectives are a 2×2 design, so each of the two ideas is judged by half of all runs against the other half.
Runs of one objective differ by chance alone: their pooled standard deviation says how much a mean may vary.
"""

import math
from pathlib import Path
from statistics import fmean, variance

from ..errors import InputError
from ..metrics.table import METRICS, Metric, find_value
from ..registry import OBJECTIVES

OTHER_SEEDS = "evaluation-seed-*.json"  # beside the evaluation.json of the run whose weights are kept
COMPARED = (
    "fidelity.pictures.kid",
    "scratch.pictures.kid",
    "scratch.pictures.class",
    "agreement.pictures.r_precision",
    "agreement.pictures.r_precision_within_class",
    "agreement.pictures.class_top1",
    "diversity.seeds_of_a_caption.features",
    "halfway.halfway.kid",
    "halfway.halfway.seeds",
    "halfway.plain.kid",
    "halfway.plain.seeds",
    "style.cycle_error",
    "style.background.roc",
)
CLEAR = 4.0  # standard errors; with two seeds, chance exceeds them in 2 of 100 cases (t, 4 degrees of freedom)


def paths(weights: Path) -> list[Path]:
    """Every evaluation of the models of a folder that were trained with more than one seed."""
    folders = sorted({path.parent for path in weights.glob(f"*/{OTHER_SEEDS}")})
    return [path for folder in folders for path in (folder / "evaluation.json", *sorted(folder.glob(OTHER_SEEDS)))]


def table(evaluations: list[dict]) -> str:
    """Markdown: a row for each metric, with the mean of each objective's runs and the two effects ± standard error.

    `InputError` unless all four objectives have the same number of runs, at least two.
    """
    runs = {name: [figures for figures in evaluations if figures["objective"] == name] for name in OBJECTIVES}
    counts = {name: len(figures) for name, figures in runs.items()}
    if len(set(counts.values())) > 1 or min(counts.values()) < 2:
        raise InputError(f"a study needs at least two seeds of each objective, equally many; there are {counts}")
    header = ["", *map(str.upper, OBJECTIVES), "wrong captions change", "interpolation changes"]
    rows = [header, ["---"] * len(header)]
    for metric in METRICS:
        found = {name: [find_value(figures, metric.path) for figures in runs[name]] for name in OBJECTIVES}
        values = {name: [value for value in of_runs if value is not None] for name, of_runs in found.items()}
        if metric.path in COMPARED and values == found:
            rows.append(_row(metric, values))
    return "\n".join(f"| {' | '.join(cells)} |" for cells in rows)


def _row(metric: Metric, values: dict[str, list[float]]) -> list[str]:
    label = f"{metric.label.partition(' (')[0]} ({metric.better} is better)"
    means = [metric.format(fmean(of_objective)) for of_objective in values.values()]
    error = standard_error(list(values.values()))
    effects = (effect(values, idea) for idea in ("mismatching", "interpolated"))
    return [label, *means, *(_effect_cell(metric, change, error) for change in effects)]


def effect(values: dict[str, list[float]], idea: str) -> float:
    """By how much the mean of the objectives with an idea, a flag of `Objective`, exceeds that of those without."""
    means: dict[bool, list[float]] = {True: [], False: []}
    for name, of_objective in values.items():
        means[getattr(OBJECTIVES[name], idea)].append(fmean(of_objective))
    return fmean(means[True]) - fmean(means[False])


def standard_error(groups: list[list[float]]) -> float:
    """Of an effect, from the variance within the four groups, which have equally many runs."""
    return math.sqrt(fmean(map(variance, groups)) / len(groups[0]))


def _effect_cell(metric: Metric, change: float, error: float) -> str:
    sign = "−" if change < 0 else "+"
    cell = f"{sign}{metric.format(abs(change))} ± {metric.format(error)}"
    return f"**{cell}**" if abs(change) > CLEAR * error else cell
