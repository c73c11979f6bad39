"""What goes back to the page: pictures and files as data URIs, directions as base64, and words."""

import base64
import io
import re

import numpy as np
from PIL import Image
from torch import Tensor

from ..media import export
from .schemas import LIKE_STEP, READ

STRANGE = 3  # words of a hint
FULL = {"quality": 92, "subsampling": 0}  # whole colour resolution: the page enlarges these pictures
DRAFT = {"quality": 65, "subsampling": 2}
DRAFT_SIDE = 128  # pixels of a side at most: sixteen drafts take the bytes of sixteen whole pictures of 64
SMALL = 64  # pictures of this side are sent whole
ENLARGED = {"quality": 92, "subsampling": 2}


def pictures(pixels: np.ndarray, kind: str, whole: int) -> dict:
    """Pixels (N, S, S, 3) as data URIs of this kind, "JPEG" or "PNG".

    `whole`: how many of the JPEGs, from the first, are of full size and quality; the others are drafts of a third of
    the bytes or less, and the answer says how many.
    """
    count, side = len(pixels), pixels.shape[1]
    if kind == "PNG":
        return {"pictures": [_uri(_encoded(Image.fromarray(one), "PNG"), "png") for one in pixels]}
    whole = count if side <= SMALL else min(whole, count)
    jpegs = [_encoded(picture, "JPEG", **FULL) for picture in _images(pixels[:whole])]
    for picture in _images(pixels[whole:]):
        small = picture.resize((DRAFT_SIDE, DRAFT_SIDE), Image.Resampling.BOX) if side > DRAFT_SIDE else picture
        jpegs.append(_encoded(small, "JPEG", **DRAFT))
    return {"pictures": [_uri(data, "jpeg") for data in jpegs]} | ({"drafts": count - whole} if whole < count else {})


def enlarged(pixels: np.ndarray) -> dict[str, str]:
    """Pixels (S, S, 3), made larger already, as a JPEG to look at."""
    return {"picture": _uri(_encoded(Image.fromarray(pixels), "JPEG", **ENLARGED), "jpeg")}


def _images(pixels: np.ndarray) -> list[Image.Image]:
    # Four bytes a pixel, as Pillow keeps them, are not copied for each picture: a copy gives the interpreter away and
    # has to wait for it among all visitors.
    padded = np.zeros((*pixels.shape[:3], 4), np.uint8)
    padded[..., :3] = pixels
    return [Image.frombuffer("RGBX", one.shape[1::-1], one, "raw", "RGBX", 0, 1) for one in padded]


def png(pixels: np.ndarray, made: dict, name: str) -> dict[str, str]:
    """Pixels (H, W, 3) as a file to save, that says how it was made."""
    return {"file": _uri(export.png(pixels, made), "png"), "name": f"{name}.png"}


def film(frames: np.ndarray, kind: str, made: dict, name: str) -> dict[str, str]:
    """Frames (N, H, W, 3) as a file to save: `kind` is "gif", "webp" or "png"."""
    return {"file": _uri(export.film(frames, f".{kind}", made), kind), "name": f"{name}.{kind}"}


def name(model: str, seed: int, caption: str) -> str:
    """What a file is called."""
    slug = re.sub(r"[^a-z0-9]+", "-", caption.lower())[:40].strip("-")
    return f"{model}-{seed}-{slug}"


def directions(rows: Tensor) -> dict[str, str]:
    """Directions (N, 1024) one after the other, in little-endian float32, as base64."""
    return {"directions": base64.b64encode(rows.numpy().astype("<f4").tobytes()).decode()}


def like(z: Tensor) -> str:
    """A photo's noise (100,) as a text that fits into a link; `request` reads it."""
    levels = (z / LIKE_STEP).round().clamp(-128, 127).numpy().astype(np.int8)
    return base64.urlsafe_b64encode(levels.tobytes()).decode().rstrip("=")


def ranked(things: list, matches: list[float], key: str) -> list[dict]:
    """Things with their matches, the best first."""
    pairs = sorted(zip(things, matches), key=lambda pair: -pair[1])
    return [{key: thing, "match": round(match, 4)} for thing, match in pairs]


def note(*captions: str) -> str:
    """What to say of captions that are too long."""
    return f"Only the first {READ} characters are read." if any(len(caption) > READ for caption in captions) else ""


def left_out(reasons: list[str]) -> str:
    """What to say of pictures that could not be drawn among others."""
    if not reasons:
        return ""
    count = "One picture is" if len(reasons) == 1 else f"{len(reasons)} pictures are"
    return " ".join([f"{count} left out.", *dict.fromkeys(reasons)])


def hint(strange: list[str], knows: list[str]) -> str:
    """What to say of captions far from all that models learnt, by the words strange to every one; else nothing.

    `knows`: for each model, what it draws.
    """
    if not strange:
        return ""
    listed = ", ".join(f"“{word}”" for word in strange[:STRANGE])
    known = " and ".join(filter(None, dict.fromkeys(knows)))
    one = len(knows) == 1
    met = f"{'It has' if one else 'They have'} hardly met {listed}."
    return f"{'This model knows' if one else 'These models know'} {known}. {met}" if known else met


def _encoded(picture: Image.Image, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def _uri(data: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
