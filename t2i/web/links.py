"""A link to the page, which share.js writes, read on the server: its preview shows and says what the link brings."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs

from ..errors import InputError
from ..registry import comparisons
from .schemas import (
    MAX_SEED,
    PICTURES_PER_PAGE,
    STYLE_COLUMNS,
    STYLE_PATTERN,
    DrawRequest,
    Models,
    Point,
    cut,
    is_number_in,
    model_captions,
    read_draw_request,
    read_model,
    read_number,
)

MAX_LINK_LENGTH = 20_000  # characters of a query, as in share.js
MAX_LINK_FIELDS = 256
PICTURES_PER_ROW = 4

Fields = dict[str, list[str]]


@dataclass(frozen=True)
class Link:
    """A link's model, its captions (none if it only opens the page), and how its sixteen pictures are drawn.

    `requests`: their pictures follow each other, in the style of the `painting` if there is one. A blend has none, but
    `points` between its captions, and a seed.
    """

    model: str
    captions: list[str]
    seed: int
    requests: list[DrawRequest]
    points: list[Point]
    painting: str = ""

    @property
    def title(self) -> str:
        """The captions as a phrase; empty if there are none."""
        return quote_captions(self.captions, is_way=bool(self.points))


def read_link(query: str, models: Models, is_available: Callable[[str], bool]) -> Link:
    """The link with this query, its numbers clamped; `InputError` if it is too long or names no model of the page.

    Of the models that Compare shows, those count that are available.
    """
    if len(query) > MAX_LINK_LENGTH:
        raise InputError(f"The link has more than {MAX_LINK_LENGTH:,} characters, the most allowed.")
    try:
        fields = parse_qs(query, keep_blank_values=True, max_num_fields=MAX_LINK_FIELDS)
    except ValueError:
        raise InputError(f"The link has more than {MAX_LINK_FIELDS} fields, the most allowed.") from None
    model = read_model({key: values[0] for key, values in fields.items() if key == "model"}, models)
    seed = int(read_number(_first(fields, "seed", "1"), 0, MAX_SEED - PICTURES_PER_PAGE))
    captions = cut([" ".join(caption.split()) for caption in fields.get("caption", []) if caption.strip()])
    tab = _first(fields, "tab", "")
    if not captions:
        return Link(model, [], seed, _draw_each(model_captions(models[model]), [model], models), [])
    if tab == "blend" and len(captions) > 1:
        captions = captions[: 2 if len(captions) < 4 else 4]
        return Link(model, captions, seed, [], blend_points(len(captions), PICTURES_PER_ROW))
    if tab == "style" and (words := _first(fields, "words", "").strip()) and "paint" in fields:
        request = _draw_each(cut([words]), [model], models)
        return Link(model, cut([words]), seed, request, [], _first(fields, "paint", ""))
    if tab == "style":
        captions = captions[:STYLE_COLUMNS]
        return Link(model, captions, seed, _draw_each(captions, [model], models), [])
    if tab == "compare":
        groups = comparisons(models)
        specs = groups.get(_first(fields, "networks", ""), next(iter(groups.values()), []))
        names = [spec.name for spec in specs if is_available(spec.name)]
        return Link(model, captions[:1], seed, _draw_each(captions[:1], names or [model], models, seed), [])
    drawing = _read_drawing(fields, captions[0], seed, model, models)
    return Link(model, captions[:1], seed, [drawing], [])


def _read_drawing(fields: Fields, caption: str, seed: int, model: str, models: Models) -> DrawRequest:
    """The sixteen pictures of the tab Draw, as its `restore` reads them."""
    seeds: list[Any] = list(range(seed, seed + PICTURES_PER_PAGE))
    offsets: list[Any] = [_first(fields, "at", "0").split(",", 2)[:2]] * PICTURES_PER_PAGE
    for tile in fields.get("tile", []):
        place, *own = tile.split(",", 4)
        if own and is_number_in(place, range(PICTURES_PER_PAGE)):
            seeds[int(place)], offsets[int(place)] = own[0], own[1:3]
    like = _first(fields, "like", "")
    request = {
        "caption": caption,
        "seeds": seeds,
        "at": offsets,
        "attributes": _first(fields, "attributes", "0").split(","),
        "like": like if re.fullmatch(STYLE_PATTERN, like) else "",
        "variety": _first(fields, "variety", "1"),
        "mutation": _first(fields, "mutation", "0"),
        "model": model,
    }
    try:
        parents = [_read_parent(text) for text in fields.get("parent", [])]
        return read_draw_request(request | {"parents": parents}, models)
    except (InputError, ValueError):  # in the parents, which the page then leaves out too
        return read_draw_request(request, models)


def _read_parent(text: str) -> dict[str, Any]:
    """What draw.js writes of a parent."""
    fields = parse_qs(text, max_num_fields=MAX_LINK_FIELDS)
    return {"captions": fields.get("caption"), "weights": fields.get("weight"), "z": _first(fields, "z", "")}


def _draw_each(captions: list[str], names: list[str], models: Models, seed: int = 1) -> list[DrawRequest]:
    """Requests for sixteen pictures together, one after another for each of the captions and models."""
    pairs = [(caption, name) for caption in captions for name in names][:PICTURES_PER_PAGE]
    counts = [len(range(i, PICTURES_PER_PAGE, len(pairs))) for i in range(len(pairs))]
    return [
        read_draw_request({"caption": caption, "seeds": range(seed, seed + count), "model": name}, models)
        for (caption, name), count in zip(pairs, counts)
    ]


def blend_points(count: int, rows: int) -> list[Point]:
    """As many points a row as rows: on the way from one sentence to another, or on the square of four."""
    if count == 2:
        return [(i / (rows**2 - 1), 0) for i in range(rows**2)]
    steps = [i / (rows - 1) for i in range(rows)]
    return [(across, down) for down in steps for across in steps]


def quote_captions(captions: list[str], is_way: bool) -> str:
    """Captions as a phrase; of a way, from the first to the second."""
    return (" to " if is_way and len(captions) == 2 else " · ").join(f"“{caption}”" for caption in captions)


def _first(fields: Fields, name: str, default: str) -> str:
    return fields.get(name, [default])[0]
