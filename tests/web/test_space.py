"""The page as a Space runs it, from the files of a Space, and what it refuses over HTTP."""

import asyncio
import contextlib
import http.client
import importlib.metadata
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
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import gradio_client
import pytest
from hypothesis import event, given
from hypothesis import strategies as st
from starlette.responses import PlainTextResponse

from t2i import publish
from t2i.web import middleware
from t2i.web.app import MAX_QUEUE_SIZE
from t2i.web.middleware import HEADERS, MAX_BODY_BYTES, MAX_SESSION_NAME_LENGTH, MAX_THREADS, MAX_UNREAD_RESULTS
from tests.screen import ROOT
from tests.web.test_hostile import junk

CAPTION = "a flower with pink petals"
OPEN_ROUTES = ("component_server", "component_server/", "queue/join", "call/v2/draw", "cancel", "reset")


WITHOUT = """
import sys

class Without:
    def find_spec(self, name, *_):
        if name.partition(".")[0] in {names}:
            raise ModuleNotFoundError(f"a Space has no {{name}}", name=name)

sys.meta_path.insert(0, Without())
"""


def strangers() -> set[str]:
    """The modules here that `requirements.txt` alone would not bring."""
    locked = {*re.findall(r"^([\w-]+)==", (ROOT / "requirements.lock").read_text(), re.M), "torch"}
    names = {name.lower().replace("_", "-") for name in locked}
    owned = importlib.metadata.packages_distributions().items()
    return {module for module, owners in owned if not names & {owner.lower().replace("_", "-") for owner in owners}}


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """A folder with the Space's files in `app`, write-protected, and folders for caches beside it."""
    home = tmp_path_factory.mktemp("space")
    for name, data in publish.space_files("owner/page").items():
        path = home / "app" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data if isinstance(data, bytes) else data.read_bytes())
    for path in (home / "app", *(home / "app").rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    (home / "tmp").mkdir()
    (home / "without").mkdir()
    (home / "without" / "sitecustomize.py").write_text(WITHOUT.format(names=strangers()))
    yield home
    for path in (home / "app").rglob("*"):
        path.chmod(0o755)


@contextlib.contextmanager
def running(home: Path, port: int):
    """Run `python app.py` with almost no environment variables and a cold cache."""
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(home / "home"),
        "TMPDIR": str(home / "tmp"),
        "HOST": "127.0.0.1",
        "PORT": str(port),
        "HF_HUB_OFFLINE": "1",
        "GRADIO_ANALYTICS_ENABLED": "False",
        "PYTHONPATH": str(home / "without"),
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
    """A function that sends a request; it returns status, headers and body."""

    def ask(path: str, data: object = None, headers: dict[str, str] | None = None) -> tuple[int, dict, str]:
        body = None if data is None else data if isinstance(data, bytes) else json.dumps(data).encode()
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        all_headers = ({"Content-Type": "application/json"} if body is not None else {}) | (headers or {})
        connection.request("GET" if body is None else "POST", path, body, all_headers)
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read().decode("utf-8", "replace")

    return ask


def call(ask, function: str, data: object) -> dict:
    """Call a server function as the page's script does."""
    components = json.loads(ask("/config")[2])["components"]
    component = next(c["id"] for c in components if function in c["props"].get("server_fns", []))
    payload = {"data": data, "component_id": component, "fn_name": function, "session_hash": "stranger"}
    return json.loads(ask("/gradio_api/component_server/", payload)[2])


def test_the_space_draws_and_writes_no_files(ask, home):
    assert len(call(ask, "draw", {"caption": CAPTION, "seeds": [1, 2]})["pictures"]) == 2
    files = {path.relative_to(home / "app").as_posix() for path in (home / "app").rglob("*") if path.is_file()}
    assert files == set(publish.space_files("owner/page"))


def test_only_a_space_may_frame_the_page(ask):
    for path in ("/", "/config", "/gradio_api/info", "/no/such/page", "/gradio_api/file=app.py"):
        headers = {name.lower(): value for name, value in ask(path)[1].items()}
        assert {name: headers[name.lower()] for name in HEADERS} == HEADERS, path
        assert "x-frame-options" not in headers
    assert "frame-ancestors 'self' https://huggingface.co" in HEADERS["Content-Security-Policy"]


FILES = ["app.py", "/etc/passwd", "../app.py", "t2i/web/service.py", "weights/flowers/config.json", ".", "~/.bashrc"]
ROUTES = ["file=", "file/", "proxy=", "static/", "assets/", "svelte/", "custom_component/1/client/component/"]


@pytest.mark.parametrize("route", [*ROUTES, *(f"gradio_api/{route}" for route in ROUTES)])
def test_no_file_of_the_server_is_sent(ask, home, route):
    for file in [*FILES, str(home / "app" / "app.py")]:
        for path in {file, urllib.parse.quote(file, ""), "../../" + file, "..%2f..%2f" + file, "%2e%2e/%2e%2e/" + file}:
            status, _, body = ask(f"/{route}{path}")
            assert status in (400, 403, 404, 405), path
            assert "import" not in body and "root:" not in body and "text_encoder" not in body


@pytest.mark.parametrize(
    "address", ["http://127.0.0.1:{port}/config", "http://169.254.169.254/", "https://example.org/"]
)
def test_the_server_fetches_nothing_for_others(ask, port, address):
    for route in ("file=", "proxy=", "file=%20"):
        assert ask(f"/gradio_api/{route}{address.format(port=port)}")[0] == 404


@pytest.mark.parametrize("route", ["upload", "stream/1", "run/draw", "api/draw", "call/draw", "vibe-edit", "login"])
def test_routes_that_the_page_does_not_use_are_closed(ask, home, route):
    boundary = b"--x\r\nContent-Disposition: form-data; name=files; filename=a.html\r\n\r\n<script>\r\n--x--\r\n"
    for path in (f"/gradio_api/{route}", f"/{route}"):
        assert ask(path, boundary, {"Content-Type": "multipart/form-data; boundary=x"})[0] == 404
        assert ask(path, {"data": []})[0] == 404
    assert not [path for path in (home / "tmp").rglob("*") if path.is_file()]


def test_a_body_is_bounded_and_must_say_its_length(ask):
    route = "/gradio_api/component_server/"
    # Headers alone: a body that comes after the refusal resets the connection, and the answer may be lost.
    assert ask(route, b"", {"Content-Length": str(MAX_BODY_BYTES + 1)})[0] == 413
    headers = {b"content-length": b"9" * 4301, b"content-type": b"application/json"}  # as some servers may pass it on
    assert middleware._refuse_by_headers({"type": "http", "method": "POST", "path": route, "headers": headers.items()})
    assert ask(route, b"", {"Transfer-Encoding": "chunked", "Content-Length": ""})[0] in (400, 411)
    for length in ("-1", "1e9", "٣"):
        assert ask(route, b"", {"Content-Length": length.encode().decode("latin-1")})[0] in (400, 411)


def test_bodies_are_bounded_together(monkeypatch):
    monkeypatch.setattr(middleware, "MAX_TOTAL_BODY_BYTES", 10)
    limits = middleware.RequestLimits(None)
    headers = [(b"content-length", b"8"), (b"content-type", b"application/json")]
    scope = {"type": "http", "method": "POST", "path": "/gradio_api/cancel", "headers": headers}

    async def post(*parts: bytes | asyncio.Event) -> int:
        remaining, messages = list(parts), []

        async def receive():
            if isinstance(part := remaining.pop(0), asyncio.Event):
                await part.wait()
                part = b""
            return {"type": "http.request", "body": part, "more_body": bool(remaining)}

        async def send(message):
            messages.append(message)

        await limits(scope, receive, send)
        return messages[0]["status"]

    async def crowd() -> list[int]:
        end = asyncio.Event()
        slow = asyncio.create_task(post(b"12345678", end))
        await asyncio.sleep(0)
        between = await post(b"12345678")
        end.set()
        return [between, await slow, await post(b"12345678")]

    assert asyncio.run(crowd()) == [503, 422, 422] and limits.body_bytes == 0  # 422: a number is not a request


def test_one_request_too_many_is_refused_and_the_others_are_not(monkeypatch):
    monkeypatch.setattr(middleware, "MAX_WAITING_REQUESTS", 2)

    async def crowd() -> list[int]:
        gate, statuses = asyncio.Event(), []

        async def app(scope, receive, send):
            await gate.wait()
            await PlainTextResponse("drawn")(scope, receive, send)

        async def post() -> None:
            async def receive():
                return {"type": "http.request", "body": b"{}"}

            async def send(message):
                statuses.extend([message["status"]] if "status" in message else [])

            await limits(scope, receive, send)

        limits = middleware.RequestLimits(app)
        headers = [(b"content-length", b"2"), (b"content-type", b"application/json")]
        queue = SimpleNamespace(pending_event_ids_session={})
        blocks = SimpleNamespace(get_blocks=lambda: SimpleNamespace(_queue=queue))
        scope = {"type": "http", "method": "POST", "path": "/gradio_api/cancel", "headers": headers, "app": blocks}
        first = [asyncio.create_task(post()) for _ in range(2)]
        await asyncio.sleep(0)
        await post()
        gate.set()
        await asyncio.gather(*first)
        await post()
        assert limits.waiting == 0
        return statuses

    assert asyncio.run(crowd()) == [503, 200, 200, 200]


def test_a_crowd_is_served_in_turn(ask):
    """Four times as many people as threads: nobody is refused, and everybody gets about as many answers."""
    served, end = Counter(), time.monotonic() + 4

    def person(number: int) -> None:
        while time.monotonic() < end:
            served[number] += len(call(ask, "draw", {"caption": CAPTION, "seeds": [number]})["pictures"])

    with ThreadPoolExecutor(4 * MAX_THREADS) as crowd:
        list(crowd.map(person, range(4 * MAX_THREADS)))
    assert len(served) == 4 * MAX_THREADS and max(served.values()) <= 2 * min(served.values()) + 2


DRAW = {"data": [CAPTION, [1], None, "flowers", None, None, 1], "fn_index": 0, "session_hash": "x"}
CALL = {"data": {"caption": CAPTION}, "component_id": 4, "fn_name": "draw", "session_hash": "x"}
WRONG = [
    *(
        (route, body)
        for route in OPEN_ROUTES
        for body in (b"", b"{", b"null", b"[]", b"5", b'{"a": ', b"\xff\xfe{}", b"[" * 50_000)
    ),
    *((route, b'{"data": [' + b"[]," * 200_000 + b"[]]}") for route in OPEN_ROUTES),
    *((route, DRAW | {"session_hash": "x" * (MAX_SESSION_NAME_LENGTH + 1)}) for route in OPEN_ROUTES),
    *(("component_server", CALL | {"component_id": one}) for one in (10**9, 10**30, -1, "x", None, [], {})),
    *(("component_server", CALL | {"fn_name": one}) for one in ("__init__", "get_config", "", "\ud800", 5, None)),
    *(("component_server", CALL | {"session_hash": one}) for one in (5, None, ["x"])),
    ("component_server", {"data": {}}),
    *(("queue/join", DRAW | {"fn_index": one}) for one in (999, -1, None, "x", [], {}, float("nan"), 1e308)),
    *(("queue/join", DRAW | {"data": one}) for one in ([], [1], [1] * 9, {}, "draw", None, 5)),
    *(("queue/join", DRAW | {"trigger_id": one}) for one in ("x", [], float("inf"))),
    ("queue/join", {"nothing": 1}),
    ("call/v2/nothing", {"caption": CAPTION}),
    ("call/v2/draw", {}),
    ("call/v2/draw", {"caption": CAPTION, "more": 1}),
    *((route, {"event_id": 5, "fn_index": one}) for route in ("cancel", "reset") for one in (float("nan"), "\ud800")),
]


@pytest.mark.parametrize("route, data", WRONG, ids=lambda value: str(value)[:40])
def test_malformed_requests_are_refused_with_a_reason(ask, home, route, data):
    status, _, body = ask(f"/gradio_api/{route}", data)
    assert status in (400, 404, 413, 422) and body
    for secret in (str(home), sys.prefix, os.path.expanduser("~"), "Traceback", 'File "', "/site-packages"):
        assert secret not in body


def test_a_body_of_another_kind_is_refused(ask):
    for kind in ("text/plain", "multipart/form-data; boundary=x", "application/x-www-form-urlencoded", ""):
        for route in OPEN_ROUTES:
            assert ask(f"/gradio_api/{route}", DRAW, {"Content-Type": kind})[0] == 415


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "app.py", "http://127.0.0.1:{port}/config", "https://example.org/a.png"]
)
def test_a_value_that_names_a_file_or_an_address_is_not_opened(ask, home, port, path):
    file = {"path": path.format(port=port), "url": path.format(port=port), "meta": {"_type": "gradio.FileData"}}
    before = sorted(home.joinpath("tmp").rglob("*"))
    data = [file, [file], None, "flowers", None, None, 1]
    assert ask("/gradio_api/queue/join", DRAW | {"data": data, "session_hash": "file"})[0] == 200
    answers = ask("/gradio_api/queue/data?session_hash=file")[2]
    assert "The caption must be text." in answers and "root:" not in answers
    assert sorted(home.joinpath("tmp").rglob("*")) == before


