"""How fast the page responds in Chromium, compared with a plain Gradio page.

The plain page is what Gradio's guides teach: `gr.Image` and `gr.Gallery`, with every event in the queue. Both pages are
served in the same run with the same model. Measured are: the first load; how many new pictures a second are painted
while a slider is dragged; the time from the input event of each letter to sixteen new pictures; and the time of a
change of tabs while pictures are loading. The pages take turns, so that a busy machine slows both. The result is the
median of three rounds and takes about three minutes.
"""

import math
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Error, Page, sync_playwright

from .. import locate
from ..device import processor, usable_cores
from ..errors import InputError

ROOT = Path(__file__).parents[2]
CAPTION = "a flower with pink petals and a yellow centre"
NUM_ROUNDS = 3
MAX_LETTERS, MAX_TYPING_SECONDS = 16, 15
DRAG_SECONDS = 3
NUM_TAB_CHANGES = 10
PAUSE_MS = 1500  # between measurements

# CSS selectors of each page.
OUR_SELECTORS = {
    "ready": ".grid[aria-busy=false]",
    "caption": "#t2i-draw-caption",
    "pictures": ".grid img",
    "attribute": "#t2i-draw-attribute-1",
    "picture": ".blended",
    "blend": "#t2i-blend-across",
}
PLAIN_SELECTORS = {
    "ready": "#pictures img",
    "caption": "#caption textarea",
    "pictures": "#pictures img",
    "attribute": "#attribute input[type=range]",
    "picture": "#picture img",
    "blend": "#blend input[type=range]",
}

# Drags a slider from end to end and back once a second. A frame counts when all of its pictures are new.
DRAG_SCRIPT = """async ([slider, images, seconds]) => {
  const range = document.querySelector(slider);
  const sources = () => [...document.querySelectorAll(images)].map((image) => image.complete && image.src);
  const [low, high] = [Number(range.min), Number(range.max)];
  let before = sources(), frames = 0;
  const start = performance.now();
  for (let now = start; now < start + 1000 * seconds; now = await new Promise(requestAnimationFrame)) {
    const after = sources();
    if (after.every((source, i) => source && source !== before[i])) (before = after), frames++;
    range.value = low + (high - low) * Math.abs(1 - (((now - start) / 500) % 2));
    range.dispatchEvent(new Event("input", { bubbles: true }));
  }
  return frames / seconds;
}"""

# Times from a letter's input event to the frame in which all pictures are new. A timeout set in an animation frame's
# callback runs after that frame is painted.
TYPING_SCRIPT = """([textbox, selector]) => {
  window.times = [];
  document.querySelector(textbox).addEventListener("input", async () => {
    const start = performance.now();
    const images = () => [...document.querySelectorAll(selector)];
    const before = images().map((image) => image.src);
    const changed = () => images().every((image, i) => image.complete && image.src !== before[i]);
    while (!changed()) await new Promise(requestAnimationFrame);
    requestAnimationFrame(() => setTimeout(() => window.times.push(performance.now() - start)));
  }, true);
}"""

# Times from a click on a tab, just after new pictures were requested, to the frame that shows the tab's own picture.
TAB_SCRIPT = """async ([slider, pictures, count]) => {
  const range = document.querySelector(slider);
  const tabs = [...document.querySelectorAll("[role=tab]")];
  const painted = () => new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
  const times = [];
  for (let i = 0; i < count; i++) {
    const [name, picture] = pictures[i % pictures.length];
    range.value = i % 2 ? range.min : range.max;
    range.dispatchEvent(new Event("input", { bubbles: true }));
    const start = performance.now();
    tabs.find((tab) => tab.textContent.trim() === name).click();
    do await painted();
    while (!document.querySelector(picture).offsetParent);
    times.push(performance.now() - start);
  }
  return times;
}"""


def run(model: str = "flowers") -> dict:
    """The median of the rounds of each measurement, for this page and the plain one."""
    folder = str(locate.resolve(model).resolve())
    with sync_playwright() as playwright:
        chromium = "/usr/bin/chromium" if Path("/usr/bin/chromium").exists() else None
        try:
            browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        except Error as error:
            raise InputError(f"this benchmark needs Chromium, which does not start: {error}") from None
        with _serve(folder, "app.py") as our_address, _serve(folder, "-m", "t2i.bench.screen") as plain_address:
            pages = (our_address, OUR_SELECTORS), (plain_address, PLAIN_SELECTORS)
            rounds = [[_measure(browser, *page) for page in pages] for _ in range(NUM_ROUNDS)]
        version = browser.version
        browser.close()
    page, plain = (
        {name: statistics.median(r[name] for r in results) for name in results[0]} for results in zip(*rounds)
    )
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else math.nan  # Windows has none
    machine = {"processor": processor(), "cores": os.cpu_count(), "load": load}
    return {"model": Path(model).name, "page": page, "plain": plain, "chromium": version, "machine": machine}


