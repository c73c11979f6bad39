"""What a request may contain: limits, clamped numbers, and errors in words."""

import base64
import io
import math
import re
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from PIL import Image

from ..breeding import MAX_GENOME_CAPTIONS, Genome
from ..errors import InputError
from ..media.photo import ENCODER_INPUT_SIZE, prepare
from ..models import TextEncoderConfig
from ..registry import OBJECTIVES, ModelSpec, comparisons
from ..store import MAX_NETWORK_SIZE
from ..studio import MAX_VARIETY

PICTURES_PER_PAGE = 16
MAX_CAPTION_LENGTH = TextEncoderConfig.length  # characters that the text encoder reads; the rest is cut off
MAX_SEED = 999_999
MAX_FIELD_PICTURES = 32  # of a request; what an engine draws in one pass
MAX_FAVOURITES = 48  # pictures of a PNG sheet
PNG_SCALES = (1, 4)
ENLARGED_SCALE = PNG_SCALES[1]
MAX_BLEND_POINTS = 64  # pictures of a blend
DRAFT_SIZES = 32, 128  # pixels a side of drafts, the least and the most
ORDINALS = ("first", "second", "third", "fourth")  # of the sentences of a blend
FILM_KINDS = ("gif", "webp", "mp4")
STYLE_COLUMNS = 6  # captions of the tab Style
MAX_RESTYLE_CAPTIONS = 8
MAX_PHOTO_BYTES, MAX_PHOTO_SIZE = 2_000_000, 1024  # of a photo from a program; the page sends what the encoders need
MAX_PHOTOS, MAX_PHOTOS_BYTES = 64, 8_000_000  # of a search request
MAX_RANKED_CAPTIONS = 64  # that a photo is compared with
MAX_COMPARED_MODELS = len(OBJECTIVES) + 1  # and the page's own
MAX_STYLE_GROUPS = (MAX_NETWORK_SIZE - 1) // 3  # of four letters, and then at most four more
# The style of a photo as text: base64 of a byte for each number. Without an end, a request of 16 MB would be read.
STYLE_PATTERN = f"([A-Za-z0-9_-]{{4}}){{0,{MAX_STYLE_GROUPS}}}[A-Za-z0-9_-]{{2,4}}"
STYLE_STEP = 1 / 32  # of the numbers in that text, which range from -4 to 4

Models = dict[str, ModelSpec]  # the page's models by name; the first is the default
Point = tuple[float, float]  # across and down, from 0 to 1


@dataclass(frozen=True)
class DrawRequest:
    """Pictures of one caption, one for each seed.

    `at` is empty or has an offset for each seed; `like` is empty or the style z of a photo. With two `parents`, the
    pictures are their children.
    """

    caption: str
    seeds: list[int]
    attributes: list[float]
    at: list[Point]
    like: list[float]
    model: str
    variety: float = 1.0
    parents: tuple[Genome, ...] = ()
    mutation: float = 0.0


def read_draw_request(request: object, models: Models) -> DrawRequest:
    model = read_model(request, models)
    caption = read_caption(request)
    seeds = _numbers(_get(request, "seeds"), range(1, PICTURES_PER_PAGE + 1), 0, MAX_SEED)
    attributes = _numbers(_get(request, "attributes"), [0.0], -1, 1)
    at = [_point(point) for point in _list(_get(request, "at") or [0], "at")[:PICTURES_PER_PAGE]]
    at = at + [(0.0, 0.0)] * (len(seeds) - len(at)) if any(map(any, at)) else []
    like = _style(_get(request, "like"))
    variety = read_number(_get(request, "variety", 1), 0, MAX_VARIETY)
    parents = _get(request, "parents")
    genomes = _list(parents, "parents") if parents else []
    if len(genomes) not in (0, 2):
        raise InputError(f"Give two parents, not {len(genomes)}.")
    mutation = read_number(_get(request, "mutation", 0), 0, 1) if genomes else 0.0
    numbers = [int(seed) for seed in seeds], attributes, at[: len(seeds)], like
    return DrawRequest(caption, *numbers, model, variety, tuple(map(_genome, genomes)), mutation)


def read_single_draw_request(request: object, models: Models) -> DrawRequest:
    """Only the first picture of a draw request."""
    parsed = read_draw_request(request, models)
    return replace(parsed, seeds=parsed.seeds[:1], at=parsed.at[:1])


def read_comparison(request: object, models: Models) -> list[DrawRequest]:
    """The same draw request for each of several models; without names, those of the first comparison."""
    parsed = read_draw_request(request, models)
    names = _get(request, "models")
    if names is None:
        names = [spec.name for spec in next(iter(comparisons(models).values()), [])]
    names = _list(names, "models")
    return [replace(parsed, model=read_model({"model": name}, models)) for name in names[:MAX_COMPARED_MODELS]]


