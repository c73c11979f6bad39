"""The paper's Figure 4: pictures of test captions by several models from the same seed, beside the photos."""

import textwrap

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ..data import imagefolder
from ..media import export
from ..studio import load

NUM_CAPTIONS = 8
PICTURE_SIZE = 128  # pixels along a side of every picture on the sheet, whatever its model draws
MARGIN, HEADER_HEIGHT, CAPTION_WIDTH = 8, 16, 320  # pixels


def comparison(models: list[str], path: str, seed: int) -> bytes:
    """A PNG with a row for each of eight test captions: the caption, its photo, and a picture by each model."""
    dataset = imagefolder.read(path, PICTURE_SIZE)
    rows = dataset.test_rows()
    rows = rows[np.linspace(0, len(rows) - 1, min(NUM_CAPTIONS, len(rows))).astype(int)]
    captions = [dataset.captions[i][0] for i in rows]
    columns = [dataset.images[rows], *(load(model).draw_array(captions, seed) for model in models)]
    step = PICTURE_SIZE + MARGIN
    width, height = CAPTION_WIDTH + step * len(columns) + MARGIN, HEADER_HEIGHT + MARGIN + step * len(rows) + MARGIN
    sheet = Image.new("RGB", (width, height), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    for i, title in enumerate(["photo", *(model.rpartition("/")[2] for model in models)]):
        pen.text((CAPTION_WIDTH + i * step, MARGIN), title, "black", font)
    for row, caption in enumerate(captions):
        top = HEADER_HEIGHT + MARGIN + row * step
        pen.multiline_text((MARGIN, top), "\n".join(textwrap.wrap(caption, 42)[:7]), "black", font, spacing=4)
        for i, pictures in enumerate(columns):
            picture = Image.fromarray(pictures[row]).resize((PICTURE_SIZE, PICTURE_SIZE), Image.Resampling.LANCZOS)
            sheet.paste(picture, (CAPTION_WIDTH + i * step, top))
    return export.png(np.asarray(sheet), {"captions": captions, "models": models, "seed": seed})
