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
ALIKE = ("data", "size", "width", "steps", "epochs", "seed", "precision")  # in all runs of a study
CLEAR = 4.0  # standard errors; with two seeds, chance exceeds them in 2 of 100 cases (t, 4 degrees of freedom)
# Of the means of GAN, GAN-CLS, GAN-INT and GAN-INT-CLS; each effect is a mean of two of them minus that of the others.
EFFECTS: dict[str, tuple[int, int, int, int]] = {
    "wrong captions change": (-1, 1, -1, 1),
    "interpolation changes": (-1, -1, 1, 1),
    "interaction": (1, -1, -1, 1),  # half of how much more interpolation changes with wrong captions than without
}

Values = dict[str, list[float]]  # of a metric in the runs of each objective


def paths(weights: Path) -> list[Path]:
    """Every evaluation of the models of a folder that were trained with more than one seed."""
    folders = sorted({path.parent for path in weights.glob(f"*/{OTHER_SEEDS}")})
    return [path for folder in folders for path in (folder / "evaluation.json", *sorted(folder.glob(OTHER_SEEDS)))]


def table(evaluations: list[dict]) -> str:
    """Markdown: a row for each metric, with the mean of each objective's runs and the effects ± standard error.

    `InputError` unless the same two or more seeds were trained by each of the four objectives, with all else alike.
    """
    runs = {name: [figures for figures in evaluations if figures["objective"] == name] for name in OBJECTIVES}
    _check(runs)
    header = ["", *map(str.upper, OBJECTIVES), *EFFECTS]
    rows = [header, ["---"] * len(header)]
    for metric in METRICS:
        found = {name: [find_value(figures, metric.path) for figures in runs[name]] for name in OBJECTIVES}
        values = {name: [value for value in of_runs if value is not None] for name, of_runs in found.items()}
        if metric.path in COMPARED and values == found:
            rows.append(_row(metric, values))
    return "\n".join(f"| {' | '.join(cells)} |" for cells in rows)


def _check(runs: dict[str, list[dict]]) -> None:
    seeds = {name: sorted(figures.get("training_seed", -1) for figures in runs[name]) for name in OBJECTIVES}
    first = seeds["gan"]
    if not 2 <= len(first) == len(set(first)) or any(of_objective != first for of_objective in seeds.values()):
        raise InputError(f"a study needs the same training seeds, at least two, of each objective; there are {seeds}")
    for key in ALIKE:
        found = {figures.get(key) for of_objective in runs.values() for figures in of_objective}
        if len(found) > 1:
            raise InputError(f"a study needs runs that differ only in objective and seed; {key}: {found}")


def effect(values: Values, signs: tuple[int, int, int, int]) -> float:
    """What one of `EFFECTS` is for a metric."""
    return sum(sign * fmean(values[name]) / 2 for sign, name in zip(signs, OBJECTIVES, strict=True))


def standard_error(values: Values) -> float:
    """Of any of the effects, from the variance within the objectives, which have equally many runs."""
    return math.sqrt(fmean(map(variance, values.values())) / len(values["gan"]))


def _row(metric: Metric, values: Values) -> list[str]:
    label = f"{metric.label.partition(' (')[0]} ({metric.better} is better)"
    error = standard_error(values)
    means = [metric.format(fmean(of_objective)) for of_objective in values.values()]
    return [label, *means, *(_effect_cell(metric, effect(values, signs), error) for signs in EFFECTS.values())]


def _effect_cell(metric: Metric, change: float, error: float) -> str:
    sign = "−" if change < 0 else "+"
    cell = f"{sign}{metric.format(abs(change))} ± {metric.format(error)}"
    return f"**{cell}**" if abs(change) > CLEAR * error else cell