def read_field(request: object, models: Models) -> tuple[list[str], float, list[int], str]:
    """One caption or two, how far to go from the first to the second, the seeds and the model."""
    model = read_model(request, models)
    captions = [_caption(caption) for caption in _list(_get(request, "captions"), "captions")[:2]]
    seeds = _list(_get(request, "seeds"), "seeds")[:MAX_FIELD_PICTURES]
    at = read_number(_get(request, "at", 0), 0, 1) if len(captions) == 2 else 0.0
    return captions, at, [int(read_number(seed, 0, MAX_SEED)) for seed in seeds], model


def read_parents(request: object, models: Models) -> list[DrawRequest]:
    """Two pictures of the same model, of which children are bred."""
    pictures = _list(_get(request, "pictures"), "pictures")
    parents = [read_single_draw_request(picture, models) for picture in pictures[:2]]
    if len(pictures) != 2 or parents[0].model != parents[1].model:
        raise InputError("Choose two pictures of the same model.")
    return parents


def read_sheet(request: object) -> list[Any]:
    """The draw requests of a sheet, one for each picture."""
    return _list(_get(request, "pictures"), "pictures")[:MAX_FAVOURITES]


def read_scale(request: object) -> int:
    return ENLARGED_SCALE if read_number(_get(request, "scale"), *PNG_SCALES) == ENLARGED_SCALE else 1


def read_full_size(request: object) -> int:
    """How many pictures, from the first, are sent at full size and quality; the others may be drafts."""
    return int(read_number(_get(request, "full_size", MAX_BLEND_POINTS), 0, MAX_BLEND_POINTS))


def read_draft_size(request: object) -> int:
    """The most pixels a side of drafts: a page on a slow line asks for fewer."""
    return int(read_number(_get(request, "draft_size", DRAFT_SIZES[1]), *DRAFT_SIZES))


def read_blend(request: object, models: Models) -> tuple[list[str], int, str]:
    """Two or four sentences, the seed and the model."""
    model = read_model(request, models)
    captions = _list(_get(request, "captions"), "captions")
    if len(captions) not in (2, 4):
        raise InputError(f"Give two sentences or four, not {len(captions)}.")
    places = [f" for the {ordinal} sentence" for ordinal in ORDINALS]
    seed = int(read_number(_get(request, "seed", 1), 0, MAX_SEED))
    return [_caption(caption, place) for caption, place in zip(captions, places)], seed, model


def read_points(request: object) -> list[Point]:
    """The points of a blend."""
    return [_point(point) for point in _list(_get(request, "at", [0.5]), "at")[:MAX_BLEND_POINTS]]


def read_film_kind(request: object) -> str:
    kind = _get(request, "kind")
    if kind not in FILM_KINDS:
        raise InputError(f"The kind must be one of {', '.join(FILM_KINDS)}.")
    return kind


def read_is_written(request: object) -> bool:
    """Whether the sentences are written on a film."""
    return bool(read_number(_get(request, "written"), 0, 1))


def read_model(request: object, models: Models) -> str:
    model = _get(request, "model", next(iter(models)))
    if not isinstance(model, str) or model not in models:
        raise InputError(f"No such model. There are: {', '.join(models)}.")
    return model


def read_caption(request: object) -> str:
    return _caption(_get(request, "caption"))


def read_captions(request: object) -> list[str]:
    """The captions that are drawn in the style of a photo."""
    return [_caption(caption) for caption in _list(_get(request, "captions"), "captions")[:MAX_RESTYLE_CAPTIONS]]


def read_ranked_captions(request: object, spec: ModelSpec) -> list[str]:
    """The captions that a photo is compared with; the model's own if there are none, or after them if it is asked."""
    captions = _get(request, "captions")
    captions = model_captions(spec) if captions is None else _list(captions, "captions")
    if len(captions) > MAX_RANKED_CAPTIONS:
        raise InputError(f"Give at most {MAX_RANKED_CAPTIONS} captions at once, not {len(captions)}.")
    captions = [_caption(caption) for caption in captions]
    if _get(request, "with_own"):
        captions = list(dict.fromkeys([*captions, *model_captions(spec)]))[:MAX_RANKED_CAPTIONS]
    return captions


def read_photo(request: object) -> Image.Image:
    return _photo(_get(request, "photo"))


def read_photos(request: object) -> list[Image.Image]:
    """Photos in data URIs, prepared for the encoders: each is reduced before the next is decoded."""
    values = _list(_get(request, "photos"), "photos")
    num_bytes = sum(len(value) for value in values if isinstance(value, str))
    if len(values) > MAX_PHOTOS or num_bytes > MAX_PHOTOS_BYTES:
        raise InputError(f"Give at most {MAX_PHOTOS} photos at once, of {MAX_PHOTOS_BYTES // 10**6} MB together.")
    return [_photo(value) for value in values]