def table(figures: dict) -> str:
    """What `run` returns, as text."""
    lines = [f"{'':42}{'this page':>10}{'plain':>10}{'times':>8}"]
    for name, ours in figures["page"].items():
        plain = figures["plain"][name]
        ratio = math.nan if 0 in (ours, plain) else ours / plain if name.startswith("frames") else plain / ours
        lines.append(f"{name:42}{ours:10.1f}{plain:10.1f}{ratio:8.1f}")
    machine = figures["machine"]
    hardware = f"{machine['processor']}, {machine['cores']} cores, load {machine['load']:.1f}"
    return "\n".join([*lines, f"{hardware} · Chromium {figures['chromium']}"])


def _measure(browser: Browser, address: str, selectors: dict[str, str]) -> dict[str, float]:
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    start = time.monotonic()
    page.goto(f"{address}/?tab=draw")
    page.wait_for_selector(selectors["ready"])
    loaded = time.monotonic() - start
    page.wait_for_timeout(PAUSE_MS)
    sixteen = page.evaluate(DRAG_SCRIPT, [selectors["attribute"], selectors["pictures"], DRAG_SECONDS])
    page.wait_for_timeout(PAUSE_MS)
    times = _type(page, selectors)
    page.get_by_role("tab", name="Blend").click()
    page.wait_for_selector(selectors["picture"])
    page.wait_for_timeout(PAUSE_MS)
    blend = page.evaluate(DRAG_SCRIPT, [selectors["blend"], selectors["picture"], DRAG_SECONDS])
    page.wait_for_timeout(PAUSE_MS)
    tabs = [("Draw", selectors["pictures"]), ("Blend", selectors["picture"])]
    switches = page.evaluate(TAB_SCRIPT, [selectors["attribute"], tabs, NUM_TAB_CHANGES])
    page.close()
    return {
        "first load to usable, s": loaded,
        "frames a second, one picture (Blend)": blend,
        "frames a second, sixteen (a slider)": sixteen,
        "keystroke to sixteen, median ms": statistics.median(times),
        "keystroke to sixteen, 95th percentile ms": statistics.quantiles(times, n=20)[-1],
        "change of tabs, median ms": statistics.median(switches),
        "change of tabs, longest ms": max(switches),
    }


def _type(page: Page, selectors: dict[str, str]) -> list[float]:
    """Milliseconds of each letter; the next is typed when the pictures of the last have arrived."""
    page.locator(selectors["caption"]).fill("")
    page.keyboard.type(CAPTION[0])  # Gradio's textbox reacts only to keys
    page.wait_for_timeout(PAUSE_MS)
    page.evaluate(TYPING_SCRIPT, [selectors["caption"], selectors["pictures"]])
    end = time.monotonic() + MAX_TYPING_SECONDS
    for count, letter in enumerate(CAPTION.replace(" ", "")[1:MAX_LETTERS], 1):  # a space changes no picture
        page.keyboard.type(letter)
        page.wait_for_function(f"window.times.length === {count}", timeout=20_000)
        if count > 1 and time.monotonic() > end:
            break
    return page.evaluate("window.times")


@contextmanager
def _serve(model: str, *arguments: str) -> Iterator[str]:
    """Serve a page with the model of a folder; yields its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = os.environ | {"HOST": "127.0.0.1", "PORT": str(port), "MODEL": model}
    command = [sys.executable, *arguments]
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as server:
        try:
            if not any("Running on" in line for line in server.stdout or ()):
                raise SystemExit(f"{arguments[0]} did not start; its own error is above.")
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()


def _plain() -> None:
    """The plain page: every change is a queued event, every picture a file."""
    import gradio as gr
    import torch

    import t2i

    torch.set_num_threads(usable_cores())
    studio = t2i.load(os.environ["MODEL"])
    captions = [CAPTION, "a blue flower"]

    def draw(caption: str, attribute: float):
        return studio.draw(caption, range(1, 17), [attribute])

    def blend(share: float):
        return studio.mix_array(captions, [[1 - share, share]], 1)[0]

    with gr.Blocks(analytics_enabled=False) as demo:
        with gr.Tab("Draw"):
            caption = gr.Textbox(CAPTION, label="Caption", elem_id="caption")
            attribute = gr.Slider(-1, 1, 0, step=0.05, label="Attribute", elem_id="attribute")
            pictures = gr.Gallery(columns=4, elem_id="pictures")
        with gr.Tab("Blend"):
            share = gr.Slider(0, 1, 0.5, step=0.005, label="Share", elem_id="blend")
            picture = gr.Image(elem_id="picture")
        # The default trigger mode drops the last event of a drag.
        caption.input(draw, [caption, attribute], pictures, trigger_mode="always_last", show_progress="hidden")
        attribute.input(draw, [caption, attribute], pictures, trigger_mode="always_last", show_progress="hidden")
        share.input(blend, share, picture, trigger_mode="always_last", show_progress="hidden")
        demo.load(draw, [caption, attribute], pictures)
        demo.load(blend, share, picture)
    demo.launch(server_name=os.environ["HOST"], server_port=int(os.environ["PORT"]))


if __name__ == "__main__":
    _plain()
