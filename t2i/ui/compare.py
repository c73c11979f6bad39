"""The tab "Compare": one caption and one seed under the paper's four objectives, side by side."""

import json
import math
from functools import reduce

from t2i import checkpoint
from t2i.errors import InputError

from .desk import Desk, in_words
from .panel import event, panel
from .request import SEED_MAX

SEEDS = 5  # of each model: one large, the next ones small

# What is told of a model: where its evaluation.json has it, its label, how it is written, and what it means.
FIGURES = (
    (
        "fidelity.pictures.kid",
        "KID × 1000",
        lambda x: f"{1000 * x:.0f}",
        "how far its pictures are from photos, 0 at best",
    ),
    (
        "agreement.pictures.r_precision",
        "R-precision",
        lambda x: f"{100 * x:.1f} %",
        "how often a judge finds a picture's own caption among 100",
    ),
    (
        "agreement.pictures.class_top1",
        "Class",
        lambda x: f"{100 * x:.1f} %",
        "how often a judge finds the species that a picture was drawn for",
    ),
    (
        "style.background.roc",
        "Style ROC",
        lambda x: f"{x:.2f}",
        "how surely its style encoder tells photos of one background from others; 0.5 is chance",
    ),
)


def compare_tab(desk: Desk) -> None:
    """Build the tab inside the surrounding Blocks."""

    # A plain function, because Gradio marks what it may call with an attribute.
    def compare(request):
        return in_words(lambda: desk.compare(request))

    compared = [_told(spec) for spec in checkpoint.MODELS.values() if spec.objective]
    meanings = {label: meaning for _, label, _, meaning in FIGURES}
    told = {"compared": compared, "meanings": meanings}
    panel("compare", [compare], model=desk.default, seeds=SEEDS, seedMax=SEED_MAX, **told)

    def compare_event(caption: str, seeds: list[int] | None = None, models: list[str] | None = None) -> dict:
        """Draw a caption with several models, each from the same seeds.

        Args:
            caption: what to draw, in English; 201 characters are read.
            seeds: up to 16 whole numbers from 0 to 999999, else 1 to 16.
            models: up to 4 names of models, else those of the paper's four objectives.

        Returns:
            compared: for each model what draw answers: pictures, ms, model and parameters
            seeds: of the pictures
            note: what was left out of the caption
            hint: that the caption is far from what all of them learnt
            error: what was wrong, in words, instead of all else
        """
        request = {"caption": caption, "seeds": seeds, "models": models}
        return in_words(lambda: desk.compare(request, kind="PNG"))

    event(compare_event, "compare")


def _told(spec: checkpoint.ModelSpec) -> dict:
    """What the page knows of a model before it draws: whether it is here, and what was measured."""
    here = checkpoint.is_here(spec.name)
    return {"name": spec.name, "objective": spec.objective, "here": here, "figures": figures(spec.name)}


def figures(model: str) -> dict[str, str]:
    """The figures of a model, by label, in words; those alone that lie beside its weights."""
    try:
        measured = json.loads((checkpoint.resolve(model) / "evaluation.json").read_text("utf-8"))
    except (InputError, OSError, ValueError, RecursionError):
        return {}
    found = {label: (write, _at(measured, place)) for place, label, write, _ in FIGURES}
    return {label: write(value) for label, (write, value) in found.items() if value is not None}


def _at(measured: object, place: str) -> float | None:
    """The number at a place in evaluation.json; None where there is none, for the folder may be anybody's."""
    value = reduce(lambda of, part: of.get(part) if isinstance(of, dict) else None, place.split("."), measured)
    return value if type(value) in (int, float) and math.isfinite(value) else None
