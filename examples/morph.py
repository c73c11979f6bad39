"""A film from one sentence to another and back (GAN-INT, section 4.3).

python examples/morph.py "a red flower" "a blue flower"
"""

import sys

import t2i

first, second = sys.argv[1:3]
way = t2i.load("flowers").blend(first, second, steps=33, seed=7)
way[0].save("morph.gif", save_all=True, append_images=[*way[1:], *way[::-1]], duration=60, loop=0)
print(f"morph.gif: from {first!r} to {second!r} and back")
