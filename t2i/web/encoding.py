"""What goes back to the page: pictures and files as data URIs, embeddings as base64, and notes in words."""

import base64
import hashlib
import io
import math
import re
import textwrap
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..breeding import Genome
from ..media import export
from .schemas import MAX_CAPTION_LENGTH, STYLE_STEP

MAX_HINT_WORDS = 3
DIGEST_LENGTH = 6  # hexadecimal digits in the name of a file
MAX_SLUG_LENGTH = 48  # characters of captions in it
FULL_QUALITY = {"quality": 92, "subsampling": 0}  # colour at full resolution: the page enlarges these pictures
DRAFT_QUALITY = {"quality": 65, "subsampling": 2}
ENLARGED_QUALITY = {"quality": 92, "subsampling": 2}
SMALL_SIZE = 64  # pixels a side of a strip's pictures
SMALL_QUALITY = {"quality": 75, "subsampling": 2}
MIN_SIZE_WITH_DRAFTS = 65  # pixels a side; smaller pictures are never sent as drafts


def pictures(pixels: np.ndarray, kind: str, full_size: int, draft_size: int) -> dict[str, Any]:
    """Pixels (N, S, S, 3) as data URIs of this kind, "JPEG" or "PNG".

    `full_size`: how many of the JPEGs, from the first, have full size and quality. The others are drafts of a third of
    the bytes or less, of at most `draft_size` pixels a side, and the answer says how many. Sixteen drafts of 128 pixels
    have about as many bytes as sixteen full pictures of 64.
    """
    count, size = len(pixels), pixels.shape[1]
    if kind == "PNG":
        return {"pictures": [_uri(_encode(Image.fromarray(picture), "PNG"), "png") for picture in pixels]}
    full_size = count if size < MIN_SIZE_WITH_DRAFTS else min(full_size, count)
    jpegs = [_encode(picture, "JPEG", **FULL_QUALITY) for picture in _images(pixels[:full_size])]
    for picture in _images(pixels[full_size:]):
        if size > draft_size:
            picture = picture.resize((draft_size, draft_size), Image.Resampling.BOX)
        jpegs.append(_encode(picture, "JPEG", **DRAFT_QUALITY))
    drafts = {"drafts": count - full_size} if full_size < count else {}
    return {"pictures": [_uri(data, "jpeg") for data in jpegs], **drafts}


def strip(pixels: np.ndarray) -> dict[str, Any]:
    """Pixels (N, S, S, 3) as one JPEG of small pictures side by side, and their pixels a side."""
    size = min(SMALL_SIZE, pixels.shape[1])
    small = [Image.fromarray(picture).resize((size, size), Image.Resampling.BOX) for picture in pixels]
    joined = Image.fromarray(np.hstack([np.asarray(picture) for picture in small]))
    return {"strip": _uri(_encode(joined, "JPEG", **SMALL_QUALITY), "jpeg"), "size": size}


def enlarged(pixels: np.ndarray) -> dict[str, str]:
    """Enlarged pixels (S, S, 3) as a JPEG."""
    return {"picture": _uri(_encode(Image.fromarray(pixels), "JPEG", **ENLARGED_QUALITY), "jpeg")}


def _images(pixels: np.ndarray) -> list[Image.Image]:
    # Pillow stores four bytes a pixel. If the array has them already, it does not copy each picture: for a copy it
    # releases the interpreter, and must then wait for it among all visitors.
    padded = np.zeros((*pixels.shape[:3], 4), np.uint8)
    padded[..., :3] = pixels
    return [Image.frombuffer("RGBX", picture.shape[1::-1], picture, "raw", "RGBX", 0, 1) for picture in padded]


def png(pixels: np.ndarray, metadata: dict[str, Any], name: str) -> dict[str, str]:
    """Pixels (H, W, 3) as a file to save; `metadata` says how it was made."""
    return _file(export.png(pixels, metadata), "png", name)


def film(frames: np.ndarray, kind: str, metadata: dict[str, Any], name: str) -> dict[str, str]:
    """Frames (N, S, S, 3) as a file to save: `kind` is "gif", "webp" or "mp4"."""
    return _file(export.film(frames, f".{kind}", metadata), kind, name)


def file_name(model: str, *captions: str) -> str:
    """The beginning of a file's name: the model and the first words of the captions."""
    words = [" ".join(re.findall("[a-z0-9]+", caption.lower())) for caption in captions]
    slugs = [textwrap.shorten(text, MAX_SLUG_LENGTH // len(captions), placeholder="") for text in words]
    return "-".join([model, *filter(None, slugs)]).replace(" ", "-")


def _file(data: bytes, kind: str, name: str) -> dict[str, str]:
    """A file to save. Its name ends in a digest of its bytes, so that different files have different names."""
    digest = hashlib.sha256(data).hexdigest()[:DIGEST_LENGTH]
    return {"file": _uri(data, kind), "name": f"{name}-{digest}.{kind}"}


def embeddings(rows: Tensor) -> dict[str, str]:
    """Embeddings (N, D), one after the other in little-endian float32, as base64."""
    return {"embeddings": base64.b64encode(rows.numpy().astype("<f4").tobytes()).decode()}


def style_text(z: Tensor) -> str:
    """The style z of a photo as a text that fits into a link, one byte for each number; `schemas` reads it."""
    levels = (z / STYLE_STEP).round().clamp(-128, 127).numpy().astype(np.int8)
    return base64.urlsafe_b64encode(levels.tobytes()).decode().rstrip("=")


def style_length(noise_size: int) -> int:
    """Characters of `style_text` of so many numbers."""
    return math.ceil(noise_size * 4 / 3)


def genome(genome: Genome) -> dict[str, Any]:
    """A genome as `schemas` reads it; its z is rounded."""
    weights = [round(weight, 3) for weight in genome.weights]
    return {"captions": list(genome.captions), "weights": weights, "z": style_text(torch.tensor(genome.z))}


def ranked(items: list[Any], matches: list[float], key: str) -> list[dict[str, Any]]:
    """Items with their matches, the best first."""
    pairs = sorted(zip(items, matches), key=lambda pair: -pair[1])
    return [{key: item, "match": round(match, 4)} for item, match in pairs]


def length_note(*captions: str) -> str:
    """A note if a caption is too long; else empty."""
    is_cut = any(len(caption) > MAX_CAPTION_LENGTH for caption in captions)
    return f"Only the first {MAX_CAPTION_LENGTH} characters are read." if is_cut else ""


def omission_note(reasons: list[str]) -> str:
    """A note on pictures that are left out of a sheet, one reason each; empty if there are none."""
    if not reasons:
        return ""
    count = "One picture is" if len(reasons) == 1 else f"{len(reasons)} pictures are"
    return " ".join([f"{count} left out.", *dict.fromkeys(reasons)])


def unknown_words_hint(words: list[str], subjects: list[str]) -> str:
    """A hint that no model knows these words of a caption; empty if there are none.

    `subjects`: what each model draws.
    """
    if not words:
        return ""
    listed = ", ".join(f"“{word}”" for word in words[:MAX_HINT_WORDS])
    known = " and ".join(filter(None, dict.fromkeys(subjects)))
    one = len(subjects) == 1
    hint = f"{'It has' if one else 'They have'} hardly met {listed}."
    return f"{'This model knows' if one else 'These models know'} {known}. {hint}" if known else hint


def _encode(picture: Image.Image, kind: str, **options: int) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def _uri(data: bytes, kind: str) -> str:
    return f"data:{'video' if kind == 'mp4' else 'image'}/{kind};base64,{base64.b64encode(data).decode()}"
