"""The desk between a stranger's request and a Studio: limits, clamps, errors in words."""

import base64
import io
import logging
import math
import re
import threading
import time
from collections.abc import Callable
from typing import TypeVar

import numpy as np
from PIL import Image
from torch import Tensor

import t2i
from t2i import files
from t2i.checkpoint import MODELS, ModelSpec
from t2i.errors import InputError
from t2i.photo import prepare
from t2i.shared import Gatherer, SharedEngine

COUNT = 16  # pictures on the page
READ = 201  # characters of a caption that the text encoder reads
SEED_MAX = 999_999
FAVOURITES = 48  # pictures of a sheet
WAITING = 32  # requests at the desk, those being drawn included; Gradio has 40 threads to bring them
SCALES = (1, 4)  # of the PNG
POINTS = 64  # pictures of a blend
FILMS, FRAMES = ("gif", "webp", "png"), 33
CAPTIONS = 8  # of a restyled photo
PHOTO_BYTES, PHOTO_SIDE = 2_000_000, 1024  # the page itself sends 64×64
PHOTOS, PHOTOS_BYTES = 64, 8_000_000  # of a request to search
RANKED = 64  # captions that a photo is described by
STRANGE = 3  # words of a hint
DRAWN = range(1, 4)  # the seeds of each caption in the index that the model draws

T = TypeVar("T")
LOG = logging.getLogger(__name__)


class Busy(InputError):
    """Too many requests at the desk; the same one may be asked again."""


