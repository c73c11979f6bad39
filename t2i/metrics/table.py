"""All metrics of `evaluate`, one row each.

The tables of `docs/evaluation.md`, the model cards, the model-index of `publish` and the tab "Compare" read this table.
A new metric is a new row here and the code in `evaluation/run.py` that measures it. Nothing heavy is imported, since
the page reads it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal


def decimals(digits: int, scale: float = 1, unit: str = "") -> Callable[[float], str]:
    """A function that writes a number with so many decimals, after multiplying it by `scale`."""
    return lambda value: f"{scale * value:.{digits}f}{unit}"


PERCENT, THOUSANDTHS = decimals(1, 100), decimals(1, 1000)


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A number that `evaluate` measures, and how people read it.

    Where `compare_label` is set, the tab "Compare" shows it; where `hub_type` is set, the model-index lists it.
    """

    path: str  # its keys in evaluation.json, joined by dots
    label: str  # in the tables; it says in brackets what `compared_with` are
    format: Callable[[float], str] = decimals(2)  # in the tables
    better: Literal["lower", "higher", ""] = ""  # empty if neither is
    compared_with: tuple[str, ...] = ()  # paths of the numbers in brackets
    deviation: str = ""  # path of its standard deviation
    published: Mapping[str, str] = field(default_factory=dict)  # the paper's value, by data set
    meaning: str = ""  # in a sentence, for the tab "Compare"
    compare_label: str = ""
    compare_format: Callable[[float], str] = decimals(2)
    hub_type: str = ""
    hub_name: str = ""


