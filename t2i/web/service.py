"""What visitors may ask of the models: one method for each request of the page and of the API."""

import logging
import math
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from .. import registry
from ..breeding import Genome
from ..engine.batching import BatchedEngine, DynamicBatcher
from ..engine.engine import Engine
from ..errors import InputError
from ..locate import Checkpoint
from ..media import export, poster
from ..registry import MODELS
from ..studio import Studio, find_spec, load_engine
from ..vocabulary import unknown_words
from . import encoding, painting
from .cache import Cache
from .links import Link, blend_points, quote_captions
from .schemas import (
    DRAFT_SIZES,
    ENLARGED_SCALE,
    MAX_CAPTION_LENGTH,
    DrawRequest,
    Point,
    cut,
    model_captions,
    read_blend,
    read_caption,
    read_captions,
    read_comparison,
    read_draft_size,
    read_draw_request,
    read_field,
    read_film_kind,
    read_full_size,
    read_is_written,
    read_model,
    read_parents,
    read_photo,
    read_photos,
    read_points,
    read_ranked_captions,
    read_scale,
    read_sheet,
    read_single_draw_request,
)

NUM_FILM_FRAMES = 33
POSTER_ROWS = 5  # of a blend's poster
GALLERY_SEEDS = range(1, 4)  # of each caption in the gallery
THUMBNAIL_SEED = 8  # of the examples
MAX_CACHE_BYTES = 64_000_000  # of pixels: a page at rest asks for the same again, at full size and with matches
MAX_CACHED_STRIPS = 512  # of about 60 kB: the opening view is the same for everybody
SERVER_ERROR = "Something went wrong on the server. It has been logged."

LOG = logging.getLogger(__name__)