class Desk:
    """Serves every visitor from the same loaded models; the pictures of those who wait are drawn together."""

    def __init__(self, model: str) -> None:
        self.default = model
        self._galleries: dict[str, dict] = {}
        self._places = threading.BoundedSemaphore(WAITING)
        self._gather = Gatherer()
        self._loading = threading.Lock()
        self._studios: dict[str, t2i.Studio] = {}
        # Warm-up: the first pass is the slow one.
        self.draw({"caption": MODELS[model].examples[0]})

    def draw(self, request: object, kind: str = "JPEG") -> dict:
        """Draw one picture a seed, each as a data URI; every number is clamped.

        `request`: {"caption": str, "seeds": [int], "style": [float], "at": [[across, down]], "model": str}; `at` is how
        far on from each seed on their plane, from 0 to 1.
        """
        caption, seeds, style, at, model = self._read(request)
        answer = self._draw(model, lambda studio: _drawn(studio, caption, seeds, style, at), kind)
        return answer | {"seeds": seeds, "note": _note(caption)}

    def match(self, request: object) -> dict:
        """How well each picture of `draw` fits its caption, from 0 to 1, and a hint where the caption is a strange one.

        No matches if the model cannot see. A request of its own, for it costs a quarter of the drawing: the page asks
        once the typing rests.
        """
        caption, seeds, style, at, model = self._read(request)

        def job(studio: t2i.Studio) -> dict:
            matches = _matches(studio, caption, seeds, style, at) if studio.sees else []
            return {"matches": matches, "hint": _hint(studio, caption)}

        return self._run(model, job)

    def blend(self, request: object, kind: str = "JPEG") -> dict:
        """Draw points between two sentences, or among four on the corners of a square, each as a data URI.

        `request`: {"captions": [str] of two or four, "at": [[across, down]] from 0 to 1, "seed": int, "model": str}.
        """
        captions, seed, model = self._read_blend(request)
        at = [_point(point) for point in _list(request.get("at", [0.5]), "at")[:POINTS]]
        weights = [_corners(len(captions), *point) for point in at]
        answer = self._draw(model, lambda studio: studio.mix_array([c[:READ] for c in captions], weights, seed), kind)
        return answer | {"note": _first_note(captions)}

    def restyle(self, request: object, kind: str = "JPEG") -> dict:
        """Draw captions in the style of a photo, each as a data URI.

        `request`: {"photo": data URI of a PNG, JPEG or WebP, "captions": [str] up to 8, "model": str}.
        """
        model = self._read_model(request)
        captions = [_caption(caption) for caption in _list(request.get("captions"), "captions")[:CAPTIONS]]
        photo = _photo(request.get("photo"))
        cut = [caption[:READ] for caption in captions]
        answer = self._draw(model, lambda studio: studio.restyle_array(photo, cut), kind)
        return answer | {"note": _first_note(captions)}

    def search(self, request: object) -> dict:
        """Photos by how well they fit a caption, the best first.

        `request`: {"caption": str, "photos": [data URI of a PNG, JPEG or WebP] up to 64, "model": str}.
        """
        model = self._read_model(request)
        caption, photos = _caption(request.get("caption")), _photos(request.get("photos"))
        matches = self._run(model, lambda studio: studio.match(photos, caption[:READ]))
        ranked = sorted(enumerate(matches), key=lambda pair: -pair[1])
        found = [{"photo": place, "match": round(match, 4)} for place, match in ranked]
        return {"found": found, "note": _note(caption), "model": MODELS[model].title}

    def describe(self, request: object) -> dict:
        """Captions by how well they fit a photo, the best first.

        `request`: {"photo": data URI of a PNG, JPEG or WebP, "captions": [str] up to 64, "model": str}; the model's
        own captions if none are given.
        """
        model = self._read_model(request)
        captions, photo = self._read_ranked(request, model), _photos([request.get("photo")])
        matches = self._run(model, lambda studio: studio.match(photo, [caption[:READ] for caption in captions]))
        ranked = sorted(zip(captions, matches), key=lambda pair: -pair[1])
        found = [{"caption": caption, "match": round(match, 4)} for caption, match in ranked]
        return {"found": found, "note": _first_note(captions), "model": MODELS[model].title}

    def see(self, request: object) -> dict:
        """Photos as directions, which the page keeps and compares with those of captions by itself.

        `request`: {"photos": as for `search`, "model": str}.
        """
        model, photos = self._read_model(request), _photos(request.get("photos"))
        return self._run(model, lambda studio: _directions(studio.index(photos)) | {"fit": studio.fit})

    def hear(self, request: object) -> dict:
        """Captions as directions; `request`: {"captions": as for `describe`, "model": str}."""
        model = self._read_model(request)
        captions = self._read_ranked(request, model)
        heard = self._run(model, lambda studio: _directions(studio.embed([caption[:READ] for caption in captions])))
        return heard | {"captions": captions, "note": _first_note(captions)}

    def gallery(self, request: object) -> dict:
        """Pictures that the model draws of its own captions, to be searched, as `see` would see them."""
        model = self._read_model(request)
        if model not in self._galleries:
            self._galleries[model] = self._run(model, _gallery)
        return self._galleries[model]

    def png(self, request: object) -> dict:
        """One picture as a PNG that says how it was made; `request["scale"]` is 1 or 4."""
        caption, [seed, *_], style, at, model = self._read(request)
        scale = int(_number(request.get("scale"), *SCALES))
        pixels = self._run(model, lambda studio: _drawn(studio, caption, [seed], style, at[:1]))
        picture = Image.fromarray(pixels[0])
        if scale == SCALES[1]:
            size = (picture.width * scale, picture.height * scale)
            picture = picture.resize(size, Image.Resampling.BICUBIC)
        made = {"captions": [caption[:READ]], "seed": seed, "style": style, "at": at[:1], "model": model}
        return {
            "file": _uri(files.png(np.asarray(picture), made), "image/png"),
            "name": f"{model}-{seed}-{_slug(caption)}.png",
        }

    def sheet(self, request: object) -> dict:
        """Pictures drawn again as one PNG that says how each was made.

        `request`: {"pictures": [what `draw` wants for the first picture]}, up to 48.
        """
        wanted = request.get("pictures") if isinstance(request, dict) else None
        read = [self._read(one) for one in _list(wanted, "pictures")[:FAVOURITES]]
        drawn, made = [], []
        for caption, [seed, *_], style, at, model in read:
            drawn += [*self._run(model, lambda studio: _drawn(studio, caption, [seed], style, at[:1]))]
            made += [{"caption": caption[:READ], "seed": seed, "style": style, "at": at[:1], "model": model}]
        captions = list(dict.fromkeys(one["caption"] for one in made))
        pixels = files.sheet(files.square(np.stack(drawn)))
        notes = {"captions": captions, "pictures": made}
        return {"file": _uri(files.png(pixels, notes), "image/png"), "name": "favourites.png"}

    def film(self, request: object) -> dict:
        """The whole way of `blend` as a file: between two sentences, or around a square of four.

        `request`: as for `blend` without `at`, and {"kind": "gif", "webp" or "png"}.
        """
        captions, seed, model = self._read_blend(request)
        kind = request.get("kind")
        if kind not in FILMS:
            raise InputError(f"The kind must be one of {', '.join(FILMS)}.")
        cut = [caption[:READ] for caption in captions]
        shares = np.linspace(0, 1, FRAMES)
        way = _around(shares) if len(captions) == 4 else [(share, 0) for share in shares]
        weights = [_corners(len(captions), *point) for point in way]
        frames = self._run(model, lambda studio: studio.mix_array(cut, weights, seed))
        made = {"captions": cut, "seed": seed, "steps": len(frames), "model": model}
        return {
            "file": _uri(files.film(frames, f".{kind}", made), f"image/{kind}"),
            "name": f"{model}-{seed}-{_slug(captions[0])}.{kind}",
        }

    def _draw(self, model: str, job: Callable[[t2i.Studio], np.ndarray], kind: str) -> dict:
        """The pictures of a job, with what the status line says of them."""
        studio, seconds, pixels = self._run(model, lambda studio: (studio, *_timed(lambda: job(studio))))
        return {
            "pictures": [_picture(Image.fromarray(one), kind) for one in pixels],
            "ms": round(1000 * seconds / len(pixels), 2),
            "model": MODELS[model].title,
            "parameters": studio.parameters,
        }

    def _run(self, model: str, job: Callable[[t2i.Studio], T]) -> T:
        """Run a job, or refuse it when too many are at the desk."""
        if not self._places.acquire(blocking=False):
            raise Busy("Many people are drawing just now. Your pictures will follow.")
        try:
            return job(self._studio(model))
        finally:
            self._places.release()

    def _studio(self, model: str) -> t2i.Studio:
        if model not in self._studios:
            with self._loading:
                if model not in self._studios:
                    self._studios[model] = self._load(model)
        return self._studios[model]

    def _load(self, model: str) -> t2i.Studio:
        try:
            studio = t2i.load(model)
        except InputError as error:
            if model == self.default:  # the page is being built: this is for its owner
                raise
            LOG.warning("%s", error)  # it names a path, which is no stranger's business
            raise InputError(f"{MODELS[model].title} is not to be had here just now.") from None
        studio.engine = SharedEngine(studio.engine, self._gather)
        return studio

    def _read(self, request: object) -> tuple[str, list[int], list[float], list[tuple[float, float]], str]:
        model = self._read_model(request)
        caption = _caption(request.get("caption"))
        seeds = _numbers(request.get("seeds"), range(1, COUNT + 1), 0, SEED_MAX)
        style = _numbers(request.get("style"), [0.0], -1, 1)
        at = [_point(point) for point in _list(request.get("at") or [0], "at")[:COUNT]]
        at = at + [(0.0, 0.0)] * (len(seeds) - len(at)) if any(map(any, at)) else []
        return caption, [int(seed) for seed in seeds], style, at[: len(seeds)], model

    def _read_blend(self, request: object) -> tuple[list[str], int, str]:
        model = self._read_model(request)
        captions = _list(request.get("captions"), "captions")
        if len(captions) not in (2, 4):
            raise InputError(f"Give two sentences or four, not {len(captions)}.")
        return [_caption(caption) for caption in captions], int(_number(request.get("seed", 1), 0, SEED_MAX)), model

    def _read_ranked(self, request: dict, model: str) -> list[str]:
        captions = request.get("captions")
        captions = _own(MODELS[model]) if captions is None else _list(captions, "captions")
        if len(captions) > RANKED:
            raise InputError(f"Give at most {RANKED} captions at once, not {len(captions)}.")
        return [_caption(caption) for caption in captions]

    def _read_model(self, request: object) -> str:
        if not isinstance(request, dict):
            raise InputError("The request must be an object with a caption.")
        model = request.get("model", self.default)
        if not isinstance(model, str) or model not in MODELS:
            raise InputError(f"No such model. There are: {', '.join(MODELS)}.")
        return model


