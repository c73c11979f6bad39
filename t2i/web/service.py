"""The desk between strangers and a Studio: what may be asked, one verb each."""

import logging
import math
import threading
import time
from collections.abc import Callable, Hashable
from pathlib import Path

import numpy as np
from PIL import Image

from ..engine.batching import BatchedEngine, DynamicBatcher
from ..engine.engine import Engine
from ..errors import InputError
from ..locate import Checkpoint
from ..media import export
from ..registry import MODELS
from ..studio import Studio, find_spec, load_engine
from . import encoding
from .schemas import (
    LARGE,
    READ,
    Drawing,
    Point,
    cut,
    own,
    read_blend,
    read_caption,
    read_captions,
    read_comparison,
    read_drawing,
    read_film,
    read_first,
    read_model,
    read_photo,
    read_photos,
    read_points,
    read_ranked,
    read_scale,
    read_sheet,
    read_whole,
)

FRAMES = 33  # of a film
DRAWN = range(1, 4)  # the seeds of each caption in the gallery
CACHED_BYTES = 64_000_000  # pixels of the last drawings
BROKEN = "Something went wrong on the server. It has been logged."

LOG = logging.getLogger(__name__)


class Desk:
    """Serves every visitor from the same loaded models; the pictures of those who wait are drawn together."""

    def __init__(self, model: str) -> None:
        self._default = Checkpoint(model)
        spec = find_spec(model, self._default)
        self.default = spec.name
        self.models = {spec.name: spec} | {name: other for name, other in MODELS.items() if name != spec.name}
        self._galleries: dict[str, dict] = {}
        self._cache = _Cache()
        self._gather = DynamicBatcher()
        self._loading = threading.Lock()
        self._studios: dict[str, Studio] = {}
        self._readers: dict[Path, Engine] = {}  # by where their text encoder lies
        # Warm-up: the first pass is the slow one.
        self.draw({"caption": own(spec)[0]})

    def draw(self, request: object, kind: str = "JPEG") -> dict:
        """Draw one picture a seed, each as a data URI; every number is clamped.

        `request`: {"caption": str, "seeds": [int], "style": [float], "at": [[across, down]], "like": str,
        "model": str, "whole": int}; `at` is how far on from each seed on their plane, from 0 to 1, `like` what `style`
        tells of a photo, and `whole` how many of the JPEGs, from the first, are no drafts.
        """
        asked = read_drawing(request, self.models)
        drawn = self._answer(asked.model, *self._drawing(asked), kind, read_whole(request))
        return drawn | {"seeds": asked.seeds} | self._remarks([asked.model], asked.caption)

    def match(self, request: object) -> dict:
        """How well each picture of `draw` fits its caption, from 0 to 1; no matches if the model cannot see.

        A request of its own, for it costs a quarter of the drawing: the page asks once the typing rests.
        """
        asked = read_drawing(request, self.models)
        studio = self._studio(asked.model)
        if not studio.has_image_encoder:
            return {"matches": []}
        pictures = [Image.fromarray(pixels) for pixels in self._drawing(asked)[0]]
        return {"matches": [round(match, 4) for match in studio.match(pictures, asked.caption[:READ])]}

    def compare(self, request: object, kind: str = "JPEG") -> dict:
        """Draw one caption with several models, each from the same seeds.

        `request`: {"caption": str, "seeds": [int], "models": [str] up to 4, "whole": as for `draw`, of each model}; the
        models of the paper's four objectives if none are named.
        """
        asked = read_comparison(request, self.models)
        drawn = [self._answer(one.model, *self._drawing(one), kind, read_whole(request)) for one in asked]
        return {"compared": drawn, "seeds": asked[0].seeds} | self._remarks(
            [one.model for one in asked], asked[0].caption
        )

    def blend(self, request: object, kind: str = "JPEG") -> dict:
        """Draw points between two sentences, or among four on the corners of a square, each as a data URI.

        `request`: {"captions": [str] of two or four, "at": [[across, down]] from 0 to 1, "seed": int, "model": str,
        "whole": as for `draw`}.
        """
        captions, seed, model = read_blend(request, self.models)
        weights = [_corners(len(captions), *point) for point in read_points(request)]
        pixels, ms = self._timed(model, lambda studio: studio.mix_array(cut(captions), weights, seed))
        return self._answer(model, pixels, ms, kind, read_whole(request)) | self._remarks([model], *captions)

    def restyle(self, request: object, kind: str = "JPEG") -> dict:
        """Draw captions in the style of a photo, each as a data URI.

        `request`: {"photo": data URI of a PNG, JPEG or WebP, "captions": [str] up to 8, "model": str,
        "whole": as for `draw`}.
        """
        model = read_model(request, self.models)
        captions, photo = read_captions(request), read_photo(request)
        key = (model, photo.tobytes(), *cut(captions))
        pixels, ms = self._cache(
            key, lambda: self._timed(model, lambda studio: studio.restyle_array(photo, cut(captions)))
        )
        return self._answer(model, pixels, ms, kind, read_whole(request)) | self._remarks([model], *captions)

    def style(self, request: object) -> dict:
        """The style of a photo, for `draw`; `request`: {"photo": as for `restyle`, "model": str}."""
        model, photo = read_model(request, self.models), read_photo(request)
        return {"like": encoding.like(self._studio(model).style(photo))}

    def search(self, request: object) -> dict:
        """Photos by how well they fit a caption, the best first.

        `request`: {"caption": str, "photos": [data URI of a PNG, JPEG or WebP] up to 64, "model": str}.
        """
        model = read_model(request, self.models)
        caption, photos = read_caption(request), read_photos(request)
        matches = self._studio(model).match(photos, caption[:READ])
        found = encoding.ranked([*range(len(photos))], matches, "photo")
        return {"found": found, "note": encoding.note(caption), "model": self.models[model].title}

    def describe(self, request: object) -> dict:
        """Captions by how well they fit a photo, the best first.

        `request`: {"photo": data URI of a PNG, JPEG or WebP, "captions": [str] up to 64, "model": str}; the model's
        own captions if none are given.
        """
        model = read_model(request, self.models)
        captions, photo = read_ranked(request, self.models[model]), read_photo(request)
        matches = self._studio(model).match([photo], cut(captions))
        found = encoding.ranked(captions, matches, "caption")
        return {"found": found, "note": encoding.note(*captions), "model": self.models[model].title}

    def see(self, request: object) -> dict:
        """Photos as directions, which the page keeps and compares with those of captions by itself.

        `request`: {"photos": as for `search`, "model": str}.
        """
        model, photos = read_model(request, self.models), read_photos(request)
        studio = self._studio(model)
        return encoding.directions(studio.index(photos)) | {"fit": studio.calibration}

    def hear(self, request: object) -> dict:
        """Captions as directions; `request`: {"captions": as for `describe`, "model": str}."""
        model = read_model(request, self.models)
        captions = read_ranked(request, self.models[model])
        heard = encoding.directions(self._studio(model).embed_captions(cut(captions)))
        return heard | {"captions": captions} | self._remarks([model], *captions)

    def gallery(self, request: object) -> dict:
        """Pictures that the model draws of its own captions, to be searched, as `see` would see them."""
        model = read_model(request, self.models)
        if model not in self._galleries:
            self._galleries[model] = _gallery(self._studio(model))
        return self._galleries[model]

    def enlarge(self, request: object) -> dict:
        """One picture four times as large, as a JPEG: smoother than what a browser makes of it."""
        asked = read_first(request, self.models)
        return encoding.enlarged(self._scaled(asked, LARGE))

    def png(self, request: object) -> dict:
        """One picture as a PNG that says how it was made; `request["scale"]` is 1 or 4."""
        asked = read_first(request, self.models)
        made = {"captions": cut([asked.caption])} | _made(asked)
        name = encoding.name(asked.model, asked.seeds[0], asked.caption)
        return encoding.png(self._scaled(asked, read_scale(request)), made, name)

    def sheet(self, request: object) -> dict:
        """Pictures drawn again as one PNG that says how each was made; what cannot be drawn is left out, and told.

        `request`: {"pictures": [what `draw` wants for the first picture]}, up to 48. All are as large as the largest.
        """
        drawn, made, refused = [], [], []
        for wanted in read_sheet(request):
            try:
                one = read_first(wanted, self.models)
                drawn.append(_drawn(self._studio(one.model), one)[0])
                made.append({"caption": one.caption[:READ]} | _made(one))
            except InputError as error:
                refused.append(str(error))
        if not drawn:
            raise InputError(refused[0])
        captions = list(dict.fromkeys(one["caption"] for one in made))
        side = max(map(len, drawn))
        pixels = export.sheet(export.grid(np.stack([export.resize(one, side) for one in drawn])))
        sheet = encoding.png(pixels, {"captions": captions, "pictures": made}, "favourites")
        return sheet | {"note": encoding.left_out(refused)}

    def film(self, request: object) -> dict:
        """The whole way of `blend` as a file: between two sentences, or around a square of four.

        `request`: as for `blend` without `at`, and {"kind": "gif", "webp" or "png"}.
        """
        captions, seed, model = read_blend(request, self.models)
        kind = read_film(request)
        weights = [_corners(len(captions), *point) for point in _way(len(captions))]
        frames = self._studio(model).mix_array(cut(captions), weights, seed)
        made = {"captions": cut(captions), "seed": seed, "steps": len(frames), "model": model}
        return encoding.film(frames, kind, made, encoding.name(model, seed, captions[0]))

    def _drawing(self, asked: Drawing) -> tuple[np.ndarray, float]:
        """What was asked for as pixels, and milliseconds a picture."""
        return self._cache(repr(asked), lambda: self._timed(asked.model, lambda studio: _drawn(studio, asked)))

    def _timed(self, model: str, job: Callable[[Studio], np.ndarray]) -> tuple[np.ndarray, float]:
        """The pixels that a job makes, and milliseconds a picture."""
        studio = self._studio(model)
        start = time.perf_counter()
        pixels = job(studio)
        return pixels, 1000 * (time.perf_counter() - start) / len(pixels)

    def _answer(self, model: str, pixels: np.ndarray, ms: float, kind: str, whole: int) -> dict:
        """Pictures, with what the status line says of them."""
        studio = self._studio(model)
        told = {
            "size": studio.size,
            "ms": round(ms, 2),
            "model": studio.spec.title,
            "parameters": studio.parameters,
        }
        return encoding.pictures(pixels, kind, whole) | told

    def _scaled(self, asked: Drawing, scale: int) -> np.ndarray:
        """The first picture, so many times as large."""
        studio = self._studio(asked.model)
        return export.resize(_drawn(studio, asked)[0], scale * studio.size)

    def _remarks(self, models: list[str], *captions: str) -> dict[str, str]:
        """What to say of captions beside their pictures: a note on their length, and a hint where they are strange."""
        studios = [self._studio(model) for model in models]
        found = [dict.fromkeys(word for caption in captions for word in one.unknown_words(caption)) for one in studios]
        strange = [word for word in found[0] if all(word in words for words in found)]
        return {"note": encoding.note(*captions), "hint": encoding.hint(strange, [one.spec.subject for one in studios])}

    def _studio(self, model: str) -> Studio:
        if model not in self._studios:
            with self._loading:
                if model not in self._studios:
                    self._studios[model] = self._load(model)
        return self._studios[model]

    def checkpoint(self, model: str) -> Checkpoint:
        """The checkpoint of a model of the menu; `InputError` if it is not available."""
        return self._default if model == self.default else Checkpoint(model)

    def _load(self, model: str) -> Studio:
        try:
            checkpoint = self.checkpoint(model)
            engine = load_engine(checkpoint)
        except InputError as error:
            if model == self.default:  # the page is being built: this is for its owner
                raise
            LOG.warning("%s", error)  # it names a path, which is no stranger's business
            raise InputError(f"{self.models[model].title} is not to be had here just now.") from None
        text_engine = self._readers.setdefault(checkpoint.owner("text_encoder").folder, engine)
        batched = BatchedEngine(engine, self._gather, text_engine)
        return Studio(batched, self.models[model], checkpoint.attributes, checkpoint.words)