class Service:
    """Serves every visitor with the same loaded models, and batches the pictures of those who wait."""

    def __init__(self, model: str) -> None:
        checkpoint = Checkpoint(model)
        spec = find_spec(model, checkpoint)
        self.default = spec.name
        self.models = {spec.name: spec} | {name: other for name, other in MODELS.items() if name != spec.name}
        self._checkpoints = {spec.name: checkpoint}
        self._availability: dict[str, bool] = {}
        self._galleries: dict[str, dict[str, Any]] = {}
        self._thumbnails: dict[str, dict[str, Any]] = {}
        self._vocabularies: dict[str, frozenset[str]] = {}
        self._drawings: Cache[tuple[np.ndarray, float]] = Cache(MAX_CACHE_BYTES, lambda drawing: drawing[0].nbytes)
        self._strips: Cache[dict[str, Any]] = Cache(MAX_CACHED_STRIPS)
        self._batcher = DynamicBatcher()
        self._loading = threading.Lock()
        self._studios: dict[str, Studio] = {}
        self._text_engines: dict[Path, Engine] = {}  # by the folder of their text encoder
        self.draw({"caption": model_captions(spec)[0]})  # the first pass is slow

    def draw(self, request: object, kind: str = "JPEG") -> dict[str, Any]:
        """Draw a picture for each seed, as data URIs; every number is clamped.

        `request`: {"caption": str, "seeds": [int], "attributes": [float], "at": [[across, down]], "like": str,
        "model": str, "full_size": int, "draft_size": int}. `at` is an offset from each seed on the plane of seeds, from
        0 to 1; `like` is what `style` answers for a photo; `full_size` is how many of the JPEGs, from the first, are
        not drafts, `draft_size` the most pixels a side of drafts.
        """
        parsed = read_draw_request(request, self.models)
        pictures = self._pictures(parsed.model, *self._draw(parsed), kind, request)
        return pictures | {"seeds": parsed.seeds} | self._notes_and_model([parsed.model], parsed.caption)

    def field(self, request: object) -> dict[str, Any]:
        """Draw many small pictures of a caption, or of a point between two, side by side in one JPEG.

        `request`: {"captions": [str] one or two, "at": float from 0, the first, to 1, "seeds": [int] up to 32,
        "model": str}.
        """
        captions, at, seeds, model = read_field(request, self.models)
        source = model, cut(captions), at, seeds
        return self._strips(source, lambda: self._draw_strip(*source)) | self._notes_and_model([model], *captions)

    def thumbnails(self, request: object) -> dict[str, Any]:
        """A small picture of each of a model's examples, side by side in one JPEG; `request`: {"model": str}."""
        model = read_model(request, self.models)
        if model not in self._thumbnails:
            examples = list(self.models[model].examples)
            drawn = self._studio(model).draw_array(examples, [THUMBNAIL_SEED]) if examples else None
            self._thumbnails[model] = {} if drawn is None else encoding.strip(drawn)
        return self._thumbnails[model]

    def parents(self, request: object) -> dict[str, Any]:
        """What the children of two pictures are bred from, for `draw`; `request`: {"pictures": [of `draw`, two]}.

        Of each request, the first picture is the parent.
        """
        pictures = read_parents(request, self.models)
        genomes = [_genome(self._studio(parsed.model), parsed) for parsed in pictures]
        return {"parents": [encoding.genome(genome) for genome in genomes]}

    def match(self, request: object) -> dict[str, Any]:
        """How well each picture of `draw` matches its caption, from 0 to 1; empty without an image encoder.

        A child is compared with the caption of the parent that it has most of.

        This is a request of its own because it takes a quarter of the drawing's time: the page sends it when typing
        rests.
        """
        parsed = read_draw_request(request, self.models)
        studio = self._studio(parsed.model)
        if not studio.has_image_encoder:
            return {"matches": []}
        pictures = [Image.fromarray(pixels) for pixels in self._draw(parsed)[0]]
        captions = [child.captions[0] for child in _children(studio, parsed)] if parsed.parents else [parsed.caption]
        matches = studio.match(pictures, cut(captions))
        return {"matches": [round(match, 4) for match in matches]}

    def compare(self, request: object, kind: str = "JPEG") -> dict[str, Any]:
        """Draw a caption with several models, each with the same seeds.

        `request`: {"caption": str, "seeds": [int], "models": [str] up to 5, "full_size": as for `draw`, for each
        model}; without names, the models of the paper's four objectives.
        """
        parsed = read_comparison(request, self.models)
        compared = [self._pictures(each.model, *self._draw(each), kind, request) for each in parsed]
        notes = self._notes_and_model([each.model for each in parsed], parsed[0].caption)
        return {"compared": compared, "seeds": parsed[0].seeds} | notes

    def blend(self, request: object, kind: str = "JPEG") -> dict[str, Any]:
        """Draw points between two sentences, or among four at the corners of a square, as data URIs.

        `request`: {"captions": [str], two or four, "at": [[across, down]] from 0 to 1, "seed": int, "model": str,
        "full_size": as for `draw`}.
        """
        captions, seed, model = read_blend(request, self.models)
        weights = [_corner_weights(len(captions), *point) for point in read_points(request)]
        pixels, ms = self._timed(model, lambda studio: studio.mix_array(cut(captions), weights, seed))
        pictures = self._pictures(model, pixels, ms, kind, request)
        return pictures | self._notes_and_model([model], *captions)

    def restyle(self, request: object, kind: str = "JPEG") -> dict[str, Any]:
        """Draw captions in the style of a photo, as data URIs.

        `request`: {"photo": data URI of a PNG, JPEG or WebP, "captions": [str] up to 8, "model": str,
        "full_size": as for `draw`}.
        """
        model = read_model(request, self.models)
        captions, photo = read_captions(request), read_photo(request)
        source = model, photo.tobytes(), cut(captions)
        drawing = self._drawn_once(source, model, lambda studio: studio.restyle_array(photo, cut(captions)))
        pictures = self._pictures(model, *drawing, kind, request)
        return pictures | self._caption_notes([model], *captions)

    def style(self, request: object) -> dict[str, str]:
        """The style of a photo, for `draw`; `request`: {"photo": as for `restyle`, "model": str}."""
        model, photo = read_model(request, self.models), read_photo(request)
        return {"like": encoding.style_text(self._studio(model).style(photo))}

    def search(self, request: object) -> dict[str, Any]:
        """Photos by how well they match a caption, the best first.

        `request`: {"caption": str, "photos": [data URI of a PNG, JPEG or WebP] up to 64, "model": str}.
        """
        model = read_model(request, self.models)
        caption, photos = read_caption(request), read_photos(request)
        matches = self._studio(model).match(photos, caption[:MAX_CAPTION_LENGTH])
        results = encoding.ranked([*range(len(photos))], matches, "photo")
        return {"found": results, "note": encoding.length_note(caption), "model": self.models[model].title}

    def describe(self, request: object) -> dict[str, Any]:
        """Captions by how well they match a photo, the best first.

        `request`: {"photo": data URI of a PNG, JPEG or WebP, "captions": [str] up to 64, "model": str}; without
        captions, the model's own.
        """
        model = read_model(request, self.models)
        captions, photo = read_ranked_captions(request, self.models[model]), read_photo(request)
        matches = self._studio(model).match([photo], cut(captions))
        results = encoding.ranked(captions, matches, "caption")
        return {"found": results, "note": encoding.length_note(*captions), "model": self.models[model].title}

    def embed_photos(self, request: object) -> dict[str, Any]:
        """Embeddings of photos, which the page keeps and compares with those of captions by itself.

        `request`: {"photos": as for `search`, "model": str}.
        """
        model, photos = read_model(request, self.models), read_photos(request)
        studio = self._studio(model)
        return encoding.embeddings(studio.index(photos)) | {"calibration": studio.calibration}

    def embed_captions(self, request: object) -> dict[str, Any]:
        """Embeddings of captions.

        `request`: {"captions": as for `describe`, "with_own": whether the model's own captions follow, "model": str}.
        """
        model = read_model(request, self.models)
        captions = read_ranked_captions(request, self.models[model])
        embeddings = encoding.embeddings(self._studio(model).embed_captions(cut(captions)))
        return embeddings | {"captions": captions} | self._notes_and_model([model], *captions)

    def gallery(self, request: object) -> dict[str, Any]:
        """Pictures that the model draws of its own captions, to be searched, with the embeddings of `embed_photos`."""
        model = read_model(request, self.models)
        if model not in self._galleries:
            self._galleries[model] = _gallery(self._studio(model))
        return self._galleries[model]

    def enlarge(self, request: object) -> dict[str, str]:
        """One picture enlarged four times, as a JPEG: smoother than a browser would enlarge it."""
        parsed = read_single_draw_request(request, self.models)
        return encoding.enlarged(self._draw_scaled(parsed, ENLARGED_SCALE))

    def png(self, request: object) -> dict[str, str]:
        """One picture as a PNG that says how it was made; `request["scale"]` is 1 or 4."""
        parsed = read_single_draw_request(request, self.models)
        metadata = {"captions": cut([parsed.caption])} | _recipe(parsed)
        name = encoding.file_name(parsed.model, parsed.caption)
        return encoding.png(self._draw_scaled(parsed, read_scale(request)), metadata, name)

    def sheet(self, request: object) -> dict[str, str]:
        """Pictures, drawn again, as one PNG that says how each was made; a note says which could not be drawn.

        `request`: {"pictures": [a request of `draw`, of which the first picture is drawn]}, up to 48. All are resized
        to the largest.
        """
        pictures, recipes, errors = [], [], []
        for item in read_sheet(request):
            try:
                parsed = read_single_draw_request(item, self.models)
                pictures.append(_draw_array(self._studio(parsed.model), parsed)[0])
                recipes.append({"caption": parsed.caption[:MAX_CAPTION_LENGTH]} | _recipe(parsed))
            except InputError as error:
                errors.append(str(error))
        if not pictures:
            raise InputError(errors[0])
        captions = list(dict.fromkeys(recipe["caption"] for recipe in recipes))
        size = max(map(len, pictures))
        pixels = export.sheet(export.grid(np.stack([export.resize(picture, size) for picture in pictures])))
        sheet = encoding.png(pixels, {"captions": captions, "pictures": recipes}, "favourites")
        return sheet | {"note": encoding.omission_note(errors)}

    def poster(self, request: object) -> dict[str, str]:
        """The pictures of a draw request in rows with their caption, as a PNG that says how they were made."""
        parsed = read_draw_request(request, self.models)
        caption = parsed.caption[:MAX_CAPTION_LENGTH]
        footer = f"{self.models[parsed.model].title} · seed{_range_text(parsed.seeds)}"
        pixels = poster.poster(self._draw(parsed)[0], [caption], footer)
        metadata = {"captions": [caption]} | {key: value for key, value in asdict(parsed).items() if key != "caption"}
        return encoding.png(pixels, metadata, encoding.file_name(parsed.model, caption))

    def film(self, request: object) -> dict[str, str]:
        """A whole blend as a film: between two sentences, or around a square of four.

        `request`: as for `blend` without `at`, and {"kind": "gif", "webp" or "mp4", "written": whether the sentences
        are written on it}.
        """
        captions, seed, model = read_blend(request, self.models)
        kind = read_film_kind(request)
        weights = [_corner_weights(len(captions), *point) for point in _film_points(len(captions))]
        frames = export.enlarge_film(self._studio(model).mix_array(cut(captions), weights, seed), f".{kind}")
        if read_is_written(request):
            frames = poster.write_sentences(frames, cut(captions), weights)
        metadata = {"captions": cut(captions), "seed": seed, "steps": len(frames), "model": model}
        return encoding.film(frames, kind, metadata, encoding.file_name(model, *captions))

    def blend_poster(self, request: object) -> dict[str, str]:
        """A whole blend in rows with its sentences, as a PNG; `request`: as for `blend` without `at`."""
        captions, seed, model = read_blend(request, self.models)
        weights = [_corner_weights(len(captions), *point) for point in blend_points(len(captions), POSTER_ROWS)]
        pictures = self._studio(model).mix_array(cut(captions), weights, seed)
        footer = f"{self.models[model].title} · seed {seed}"
        pixels = poster.poster(pictures, [quote_captions(cut(captions), is_way=True)], footer)
        metadata = {"captions": cut(captions), "seed": seed, "steps": len(pictures), "model": model}
        return encoding.png(pixels, metadata, encoding.file_name(model, *captions))

    def link_pictures(self, link: Link) -> np.ndarray:
        """The sixteen pictures (16, S, S, 3) of a link; smaller ones are enlarged to the largest."""
        if link.points:
            weights = [_corner_weights(len(link.captions), *point) for point in link.points]
            return self._studio(link.model).mix_array(link.captions, weights, link.seed)
        like = self._studio(link.model).style(painting.paint(link.painting)).tolist() if link.painting else None
        requests = [replace(request, like=like) if like else request for request in link.requests]
        pictures = [picture for request in requests for picture in self._draw(request)[0]]
        size = max(map(len, pictures))
        return np.stack([export.resize(picture, size) for picture in pictures])

    def checkpoint(self, model: str) -> Checkpoint:
        """The checkpoint of one of the page's models; `InputError` if it is not available."""
        if model not in self._checkpoints:
            self._checkpoints[model] = Checkpoint(model)
        return self._checkpoints[model]

    def is_available(self, model: str) -> bool:
        """Whether one of the page's models can be drawn with; found out once, because the Hub may be asked."""
        if model not in self._availability:
            try:
                self._availability[model] = bool(self.checkpoint(model))
            except InputError:
                self._availability[model] = False
        return self._availability[model]

    def documents(self, model: str) -> Path:
        """The folder with a model's card and figures; a registered one has them here, also if its weights are not."""
        return registry.WEIGHTS / model if self.models[model] is MODELS.get(model) else self.checkpoint(model).folder

    def _draw(self, parsed: DrawRequest) -> tuple[np.ndarray, float]:
        """The pixels of a request, and milliseconds per picture."""
        return self._drawn_once(parsed, parsed.model, lambda studio: _draw_array(studio, parsed))

    def _drawn_once(
        self, source: object, model: str, render: Callable[[Studio], np.ndarray]
    ) -> tuple[np.ndarray, float]:
        """`_timed`, but the last drawings are kept."""
        # A view would keep the whole batch in memory.
        return self._drawings(source, lambda: self._timed(model, lambda studio: render(studio).copy()))

    def _draw_strip(self, model: str, captions: list[str], at: float, seeds: list[int]) -> dict[str, Any]:
        """The small pictures of a field."""
        weights = [[1 - at, at][: len(captions)]] * len(seeds)
        pixels, ms = self._timed(model, lambda studio: studio.mix_array(captions, weights, seeds))
        return encoding.strip(pixels) | {"ms": round(ms, 2)}

    def _draw_scaled(self, parsed: DrawRequest, scale: int) -> np.ndarray:
        """The pixels of the first picture, enlarged."""
        studio = self._studio(parsed.model)
        return export.resize(_draw_array(studio, parsed)[0], scale * studio.size)

    def _timed(self, model: str, render: Callable[[Studio], np.ndarray]) -> tuple[np.ndarray, float]:
        """The pixels that `render` returns, and milliseconds per picture."""
        studio = self._studio(model)
        start = time.perf_counter()
        pixels = render(studio)
        return pixels, 1000 * (time.perf_counter() - start) / len(pixels)

    def _pictures(self, model: str, pixels: np.ndarray, ms: float, kind: str, request: Any) -> dict[str, Any]:
        """Pictures, as large as the request asks, and what the status line says about them."""
        studio = self._studio(model)
        status = {
            "size": studio.size,
            "ms": round(ms, 2),
            "model": studio.spec.title,
            "parameters": studio.parameters,
        }
        return encoding.pictures(pixels, kind, read_full_size(request), read_draft_size(request)) | status

    def _caption_notes(self, models: list[str], *captions: str) -> dict[str, str]:
        """A note if captions are too long, and a hint if all models lack the same words."""
        studios = [self._studio(model) for model in models]
        unknown = [
            dict.fromkeys(word for caption in captions for word in studio.unknown_words(caption)) for studio in studios
        ]
        unknown_to_all = [word for word in unknown[0] if all(word in words for words in unknown)]
        hint = encoding.unknown_words_hint(unknown_to_all, [studio.spec.subject for studio in studios])
        return {"note": encoding.length_note(*captions), "hint": hint}

    def _notes_and_model(self, models: list[str], *captions: str) -> dict[str, str]:
        """The notes on captions, and with a hint the model that knows the last of those it is on, as `elsewhere`."""
        notes = self._caption_notes(models, *captions)
        studios = [self._studio(model) for model in models]
        unknown = [caption for caption in captions if all(studio.unknown_words(caption) for studio in studios)]
        return notes | {"elsewhere": self._model_that_knows(unknown[-1]) if notes["hint"] and unknown else ""}

    def _model_that_knows(self, caption: str) -> str:
        """The name of the first model, besides the paper's, that knows the words of a caption; empty if none does."""
        for name, spec in self.models.items():
            if not spec.group and name not in self._vocabularies:
                try:
                    self._vocabularies[name] = self.checkpoint(name).words
                except InputError:  # not available
                    self._vocabularies[name] = frozenset()
        known = self._vocabularies.items()
        return next((name for name, words in known if words and not unknown_words(caption, words)), "")

    def _studio(self, model: str) -> Studio:
        if model not in self._studios:
            with self._loading:
                if model not in self._studios:
                    self._studios[model] = self._load(model)
        return self._studios[model]

    def _load(self, model: str) -> Studio:
        try:
            checkpoint = self.checkpoint(model)
            engine = load_engine(checkpoint)
        except InputError as error:
            if model == self.default:  # the page is being built: its owner should see the error
                raise
            LOG.warning("%s", error)  # not sent to visitors: it names a path on the server
            raise InputError(f"{self.models[model].title} is not available here now.") from None
        text_engine = self._text_engines.setdefault(checkpoint.owner("text_encoder").folder, engine)
        batched = BatchedEngine(engine, self._batcher, text_engine)
        return Studio(batched, self.models[model], checkpoint.attributes, checkpoint.words, checkpoint.caption_mean)


