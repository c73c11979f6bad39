"""The README's screenshots: `python -m tools.screens http://127.0.0.1:7860`, while `make demo` serves the page.

It writes to `examples/`: typing.webp (captions in Field, then in Draw, then between two in Blend; frame by frame, so
that a slow machine shows no less), blend.webp, and tabs.webp (every tab, on a desktop screen and on a phone, light and
dark).
"""

import io
import math
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

EXAMPLES = Path(__file__).parents[1] / "examples"
DESKTOP, PHONE, FILM = (1024, 720), (360, 783), (1100, 740)
DEVICE_SCALE = 0.625  # pixels of a screenshot for each pixel of CSS
FIELD_WORDS = "a purple ", "flower ", "with thin ", "petals"
START_TEXT, ADDED_TEXT = "a flower with pink petals", " and a yellow center"
FILM_QUALITY = 30
GUTTER = 10  # pixels between screenshots
TIMEOUT = 120_000  # ms
FIELD_FADE, DRAFT_TIME, STILL_TIME = 500, 600, 150  # ms until the page shows its final pictures
BLEND_STEPS = 16
# The machine's own times and waits are no part of it.
FILM_STYLE = ".status { visibility: hidden; } [data-waiting]::before { display: none; }"
MOVE = "(input, value) => { input.value = value; input.dispatchEvent(new Event('input')); }"


def open_tab(
    browser: Browser, address: str, tab: str, size=DESKTOP, dark: bool = False, scale: float = DEVICE_SCALE
) -> Page:
    """Open the page at a tab, and wait until its pictures are there."""
    viewport = {"width": size[0], "height": size[1]}
    page = browser.new_page(viewport=viewport, device_scale_factor=scale, reduced_motion="reduce")
    page.add_init_script("localStorage.setItem('t2i-draws-on', 'server')")  # it says how fast this machine draws
    page.goto(f"{address}/?__theme={'dark' if dark else 'light'}&tab={tab.lower()}", timeout=TIMEOUT)
    page.locator(f".t2i-{tab.lower()} .link-error").wait_for(state="attached", timeout=TIMEOUT)  # its script has run
    page.wait_for_timeout(1000)  # for the requests to begin
    rest(page)
    page.wait_for_timeout(1000)  # for the pictures to fade in
    return page


def screenshot(page: Page) -> Image.Image:
    return Image.open(io.BytesIO(page.screenshot(timeout=TIMEOUT))).convert("RGB")


Frames = Iterator[tuple[Image.Image, int]]  # each with the milliseconds for which it is shown


def rest(page: Page) -> None:
    page.wait_for_function("!document.querySelector('[data-waiting]')", timeout=TIMEOUT)


def typed(page: Page, box: str, parts: Iterable[str], fade: int, duration: int) -> Frames:
    """Type a text part by part, and wait `fade` ms for the pictures of each."""
    for part in parts:
        page.locator(box).press_sequentially(part)
        rest(page)
        page.wait_for_timeout(fade)
        yield screenshot(page), duration


def film_frames(browser: Browser, address: str) -> Frames:
    """Field, Draw and Blend, one after the other."""

    def open_filmed(tab: str) -> Page:
        page = open_tab(browser, address, tab, FILM, scale=640 / FILM[0])
        page.add_style_tag(content=FILM_STYLE)
        return page

    page = open_filmed("Field")
    yield screenshot(page), 900
    page.locator("#t2i-field-caption").fill("")
    yield from typed(page, "#t2i-field-caption", FIELD_WORDS, FIELD_FADE, duration=260)
    yield screenshot(page), 900
    page.close()

    page = open_filmed("Draw")
    page.locator("#t2i-draw-caption").fill(START_TEXT)
    rest(page)
    page.wait_for_timeout(DRAFT_TIME)
    yield screenshot(page), 700
    yield from typed(page, "#t2i-draw-caption", ADDED_TEXT, fade=0, duration=90)
    page.wait_for_timeout(DRAFT_TIME)
    yield screenshot(page), 1000
    page.close()

    page = open_filmed("Blend")
    slider = page.locator("#t2i-blend-across")
    for step in range(BLEND_STEPS + 1):
        slider.evaluate(MOVE, 0.5 - 0.5 * math.cos(math.pi * step / BLEND_STEPS))
        page.wait_for_timeout(STILL_TIME)
        rest(page)
        yield screenshot(page), 90
    yield screenshot(page), 900
    page.close()


def tab_sheet(browser: Browser, address: str) -> Image.Image:
    """Field, Style and Compare on a desktop screen; Draw, Blend and Search on a phone."""
    desktop_tabs = [("Field", True), ("Style", False), ("Compare", True)]
    large = [screenshot(open_tab(browser, address, tab, dark=dark)) for tab, dark in desktop_tabs]
    width, height = large[0].size
    scale = (width - 2 * GUTTER) / 3 / PHONE[0]
    phone_tabs = [("Draw", False), ("Blend", True), ("Search", False)]
    small = [screenshot(open_tab(browser, address, tab, PHONE, dark, scale)) for tab, dark in phone_tabs]
    sheet = Image.new("RGB", (2 * width + GUTTER, 2 * height + GUTTER), "white")
    for i, image in enumerate(large):
        sheet.paste(image, (i % 2 * (width + GUTTER), i // 2 * (height + GUTTER)))
    for i, image in enumerate(small):
        sheet.paste(image, (width + GUTTER + i * (small[0].width + GUTTER), height + GUTTER))
    return sheet


def main(address: str) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium")
        frames, durations = zip(*film_frames(browser, address))
        options = {"append_images": frames[1:], "duration": list(durations), "loop": 0, "quality": FILM_QUALITY}
        options["method"] = 6  # the smallest files
        frames[0].save(EXAMPLES / "typing.webp", save_all=True, **options)
        screenshot(open_tab(browser, address, "Blend", (1280, 900), scale=1)).save(EXAMPLES / "blend.webp", quality=80)
        tab_sheet(browser, address).save(EXAMPLES / "tabs.webp", quality=80, method=6)


if __name__ == "__main__":
    main(sys.argv[1].rstrip("/"))
