"""The paper's Figure 4: test captions by models, the same seed, the photo beside them."""

import textwrap

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from .. import files
from ..errors import InputError
from ..studio import load
from ..training import data

CAPTIONS, SCALE, MARGIN, LINE = 8, 2, 8, 16
WORDS = 320  # pixels for a caption


def comparison(models: list[str], path: str, seed: int) -> bytes:
    """A PNG: a row for each of eight test captions; its photo, then a picture of each model."""
    captioned = data.read(path, 64)
    rows = captioned.rows("test")
    if not len(rows):
        raise InputError(f"{path}: has no test pictures")
    rows = rows[np.linspace(0, len(rows) - 1, min(CAPTIONS, len(rows))).astype(int)]
    captions = [captioned.captions[i][0] for i in rows]
    columns = [captioned.images[rows], *(load(model).draw_array(captions, seed) for model in models)]
    side = 64 * SCALE + MARGIN
    size = (WORDS + side * len(columns) + MARGIN, LINE + MARGIN + side * len(rows) + MARGIN)
    page = Image.new("RGB", size, "white")
    pen, font = ImageDraw.Draw(page), ImageFont.load_default(13)
    for x, name in enumerate(["photo", *(model.rpartition("/")[2] for model in models)]):
        pen.text((WORDS + x * side, MARGIN), name, "black", font)
    for y, caption in enumerate(captions):
        top = LINE + MARGIN + y * side
        pen.multiline_text((MARGIN, top), "\n".join(textwrap.wrap(caption, 42)[:7]), "black", font, spacing=4)
        for x, pictures in enumerate(columns):
            picture = Image.fromarray(pictures[y]).resize((64 * SCALE,) * 2, Image.Resampling.BICUBIC)
            page.paste(picture, (WORDS + x * side, top))
    made = {"captions": captions, "models": models, "seed": seed}
    return files.png(np.asarray(page), made)