anything = st.one_of(junk, st.just("x"), st.integers(-1, 30), st.sampled_from(["draw", "film", CAPTION]))


@given(
    route=st.sampled_from(OPEN_ROUTES),
    payload=st.one_of(
        junk,
        st.fixed_dictionaries(
            {},
            optional=dict.fromkeys(
                ["data", "component_id", "fn_name", "session_hash", "fn_index", "event_id", "caption", "trigger_id"],
                anything,
            ),
        ),
    ),
)
def test_any_request_to_a_route_of_gradio_is_answered_or_refused(ask, route, payload):
    """It is refused or answered; never with a server error."""
    status, _, body = ask(f"/gradio_api/{route}", payload)
    event(str(status))
    assert body and (status == 200 or 400 <= status < 500)


def test_the_page_reveals_nothing_about_the_server(ask, home):
    for path in ("/", "/config", "/gradio_api/info", "/openapi.json", "/theme.css", "/manifest.json"):
        status, _, body = ask(path)
        assert status == 200 and not re.search(re.escape(str(home)) + "|" + re.escape(sys.prefix), body), path


def test_programs_have_the_limits_of_the_page(app, port):
    """API events have the page's limits: sixteen pictures, 64 points, four sentences, the menu's models."""
    client = gradio_client.Client(f"http://127.0.0.1:{port}", verbose=False)
    drawn = client.predict(caption=CAPTION, seeds=list(range(99)), api_name="/draw")
    assert len(drawn["pictures"]) == 16
    blended = client.predict(captions=[CAPTION, "a blue one"], at=[[0.5, 0]] * 999, api_name="/blend")
    assert len(blended["pictures"]) == 64
    assert "error" in client.predict(captions=[CAPTION] * 999, at=[[0, 0]], api_name="/blend")
    for name in ("/etc", "owner/name", "../flowers"):  # nothing is fetched for a stranger
        assert "No such model" in client.predict(caption=CAPTION, model=name, api_name="/draw")["error"]


