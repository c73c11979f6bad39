"""The page as a Space runs it, from the files that a Space gets, and what strangers may ask of it over the wire."""

import contextlib
import http.client
import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import gradio_client
import pytest

from t2i import publish
from t2i.ui.guard import HEADERS, MOST_BYTES
from t2i.ui.page import QUEUE

CAPTION = "a flower with pink petals"


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """A folder with the Space's files in `app`, which nobody may write to, and places for caches beside it."""
    home = tmp_path_factory.mktemp("space")
    for name, data in publish.space_files().items():
        path = home / "app" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data if isinstance(data, bytes) else data.read_bytes())
    for path in (home / "app", *(home / "app").rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    (home / "tmp").mkdir()
    yield home
    for path in (home / "app").rglob("*"):
        path.chmod(0o755)


@contextlib.contextmanager
def running(home: Path, port: int):
    """`python app.py`, knowing nothing but its port, with a cold cache."""
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(home / "home"),
        "TMPDIR": str(home / "tmp"),
        "HOST": "127.0.0.1",
        "PORT": str(port),
        "HF_HUB_OFFLINE": "1",
        "GRADIO_ANALYTICS_ENABLED": "False",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",
    }
    with open(home / "log", "w+") as log:
        command = [sys.executable, "app.py"]
        with subprocess.Popen(command, cwd=home / "app", env=environment, stdout=log, stderr=log) as app:
            try:
                while "Running on" not in (home / "log").read_text():
                    assert app.poll() is None, f"app.py stopped:\n{(home / 'log').read_text()}"
                    time.sleep(0.1)
                yield app
            finally:
                app.kill()


@pytest.fixture(scope="module")
def port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@pytest.fixture(scope="module")
def app(home, port):
    with running(home, port) as app:
        yield app


@pytest.fixture
def ask(app, port):
    """Ask the server something: (status, headers, body)."""

    def ask(path: str, data: object = None, headers: dict[str, str] | None = None) -> tuple[int, dict, str]:
        body = None if data is None else data if isinstance(data, bytes) else json.dumps(data).encode()
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        told = ({"Content-Type": "application/json"} if body is not None else {}) | (headers or {})
        connection.request("GET" if body is None else "POST", path, body, told)
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read().decode("utf-8", "replace")

    return ask


def call(ask, function: str, data: object) -> dict:
    """A function of the page, as its script calls it."""
    components = json.loads(ask("/config")[2])["components"]
    component = next(c["id"] for c in components if function in c["props"].get("server_fns", []))
    asked = {"data": data, "component_id": component, "fn_name": function, "session_hash": "stranger"}
    return json.loads(ask("/gradio_api/component_server/", asked)[2])


def test_it_draws_from_a_tree_that_it_leaves_as_it_was(ask, home):
    assert len(call(ask, "draw", {"caption": CAPTION, "seeds": [1, 2]})["pictures"]) == 2
    found = {path.relative_to(home / "app").as_posix() for path in (home / "app").rglob("*") if path.is_file()}
    assert found == set(publish.space_files())


def test_every_answer_may_be_framed_by_a_space_and_by_nobody_else(ask):
    for path in ("/", "/config", "/gradio_api/info", "/no/such/page", "/gradio_api/file=app.py"):
        headers = {name.lower(): value for name, value in ask(path)[1].items()}
        assert {name: headers[name.lower()] for name in HEADERS} == HEADERS, path
        assert "x-frame-options" not in headers
    assert "frame-ancestors 'self' https://huggingface.co" in HEADERS["Content-Security-Policy"]


FILES = ["app.py", "/etc/passwd", "../app.py", "t2i/ui/desk.py", "weights/flowers/config.json", ".", "~/.bashrc"]
DOORS = ["file=", "file/", "proxy=", "static/", "assets/", "svelte/", "custom_component/1/client/component/"]


@pytest.mark.parametrize("door", [*DOORS, *(f"gradio_api/{door}" for door in DOORS)])
def test_no_file_of_the_server_is_to_be_had(ask, home, door):
    for file in [*FILES, str(home / "app" / "app.py")]:
        for path in {file, urllib.parse.quote(file, ""), "../../" + file, "..%2f..%2f" + file, "%2e%2e/%2e%2e/" + file}:
            status, _, body = ask(f"/{door}{path}")
            assert status in (400, 403, 404, 405), path
            assert "import" not in body and "root:" not in body and "text_encoder" not in body


@pytest.mark.parametrize("address", ["http://127.0.0.1:{port}/config", "http://169.254.169.254/", "https://example.org/"])
def test_it_fetches_nothing_for_others(ask, port, address):
    for door in ("file=", "proxy=", "file=%20"):
        assert ask(f"/gradio_api/{door}{address.format(port=port)}")[0] == 404


@pytest.mark.parametrize("door", ["upload", "stream/1", "run-history/connect", "vibe-edit", "login"])
def test_doors_that_the_page_does_not_use_are_closed(ask, home, door):
    boundary = b"--x\r\nContent-Disposition: form-data; name=files; filename=a.html\r\n\r\n<script>\r\n--x--\r\n"
    for path in (f"/gradio_api/{door}", f"/{door}"):
        assert ask(path, boundary, {"Content-Type": "multipart/form-data; boundary=x"})[0] == 404
    assert not [path for path in (home / "tmp").rglob("*") if path.is_file()]


