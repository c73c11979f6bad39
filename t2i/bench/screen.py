"""How fast the page responds in Chromium, compared with a plain Gradio page.

The plain page is what Gradio's guides teach: `gr.Image` and `gr.Gallery`, with every event in the queue. Both pages are
served in the same run with the same model. Measured are: the first load; how many new pictures a second are painted
while a slider is dragged; the time from the input event of each letter to sixteen new pictures; and the time of a
change of tabs while pictures are loading. The pages take turns, so that a busy machine slows both.

Then the same over a line of 10 Mbit/s whose answers come 0, 100 and 400 ms later: pictures a second while Blend is
dragged and played and while a slider is dragged, the longest task of the page's main thread meanwhile, and the time
from the last letter of a caption typed without a pause to its pictures. Of this page that is measured three times: to
the first of them, to all of them, which may be drafts, and to the final ones; and its large picture is dragged, too. In
all of this the server draws; then this page is measured over the same lines while it draws in the browser.

The result is the median of three rounds and takes about a quarter of an hour.
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

from playwright.sync_api import Browser, Error, Page, Playwright, sync_playwright

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
LATENCIES_MS = 0, 100, 400  # of a line
LINE_BYTES_PER_SECOND = 1_250_000
LETTER_DELAY_MS = 150  # of somebody who types fast
SETTLE_MS = 2500  # after the last letter
MAX_LOADING_MS = 60_000  # of the networks into the browser
DRAWN_HERE = "drawn in the browser, "  # the beginning of a measurement's name

# CSS selectors of each page; the plain one has no Play.
OUR_SELECTORS = {
    "address": "/?tab=draw",
    "ready": ".grid[aria-busy=false]",
    "caption": "#t2i-draw-caption",
    "pictures": ".grid img",
    "attribute": "#t2i-draw-attribute-1",
    "picture": ".t2i-blend .motion",
    "blend": "#t2i-blend-across",
    "play": ".t2i-blend .play",
    "picture_button": ".t2i-draw .picture",
    "large": ".t2i-draw .big",
    "switch": ".draws-on",
}
PLAIN_SELECTORS = {
    "address": "/",
    "ready": "#pictures img",
    "caption": "#caption textarea",
    "pictures": "#pictures img",
    "attribute": "#attribute input[type=range]",
    "picture": "#picture img",
    "blend": "#blend input[type=range]",
}

# Drags a slider from end to end and back once a second, or only looks if there is none. A frame counts when all of its
# pictures are new; a canvas is told apart by its pixels.
DRAG_SCRIPT = """async ([slider, images, seconds]) => {
  const range = document.querySelector(slider);
  const small = new OffscreenCanvas(8, 8).getContext("2d", { willReadFrequently: true });
  const look = (node) => {
    const source = node.getAttribute("src"); // `src` would parse it, and it may be long
    if (source) return node.complete && source;
    small.drawImage(node, 0, 0, 8, 8);
    return small.getImageData(0, 0, 8, 8).data.join();
  };
  const sources = () => [...document.querySelectorAll(images)].map(look);
  let before = sources(), frames = 0;
  const start = performance.now();
  for (let now = start; now < start + 1000 * seconds; now = await new Promise(requestAnimationFrame)) {
    const after = sources();
    if (after.every((source, i) => source && source !== before[i])) (before = after), frames++;
    if (!range) continue;
    const [low, high] = [Number(range.min), Number(range.max)];
    range.value = low + (high - low) * Math.abs(1 - (((now - start) / 500) % 2));
    range.dispatchEvent(new Event("input", { bubbles: true }));
  }
  return frames / seconds;
}"""

# Notes the longest task of the main thread, in ms.
TASKS_SCRIPT = """() => {
  const note = (list) => list.getEntries().forEach(({ duration }) => (longest = Math.max(longest, duration)));
  window.longest = 0;
  new PerformanceObserver(note).observe({ type: "longtask" });
}"""

# Notes which pictures are of which caption, and how often each was asked to draw in Draw.
ANSWERS_SCRIPT = """() => {
  window.answers = {};
  window.asked = { server: 0, browser: 0 };
  const send = window.fetch;
  window.fetch = async (...all) => {
    const reply = await send(...all);
    const { fn_name: name, data } = typeof all[1]?.body === "string" ? JSON.parse(all[1].body) : {};
    if (name !== "draw") return reply;
    window.asked.server++;
    const { pictures } = await reply.clone().json();
    for (const picture of pictures ?? []) window.answers[picture] = data.caption;
    return reply;
  };
}"""
OWN_ANSWERS_SCRIPT = """() => {
  const { draw } = t2i.local;
  const note = (answer, caption) => answer?.pictures?.forEach((picture) => (window.answers[picture] = caption));
  t2i.local.draw = async (captions, noise, options, onPart) => {
    const notePart = onPart && ((part) => (note(part, captions[0]), onPart(part)));
    const answer = await draw(captions, noise, options, notePart);
    note(answer, captions[0]);
    if (answer && !options.points) window.asked.browser++;
    return answer;
  };
}"""

# Notes each frame after the last input event in which all pictures are new: its time after that event, and whether it
# shows an older caption, where that is known. And the time of the first frame that shows a picture of the last caption.
CHANGES_SCRIPT = """([textbox, selector]) => {
  if (window.changes) return;
  let last = 0;
  window.changes = [];
  const images = () => [...document.querySelectorAll(selector)];
  let before = images().map((image) => image.src);
  document.querySelector(textbox).addEventListener("input", ({ target }) => {
    last = performance.now();
    window.changes = [];
    window.first = null;
    window.lastCaption = target.value;
  }, true);
  const look = () => {
    const sources = images().map((image) => image.complete && image.src);
    const isLast = (source) => window.answers[source] === window.lastCaption;
    if (last && window.first === null && sources.some(isLast)) window.first = performance.now() - last;
    if (last && sources.every((source, i) => source && source !== before[i])) {
      before = sources;
      const time = performance.now() - last;
      window.changes.push({ time, isOld: sources.some((source) => window.answers[source] && !isLast(source)) });
    }
    requestAnimationFrame(look);
  };
  look();
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
        browser = start_chromium(playwright)
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
    lines = [f"{'':50}{'this page':>10}{'plain':>8}{'times':>7}{'in the browser':>16}"]
    page = figures["page"]
    for name, ours in page.items():
        if name.startswith(DRAWN_HERE):
            continue  # it stands beside what the server draws
        plain, here = figures["plain"].get(name, math.nan), page.get(DRAWN_HERE + name, math.nan)
        ratio = math.nan if 0 in (ours, plain) else ours / plain if "frames" in name else plain / ours
        lines.append(f"{name:50}{ours:10.1f}{plain:8.1f}{ratio:7.1f}{here:16.1f}")
    machine = figures["machine"]
    hardware = f"{machine['processor']}, {machine['cores']} cores, load {machine['load']:.1f}"
    return "\n".join([*lines, f"{hardware} · Chromium {figures['chromium']}"])


def start_chromium(playwright: Playwright) -> Browser:
    """Debian's Chromium, else Playwright's; `InputError` if it does not start."""
    path = "/usr/bin/chromium" if Path("/usr/bin/chromium").exists() else None
    try:
        return playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
    except Error as error:
        raise InputError(f"this benchmark needs Chromium, which does not start: {error}") from None


def _measure(browser: Browser, address: str, selectors: dict[str, str]) -> dict[str, float]:
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    page.add_init_script(f"({ANSWERS_SCRIPT})(); ({TASKS_SCRIPT})()")
    page.add_init_script("localStorage['t2i-draws-on'] = 'server'")
    start = time.monotonic()
    page.goto(address + selectors["address"])
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
    figures = {
        "first load to usable, s": loaded,
        "frames a second, one picture (Blend)": blend,
        "frames a second, sixteen (a slider)": sixteen,
        "keystroke to sixteen, median ms": statistics.median(times),
        "keystroke to sixteen, 95th percentile ms": statistics.quantiles(times, n=20)[-1],
        "change of tabs, median ms": statistics.median(switches),
        "change of tabs, longest ms": max(switches),
    }
    for latency in LATENCIES_MS:
        figures |= _measure_line(page, selectors, latency)
    if "switch" in selectors:
        page.locator(selectors["switch"]).click()
        page.locator(selectors["switch"], has_text="On this device").wait_for(timeout=MAX_LOADING_MS)
        page.evaluate(OWN_ANSWERS_SCRIPT)
        for latency in LATENCIES_MS:
            own = _measure_line(page, selectors, latency)
            figures |= {DRAWN_HERE + name: value for name, value in own.items()}
    page.close()
    return figures


def _measure_line(page: Page, selectors: dict[str, str], latency: int) -> dict[str, float]:
    """The page over a slow line."""
    conditions = {"downloadThroughput": LINE_BYTES_PER_SECOND, "uploadThroughput": LINE_BYTES_PER_SECOND}
    session = page.context.new_cdp_session(page)
    session.send("Network.enable")
    session.send("Network.emulateNetworkConditions", {"offline": False, "latency": latency, **conditions})
    drag = [selectors["blend"], selectors["picture"], DRAG_SECONDS]
    page.get_by_role("tab", name="Blend").click()
    page.wait_for_timeout(PAUSE_MS)
    page.evaluate("longest = 0, asked = { server: 0, browser: 0 }")
    figures = {"frames a second, Blend dragged": page.evaluate(DRAG_SCRIPT, drag)}
    if "play" in selectors:
        page.wait_for_timeout(PAUSE_MS)
        page.locator(selectors["play"]).click()
        figures["frames a second, Blend played"] = page.evaluate(DRAG_SCRIPT, ["#nothing", *drag[1:]])
        page.locator(selectors["play"]).click()
    page.get_by_role("tab", name="Draw").click()
    page.wait_for_timeout(PAUSE_MS)
    slider = [selectors["attribute"], selectors["pictures"], DRAG_SECONDS]
    figures["frames a second, sixteen"] = page.evaluate(DRAG_SCRIPT, slider)
    if "large" in selectors:
        page.wait_for_timeout(PAUSE_MS)
        page.locator(selectors["picture_button"]).first.click()
        page.wait_for_timeout(PAUSE_MS)
        large = [selectors["attribute"], selectors["large"], DRAG_SECONDS]
        figures["frames a second, one large picture"] = page.evaluate(DRAG_SCRIPT, large)
        page.keyboard.press("Escape")
    figures["longest task of the main thread, ms"] = page.evaluate("longest")
    figures |= {f"drawn by the {who} for Draw, answers": n for who, n in page.evaluate("asked").items()}
    page.wait_for_timeout(PAUSE_MS)
    page.locator(selectors["caption"]).fill("")
    page.evaluate(CHANGES_SCRIPT, [selectors["caption"], selectors["pictures"]])
    page.keyboard.type(CAPTION[:MAX_LETTERS], delay=LETTER_DELAY_MS)
    page.wait_for_timeout(SETTLE_MS + latency)
    times = [change["time"] for change in page.evaluate("window.changes") if not change["isOld"]] or [math.nan]
    if "play" in selectors:
        figures["last letter to its first picture, ms"] = page.evaluate("window.first") or math.nan
    figures["last letter to its pictures, ms"] = times[0] if "play" in selectors else times[-1]
    figures["last letter to the final pictures, ms"] = times[-1]
    session.send("Network.disable")
    session.detach()
    return {f"{latency} ms: {name}": value for name, value in figures.items()}


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
