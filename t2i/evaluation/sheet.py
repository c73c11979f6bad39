"""The paper's Figure 4: test captions by models, the same seed, the photo beside them."""

import textwrap

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ..data import imagefolder
from ..errors import InputError
from ..media import export
from ..studio import load

CAPTIONS, SIDE, MARGIN, LINE = 8, 128, 8, 16  # SIDE: pixels of every picture, whatever its model draws
WORDS = 320  # pixels for a caption


def comparison(models: list[str], path: str, seed: int) -> bytes:
    """A PNG: a row for each of eight test captions; its photo, then a picture of each model."""
    dataset = imagefolder.read(path, SIDE)
    rows = dataset.rows("test")
    if not len(rows):
        raise InputError(f"{path}: has no test pictures")
    rows = rows[np.linspace(0, len(rows) - 1, min(CAPTIONS, len(rows))).astype(int)]
    captions = [dataset.captions[i][0] for i in rows]
    columns = [dataset.images[rows], *(load(model).draw_array(captions, seed) for model in models)]
    side = SIDE + MARGIN
    size = (WORDS + side * len(columns) + MARGIN, LINE + MARGIN + side * len(rows) + MARGIN)
    page = Image.new("RGB", size, "white")
    pen, font = ImageDraw.Draw(page), ImageFont.load_default(13)
    for x, name in enumerate(["photo", *(model.rpartition("/")[2] for model in models)]):
        pen.text((WORDS + x * side, MARGIN), name, "black", font)
    for y, caption in enumerate(captions):
        top = LINE + MARGIN + y * side
        pen.multiline_text((MARGIN, top), "\n".join(textwrap.wrap(caption, 42)[:7]), "black", font, spacing=4)
        for x, pictures in enumerate(columns):
            picture = Image.fromarray(pictures[y]).resize((SIDE, SIDE), Image.Resampling.LANCZOS)
            page.paste(picture, (WORDS + x * side, top))
    made = {"captions": captions, "models": models, "seed": seed}
    return export.png(np.asarray(page), made)