BLEND = {"captions": [CAPTION, "a blue one"], "at": [[0.5, 0]] * 64}


def test_programs_wait_in_a_bounded_queue(ask):
    calls = [ask("/gradio_api/call/v2/blend", BLEND)]
    while calls[-1][0] == 200 and len(calls) < 500:
        calls.append(ask("/gradio_api/call/v2/blend", BLEND))
    status, _, body = calls[-1]
    assert status == 503 and "full" in body and MAX_QUEUE_SIZE < len(calls) < 500
    assert ask("/config")[0] == 200


def test_results_that_nobody_fetches_are_forgotten(ask):
    def wrong() -> str:
        while (answer := ask("/gradio_api/call/v2/draw", {"caption": ""}))[0] == 503:
            time.sleep(0.1)
        return json.loads(answer[2])["event_id"]

    events = [wrong() for _ in range(MAX_UNREAD_RESULTS + 9)]
    assert "404" in ask(f"/gradio_api/call/v2/draw/{events[0]}")[2]
    assert "Type a few words" in ask(f"/gradio_api/call/v2/draw/{events[-1]}")[2]


def test_the_log_of_these_tests_has_no_traceback(ask, home):
    """Errors of our own would be there. The server still draws."""
    assert len(call(ask, "draw", {"caption": CAPTION, "seeds": [1]})["pictures"]) == 1
    log = (home / "log").read_text()
    assert log.partition("Traceback")[2] == ""
    assert "refused at '/gradio_api/component_server'" in log


def test_the_page_recovers_after_the_server_is_killed_during_a_request(app, home, port, browser):
    """The page says that the server is away, and asks again when it is back."""
    page, first = browser.new_page(), ".t2i-draw .grid img"
    page.goto(f"http://127.0.0.1:{port}/?tab=draw")
    page.wait_for_function(f"document.querySelector('{first}')?.src.startsWith('data:')", timeout=60_000)
    before = page.locator(first).first.get_attribute("src")
    page.get_by_label("Caption", exact=True).fill("a dark purple flower")
    app.kill()
    app.wait()
    page.get_by_label("Caption", exact=True).fill("a white flower")
    silent = "document.querySelector('#t2i-draw-note').textContent.includes('busy or away')"
    page.wait_for_function(silent, timeout=60_000)
    with running(home, port):
        page.wait_for_selector(f"{first}[alt='a white flower']", timeout=90_000)
        assert page.locator(first).first.get_attribute("src") != before
        assert page.locator("#t2i-draw-note").inner_text() == ""
    page.close()