def in_words(answer):
    """Call `answer()`; what goes wrong comes back as words, since the browser gets no exception."""
    try:
        return answer()
    except InputError as error:
        return {"error": str(error), "busy": isinstance(error, Busy)}
    except Exception:
        LOG.exception("a request failed")
        return {"error": "Something went wrong on the server. It has been logged."}


def _drawn(studio: t2i.Studio, caption: str, seeds: list[int], style: list[float], at: list) -> np.ndarray:
    style = style[: len(studio.styles)]  # models differ in their sliders
    return studio.draw_array(caption[:READ], seeds, style, at)


def _own(spec: ModelSpec) -> list[str]:
    """The captions that come with a model."""
    return [*spec.examples, *spec.more] or [spec.placeholder]


def _gallery(studio: t2i.Studio) -> dict:
    captions = [caption for caption in _own(studio.spec) for _ in DRAWN]
    pictures = studio.draw(captions, [*DRAWN] * (len(captions) // len(DRAWN)))
    drawn = {"pictures": [_picture(picture, "JPEG") for picture in pictures], "captions": captions}
    return drawn | _directions(studio.index(pictures)) | {"fit": studio.fit}


def _directions(rows: Tensor) -> dict[str, str]:
    """Directions (N, 1024) one after the other, in little-endian float32, as base64."""
    return {"directions": base64.b64encode(rows.numpy().astype("<f4").tobytes()).decode()}


def _matches(studio: t2i.Studio, caption: str, seeds: list[int], style: list[float], at: list) -> list[float]:
    pictures = [Image.fromarray(pixels) for pixels in _drawn(studio, caption, seeds, style, at)]
    return [round(match, 4) for match in studio.match(pictures, caption[:READ])]


def _hint(studio: t2i.Studio, caption: str) -> str:
    """What to say of a caption far from all that the model learnt, in words; else nothing."""
    strange = studio.strange(caption[:READ])[:STRANGE]
    if not strange:
        return ""
    listed = ", ".join(f"“{word}”" for word in strange)
    knows = f"This model knows {studio.spec.knows}. " if studio.spec.knows else ""
    return f"{knows}It has hardly met {listed}."


def _timed(job: Callable[[], T]) -> tuple[float, T]:
    start = time.perf_counter()
    done = job()
    return time.perf_counter() - start, done


def _caption(value: object) -> str:
    if not isinstance(value, str):
        raise InputError("The caption must be text.")
    if not value.strip():
        raise InputError("Type a few words to draw.")
    return " ".join(value[:10_000].encode("utf-8", "replace").decode().split())  # no lone surrogates


def _photo(value: object) -> Image.Image:
    """What the networks see of a data URI; its bytes and its size are bounded before anything is decoded."""
    start, _, data = value.partition(",") if isinstance(value, str) else ("", "", "")
    if not re.fullmatch(r"data:image/(png|jpeg|webp);base64", start):
        raise InputError("The photo must be a PNG, JPEG or WebP as a data URI.")
    if len(data) > PHOTO_BYTES * 4 // 3 + 4:
        raise InputError(f"The photo is larger than {PHOTO_BYTES // 1000} kB. Make it smaller: 64 pixels are seen.")
    unreadable = InputError("The photo cannot be read: it is damaged, or no picture.")
    try:
        photo = Image.open(io.BytesIO(base64.b64decode(data, validate=True)), formats=["PNG", "JPEG", "WEBP"])
    except Exception:  # Pillow names no common base for what a hostile file raises
        raise unreadable from None
    if max(photo.size) > PHOTO_SIDE:
        raise InputError(f"The photo is larger than {PHOTO_SIDE} pixels a side. Make it smaller: 64 are seen.")
    try:
        return Image.fromarray(prepare(photo))  # many may come together
    except InputError:
        raise unreadable from None


def _photos(values: object) -> list[Image.Image]:
    """What the networks see of photos in data URIs: each is made small before the next is decoded."""
    values = _list(values, "photos")
    if len(values) > PHOTOS or sum(len(value) for value in values if isinstance(value, str)) > PHOTOS_BYTES:
        raise InputError(f"Give at most {PHOTOS} photos at once, of {PHOTOS_BYTES // 10**6} MB together.")
    return [_photo(value) for value in values]


def _note(caption: str) -> str:
    return f"Only the first {READ} characters are read." if len(caption) > READ else ""


def _first_note(captions: list[str]) -> str:
    return next(filter(None, map(_note, captions)), "")


def _corners(count: int, across: float, down: float) -> list[float]:
    """The weights, summing to 1, of the sentences at a point between two, or of a square's four corners."""
    top = [1 - across, across]
    return top if count == 2 else [(1 - down) * w for w in top] + [down * w for w in top]


def _point(value: object) -> tuple[float, float]:
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


def _around(shares: np.ndarray) -> list[tuple[float, float]]:
    """Points on the circle within the square, as the page plays them."""
    return [(0.5 - 0.5 * math.cos(2 * math.pi * s), 0.5 - 0.5 * math.sin(2 * math.pi * s)) for s in shares]


def _slug(caption: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", caption.lower())[:40].strip("-")


def _picture(picture: Image.Image, kind: str) -> str:
    # Whole colour resolution: the page enlarges these pictures four times.
    options = {"quality": 92, "subsampling": 0} if kind == "JPEG" else {}
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return _uri(buffer.getvalue(), f"image/{kind.lower()}")


def _uri(data: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"
