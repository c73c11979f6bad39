"""Two copies of the page behind nginx, by the configuration in `examples/`."""

import re
import shutil
import subprocess
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import gradio_client
import pytest

from tests.screen import ROOT, free_port, note, pixels, same, served

NGINX = shutil.which("nginx")


@pytest.fixture
def copies(model, tmp_path):
    """The address of nginx, and a function that stops each copy behind it; each answer names its copy."""
    if not NGINX:
        pytest.skip("no nginx")
    ports = {"7860": free_port(), "7861": free_port(), "7862": free_port()}
    text = re.sub("786[012]", lambda port: str(ports[port[0]]), (ROOT / "examples" / "nginx.conf").read_text())
    text = text.replace("location / {", "location / { add_header X-Copy $upstream_addr;")
    places = "".join(
        f"{kind}_temp_path {tmp_path}/{kind}; " for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (tmp_path / "nginx.conf").write_text(
        f"pid {tmp_path}/pid; daemon off; " + text.replace("http {", f"http {{ access_log off; {places}")
    )
    with ExitStack() as first, ExitStack() as second:
        with ThreadPoolExecutor() as together:
            begin = lambda stack, port: stack.enter_context(served({"flowers": model}, ports[port]))  # noqa: E731
            list(together.map(begin, (first, second), ("7861", "7862")))
        with subprocess.Popen([NGINX, "-e", "stderr", "-c", str(tmp_path / "nginx.conf")]) as nginx:
            try:
                address = f"http://127.0.0.1:{ports['7860']}"
                wait(address)
                yield address, {f"127.0.0.1:{ports['7861']}": first.close, f"127.0.0.1:{ports['7862']}": second.close}
            finally:
                nginx.terminate()


def wait(address: str) -> None:
    end = time.monotonic() + 10
    while True:
        try:
            urllib.request.urlopen(address).close()
            return
        except OSError:
            assert time.monotonic() < end
            time.sleep(0.1)


def test_the_page_and_programs_go_on_when_their_copy_stops(copies, new_page):
    """Their own copy: `ip_hash` sends all requests from one address to the same copy."""
    address, stop = copies
    page = new_page(f"{address}/?tab=draw")
    before = pixels(page)
    ask = {"caption": "a red flower", "seeds": [7], "api_name": "/draw"}
    drawn = gradio_client.Client(address, verbose=False).predict(**ask)["pictures"]
    with urllib.request.urlopen(address) as answer:
        own_copy = answer.headers["X-Copy"]
    stop[own_copy]()
    page.get_by_label("Caption", exact=True).fill("a blue bird")
    assert not same(before, pixels(page)).any() and note(page) == ""
    assert gradio_client.Client(address, verbose=False).predict(**ask)["pictures"] == drawn
