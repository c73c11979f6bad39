"""Pictures to files: a sheet or a film, with metadata that says how they were made."""

import io
import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image, PngImagePlugin

from ..errors import InputError

GUTTER = 2  # pixels between pictures of a sheet
FILM_SIZES = {".gif": 256, ".webp": 512, ".mp4": 512}  # pixels a side to which smaller frames are enlarged
FRAME_MS = 80
EXIF_DESCRIPTION = 0x010E  # ImageDescription


def png(pixels: np.ndarray, metadata: dict[str, Any]) -> bytes:
    """Pixels (H, W, 3) as a PNG: `metadata["captions"]` as its description, all of `metadata` as JSON in `t2i`."""
    info = PngImagePlugin.PngInfo()
    info.add_itxt("Description", "\n".join(metadata["captions"]))
    info.add_itxt("t2i", json.dumps(metadata))
    return _encode(Image.fromarray(pixels), "PNG", pnginfo=info)


def film(frames: np.ndarray, suffix: str, metadata: dict[str, Any]) -> bytes:
    """Frames (N, S, S, 3) as a file: a sheet in rows for `.png`, a film for `.gif`, `.webp` and `.mp4`.

    A GIF has at least 256×256 pixels, the others 512×512. GIF and WebP play forward and back in a loop; all but MP4
    hold `metadata`. `InputError` for another suffix.
    """
    if suffix not in FILM_WRITERS:
        raise InputError(f"the file must end in {', '.join(FILM_WRITERS)}, not {suffix or 'nothing'!r}")
    return FILM_WRITERS[suffix](enlarge_film(frames, suffix), metadata)


def enlarge_film(frames: np.ndarray, suffix: str) -> np.ndarray:
    """Frames (N, S, S, 3) enlarged to the size of a film with this suffix; those of a sheet stay as they are."""
    size = max(FILM_SIZES.get(suffix, 0), frames.shape[1])
    return np.stack([resize(pixels, size) for pixels in frames])


def can_write_mp4() -> bool:
    """Whether PyAV is installed."""
    try:
        import av  # noqa: F401
    except ModuleNotFoundError:
        return False
    return True


def resize(pixels: np.ndarray, size: int) -> np.ndarray:
    """Square pixels (S, S, 3) resized to (size, size, 3) with the Lanczos filter."""
    if len(pixels) == size:
        return pixels
    return np.asarray(Image.fromarray(pixels).resize((size, size), Image.Resampling.LANCZOS))


def grid(pictures: np.ndarray) -> np.ndarray:
    """Pictures (N, H, W, 3) as rows and columns (R, C, H, W, 3), about as many of each; empty places are white."""
    columns = math.ceil(math.sqrt(len(pictures)))
    rows = math.ceil(len(pictures) / columns)
    missing = rows * columns - len(pictures)
    padded = np.pad(pictures, ((0, missing), (0, 0), (0, 0), (0, 0)), constant_values=255)
    return padded.reshape(rows, columns, *pictures.shape[1:])


def sheet(pictures: np.ndarray) -> np.ndarray:
    """A grid of pictures (R, C, H, W, 3) as one picture (R (H + 2) + 2, C (W + 2) + 2, 3), white between them."""
    padding = ((0, 0), (0, 0), (GUTTER, 0), (GUTTER, 0), (0, 0))
    framed = np.pad(pictures, padding, constant_values=255).swapaxes(1, 2)
    joined = framed.reshape(framed.shape[0] * framed.shape[1], -1, 3)
    return np.pad(joined, ((0, GUTTER), (0, GUTTER), (0, 0)), constant_values=255)


def _sheet(frames: np.ndarray, metadata: dict) -> bytes:
    return png(sheet(grid(frames)), metadata)


def _gif(frames: np.ndarray, metadata: dict) -> bytes:
    # Pillow's default method of choosing 256 colours takes 1 s a frame if most pixels differ, this one 2 ms.
    first, *others = (frame.quantize(method=Image.Quantize.FASTOCTREE) for frame in _forward_and_back(frames))
    return _encode(first, "GIF", **_loop_options(others), comment=json.dumps(metadata).encode())


def _webp(frames: np.ndarray, metadata: dict) -> bytes:
    first, *others = _forward_and_back(frames)
    exif = Image.Exif()
    exif[EXIF_DESCRIPTION] = json.dumps(metadata)
    return _encode(first, "WEBP", **_loop_options(others), quality=90, exif=exif)


def _mp4(frames: np.ndarray, metadata: dict) -> bytes:
    try:
        import av  # optional: requirements-video.txt
    except ModuleNotFoundError:
        raise InputError("MP4 needs PyAV: pip install -r requirements-video.txt") from None
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=1000 // FRAME_MS, options={"crf": "16"})
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        for pixels in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
    return buffer.getvalue()


FILM_WRITERS: dict[str, Callable[[np.ndarray, dict], bytes]] = {
    ".png": _sheet,
    ".gif": _gif,
    ".webp": _webp,
    ".mp4": _mp4,
}


def _forward_and_back(frames: np.ndarray) -> list[Image.Image]:
    pictures = [Image.fromarray(pixels) for pixels in frames]
    return pictures + pictures[-2:0:-1]


def _loop_options(other_frames: list[Image.Image]) -> dict[str, Any]:
    return {"save_all": True, "append_images": other_frames, "duration": FRAME_MS, "loop": 0}


def _encode(picture: Image.Image, format_: str, **options) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format_, **options)
    return buffer.getvalue()
