"""Photos of any kind, prepared as input of the networks."""

import re
import warnings
from functools import cache
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps

from ..errors import InputError
from ..models import StyleEncoderConfig

ENCODER_INPUT_SIZE = StyleEncoderConfig().size  # pixels a side of a prepared photo; the image encoder's are as many
MAX_PHOTO_PIXELS = 50_000_000  # bounds the memory
# Formats of Pillow that are not photos in a folder: films, drawings for other programs, and mere names of formats.
NOT_PHOTOS = ("EPS", "WMF", "MPEG", "BUFR", "GRIB", "HDF5")
HEIC_SUFFIXES = (".heic", ".heif", ".hif")
HEIC_START = re.compile(rb".{4}ftyp(hei[cxms]|hev[cxms]|mif1|msf1)", re.DOTALL)  # with the brands of ISO/IEC 23008-12
NEEDS_HEIF = "HEIC needs `pip install pillow-heif`"
SAVE_ANEW = "save it anew as PNG or JPEG, or leave it out"


@cache
def picture_suffixes() -> frozenset[str]:
    """The endings, in lower case, of the pictures that can be opened; of HEIC only if pillow-heif is installed."""
    try:
        from pillow_heif import register_heif_opener
    except ModuleNotFoundError:
        pass
    else:
        register_heif_opener()
    suffixes = Image.registered_extensions()  # also loads the plugins of Pillow
    return frozenset(ending for ending, kind in suffixes.items() if kind in Image.OPEN and kind not in NOT_PHOTOS)


def is_picture_name(name: str) -> bool:
    """Whether a file's name ends as that of a picture that can be opened."""
    return Path(name).suffix.lower() in picture_suffixes()


def open_photo(file: str | Path | BinaryIO) -> Image.Image:
    """The picture in a file of any format that Pillow reads, not yet decoded. `InputError` if there is none."""
    prefix = f"{file}: " if isinstance(file, (str, Path)) else ""
    picture_suffixes()  # registers HEIC
    try:
        with warnings.catch_warnings(action="error", category=Image.DecompressionBombWarning):
            return Image.open(file)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise InputError(f"{prefix}has more than the {MAX_PHOTO_PIXELS // 10**6} million pixels allowed") from None
    except Exception as error:  # Pillow has no common base class for the errors of hostile files
        strerror = error.strerror if isinstance(error, OSError) else None
        raise InputError(f"{prefix}{strerror.lower() if strerror else _unreadable(file)}") from None


def _unreadable(file: str | Path | BinaryIO) -> str:
    """What to say of a file that Pillow does not open."""
    if isinstance(file, (str, Path)):
        with open(file, "rb") as opened:
            start = opened.read(12)
    else:
        file.seek(0)
        start = file.read(12)
    return NEEDS_HEIF if HEIC_START.match(start) else f"is not a readable picture: {SAVE_ANEW}"


def prepare(photo: Image.Image, size: int = ENCODER_INPUT_SIZE) -> np.ndarray:
    """The central square of a photo as pixels (size, size, 3), uint8.

    The photo is turned as its EXIF says. Of an animation the first frame is used, transparent parts become white,
    and values of 16 or 32 bits, whole or floating, are scaled by their range: 0…1, 0…255, or else from the lowest to
    the highest. `InputError` if it has more than 50 million pixels or cannot be decoded.
    """
    if photo.width * photo.height > MAX_PHOTO_PIXELS:
        allowed = f"{MAX_PHOTO_PIXELS // 10**6} million allowed"
        raise InputError(f"the photo has {photo.width}×{photo.height} pixels, more than the {allowed}")
    try:
        photo.seek(0)
        square = ImageOps.fit(_rgb(ImageOps.exif_transpose(photo)), (size, size), Image.Resampling.BICUBIC)
    except Exception:  # Pillow has no common base class for the errors of hostile files
        raise InputError(f"the photo is damaged: {SAVE_ANEW}") from None
    return np.array(square)  # a copy, because torch needs a writable array


def _rgb(photo: Image.Image) -> Image.Image:
    if photo.mode.startswith(("I", "F")):  # Pillow itself clips these values at 255
        return Image.fromarray(_to_8_bits(np.asarray(photo, np.float32))).convert("RGB")
    if photo.has_transparency_data:
        photo = photo.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", photo.size, "white"), photo).convert("RGB")
    return photo.convert("RGB")


def _to_8_bits(values: np.ndarray) -> np.ndarray:
    """Values of 0…1, 0…255, or else of any range, scaled to uint8. What is not a number becomes the lowest."""
    finite = values[np.isfinite(values)]
    low, high = (finite.min(), finite.max()) if finite.size else (0.0, 0.0)
    values = np.nan_to_num(values, nan=low, posinf=high, neginf=low)
    if low >= 0 and high <= 255:
        low, high = 0.0, 1.0 if high <= 1 else 255.0
    return np.rint((values - low) * (255 / max(high - low, 1e-9))).astype(np.uint8)
