"""Pictures with their words, to be passed on: a poster, the card of a link, the sentences on a film."""

import unicodedata
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from .export import grid, resize

PAPER, INK, QUIET, ACCENT = "#fbfaf8", "#1d1a18", "#655f58", "#b0225f"  # the page's light colours
WORDMARK = "t2i"
LINE_HEIGHT = 1.25  # of the font's size

POSTER_WIDTH = 1080  # pixels
POSTER_MARGIN = 40
POSTER_GUTTER = 8
POSTER_FONT_SIZES = (46, 40, 34, 28)
POSTER_WORDS_HEIGHT = 240  # at most; longer words are cut

CARD_SIZE = (1200, 630)  # pixels, as social networks show a link
CARD_GUTTER = 6
CARD_FONT_SIZES = (64, 56, 48, 40, 34)
NUM_CARD_PICTURES = 16

FILM_FONT_SHARE = 1 / 20  # of the film's height
FILM_MARGIN_SHARE = 1 / 24


def poster(pictures: np.ndarray, captions: Sequence[str], footer: str) -> np.ndarray:
    """Pictures (N, S, S, 3) in rows, with their captions and a footer below: pixels (H, 1080, 3)."""
    rows, columns = grid(pictures).shape[:2]
    side = (POSTER_WIDTH - 2 * POSTER_MARGIN - (columns - 1) * POSTER_GUTTER) // columns
    width, step = POSTER_WIDTH - 2 * POSTER_MARGIN, side + POSTER_GUTTER
    font, lines = _fit(captions, width, POSTER_WORDS_HEIGHT, POSTER_FONT_SIZES)
    top = POSTER_MARGIN + rows * step - POSTER_GUTTER + 26
    words_height = round(len(lines) * LINE_HEIGHT * font.size)
    canvas = Image.new("RGB", (POSTER_WIDTH, top + words_height + 26 + 24 + POSTER_MARGIN), PAPER)
    for i, picture in enumerate(pictures):
        row, column = divmod(i, columns)
        canvas.paste(_image(picture, side), (POSTER_MARGIN + column * step, POSTER_MARGIN + row * step))
    draw = ImageDraw.Draw(canvas)
    _write(draw, (POSTER_MARGIN, top), lines, font, INK)
    baseline = canvas.height - POSTER_MARGIN
    draw.text((POSTER_MARGIN, baseline), footer, QUIET, _font(24), anchor="ls")
    draw.text((POSTER_WIDTH - POSTER_MARGIN, baseline), WORDMARK, ACCENT, _font(34), anchor="rs")
    return np.asarray(canvas)


def card(pictures: np.ndarray, captions: Sequence[str], footer: str) -> np.ndarray:
    """Sixteen pictures (16, S, S, 3) beside their captions: pixels (630, 1200, 3)."""
    width, height = CARD_SIZE
    side = (height - 3 * CARD_GUTTER) // 4
    canvas = Image.new("RGB", CARD_SIZE, PAPER)
    for i, picture in enumerate(pictures[:NUM_CARD_PICTURES]):
        row, column = divmod(i, 4)
        canvas.paste(_image(picture, side), (column * (side + CARD_GUTTER), row * (side + CARD_GUTTER)))
    left, margin = height + 48, 48
    font, lines = _fit(captions, width - left - margin, height - 250, CARD_FONT_SIZES)
    draw = ImageDraw.Draw(canvas)
    draw.text((left, margin), WORDMARK, ACCENT, _font(56), anchor="lt")
    _write(draw, (left, margin + 96), lines, font, INK)
    draw.text((left, height - margin), footer, QUIET, _font(26), anchor="ls")
    return np.asarray(canvas)


def write_sentences(frames: np.ndarray, captions: Sequence[str], weights: Sequence[Sequence[float]]) -> np.ndarray:
    """Frames (N, S, S, 3), each with the caption of the largest weight at its foot, fainter where two weigh the same.

    `weights`: (N, C), a row for each frame.
    """
    size = frames.shape[1]
    margin, font_size = round(FILM_MARGIN_SHARE * size), round(FILM_FONT_SHARE * size)
    fitted = [_fit([caption], size - 2 * margin, 4 * LINE_HEIGHT * font_size, (font_size,)) for caption in captions]
    heights = [round(len(lines) * LINE_HEIGHT * font_size) for _, lines in fitted]
    masks = []
    for (font, lines), height in zip(fitted, heights):
        mask = Image.new("L", (size, size), 0)
        _write(ImageDraw.Draw(mask), (margin, size - margin - height), lines, font, 255)
        masks.append(np.asarray(mask, np.float32)[..., None] / 255)
    # Every picture is darkened towards its foot, so that white words are readable on it.
    top = size - max(heights) - 3 * margin
    shade = 0.75 * np.clip((np.arange(size, dtype=np.float32) - top) / (2 * margin), 0, 1)[:, None, None]
    rows = np.asarray(weights, np.float32)
    second, first = np.sort(rows, axis=1)[:, -2:].T
    opacities = np.minimum(1, 2 * (first - second))
    written = np.empty_like(frames)
    for target, frame, caption, opacity in zip(written, frames, rows.argmax(1), opacities, strict=True):
        dark = (1 - shade) * frame
        target[:] = np.rint(dark + opacity * masks[caption] * (255 - dark))
    return written


def _image(pixels: np.ndarray, side: int) -> Image.Image:
    return Image.fromarray(resize(pixels, side))


def _font(size: float) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size)
    assert isinstance(font, ImageFont.FreeTypeFont)  # Pillow's wheels have FreeType
    return font


def _fit(
    paragraphs: Sequence[str], width: float, height: float, sizes: Sequence[int]
) -> tuple[ImageFont.FreeTypeFont, list[str]]:
    """The largest font in which wrapped paragraphs have room, and their lines; in the smallest, the end is cut off."""
    for size in sizes:
        font = _font(size)
        lines = [line for text in paragraphs for line in _wrap(_readable(text), font, width)]
        room = int(height // (LINE_HEIGHT * size))
        if len(lines) <= room:
            return font, lines
    return font, [*lines[: room - 1], f"{lines[room - 1][:-1].rstrip()} ..."]


def _wrap(text: str, font: ImageFont.FreeTypeFont, width: float) -> list[str]:
    """The lines of a text; a word that is longer than a line is broken."""
    lines = [""]
    for word in text.split():
        if font.getlength(f"{lines[-1]} {word}".strip()) <= width:
            lines[-1] = f"{lines[-1]} {word}".strip()
            continue
        lines.append("")
        for letter in word:
            if font.getlength(lines[-1] + letter) > width:
                lines.append("")
            lines[-1] += letter
    return [line for line in lines if line]


def _readable(text: str) -> str:
    """A text in the letters of Pillow's font, which are those that the models read: accents are dropped."""
    dashes = text.replace("–", "-").replace("—", "-")
    decomposed = unicodedata.normalize("NFKD", dashes)
    return "".join(letter for letter in decomposed if letter.isascii() or letter in "“”‘’·").strip()


def _write(draw: ImageDraw.ImageDraw, place: tuple[int, int], lines: list[str], font, colour: str | int) -> None:
    for i, line in enumerate(lines):
        draw.text((place[0], place[1] + round(i * LINE_HEIGHT * font.size)), line, colour, font)
