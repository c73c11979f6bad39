"""How fast the page is under the hand, in Chromium, and how fast the plain way is.

Beside the page it serves, in the same run and with the same model, what Gradio's first pages teach: `gr.Image` and
`gr.Gallery` in the queue. Of both it times loading, counts the new pictures painted a second while a slider is dragged,
and times each letter of a caption from its input event to sixteen new pictures, and each change of tabs while pictures
are awaited. The two take turns, so that a busy machine slows both; medians of three rounds, about three minutes.
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
ROUNDS = 3
LETTERS, TYPING = 16, 15  # keystrokes and seconds at most
DRAG = 3  # seconds
SWITCHES = 10  # of tabs
SETTLE = 1500  # ms between measurements

# Where things are on each page, by their CSS selectors.
OURS = {
    "ready": ".grid[aria-busy=false]",
    "caption": "#t2i-caption",
    "pictures": ".grid img",
    "style": "#t2i-attribute-1",
    "picture": ".blended",
    "blend": "#t2i-blend-across",
}
PLAIN = {
    "ready": "#pictures img",
    "caption": "#caption textarea",
    "pictures": "#pictures img",
    "style": "#style input[type=range]",
    "picture": "#picture img",
    "blend": "#blend input[type=range]",
}

# A hand that goes there and back once a second; a frame counts once every picture in it is another one.
DRAGGING = """async ([slider, watched, seconds]) => {
  const range = document.querySelector(slider);
  const sources = () => [...document.querySelectorAll(watched)].map((image) => image.complete && image.src);
  const [low, high] = [Number(range.min), Number(range.max)];
  let shown = sources(), frames = 0;
  const start = performance.now();
  for (let now = start; now < start + 1000 * seconds; now = await new Promise(requestAnimationFrame)) {
    const fresh = sources();
    if (fresh.every((source, i) => source && source !== shown[i])) (shown = fresh), frames++;
    range.value = low + (high - low) * Math.abs(1 - (((now - start) / 500) % 2));
    range.dispatchEvent(new Event("input", { bubbles: true }));
  }
  return frames / seconds;
}"""

# From a letter's input event to the frame after which all pictures are others; a timeout inside a frame's callback
# runs after that frame is painted.
TYPING_WATCH = """([box, watched]) => {
  window.times = [];
  document.querySelector(box).addEventListener("input", async () => {
    const start = performance.now();
    const images = () => [...document.querySelectorAll(watched)];
    const before = images().map((image) => image.src);
    const changed = () => images().every((image, i) => image.complete && image.src !== before[i]);
    while (!changed()) await new Promise(requestAnimationFrame);
    requestAnimationFrame(() => setTimeout(() => window.times.push(performance.now() - start)));
  }, true);
}"""

# From a click on a tab, with pictures just asked for, to the frame that shows the tab's own.
SWITCHING = """async ([slider, shown, times]) => {
  const range = document.querySelector(slider);
  const tabs = [...document.querySelectorAll("[role=tab]")];
  const painted = () => new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
  const found = [];
  for (let i = 0; i < times; i++) {
    const [name, picture] = shown[i % shown.length];
    range.value = i % 2 ? range.min : range.max;
    range.dispatchEvent(new Event("input", { bubbles: true }));
    const start = performance.now();
    tabs.find((tab) => tab.textContent.trim() === name).click();
    do await painted();
    while (!document.querySelector(picture).offsetParent);
    found.push(performance.now() - start);
  }
  return found;
}"""


def run(model: str = "flowers") -> dict:
    """Medians of the rounds, by figure, for this page and the plain one."""
    folder = str(locate.resolve(model).resolve())
    with sync_playwright() as playwright:
        chromium = "/usr/bin/chromium" if Path("/usr/bin/chromium").exists() else None
        try:
            browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        except Error as error:
            raise InputError(f"this benchmark needs Chromium, which does not start: {error}") from None
        with _served(folder, "app.py") as ours, _served(folder, "-m", "t2i.bench.screen") as plain:
            rounds = [(_measure(browser, ours, OURS), _measure(browser, plain, PLAIN)) for _ in range(ROUNDS)]
        version = browser.version
        browser.close()
    page, plain = ({name: statistics.median(one[name] for one in side) for name in side[0]} for side in zip(*rounds))
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else math.nan  # Windows has none
    machine = {"processor": processor(), "cores": os.cpu_count(), "load": load}
    return {"model": Path(model).name, "page": page, "plain": plain, "chromium": version, "machine": machine}


def table(figures: dict) -> str:
    """The figures in words."""
    lines = [f"{'':42}{'this page':>10}{'plain':>10}{'times':>8}"]
    for name, here in figures["page"].items():
        there = figures["plain"][name]
        ratio = math.nan if 0 in (here, there) else here / there if name.startswith("frames") else there / here
        lines.append(f"{name:42}{here:10.1f}{there:10.1f}{ratio:8.1f}")
    machine = figures["machine"]
    told = f"{machine['processor']}, {machine['cores']} cores, load {machine['load']:.1f}"
    return "\n".join([*lines, f"{told} · Chromium {figures['chromium']}"])


def _measure(browser: Browser, address: str, places: dict[str, str]) -> dict[str, float]:
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    start = time.monotonic()
    page.goto(address)
    page.wait_for_selector(places["ready"])
    loaded = time.monotonic() - start
    page.wait_for_timeout(SETTLE)
    style = page.evaluate(DRAGGING, [places["style"], places["pictures"], DRAG])
    page.wait_for_timeout(SETTLE)
    times = _type(page, places)
    page.get_by_role("tab", name="Blend").click()
    page.wait_for_selector(places["picture"])
    page.wait_for_timeout(SETTLE)
    blend = page.evaluate(DRAGGING, [places["blend"], places["picture"], DRAG])
    page.wait_for_timeout(SETTLE)
    tabs = [("Draw", places["pictures"]), ("Blend", places["picture"])]
    switches = page.evaluate(SWITCHING, [places["style"], tabs, SWITCHES])
    page.close()
    return {
        "first load to usable, s": loaded,
        "frames a second, one picture (Blend)": blend,
        "frames a second, sixteen (a style)": style,
        "keystroke to sixteen, median ms": statistics.median(times),
        "keystroke to sixteen, 95th percentile ms": statistics.quantiles(times, n=20)[-1],
        "change of tabs, median ms": statistics.median(switches),
        "change of tabs, longest ms": max(switches),
    }


def _type(page: Page, places: dict[str, str]) -> list[float]:
    """Milliseconds of each letter; the next is typed when the last one's pictures are there."""
    page.locator(places["caption"]).fill("")
    page.keyboard.type(CAPTION[0])  # Gradio's textbox hears keys alone
    page.wait_for_timeout(SETTLE)
    page.evaluate(TYPING_WATCH, [places["caption"], places["pictures"]])
    end = time.monotonic() + TYPING
    for count, letter in enumerate(CAPTION.replace(" ", "")[1:LETTERS], 1):  # a space alone changes no picture
        page.keyboard.type(letter)
        page.wait_for_function(f"window.times.length === {count}", timeout=20_000)
        if count > 1 and time.monotonic() > end:
            break
    return page.evaluate("window.times")


