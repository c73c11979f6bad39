"""The README's pictures of the page: `python -m examples.screens http://127.0.0.1:7860`, while `make demo` serves it.

Writes typing.webp (a caption typed letter by letter, then a slider dragged), blend.webp, and tabs.webp (every tab, on a
screen and on a telephone, light and dark) beside this file.
"""

import io
import sys
from collections.abc import Iterator
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

HERE = Path(__file__).parent
SCREEN, TELEPHONE = (1024, 720), (360, 783)
SHRUNK = 0.625  # of the screen's pixels are in the pictures
DRAWN = ".t2i-draw .grid[aria-busy=false]"
WAS, TYPED = "this flower has pink petals", " with white edges"
GUTTER = 10


def opened(browser: Browser, address: str, tab: str, size=SCREEN, dark: bool = False, shrunk: float = SHRUNK) -> Page:
    """A page with a tab open, settled."""
    width, height = size
    page = browser.new_page(
        viewport={"width": width, "height": height}, device_scale_factor=shrunk, reduced_motion="reduce"
    )
    page.goto(f"{address}/?__theme={'dark' if dark else 'light'}&tab={tab.lower()}")
    page.wait_for_load_state("networkidle")
    page.wait_for_timeout(2500)
    return page


def shot(page: Page) -> Image.Image:
    return Image.open(io.BytesIO(page.screenshot())).convert("RGB")


def typing(page: Page) -> Iterator[tuple[Image.Image, int]]:
    """Frames, and for how many milliseconds each stays."""
    caption, size = page.locator("#t2i-caption"), page.locator("#t2i-attribute-3")
    caption.fill(WAS)
    page.wait_for_selector(DRAWN)
    yield shot(page), 900
    for letter in TYPED:
        caption.press_sequentially(letter)
        page.wait_for_selector(DRAWN)
        yield shot(page), 100
    yield shot(page), 1200
    low, high = (float(size.get_attribute(end)) for end in ("min", "max"))
    for step in (*range(2, 8, 2), *range(8, -8, -2), *range(-8, 1, 2)):
        value = (low + high) / 2 + (high - low) / 2 * step / 8
        size.evaluate("(slider, value) => { slider.value = value; slider.dispatchEvent(new Event('input')); }", value)
        page.wait_for_selector(DRAWN)
        yield shot(page), 80
    yield shot(page), 1500


def sheet(browser: Browser, address: str) -> Image.Image:
    """Style, Compare and Search on a screen, Draw, Blend and About on a telephone."""
    screens = [("Style", True), ("Compare", False), ("Search", True)]
    large = [shot(opened(browser, address, tab, dark=dark)) for tab, dark in screens]
    width, height = large[0].size
    slim = (width - 2 * GUTTER) / 3 / TELEPHONE[0]
    telephones = [("Draw", False), ("Blend", True), ("About", False)]
    small = [shot(opened(browser, address, tab, TELEPHONE, dark, slim)) for tab, dark in telephones]
    whole = Image.new("RGB", (2 * width + GUTTER, 2 * height + GUTTER), "white")
    for i, picture in enumerate(large):
        whole.paste(picture, (i % 2 * (width + GUTTER), i // 2 * (height + GUTTER)))
    for i, picture in enumerate(small):
        whole.paste(picture, (width + GUTTER + i * (small[0].width + GUTTER), height + GUTTER))
    return whole


def main(address: str) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium")
        frames, times = zip(*typing(opened(browser, address, "Draw", (1024, 780))))
        film = {"append_images": frames[1:], "duration": list(times), "loop": 0, "quality": 60, "method": 6}
        frames[0].save(HERE / "typing.webp", save_all=True, **film)
        shot(opened(browser, address, "Blend", (1280, 900), shrunk=1)).save(HERE / "blend.webp", quality=80)
        sheet(browser, address).save(HERE / "tabs.webp", quality=80, method=6)


if __name__ == "__main__":
    main(sys.argv[1].rstrip("/"))
