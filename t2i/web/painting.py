"""Paintings of the tab Style: strokes of blobs, which a link holds as text (see style.js)."""

from PIL import Image, ImageDraw

PAPER_SIZE = 512  # pixels a side
# What the text's digits stand for. The first of a stroke is its colour, the second its brush, of which 0 fills the
# paper; then come three for each point, the number across × 512 + down.
DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
COLOURS = {
    "Dark green": "#2f5d34",
    "Green": "#7fb04a",
    "Black": "#141414",
    "Sky blue": "#a8c8e8",
    "White": "#ffffff",
    "Brown": "#8a6f52",
    "Pink": "#d94f8a",
    "Red": "#c93434",
    "Orange": "#ee8030",
    "Yellow": "#f2c33c",
    "Purple": "#7d4fb0",
    "Blue": "#3a63c8",
}
RADII = (0, 14, 22, 32, 46, 64, 88, 120, 160)  # of the brushes, in pixels
MAX_STROKES = 4000
MAX_LENGTH = 18_000  # characters, what a link has room for


def paint(text: str) -> Image.Image:
    """The painting of a text, 512×512; strokes that are not well-formed are left out."""
    paper = Image.new("RGB", (PAPER_SIZE, PAPER_SIZE), "white")
    draw = ImageDraw.Draw(paper)
    for stroke in text[:MAX_LENGTH].split(".")[:MAX_STROKES]:
        colour, brush, *digits = [DIGITS.find(digit) for digit in stroke] if len(stroke) > 1 else (-1, -1)
        if not (0 <= colour < len(COLOURS) and 0 <= brush < len(RADII)) or min(digits, default=0) < 0:
            continue
        ink, radius = list(COLOURS.values())[colour], RADII[brush]
        if brush == 0:
            draw.rectangle((0, 0, PAPER_SIZE, PAPER_SIZE), ink)
            continue
        numbers = [a << 12 | b << 6 | c for a, b, c in zip(digits[::3], digits[1::3], digits[2::3])]
        points = [divmod(number, PAPER_SIZE) for number in numbers]
        draw.line(points, ink, 2 * radius)  # of one point alone, nothing
        for x, y in points:
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), ink)
    return paper
