"""The README's screenshots: `python -m tools.screens http://127.0.0.1:7860`, while `make demo` serves the page.

It writes to `examples/`: typing.webp (a caption is typed letter by letter, then a slider is dragged), blend.webp, and
tabs.webp (every tab, on a desktop screen and on a phone, light and dark).
"""

import io
import sys
from collections.abc import Iterator
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

EXAMPLES = Path(__file__).parents[1] / "examples"
DESKTOP, PHONE, FILM = (1024, 720), (360, 783), (1100, 740)
DEVICE_SCALE = 0.625  # pixels of a screenshot for each pixel of CSS
READY = ".t2i-draw .grid[aria-busy=false]"
START_TEXT, TYPED_TEXT = "this flower has pink petals", " and a yellow center"
GUTTER = 10  # pixels between screenshots
TIMEOUT = 120_000  # ms


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
    page.wait_for_function("!document.querySelector('[data-waiting]')", timeout=TIMEOUT)
    page.wait_for_timeout(1000)  # for the pictures to fade in
    return page


def screenshot(page: Page) -> Image.Image:
    return Image.open(io.BytesIO(page.screenshot(timeout=TIMEOUT))).convert("RGB")


def typing_frames(page: Page) -> Iterator[tuple[Image.Image, int]]:
    """Frames of the animation, and the milliseconds for which each is shown."""
    caption, slider = page.locator("#t2i-draw-caption"), page.locator("#t2i-draw-attribute-3")
    page.locator(".t2i-draw summary").click()  # the sliders
    caption.fill(START_TEXT)
    page.wait_for_selector(READY)
    yield screenshot(page), 900
    for letter in TYPED_TEXT:
        caption.press_sequentially(letter)
        page.wait_for_selector(READY)
        yield screenshot(page), 100
    yield screenshot(page), 1200
    low, high = (float(slider.get_attribute(end)) for end in ("min", "max"))
    for step in (*range(2, 6, 2), *range(6, -6, -2), *range(-6, 1, 2)):
        value = (low + high) / 2 + (high - low) / 2 * step / 8
        slider.evaluate("(input, value) => { input.value = value; input.dispatchEvent(new Event('input')); }", value)
        page.wait_for_selector(READY)
        yield screenshot(page), 80
    yield screenshot(page), 1500


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
        frames, durations = zip(*typing_frames(open_tab(browser, address, "Draw", FILM, scale=640 / FILM[0])))
        options = {"append_images": frames[1:], "duration": list(durations), "loop": 0, "quality": 45, "method": 6}
        frames[0].save(EXAMPLES / "typing.webp", save_all=True, **options)
        screenshot(open_tab(browser, address, "Blend", (1280, 900), scale=1)).save(EXAMPLES / "blend.webp", quality=80)
        tab_sheet(browser, address).save(EXAMPLES / "tabs.webp", quality=80, method=6)


if __name__ == "__main__":
    main(sys.argv[1].rstrip("/"))
