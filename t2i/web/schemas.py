"""A stranger's request, read: limits, clamps, errors in words."""

import base64
import io
import math
import re
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from ..errors import InputError
from ..media.photo import ENCODER_INPUT_SIZE, prepare
from ..registry import ModelSpec

COUNT = 16  # pictures on the page
READ = 201  # characters of a caption that the text encoder reads
SEED_MAX = 999_999
FAVOURITES = 48  # pictures of a sheet
SCALES = (1, 4)  # of the PNG
LARGE = SCALES[1]  # times as large: a picture to look at by itself
POINTS = 64  # pictures of a blend
NUMBERS = ("first", "second", "third", "fourth")  # sentences of a blend
FILMS = ("gif", "webp", "png")
CAPTIONS = 8  # of a restyled photo
PHOTO_BYTES, PHOTO_SIDE = 2_000_000, 1024  # the page itself sends what is seen
PHOTOS, PHOTOS_BYTES = 64, 8_000_000  # of a request to search
RANKED = 64  # captions that a photo is described by
COMPARED = 4  # models that draw the same
LIKE = r"[A-Za-z0-9_-]{134}"  # a photo's noise in a link: 100 numbers of 8 bits, base64
LIKE_STEP = 1 / 32  # of those numbers, which so reach from -4 to 4

Models = dict[str, ModelSpec]  # that the page offers, by name; the first is the default
Point = tuple[float, float]  # across and down, from 0 to 1


@dataclass(frozen=True)
class Drawing:
    """Pictures of one caption, one a seed; `at` is empty, or has a point for each seed; `like` is a photo's noise."""

    caption: str
    seeds: list[int]
    style: list[float]
    at: list[Point]
    like: list[float]
    model: str


def read_drawing(request: object, models: Models) -> Drawing:
    model = read_model(request, models)
    caption = read_caption(request)
    seeds = _numbers(request.get("seeds"), range(1, COUNT + 1), 0, SEED_MAX)
    style = _numbers(request.get("style"), [0.0], -1, 1)
    at = [_point(point) for point in _list(request.get("at") or [0], "at")[:COUNT]]
    at = at + [(0.0, 0.0)] * (len(seeds) - len(at)) if any(map(any, at)) else []
    return Drawing(caption, [int(seed) for seed in seeds], style, at[: len(seeds)], _like(request.get("like")), model)


def read_first(request: object, models: Models) -> Drawing:
    """The first picture of a drawing."""
    asked = read_drawing(request, models)
    return replace(asked, seeds=asked.seeds[:1], at=asked.at[:1])


def read_comparison(request: object, models: Models) -> list[Drawing]:
    """The same drawing by each of several models, those of the paper's objectives if none are named."""
    asked = read_drawing(request, models)
    names = request.get("models")
    names = [name for name, spec in models.items() if spec.objective] if names is None else _list(names, "models")
    return [replace(asked, model=read_model({"model": name}, models)) for name in names[:COMPARED]]


def read_sheet(request: object) -> list:
    """What a sheet is to show: a request for each picture."""
    return _list(request.get("pictures") if isinstance(request, dict) else None, "pictures")[:FAVOURITES]


def read_scale(request: dict) -> int:
    return LARGE if _number(request.get("scale"), *SCALES) == LARGE else 1


def read_whole(request: dict) -> int:
    """How many pictures, from the first, are wanted whole; of the others drafts do."""
    return int(_number(request.get("whole", POINTS), 0, POINTS))


def read_blend(request: object, models: Models) -> tuple[list[str], int, str]:
    """Two sentences or four, the seed and the model."""
    model = read_model(request, models)
    captions = _list(request.get("captions"), "captions")
    if len(captions) not in (2, 4):
        raise InputError(f"Give two sentences or four, not {len(captions)}.")
    places = [f" for the {number} sentence" for number in NUMBERS]
    return [_caption(*both) for both in zip(captions, places)], int(_number(request.get("seed", 1), 0, SEED_MAX)), model


def read_points(request: dict) -> list[Point]:
    """Where a blend is wanted."""
    return [_point(point) for point in _list(request.get("at", [0.5]), "at")[:POINTS]]


def read_film(request: dict) -> str:
    """The kind of file."""
    kind = request.get("kind")
    if kind not in FILMS:
        raise InputError(f"The kind must be one of {', '.join(FILMS)}.")
    return kind


def read_model(request: object, models: Models) -> str:
    if not isinstance(request, dict):
        raise InputError("The request must be an object with a caption.")
    model = request.get("model", next(iter(models)))
    if not isinstance(model, str) or model not in models:
        raise InputError(f"No such model. There are: {', '.join(models)}.")
    return model