def cut(captions: list[str]) -> list[str]:
    """Captions without the characters that the text encoder does not read."""
    return [caption[:MAX_CAPTION_LENGTH] for caption in captions]


def model_captions(spec: ModelSpec) -> list[str]:
    """The captions that come with a model."""
    return [*spec.examples, *spec.gallery_captions] or [spec.title]


def _get(request: object, name: str, default: object = None) -> Any:
    if not isinstance(request, dict):
        raise InputError("The request must be an object with a caption.")
    return request.get(name, default)


def _caption(value: object, place: str = "") -> str:
    if not isinstance(value, str):
        raise InputError("The caption must be text.")
    if not value.strip():
        raise InputError(f"Type a few words{place}.")
    return " ".join(value[:10_000].encode("utf-8", "replace").decode().split())  # no lone surrogates


def _photo(value: object) -> Image.Image:
    """The photo in a data URI, prepared for the encoders. Its bytes and size are checked before it is decoded."""
    start, _, data = value.partition(",") if isinstance(value, str) else ("", "", "")
    if not re.fullmatch(r"data:image/(png|jpeg|webp);base64", start):
        raise InputError("The photo must be a PNG, JPEG or WebP as a data URI.")
    if len(data) > MAX_PHOTO_BYTES * 4 // 3 + 4:
        needed = f"{ENCODER_INPUT_SIZE} pixels are enough"
        raise InputError(f"The photo is larger than {MAX_PHOTO_BYTES // 1000} kB. Make it smaller: {needed}.")
    unreadable = InputError("The photo cannot be read: it is damaged, or not a picture.")
    try:
        photo = Image.open(io.BytesIO(base64.b64decode(data, validate=True)), formats=["PNG", "JPEG", "WEBP"])
    except Exception:  # Pillow has no common base class for the errors of hostile files
        raise unreadable from None
    if max(photo.size) > MAX_PHOTO_SIZE:
        needed = f"{ENCODER_INPUT_SIZE} are enough"
        raise InputError(f"The photo is larger than {MAX_PHOTO_SIZE} pixels a side. Make it smaller: {needed}.")
    try:
        return Image.fromarray(prepare(photo))  # reduced at once: a request may hold many photos
    except InputError:
        raise unreadable from None


def _genome(value: object) -> Genome:
    """A genome from {"captions": [str], "weights": [float], "z": the text of `encoding.style_text`}."""
    if not isinstance(value, dict):
        raise InputError("A parent must be an object with captions, weights and z.")
    captions = cut([_caption(caption) for caption in _list(value.get("captions"), "captions")[:MAX_GENOME_CAPTIONS]])
    weights = _numbers(value.get("weights"), [1.0], 0, 1)[: len(captions)]
    weights += [0.0] * (len(captions) - len(weights))
    total, z = sum(weights), _style(value.get("z"))
    if not total or not z:
        raise InputError("A parent must have a weight that is not zero, and a z.")
    return Genome(tuple(captions), tuple(weight / total for weight in weights), tuple(z))


def _style(value: object) -> list[float]:
    """The style z of a photo from the text of `encoding.style_text`; empty if there is none."""
    if value in (None, ""):
        return []
    if not isinstance(value, str) or not re.fullmatch(STYLE_PATTERN, value):
        allowed = f"letters, digits, - and _, of at most {MAX_NETWORK_SIZE:,} numbers"
        raise InputError(f"The style of a photo must be as the server wrote it: {allowed}.")
    padding = "=" * (-len(value) % 4)
    return (np.frombuffer(base64.urlsafe_b64decode(value + padding), np.int8) * STYLE_STEP).tolist()


def _point(value: object) -> Point:
    across, down, *_ = [*value, 0, 0] if isinstance(value, (list, tuple)) else [value, 0]
    return read_number(across, 0, 1), read_number(down, 0, 1)


def _list(values: object, name: str) -> list[Any]:
    if not isinstance(values, (list, tuple, range)) or not values:
        raise InputError(f"{name.capitalize()} must be a list, and not an empty one.")
    return list(values)


def _numbers(values: object, default: object, low: float, high: float) -> list[float]:
    values = _list(default if values is None else values, "seeds and attributes")
    return [read_number(value, low, high) for value in values[:PICTURES_PER_PAGE]]


def is_number_in(text: str, numbers: range) -> bool:
    """Whether a text is a whole number of these; `int` itself raises `ValueError` for more than 4,300 digits."""
    return text.isdecimal() and len(text) < 10 and int(text) in numbers


def read_number(value: Any, low: float, high: float) -> float:
    """`value` clamped to low … high; what is not a finite number counts as zero."""
    try:
        value = float(value)
    except (TypeError, ValueError, OverflowError):
        value = 0.0
    return min(max(value if math.isfinite(value) else 0.0, low), high)