@contextmanager
def _served(model: str, *arguments: str) -> Iterator[str]:
    """The address of a page that shows the model of a folder."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = os.environ | {"HOST": "127.0.0.1", "PORT": str(port), "MODEL": model}
    command = [sys.executable, *arguments]
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as server:
        try:
            if not any("Running on" in line for line in server.stdout):
                raise SystemExit(f"{arguments[0]} did not start; its own words are above.")
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()


def _plain() -> None:
    """The plain way: every change a queued event, every picture a file."""
    import gradio as gr
    import torch

    import t2i

    torch.set_num_threads(usable_cores())
    studio = t2i.load()
    ends = [CAPTION, "a blue flower"]

    def draw(caption: str, style: float):
        return studio.draw(caption, range(1, 17), [style])

    def blend(share: float):
        return studio.mix_array(ends, [[1 - share, share]], 1)[0]

    kindly = {"trigger_mode": "always_last", "show_progress": "hidden"}  # the default drops where a drag ends
    with gr.Blocks(analytics_enabled=False) as demo:
        with gr.Tab("Draw"):
            caption = gr.Textbox(CAPTION, label="Caption", elem_id="caption")
            style = gr.Slider(-1, 1, 0, step=0.05, label="Style", elem_id="style")
            pictures = gr.Gallery(columns=4, elem_id="pictures")
        with gr.Tab("Blend"):
            share = gr.Slider(0, 1, 0.5, step=0.005, label="Way", elem_id="blend")
            picture = gr.Image(elem_id="picture")
        caption.input(draw, [caption, style], pictures, **kindly)
        style.input(draw, [caption, style], pictures, **kindly)
        share.input(blend, share, picture, **kindly)
        demo.load(draw, [caption, style], pictures)
        demo.load(blend, share, picture)
    demo.launch(server_name=os.environ["HOST"], server_port=int(os.environ["PORT"]))


if __name__ == "__main__":
    _plain()