def read_caption(request: dict) -> str:
    return _caption(request.get("caption"))


def read_captions(request: dict) -> list[str]:
    """The captions that a photo is painted under."""
    return [_caption(caption) for caption in _list(request.get("captions"), "captions")[:CAPTIONS]]


def read_ranked(request: dict, spec: ModelSpec) -> list[str]:
    """The captions that a photo is described by, the model's own if there are none."""
    captions = request.get("captions")
    captions = own(spec) if captions is None else _list(captions, "captions")
    if len(captions) > RANKED:
        raise InputError(f"Give at most {RANKED} captions at once, not {len(captions)}.")
    return [_caption(caption) for caption in captions]


def read_photo(request: dict) -> Image.Image:
    return _photo(request.get("photo"))


def read_photos(request: dict) -> list[Image.Image]:
    """What the networks see of photos in data URIs: each is made small before the next is decoded."""
    values = _list(request.get("photos"), "photos")
    if len(values) > PHOTOS or sum(len(value) for value in values if isinstance(value, str)) > PHOTOS_BYTES:
        raise InputError(f"Give at most {PHOTOS} photos at once, of {PHOTOS_BYTES // 10**6} MB together.")
    return [_photo(value) for value in values]


def cut(captions: list[str]) -> list[str]:
    """What the text encoder reads of captions."""
    return [caption[:READ] for caption in captions]


def own(spec: ModelSpec) -> list[str]:
    """The captions that come with a model."""
    return [*spec.examples, *spec.gallery_captions] or [spec.title]


def _caption(value: object, place: str = "") -> str:
    if not isinstance(value, str):
        raise InputError("The caption must be text.")
    if not value.strip():
        raise InputError(f"Type a few words{place}.")
    return " ".join(value[:10_000].encode("utf-8", "replace").decode().split())  # no lone surrogates


def _photo(value: object) -> Image.Image:
    """What the networks see of a data URI; its bytes and its size are bounded before anything is decoded."""
    start, _, data = value.partition(",") if isinstance(value, str) else ("", "", "")
    if not re.fullmatch(r"data:image/(png|jpeg|webp);base64", start):
        raise InputError("The photo must be a PNG, JPEG or WebP as a data URI.")
    if len(data) > PHOTO_BYTES * 4 // 3 + 4:
        needed = f"{ENCODER_INPUT_SIZE} pixels are enough"
        raise InputError(f"The photo is larger than {PHOTO_BYTES // 1000} kB. Make it smaller: {needed}.")
    unreadable = InputError("The photo cannot be read: it is damaged, or no picture.")
    try:
        photo = Image.open(io.BytesIO(base64.b64decode(data, validate=True)), formats=["PNG", "JPEG", "WEBP"])
    except Exception:  # Pillow names no common base for what a hostile file raises
        raise unreadable from None
    if max(photo.size) > PHOTO_SIDE:
        needed = f"{ENCODER_INPUT_SIZE} are enough"
        raise InputError(f"The photo is larger than {PHOTO_SIDE} pixels a side. Make it smaller: {needed}.")
    try:
        return Image.fromarray(prepare(photo))  # many may come together
    except InputError:
        raise unreadable from None


def _like(value: object) -> list[float]:
    """A photo's noise, as `answer.like` wrote it; nothing for none."""
    if value in (None, ""):
        return []
    if not isinstance(value, str) or not re.fullmatch(LIKE, value):
        raise InputError("The style of a photo must be as the server told it: 134 letters, digits, - and _.")
    return (np.frombuffer(base64.urlsafe_b64decode(f"{value}=="), np.int8) * LIKE_STEP).tolist()


def _point(value: object) -> Point:
    across, down, *_ = [*value, 0, 0] if isinstance(value, (list, tuple)) else [value, 0]
    return _number(across, 0, 1), _number(down, 0, 1)


def _list(values: object, name: str) -> list:
    if not isinstance(values, (list, tuple, range)) or not values:
        raise InputError(f"{name.capitalize()} must be a list, and not an empty one.")
    return list(values)


def _numbers(values: object, default, low: float, high: float) -> list[float]:
    values = _list(default if values is None else values, "seeds and style")
    return [_number(value, low, high) for value in values[:COUNT]]


def _number(value: object, low: float, high: float) -> float:
    """`value` clamped to low … high; what is no finite number becomes the nearest to zero."""
    try:
        value = float(value)
    except (TypeError, ValueError, OverflowError):
        value = 0.0
    return min(max(value if math.isfinite(value) else 0.0, low), high)
