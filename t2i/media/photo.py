"""Photos from anywhere, made into what the networks see."""

import warnings
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps

from ..errors import InputError

SEEN = 64  # pixels of a side that the networks see
MOST = 50_000_000  # pixels of a photo: bounds the memory


def open_photo(file: str | Path | BinaryIO) -> Image.Image:
    """The picture in a file, of any kind that Pillow reads, not yet decoded. `InputError` if there is none."""
    told = f"{file}: " if isinstance(file, (str, Path)) else ""
    try:
        with warnings.catch_warnings(action="error", category=Image.DecompressionBombWarning):
            return Image.open(file)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise InputError(f"{told}has more than {MOST // 10**6} million pixels, the most allowed") from None
    except Exception as error:  # Pillow names no common base for what a hostile file raises
        reason = error.strerror.lower() if isinstance(error, OSError) and error.strerror else "is no readable picture"
        raise InputError(f"{told}{reason}") from None


def prepare(photo: Image.Image, size: int = SEEN) -> np.ndarray:
    """The central square of a photo as pixels (size, size, 3), uint8.

    Turned as its EXIF says; of an animation the first frame; what is transparent on white; 16 bits cut to 8.
    `InputError` if it has more than 50 million pixels or cannot be decoded.
    """
    if photo.width * photo.height > MOST:
        told = f"{photo.width}×{photo.height} pixels, more than the {MOST // 10**6} million allowed"
        raise InputError(f"the photo has {told}")
    try:
        photo.seek(0)
        square = ImageOps.fit(_rgb(ImageOps.exif_transpose(photo)), (size, size), Image.Resampling.BICUBIC)
    except Exception:  # Pillow names no common base for what a hostile file raises
        raise InputError("the photo cannot be read: it is damaged") from None
    return np.array(square)  # a copy, for torch wants to own it


def _rgb(photo: Image.Image) -> Image.Image:
    if photo.mode.startswith("I;16"):  # Pillow itself cuts these off at 255
        return Image.fromarray((np.asarray(photo) >> 8).astype(np.uint8)).convert("RGB")
    if photo.has_transparency_data:
        photo = photo.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", photo.size, "white"), photo).convert("RGB")
    return photo.convert("RGB")
