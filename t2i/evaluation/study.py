"""The paper's objectives compared over training runs of several seeds: what wrong captions and interpolation change.

The four objectives are a 2×2 design, so each of the two ideas is judged by half of all runs against the other half.
Runs of one objective differ by chance alone: their pooled standard deviation says how much a mean may vary.
"""

import math
from pathlib import Path
from statistics import fmean, variance

from ..errors import InputError
from ..metrics.table import METRICS, Metric, find_value
from ..registry import OBJECTIVES, ModelSpec

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


def paths(models: list[ModelSpec], weights: Path) -> list[Path]:
    """The evaluations of models to compare, of all their seeds; none if one of the objectives was not measured."""
    first = [weights / spec.name / "evaluation.json" for spec in models]
    if {spec.objective for spec in models} != set(OBJECTIVES) or not all(path.is_file() for path in first):
        return []
    return [path for of_seed_0 in first for path in (of_seed_0, *sorted(of_seed_0.parent.glob(OTHER_SEEDS)))]


def table(evaluations: list[dict]) -> str:
    """Markdown: a row for each metric, with the mean of each objective's runs; only of the seeds that all four have.

    With two seeds or more, the effects ± standard error follow. `InputError` if there is no such seed, if the runs
    differ in more than objective and seed, or if an objective has a seed twice.
    """
    runs = _runs_of_common_seeds(evaluations)
    _check_alike(runs)
    count, effects = len(runs["gan"]), EFFECTS if len(runs["gan"]) > 1 else {}
    header = [f"{count} training{'s' if count > 1 else ''} each", *map(str.upper, OBJECTIVES), *effects]
    rows = [header, ["---"] * len(header)]
    for metric in METRICS:
        found = {name: [find_value(figures, metric.path) for figures in runs[name]] for name in OBJECTIVES}
        values = {name: [value for value in of_runs if value is not None] for name, of_runs in found.items()}
        if metric.path in COMPARED and values == found:
            rows.append(_row(metric, values, effects))
    return "\n".join(f"| {' | '.join(cells)} |" for cells in rows)


def _runs_of_common_seeds(evaluations: list[dict]) -> dict[str, list[dict]]:
    """By objective, in the order of the seeds."""
    by_seed: dict[str, dict[int, dict]] = {name: {} for name in OBJECTIVES}
    for figures in evaluations:
        runs, seed = by_seed[figures["objective"]], figures.get("training_seed") or 0  # earlier ones do not record it
        if seed in runs:
            raise InputError(f"a study needs each training seed once; {figures['objective']} has {seed} twice")
        runs[seed] = figures
    seeds = sorted(set.intersection(*(set(runs) for runs in by_seed.values())))
    if not seeds:
        trained = {name: sorted(runs) for name, runs in by_seed.items()}
        raise InputError(f"a study needs a training seed that all objectives have; there are {trained}")
    return {name: [runs[seed] for seed in seeds] for name, runs in by_seed.items()}


def _check_alike(runs: dict[str, list[dict]]) -> None:
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


def _row(metric: Metric, values: Values, effects: dict[str, tuple[int, int, int, int]]) -> list[str]:
    label = f"{metric.label.partition(' (')[0]} ({metric.better} is better)"
    means = [metric.format(fmean(of_objective)) for of_objective in values.values()]
    return [label, *means, *(_effect_cell(metric, effect(values, signs), values) for signs in effects.values())]


def _effect_cell(metric: Metric, change: float, values: Values) -> str:
    error = standard_error(values)
    shown = metric.format(abs(change))
    sign = ("−" if change < 0 else "+") if float(shown) else ""
    cell = f"{sign}{shown} ± {metric.format(error)}"
    return f"**{cell}**" if abs(change) > CLEAR * error else cell
