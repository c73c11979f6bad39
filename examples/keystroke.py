"""From a keystroke to sixteen new pictures on the screen, in Chromium.

    python -m examples.keystroke            # the registered flowers
    T2I_FLOWERS=folder python -m examples.keystroke

Starts the page, types a caption letter by letter, and times each letter from its input event to
the frame after which all sixteen pictures of that very caption are decoded and painted. The next
letter is typed when the last one's pictures are there. Types for a minute at most.
"""

import os
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path

from playwright.sync_api import sync_playwright

from t2i.machine import processor, usable_cores

CAPTION = "a flower with pink petals and a yellow centre"
LIMIT = 60  # seconds of typing

# A timeout inside a frame's callback runs after that frame is painted.
WATCH = """() => {
  const box = document.querySelector('#t2i-caption');
  const images = [...document.querySelectorAll('.grid img')];
  window.times = [];
  let start, wanted = null;
  box.addEventListener('input', () => { start = performance.now(); wanted = box.value; }, true);
  new MutationObserver(async () => {
    if (wanted === null || !images.every((image) => image.alt === wanted)) return;
    wanted = null;
    await Promise.all(images.map((image) => image.decode()));
    requestAnimationFrame(() => setTimeout(() => window.times.push(performance.now() - start)));
  }).observe(document.querySelector('.grid'), { subtree: true, attributeFilter: ['alt'] });
}"""


def main() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    root = Path(__file__).parents[1]
    app = subprocess.Popen(
        [sys.executable, str(root / "app.py")],
        env=os.environ | {"HOST": "127.0.0.1", "PORT": str(port)},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        if not any("Running on" in line for line in app.stdout):
            raise SystemExit("app.py did not start; its own words are above.")
        with sync_playwright() as playwright:
            chromium = "/usr/bin/chromium" if Path("/usr/bin/chromium").exists() else None
            browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            page = browser.new_page(viewport={"width": 1280, "height": 800})
            page.goto(f"http://127.0.0.1:{port}")
            page.wait_for_selector(".grid[aria-busy=false]")
            page.locator("#t2i-caption").fill("")
            page.wait_for_selector(".grid[aria-busy=false]")
            page.evaluate(WATCH)
            end = time.monotonic() + LIMIT
            for i, letter in enumerate(CAPTION, 1):
                page.keyboard.type(letter)
                page.wait_for_function(f"window.times.length === {i}", timeout=30_000)
                if i > 1 and time.monotonic() > end:
                    break
            times = page.evaluate("window.times")
            status = page.locator(".status").inner_text()
            version = browser.version
            browser.close()
    finally:
        app.terminate()
        app.wait()
    median, slow = statistics.median(times), statistics.quantiles(times, n=20)[-1]
    print(f"keystroke to sixteen pictures: median {median:.0f} ms, 95th percentile {slow:.0f} ms")
    print(f"{len(times)} keystrokes · {status}")
    print(f"{processor()}, {usable_cores()} cores, load {os.getloadavg()[0]:.1f} · Chromium {version}")


if __name__ == "__main__":
    main()