class _Cache:
    """The pixels last drawn, by what they were drawn of: a page at rest asks for them once more, whole and matched."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._drawn: dict[Hashable, tuple[np.ndarray, float]] = {}  # the last used are the last
        self._bytes = 0

    def __call__(self, key: Hashable, draw: Callable[[], tuple[np.ndarray, float]]) -> tuple[np.ndarray, float]:
        """What `draw` gives: pixels, and milliseconds a picture."""
        found = self._drawn.get(key)
        if not found:
            pixels, ms = draw()
            found = pixels.copy(), ms  # not all of the batch that they were drawn in
        with self._lock:
            self._take(key)
            self._drawn[key] = found
            self._bytes += found[0].nbytes
            while self._bytes > CACHED_BYTES:
                self._take(next(iter(self._drawn)))
        return found

    def _take(self, key: Hashable) -> tuple[np.ndarray, float] | None:
        found = self._drawn.pop(key, None)
        self._bytes -= found[0].nbytes if found else 0
        return found


def in_words(verb: Callable[[], dict]) -> dict:
    """Call `verb()`; what goes wrong comes back as words, since the browser gets no exception."""
    try:
        return verb()
    except InputError as error:
        return {"error": str(error)}
    except Exception:
        LOG.exception("a request failed")
        return {"error": BROKEN}


def _drawn(studio: Studio, asked: Drawing) -> np.ndarray:
    style = asked.style[: len(studio.attributes)]  # models differ in their sliders
    return studio.draw_array(asked.caption[:READ], asked.seeds, style, asked.at, asked.like)


def _made(asked: Drawing) -> dict:
    """How the first picture is made, but for its caption."""
    like = {"like": asked.like} if asked.like else {}
    return {"seed": asked.seeds[0], "style": asked.style, "at": asked.at[:1], **like, "model": asked.model}


def _gallery(studio: Studio) -> dict:
    captions = [caption for caption in own(studio.spec) for _ in DRAWN]
    pixels = studio.draw_array(captions, [*DRAWN] * (len(captions) // len(DRAWN)))
    drawn = encoding.pictures(pixels, "JPEG", whole=0) | {"captions": captions}
    directions = encoding.directions(studio.index([Image.fromarray(one) for one in pixels]))
    return drawn | directions | {"fit": studio.calibration}


def _corners(count: int, across: float, down: float) -> list[float]:
    """The weights, summing to 1, of the sentences at a point between two, or of a square's four corners."""
    top = [1 - across, across]
    return top if count == 2 else [(1 - down) * w for w in top] + [down * w for w in top]


def _way(count: int) -> list[Point]:
    """The points of a film, as the page plays them: from end to end, or on the circle within the square of four."""
    shares = np.linspace(0, 1, FRAMES)
    if count == 2:
        return [(share, 0) for share in shares]
    return [(0.5 - 0.5 * math.cos(2 * math.pi * s), 0.5 - 0.5 * math.sin(2 * math.pi * s)) for s in shares]