def errors_as_json(call: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The result of `call()`, or {"error": words}: a browser does not receive the exceptions of the server."""
    try:
        return call()
    except InputError as error:
        return {"error": str(error)}
    except Exception:
        LOG.exception("a request failed")
        return {"error": SERVER_ERROR}


def _draw_array(studio: Studio, parsed: DrawRequest) -> np.ndarray:
    attributes = parsed.attributes[: len(studio.attributes)]  # the number of sliders depends on the model
    if parsed.parents:
        return studio.draw_genomes(_children(studio, parsed), attributes)
    caption = parsed.caption[:MAX_CAPTION_LENGTH]
    return studio.draw_array(caption, parsed.seeds, attributes, parsed.at, parsed.like, parsed.variety)


def _children(studio: Studio, parsed: DrawRequest) -> list[Genome]:
    return studio.breed(parsed.parents, parsed.seeds, parsed.at, parsed.mutation)


def _genome(studio: Studio, parsed: DrawRequest) -> Genome:
    """The genome of the first picture."""
    attributes = parsed.attributes[: len(studio.attributes)]
    if parsed.parents:
        [genome] = _children(studio, parsed)
        z = torch.tensor(genome.z) + studio.latent(parsed.seeds, attributes, variety=0)[0]
    else:
        genome = Genome((parsed.caption[:MAX_CAPTION_LENGTH],), (1.0,), ())
        z = studio.latent(parsed.seeds, attributes, parsed.at, parsed.like, parsed.variety)[0]
    return replace(genome, z=tuple(z.tolist()))


def _recipe(parsed: DrawRequest) -> dict[str, Any]:
    """How the first picture is made, without its caption."""
    recipe: dict[str, Any] = {"seed": parsed.seeds[0], "attributes": parsed.attributes, "at": parsed.at[:1]}
    if parsed.like:
        recipe["like"] = parsed.like
    if parsed.variety != 1:
        recipe["variety"] = parsed.variety
    if parsed.parents:
        recipe |= {"parents": [asdict(parent) for parent in parsed.parents], "mutation": parsed.mutation}
    return recipe | {"model": parsed.model}


def _gallery(studio: Studio) -> dict[str, Any]:
    captions = [caption for caption in model_captions(studio.spec) for _ in GALLERY_SEEDS]
    pixels = studio.draw_array(captions, [*GALLERY_SEEDS] * (len(captions) // len(GALLERY_SEEDS)))
    pictures = encoding.pictures(pixels, "JPEG", full_size=0, draft_size=DRAFT_SIZES[1]) | {"captions": captions}
    embeddings = encoding.embeddings(studio.index([Image.fromarray(picture) for picture in pixels]))
    return pictures | embeddings | {"calibration": studio.calibration}


def _range_text(seeds: list[int]) -> str:
    """Seeds after the word "seed": the first and the last if all of them follow each other."""
    follow = seeds == [*range(seeds[0], seeds[0] + len(seeds))]
    return (
        f" {seeds[0]}" if len(seeds) == 1 else f"s {seeds[0]} to {seeds[-1]}" if follow else f"s {seeds[0]} and others"
    )


def _corner_weights(count: int, across: float, down: float) -> list[float]:
    """The weights, summing to 1, of two sentences at a point between them, or of four at the corners of a square."""
    top = [1 - across, across]
    return top if count == 2 else [(1 - down) * weight for weight in top] + [down * weight for weight in top]


def _film_points(count: int) -> list[Point]:
    """The points of a film, as the page plays them: from end to end, or on the circle within the square of four."""
    fractions = np.linspace(0, 1, NUM_FILM_FRAMES)
    if count == 2:
        return [(fraction, 0) for fraction in fractions]
    return [
        (0.5 - 0.5 * math.cos(2 * math.pi * fraction), 0.5 - 0.5 * math.sin(2 * math.pi * fraction))
        for fraction in fractions
    ]