METRICS = (
    Metric(
        path="retrieval.top1",
        label="zero-shot retrieval, top-1, %",
        format=PERCENT,
        better="higher",
        published={"flowers": "63.7, by inner product", "birds": "54.7, by inner product"},
        hub_type="accuracy",
        hub_name="Zero-shot retrieval, top-1, cosine",
    ),
    Metric(
        path="retrieval.ap50",
        label="zero-shot retrieval, AP@50, %",
        format=PERCENT,
        better="higher",
        published={"flowers": "57.3, by inner product", "birds": "45.5, by inner product"},
        hub_type="ap50",
        hub_name="Zero-shot retrieval, AP@50, cosine",
    ),
    Metric(
        path="retrieval.top1_centred",
        label="zero-shot retrieval by centred embeddings, top-1, %",
        format=PERCENT,
        better="higher",
    ),
    Metric(
        path="retrieval.ap50_centred",
        label="zero-shot retrieval by centred embeddings, AP@50, %",
        format=PERCENT,
        better="higher",
    ),
    Metric(
        path="fidelity.pictures.kid",
        label="KID × 1000 (photos; mean picture)",
        format=THOUSANDTHS,
        better="lower",
        compared_with=("fidelity.photos.kid", "fidelity.mean_picture.kid"),
        deviation="fidelity.pictures.kid_deviation",
        meaning="how far its pictures are from photos, 0 at best (KID × 1000)",
        compare_label="Distance from photos",
        compare_format=decimals(0, 1000),
        hub_type="kid",
        hub_name="KID in EfficientNet-lite0 features of 64×64 pictures",
    ),
    Metric(
        path="fidelity.floor.kid",
        label="KID × 1000 of photos of the training classes",
        format=THOUSANDTHS,
    ),
    Metric(
        path="fidelity.at_size.pictures.kid",
        label="KID × 1000 at the size of the pictures (photos; photos of the training classes)",
        format=THOUSANDTHS,
        better="lower",
        compared_with=("fidelity.at_size.photos.kid", "fidelity.at_size.floor.kid"),
    ),
    Metric(
        path="fidelity.pictures.frechet",
        label="Fréchet distance (photos; mean picture)",
        format=decimals(0),
        better="lower",
        compared_with=("fidelity.photos.frechet", "fidelity.mean_picture.frechet"),
        hub_type="frechet",
        hub_name="Fréchet distance in EfficientNet-lite0 features of 64×64 pictures",
    ),
    Metric(
        path="fidelity.floor.frechet",
        label="Fréchet distance of photos of the training classes",
        format=decimals(0),
    ),
    Metric(
        path="scratch.pictures.kid",
        label="KID × 1000 by a classifier trained from scratch (photos; photos of the training classes)",
        format=THOUSANDTHS,
        better="lower",
        compared_with=("scratch.photos.kid", "scratch.floor.kid"),
        hub_type="kid-from-scratch",
        hub_name="KID of 64×64 pictures, by a classifier from scratch",
    ),
    Metric(
        path="scratch.pictures.class",
        label="pictures that this classifier assigns to their class among the test classes, % (held-out photos)",
        format=PERCENT,
        better="higher",
        compared_with=("scratch.photos.class",),
        hub_type="class-accuracy",
        hub_name="Pictures that this classifier gives to their species",
    ),
    Metric(
        path="scratch.accuracy",
        label="accuracy of this classifier on held-out photos among all classes, %",
        format=PERCENT,
        better="higher",
    ),
    Metric(
        path="agreement.pictures.r_precision",
        label="R-precision, % (photos; shuffled pictures)",
        format=PERCENT,
        better="higher",
        compared_with=("agreement.photos.r_precision", "agreement.shuffled.r_precision"),
        meaning="how often a judge picks a picture's own caption out of 100 (R-precision)",
        compare_label="Caption found",
        compare_format=decimals(0, 100, "%"),
        hub_type="r-precision",
        hub_name="R-precision among 100 captions, by a judge of another seed",
    ),
    Metric(
        path="agreement.pictures.r_precision_within_class",
        label="R-precision among 10 captions of the same class, % (photos; shuffled pictures)",
        format=PERCENT,
        better="higher",
        compared_with=("agreement.photos.r_precision_within_class", "agreement.shuffled.r_precision_within_class"),
    ),
    Metric(
        path="agreement.pictures.class_top1",
        label="zero-shot classification by captions, top-1, % (photos; shuffled pictures)",
        format=PERCENT,
        better="higher",
        compared_with=("agreement.photos.class_top1", "agreement.shuffled.class_top1"),
        meaning="how often a judge names the kind that a picture was drawn for (top-1)",
        compare_label="Kind found",
        compare_format=decimals(0, 100, "%"),
    ),
    Metric(
        path="match.pictures.image_encoder",
        label="right caption against a wrong one, ROC AUC of the image encoder (photos)",
        better="higher",
        compared_with=("match.photos.image_encoder",),
    ),
    Metric(
        path="match.pictures.discriminator",
        label="right caption against a wrong one, ROC AUC of the discriminator (photos)",
        better="higher",
        compared_with=("match.photos.discriminator",),
    ),
    Metric(
        path="diversity.seeds_of_a_caption.features",
        label="feature distance between seeds of a caption (between photos of a class)",
        better="higher",
        compared_with=("diversity.photos_of_a_class.features",),
    ),
    Metric(
        path="diversity.seeds_of_a_caption.pixels",
        label="pixel distance between seeds of a caption (between photos of a class)",
        better="higher",
        compared_with=("diversity.photos_of_a_class.pixels",),
    ),
    Metric(
        path="halfway.halfway.kid",
        label="halfway between two captions: KID × 1000 (at captions)",
        format=THOUSANDTHS,
        better="lower",
        compared_with=("halfway.captions.kid",),
    ),
    Metric(
        path="halfway.halfway.seeds",
        label="halfway between two captions: feature distance between seeds (at captions)",
        better="higher",
        compared_with=("halfway.captions.seeds",),
    ),
    Metric(
        path="halfway.halfway.alike",
        label="halfway between two captions: share where seeds hardly differ, % (at captions)",
        format=PERCENT,
        better="lower",
        compared_with=("halfway.captions.alike",),
    ),
    Metric(
        path="halfway.plain.kid",
        label="at the mean of two embeddings: KID × 1000 (at captions)",
        format=THOUSANDTHS,
        better="lower",
        compared_with=("halfway.captions.kid",),
    ),
    Metric(
        path="halfway.plain.seeds",
        label="at the mean of two embeddings: feature distance between seeds (at captions)",
        better="higher",
        compared_with=("halfway.captions.seeds",),
    ),
    Metric(
        path="style.cycle_error",
        label="cycle error of the style encoder",
        better="lower",
    ),
    Metric(
        path="style.cycle_error_of_directions",
        label="cycle error along the attribute sliders",
        better="lower",
    ),
    Metric(
        path="style.redrawn.share",
        label="feature distance between a picture and its reconstruction, % of that between seeds",
        format=decimals(0, 100),
        better="lower",
    ),
    Metric(
        path="style.background.roc",
        label="photos of the same background colour, ROC AUC of style codes (of captions)",
        better="higher",
        compared_with=("style.background.roc_of_captions",),
        meaning="how surely it tells photos of one background colour from others (ROC AUC); 50% is a guess",
        compare_label="Background found",
        compare_format=decimals(0, 100, "%"),
    ),
    Metric(
        path="style.background.explained",
        label="variance of the background colour that a linear map of style codes predicts, % (of captions)",
        format=decimals(0, 100),
        better="higher",
        compared_with=("style.background.explained_by_captions",),
    ),
    Metric(
        path="style.pose.roc",
        label="photos of the same pose, ROC AUC of style codes (of captions)",
        better="higher",
        compared_with=("style.pose.roc_of_captions",),
    ),
    Metric(
        path="style.pose.explained",
        label="variance of the pose that a linear map of style codes predicts, % (of captions)",
        format=decimals(0, 100),
        better="higher",
        compared_with=("style.pose.explained_by_captions",),
    ),
)


def find_value(figures: object, path: str) -> float | None:
    """The number at a path of an evaluation.json, or None if it is not there; `TypeError` if it is not a number."""
    value = figures
    for key in path.split("."):
        if not isinstance(value, dict):
            raise TypeError(f"{path}: {key} is looked up in {type(value).__name__}")
        if key not in value:
            return None
        value = value[key]
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise TypeError(f"{path} is {type(value).__name__}")
    return value
