"""What the tests of the page share: how to serve it, to wait for it and to read it."""

import base64
import io
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from t2i import store
from t2i.web.schemas import PICTURES_PER_PAGE
from t2i.web.service import SERVER_ERROR
from tests.weights import weights_folder

ROOT = Path(__file__).parents[1]
SETTLED = "document.querySelector('.t2i-draw .grid')?.getAttribute('aria-busy') === 'false'"

SERVER_CALLS = "**/component_server/**"  # their address

# The sixteen pictures as the browser decoded them, one above the other, as base64.
PIXELS = """() => {
  const images = [...document.querySelectorAll('.grid img')];
  const canvas = Object.assign(document.createElement('canvas'), { width: 64, height: 64 * images.length });
  const context = canvas.getContext('2d');
  images.forEach((image, i) => context.drawImage(image, 0, 64 * i));
  const bytes = context.getImageData(0, 0, canvas.width, canvas.height).data;
  return btoa(bytes.reduce((text, byte) => text + String.fromCharCode(byte), ''));
}"""

# A browser that saves data: the page does not fetch its networks by itself.
SAVE_DATA = "Object.defineProperty(navigator, 'connection', { value: { saveData: true }, configurable: true });"


def save(networks, folder, **described) -> Path:
    store.save(folder, networks, {name: asdict(n.config) for name, n in networks.items()} | described)
    return folder


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@contextmanager
def served(models: dict[str, Path | None], port: int, **variables: str) -> Iterator[str]:
    """Run `python app.py` with these models in the place of registered ones; yields its address."""
    weights = tempfile.TemporaryDirectory()
    environment = os.environ | {
        "HOST": "127.0.0.1",
        "PORT": str(port),
        "T2I_WEIGHTS": str(weights_folder(Path(weights.name) / "weights", models)),
        "GRADIO_ANALYTICS_ENABLED": "False",
        "HF_HUB_OFFLINE": "1",
        "PYTHONUNBUFFERED": "1",
        **variables,
    }
    command = [sys.executable, str(ROOT / "app.py")]
    with (
        weights,
        tempfile.NamedTemporaryFile() as log,  # a pipe would fill up and block the server
        subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log) as app,
    ):

        def read_log() -> str:
            return Path(log.name).read_text(errors="replace")

        try:
            while "Running on" not in read_log():
                assert app.poll() is None, f"app.py stopped:\n{read_log()}"
                time.sleep(0.1)
            yield f"http://127.0.0.1:{port}"
        finally:
            app.terminate()
            try:
                app.wait(20)
            except subprocess.TimeoutExpired:
                app.kill()


@contextmanager
def chromium(*options: str, shell: bool = False):
    """Debian's Chromium, or its headless shell, which opens a page in half the time."""
    from playwright import sync_api

    debian = [Path("/usr/bin/chromium-headless-shell")] * shell + [Path("/usr/bin/chromium")]
    path = next((path for path in debian if path.exists()), None)
    with sync_api.sync_playwright() as playwright:
        try:
            # Without a process for a GPU that is not there, a page takes two thirds of the processor time.
            arguments = ["--no-sandbox", "--disable-gpu", "--in-process-gpu", *options]
            browser = playwright.chromium.launch(executable_path=path, args=arguments)
        except sync_api.Error as error:
            pytest.skip(f"no Chromium: {error}")
        yield browser
        browser.close()


def forget(page, origins: set[str]) -> None:
    """Remove all that pages of these origins have stored in a page's context, and what they were permitted."""
    devtools = page.context.new_cdp_session(page)
    for origin in origins:
        devtools.send("Storage.clearDataForOrigin", {"origin": origin, "storageTypes": "all"})
    page.context.clear_cookies()
    page.context.clear_permissions()


def settle(page):
    """Wait until the tab "Draw" shows the pictures of its last request."""
    page.wait_for_function(SETTLED, timeout=20_000)


def rest(page):
    """Wait until no tab waits for an answer."""
    page.wait_for_function("!document.querySelector('[data-waiting]')", timeout=20_000)


def pixels(page) -> np.ndarray:
    """The sixteen pictures (16, 64, 64, 3), once they are there."""
    settle(page)
    flat = np.frombuffer(base64.b64decode(page.evaluate(PIXELS)), np.uint8)
    return flat.reshape(PICTURES_PER_PAGE, 64, 64, 4)[..., :3].astype(int)


def route_calls(page, handle) -> None:
    """Give every further call of the server to a handler, until `page.unroute(SERVER_CALLS)`.

    For an instant after `page.route`, Chromium still sends what the page requests, and Playwright does not see it. So
    wait until a request of the page has been caught.
    """
    page.route(SERVER_CALLS, handle)
    page.route("**/is-routed", lambda route: route.fulfill(body="caught"))
    page.wait_for_function("async () => (await (await fetch('/is-routed')).text()) === 'caught'")
    page.unroute("**/is-routed")


def hold_requests(page, text) -> list:
    """Hold back all further requests that contain a text; returns their list, for `continue_()`."""
    requests = []

    def hold(route):
        requests.append(route) if text in route.request.post_data else route.continue_()

    route_calls(page, hold)
    return requests


def seeds(page) -> list[int]:
    return [int(text.rstrip(" +")) for text in page.locator(".number").all_text_contents()]


def note(page) -> str:
    return page.locator("#t2i-draw-note").inner_text()


def same(a, b) -> np.ndarray:
    """Which of the sixteen pictures are equal."""
    return (a == b).all(axis=(1, 2, 3))


def matches(page) -> list[int]:
    """The percentages under the sixteen pictures, once they are there."""
    page.wait_for_function("[...document.querySelectorAll('.match')].every(match => match.textContent)")
    return [int(text.removeprefix("match ").removesuffix("%")) for text in page.locator(".match").all_text_contents()]


def wait_for_sample(page):
    """Wait until the tab "Style" has drawn its sample, and mark the sample's row, which the first photo replaces."""
    page.wait_for_function("document.querySelector('.t2i-style td img')?.src.startsWith('data:image/jpeg')")
    page.evaluate("document.querySelector('.t2i-style tbody tr').dataset.sample = ''")


def wait_for_photo(page):
    """Wait until the tab "Style" has drawn captions in the style of the first photo instead of the sample."""
    page.locator("[data-sample]").wait_for(state="detached")
    page.locator(".t2i-style td img[src^='data:image/jpeg']").first.wait_for()


def photo_of(page) -> str:
    return page.evaluate("document.querySelector('.t2i-style .photo canvas').toDataURL('image/png')")


def link_of(page) -> str:
    """The link that the visible Share button copies."""
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.locator(".share:visible").click()
    page.locator(".share:visible", has_text="Link copied").wait_for()
    return page.evaluate("navigator.clipboard.readText()")


def as_uri(picture: Image.Image) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def decode(uri: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1]))))


@cache
def component(url: str, function: str) -> int:
    """The id of the component that has a server function."""
    config = json.load(urllib.request.urlopen(f"{url}/config"))
    return next(c["id"] for c in config["components"] if function in c["props"].get("server_fns", []))


def ask(url, function, data) -> dict:
    """Call a server function without the page, as a stranger could; it may refuse, but not fail."""
    body = {"data": data, "component_id": component(url, function), "fn_name": function, "session_hash": "stranger"}
    request = urllib.request.Request(
        f"{url}/gradio_api/component_server/",
        json.dumps(body).encode(),  # writes NaN and Infinity too
        {"Content-Type": "application/json"},
    )
    answer = json.load(urllib.request.urlopen(request))
    assert answer.get("error") != SERVER_ERROR
    return answer