def test_a_body_is_bounded_and_must_say_its_length(ask):
    door = "/gradio_api/component_server/"
    assert ask(door, b"{}", {"Content-Length": str(MOST_BYTES + 1)})[0] == 413
    assert ask(door, b"2\r\n{}\r\n0\r\n\r\n", {"Transfer-Encoding": "chunked", "Content-Length": ""})[0] in (400, 411)
    for length in ("-1", "1e9", "٣"):
        assert ask(door, b"{}", {"Content-Length": length.encode().decode("latin-1")})[0] in (400, 411)


WRONG = [
    ("component_server/", b"{"),
    ("component_server/", b"[" * 50_000),
    ("component_server/", {"data": {}, "component_id": 10**9, "fn_name": "draw", "session_hash": "x"}),
    ("component_server/", {"data": {}, "component_id": 4, "fn_name": "__init__", "session_hash": "x"}),
    ("run/draw", {"data": []}),
    ("run/draw", {"data": [{"path": "/etc/passwd", "meta": {"_type": "gradio.FileData"}}, None, None, "flowers"]}),
    ("run/draw", {"data": ["a", ["x"], {"y": 1}, "../.."]}),
    ("run/blend", {"data": ["a", 1, 2, 3]}),
    ("run/restyle", {"data": ["file:///etc/passwd", ["a"], "flowers"]}),
    ("run/nothing", {"data": []}),
    ("call/draw", {"nothing": 1}),
    ("queue/join", {"data": [], "fn_index": 999, "session_hash": "x"}),
    ("queue/join", {"data": [], "fn_index": "0", "trigger_id": [], "event_data": {"x": 1}}),
    ("cancel", {}),
    ("reset", {"event_id": "../.."}),
]


@pytest.mark.parametrize("door, data", WRONG)
def test_errors_tell_nothing_of_the_server_and_the_next_request_is_answered(ask, home, door, data):
    status, _, body = ask(f"/gradio_api/{door}", data)
    for secret in (str(home), sys.prefix, os.path.expanduser("~"), "Traceback", "File \"", "/site-packages"):
        assert secret not in body
    assert status in (200, 400, 404, 422, 500)  # 500 is Gradio's own for what no page of its would send
    assert len(call(ask, "draw", {"caption": CAPTION, "seeds": [1]})["pictures"]) == 1


def test_the_page_tells_nothing_of_the_server(ask, home):
    for path in ("/", "/config", "/gradio_api/info", "/openapi.json", "/theme.css", "/manifest.json"):
        status, _, body = ask(path)
        assert status == 200 and not re.search(re.escape(str(home)) + "|" + re.escape(sys.prefix), body), path


def test_programs_cannot_ask_for_more_than_the_page(app, port):
    """The named events have the page's limits: sixteen pictures, 64 points, four sentences, the menu's models."""
    client = gradio_client.Client(f"http://127.0.0.1:{port}", verbose=False)
    drawn = client.predict(caption=CAPTION, seeds=list(range(99)), api_name="/draw")
    assert len(drawn["pictures"]) == 16
    blended = client.predict(captions=[CAPTION, "a blue one"], at=[[0.5, 0]] * 999, api_name="/blend")
    assert len(blended["pictures"]) == 64
    assert "error" in client.predict(captions=[CAPTION] * 999, at=[[0, 0]], api_name="/blend")
    for name in ("/etc", "owner/name", "../flowers"):  # nothing is fetched for a stranger
        assert "No such model" in client.predict(caption=CAPTION, model=name, api_name="/draw")["error"]


def test_programs_wait_in_a_bounded_queue(ask):
    calls = [ask("/gradio_api/call/blend", {"data": [[CAPTION, "a blue one"], [[0.5, 0]] * 64, 1, "flowers"]})]
    while calls[-1][0] == 200 and len(calls) < 500:
        calls.append(ask("/gradio_api/call/blend", {"data": [[CAPTION, "a blue one"], [[0.5, 0]] * 64, 1, "flowers"]}))
    status, _, body = calls[-1]
    assert status == 503 and "full" in body and QUEUE < len(calls) < 500
    assert ask("/config")[0] == 200


def test_the_page_recovers_from_a_server_killed_in_mid_request(app, home, port, browser):
    """As by kill -9: the page says so, and asks again when the server is back."""
    page, first = browser.new_page(), ".t2i-draw .grid img"
    page.goto(f"http://127.0.0.1:{port}")
    page.wait_for_function(f"document.querySelector('{first}')?.src.startsWith('data:')", timeout=60_000)
    before = page.locator(first).first.get_attribute("src")
    page.get_by_label("Caption", exact=True).fill("a dark purple flower")
    app.kill()
    app.wait()
    page.get_by_label("Caption", exact=True).fill("a white flower")
    silent = "document.querySelector('#t2i-note').textContent.includes('does not answer')"
    page.wait_for_function(silent, timeout=60_000)
    with running(home, port):
        page.wait_for_selector(f"{first}[alt='a white flower']", timeout=90_000)
        assert page.locator(first).first.get_attribute("src") != before
        assert page.locator("#t2i-note").inner_text() == ""
    page.close()
