"""A photo's style under other captions (paper, section 4.4): python examples/restyle.py PHOTO CAPTION [CAPTION …]"""

import sys

from PIL import Image

import t2i

photo, captions = Image.open(sys.argv[1]), sys.argv[2:]
for number, picture in enumerate(t2i.load("flowers").restyle(photo, captions), 1):
    picture.save(f"restyled-{number}.png")
    print(f"restyled-{number}.png: {captions[number - 1]}")
