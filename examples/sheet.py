"""A sheet of captions by seeds: python examples/sheet.py [CAPTIONS.txt] [MODEL]"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

import t2i

path = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_name("captions.txt")
studio = t2i.load(sys.argv[2] if len(sys.argv) > 2 else "flowers")
rows = [studio.draw_array(caption, seeds=range(8)) for caption in path.read_text("utf-8").splitlines()]  # (8, S, S, 3)
Image.fromarray(np.concatenate([np.concatenate(list(row), axis=1) for row in rows])).save("sheet.png")
print("sheet.png: a row for each caption, a column for each seed")
