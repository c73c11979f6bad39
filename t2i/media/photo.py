"""Photos of any kind, prepared as input of the networks."""

import warnings
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps

from ..errors import InputError

ENCODER_INPUT_SIZE = 64  # pixels a side of a prepared photo, the input of the photo encoders
MAX_PHOTO_PIXELS = 50_000_000  # bounds the memory


def open_photo(file: str | Path | BinaryIO) -> Image.Image:
    """The picture in a file of any format that Pillow reads, not yet decoded. `InputError` if there is none."""
    prefix = f"{file}: " if isinstance(file, (str, Path)) else ""
    try:
        with warnings.catch_warnings(action="error", category=Image.DecompressionBombWarning):
            return Image.open(file)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise InputError(f"{prefix}has more than the {MAX_PHOTO_PIXELS // 10**6} million pixels allowed") from None
    except Exception as error:  # Pillow has no common base class for the errors of hostile files
        strerror = error.strerror if isinstance(error, OSError) else None
        raise InputError(f"{prefix}{strerror.lower() if strerror else 'is not a readable picture'}") from None


def prepare(photo: Image.Image, size: int = ENCODER_INPUT_SIZE) -> np.ndarray:
    """The central square of a photo as pixels (size, size, 3), uint8.

    The photo is turned as its EXIF says. Of an animation the first frame is used, transparent parts become white, and
    16-bit values are cut to 8 bits. `InputError` if it has more than 50 million pixels or cannot be decoded.
    """
    if photo.width * photo.height > MAX_PHOTO_PIXELS:
        allowed = f"{MAX_PHOTO_PIXELS // 10**6} million allowed"
        raise InputError(f"the photo has {photo.width}×{photo.height} pixels, more than the {allowed}")
    try:
        photo.seek(0)
        square = ImageOps.fit(_rgb(ImageOps.exif_transpose(photo)), (size, size), Image.Resampling.BICUBIC)
    except Exception:  # Pillow has no common base class for the errors of hostile files
        raise InputError("the photo cannot be read: it is damaged") from None
    return np.array(square)  # a copy, because torch needs a writable array


def _rgb(photo: Image.Image) -> Image.Image:
    if photo.mode.startswith("I;16"):  # Pillow itself clips these values at 255
        return Image.fromarray((np.asarray(photo) >> 8).astype(np.uint8)).convert("RGB")
    if photo.has_transparency_data:
        photo = photo.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", photo.size, "white"), photo).convert("RGB")
    return photo.convert("RGB")
