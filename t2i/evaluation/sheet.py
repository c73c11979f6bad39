"""The paper's Figures 4 and 8 by several models: test captions beside their photos, and interpolations."""

import textwrap

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ..data import imagefolder
from ..media import export
from ..studio import load

NUM_CAPTIONS = 8
NUM_STEPS = 8  # of an interpolation, with both ends
PICTURE_SIZE = 128  # pixels along a side of every picture on a sheet, whatever its model draws
MARGIN, HEADER_HEIGHT, CAPTION_WIDTH = 8, 16, 320  # pixels


def comparison(models: list[str], path: str, seed: int) -> bytes:
    """Figure 4: a PNG with a row for each of eight test captions: the caption, its photo, a picture by each model."""
    dataset = imagefolder.read(path, PICTURE_SIZE)
    rows = dataset.test_rows()
    rows = rows[np.linspace(0, len(rows) - 1, min(NUM_CAPTIONS, len(rows))).astype(int)]
    captions = [dataset.captions[i][0] for i in rows]
    columns = [dataset.images[rows], *(load(model).draw_array(captions, seed) for model in models)]
    pictures = [[column[row] for column in columns] for row in range(len(rows))]
    sheet = _sheet(["photo", *map(_short_name, models)], captions, pictures)
    return export.png(sheet, {"captions": captions, "models": models, "seed": seed})


def interpolation(models: list[str], captions: list[str], seed: int) -> bytes:
    """Figure 8: a PNG with a row for each model, from one caption to the other with the noise of one seed.

    Then a row for each model with the first caption, from this seed to the next.
    """
    first, last = captions
    names, studios = [_short_name(model) for model in models], [load(model) for model in models]
    labels = [f"{name}: {first} … {last}" for name in names] + [f"{name}: {first}" for name in names]
    films = [studio.blend(first, last, NUM_STEPS, seed) for studio in studios]
    films += [studio.wander(first, seed, seed + 1, NUM_STEPS) for studio in studios]
    pictures = [[np.asarray(picture) for picture in film] for film in films]
    titles = [f"{100 * step / (NUM_STEPS - 1):.0f} %" for step in range(NUM_STEPS)]
    return export.png(_sheet(titles, labels, pictures), {"captions": captions, "models": models, "seed": seed})


def _short_name(model: str) -> str:
    return model.rpartition("/")[2]


def _sheet(titles: list[str], labels: list[str], pictures: list[list[np.ndarray]]) -> np.ndarray:
    """Rows of labelled pictures (size, size, 3) under the titles of their columns."""
    step = PICTURE_SIZE + MARGIN
    width, top = CAPTION_WIDTH + step * len(titles) + MARGIN, HEADER_HEIGHT + MARGIN
    sheet = Image.new("RGB", (width, top + step * len(labels) + MARGIN), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    for i, title in enumerate(titles):
        pen.text((CAPTION_WIDTH + i * step, MARGIN), title, "black", font)
    for label, row in zip(labels, pictures, strict=True):
        pen.multiline_text((MARGIN, top), "\n".join(textwrap.wrap(label, 42)[:7]), "black", font, spacing=4)
        for i, picture in enumerate(row):
            resized = Image.fromarray(picture).resize((PICTURE_SIZE, PICTURE_SIZE), Image.Resampling.LANCZOS)
            sheet.paste(resized, (CAPTION_WIDTH + i * step, top))
        top += step
    return np.asarray(sheet)
