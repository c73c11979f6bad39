"""Pictures to files: a sheet or a film. What made them travels in the file."""

import io
import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image, PngImagePlugin

from ..errors import InputError

GUTTER = 2  # pixels between pictures of a sheet
FILM_SIDE = 256  # pixels: frames of less are enlarged to it
FRAME = 80  # ms
DESCRIPTION = 0x010E  # EXIF's ImageDescription


def png(pixels: np.ndarray, made: dict[str, Any]) -> bytes:
    """Pixels (H, W, 3) as a PNG that says how they were made: `made["captions"]` in words, all of `made` as JSON."""
    notes = PngImagePlugin.PngInfo()
    notes.add_itxt("Description", "\n".join(made["captions"]))
    notes.add_itxt("t2i", json.dumps(made))
    return _encoded(Image.fromarray(pixels), "PNG", pnginfo=notes)


def film(frames: np.ndarray, ending: str, made: dict[str, Any]) -> bytes:
    """Frames (N, S, S, 3) as a file of this ending: `.png` a sheet; `.gif`, `.webp`, `.mp4` of at least 256×256.

    GIF and WebP go there and back for ever; all but MP4 carry `made`. `InputError` for another ending.
    """
    if ending not in FILMS:
        raise InputError(f"the file must end in {', '.join(FILMS)}, not {ending or 'nothing'!r}")
    return FILMS[ending](frames, made)


def resize(pixels: np.ndarray, side: int) -> np.ndarray:
    """Square pixels (S, S, 3) as (side, side, 3), by Lanczos' filter."""
    if len(pixels) == side:
        return pixels
    return np.asarray(Image.fromarray(pixels).resize((side, side), Image.Resampling.LANCZOS))


def square(pictures: np.ndarray) -> np.ndarray:
    """Pictures (N, H, W, 3) laid out in rows (R, C, H, W, 3), about as many as columns; the rest is white."""
    columns = math.ceil(math.sqrt(len(pictures)))
    rows = math.ceil(len(pictures) / columns)
    missing = rows * columns - len(pictures)
    padded = np.pad(pictures, ((0, missing), (0, 0), (0, 0), (0, 0)), constant_values=255)
    return padded.reshape(rows, columns, *pictures.shape[1:])


def sheet(pictures: np.ndarray) -> np.ndarray:
    """Rows of pictures (R, C, H, W, 3) as one (R (H + 2) + 2, C (W + 2) + 2, 3), white between them."""
    around = ((0, 0), (0, 0), (GUTTER, 0), (GUTTER, 0), (0, 0))
    framed = np.pad(pictures, around, constant_values=255).swapaxes(1, 2)
    joined = framed.reshape(framed.shape[0] * framed.shape[1], -1, 3)
    return np.pad(joined, ((0, GUTTER), (0, GUTTER), (0, 0)), constant_values=255)


def _sheet(frames: np.ndarray, made: dict) -> bytes:
    return png(sheet(frames[None]), made)


def _gif(frames: np.ndarray, made: dict) -> bytes:
    # Pillow's own choice of 256 colours takes a second a frame where most pixels differ; this one 2 ms.
    first, *others = (frame.quantize(method=Image.Quantize.FASTOCTREE) for frame in _there_and_back(frames))
    return _encoded(first, "GIF", **_looped(others), comment=json.dumps(made).encode())


def _webp(frames: np.ndarray, made: dict) -> bytes:
    first, *others = _there_and_back(frames)
    exif = Image.Exif()
    exif[DESCRIPTION] = json.dumps(made)
    return _encoded(first, "WEBP", **_looped(others), quality=90, exif=exif)


def _mp4(frames: np.ndarray, made: dict) -> bytes:
    try:
        import av  # an extra: requirements-video.txt
    except ModuleNotFoundError:
        raise InputError("MP4 needs PyAV: pip install -r requirements-video.txt") from None
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=1000 // FRAME, options={"crf": "16"})
        pictures = _enlarged(frames)
        stream.width, stream.height = pictures[0].size
        stream.pix_fmt = "yuv420p"
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_image(picture)))
        container.mux(stream.encode())
    return buffer.getvalue()


FILMS: dict[str, Callable[[np.ndarray, dict], bytes]] = {".png": _sheet, ".gif": _gif, ".webp": _webp, ".mp4": _mp4}


def _enlarged(frames: np.ndarray) -> list[Image.Image]:
    side = max(FILM_SIDE, frames.shape[1])
    return [Image.fromarray(resize(pixels, side)) for pixels in frames]


def _there_and_back(frames: np.ndarray) -> list[Image.Image]:
    pictures = _enlarged(frames)
    return pictures + pictures[-2:0:-1]


def _looped(others: list[Image.Image]) -> dict[str, Any]:
    return {"save_all": True, "append_images": others, "duration": FRAME, "loop": 0}


def _encoded(picture: Image.Image, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()
