"""People who type at the same time, over HTTP to the real app on this machine.

Three servers take turns (A B C A B C): one that batches requests, one that answers them one at a time, and two
processes with half of the people and of the cores each. The simulated people run on the same cores.

Then real visitors, one after the other, in Chromium: they type, drag a slider and drag Blend, while the server draws or
their own browser does (docs/browser.md). What counts is the server's processor time.
"""

import http.client
import json
import math
import os
import random
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .. import locate
from ..device import processor, usable_cores
from ..engine.batching import MAX_BATCH
from ..errors import InputError

if TYPE_CHECKING:
    from playwright.sync_api import Browser

CROWD_SIZES = (1, 8, 32, 128)
TURN_SECONDS, TURNS = 6.0, 2  # of typing in a turn; turns of each server
KEY_INTERVAL = 0.18  # seconds between two keystrokes: 66 words a minute
RETRY_DELAY = 1.0  # seconds until the page asks again after a refusal
NUM_SEEDS = 16
SERVERS = ("batched", "one at a time", "two processes")
VISIT_SECONDS = 30.0  # of play of a visitor in Chromium
VISITORS = {"the server": "server", "the device, the first": "device", "the device, each further": "device"}
DRAWING_FUNCTIONS = {"draw", "blend", "field", "restyle", "compare", "enlarge", "match"}  # of the page
WORDS = "a the flower petals with pink red yellow white purple center long thin round green leaves and stamen".split()

# `python app.py`, with another limit on the rows of a batch; 1 means one request at a time.
APP = """
import runpy, sys
from t2i.engine import batching
batching.MAX_BATCH = int(sys.argv[2])
runpy.run_path(sys.argv[1], run_name="__main__")
"""


def run(
    model: str,
    crowd_sizes: tuple[int, ...] = CROWD_SIZES,
    seconds: float = TURN_SECONDS,
    visit_seconds: float = VISIT_SECONDS,
) -> dict:
    """Throughput and latencies of each server for each number of people, who type for so many seconds a turn.

    And what visitors in Chromium, who play for `visit_seconds`, cost the server; nothing of them without Chromium.
    """
    half = max(1, usable_cores() // 2)
    apps = [App(model, MAX_BATCH), App(model, 1), App(model, MAX_BATCH, half), App(model, MAX_BATCH, half)]
    with ExitStack() as stack:  # the apps start at the same time, because it takes long
        batched, one_at_a_time, *processes = [stack.enter_context(app) for app in apps]
        servers = dict(zip(SERVERS, ([batched], [one_at_a_time], processes)))
        for server in servers.values():
            _type_together(server, 2, min(seconds, 2.0))  # warm-up
        rows = []
        for people in crowd_sizes:
            turns: dict[str, list[_Turn]] = {name: [] for name in servers}
            for _ in range(TURNS):
                for name, server in servers.items():
                    turns[name].append(_type_together(server, people, seconds))
            rows.append({"people": people} | {name: _summary(results, seconds) for name, results in turns.items()})
        visitors = _visitors(batched, visit_seconds)
    return {
        "model": Path(model).name,
        "machine": {"processor": processor(), "cores": usable_cores()},
        "seconds_a_key": KEY_INTERVAL,
        "crowds": rows,
        "visitors": visitors,
    }


def table(figures: dict) -> str:
    """What `run` returns, as Markdown."""
    machine = figures["machine"]
    lines = [
        f"{figures['model']} on {machine['processor']}, {machine['cores']} cores for the app and the people; a key "
        f"each {1000 * figures['seconds_a_key']:.0f} ms, {NUM_SEEDS} pictures an answer",
        "",
        "| people | requests | answers a second | keystroke to pictures, median | 95th percentile "
        "| processor time an answer | refused |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in figures["crowds"]:
        for name in SERVERS:
            f = row[name]
            lines.append(
                f"| {row['people']} | {name} | {f['answers_a_second']} | {f['median_ms']} ms | {f['p95_ms']} ms "
                f"| {f['processor_ms']} ms | {f['refused']} |"
            )
    lines += [
        "",
        "| a visitor in Chromium draws on | server's processor time to load | and per minute of play "
        "| requests to draw per minute |",
        "|---|---|---|---|",
        *(
            f"| {name} | {v['loading_s']} s | {v['playing_s']} s | {v['requests']} |"
            for name, v in figures["visitors"].items()
        ),
    ]
    return "\n".join(lines)


class App:
    """`app.py` in a process of its own, on a free port of this machine, until the `with` block ends.

    `max_batch`: rows that it computes together at most. `threads`: that it computes in; None leaves the choice to it.
    """

    def __init__(self, model: str, max_batch: int, threads: int | None = None):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        root = Path(__file__).parents[2]
        if not (root / "app.py").exists():
            raise InputError("`bench crowd` needs app.py beside t2i/: run it in a copy of the repository")
        folder = locate.resolve(model).resolve()
        environment = {"HOST": "127.0.0.1", "PORT": str(self.port), "MODEL": str(folder)}
        if threads:
            environment["OMP_NUM_THREADS"] = str(threads)
        self._process = subprocess.Popen(
            [sys.executable, "-c", APP, str(root / "app.py"), str(max_batch)],
            cwd=root,
            env=os.environ | environment | {"GRADIO_ANALYTICS_ENABLED": "False"},
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> "App":
        if not any("Running on" in line for line in self._process.stdout or ()):
            self.__exit__()
            raise InputError("app.py did not start; its own error is above")
        connection = self.connect()
        connection.request("GET", "/config")
        components = json.load(connection.getresponse())["components"]
        self._component = next(c["id"] for c in components if "draw" in c["props"].get("server_fns", []))
        return self

    def __exit__(self, *_) -> None:
        with self._process:  # closes its output and waits for its end
            self._process.terminate()

    def processor_seconds(self) -> float:
        """The processor time that the app has used so far; NaN if the system does not report it."""
        try:
            fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return math.nan
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")  # user and system time

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)

    def draw(self, connection: http.client.HTTPConnection, caption: str, seeds: list[int], session: str) -> dict | None:
        """The page's answer for this caption, or None if the server is busy."""
        request = {"caption": caption, "seeds": seeds, "full_size": 0}
        body = {"data": request, "component_id": self._component, "fn_name": "draw", "session_hash": session}
        headers = {"Content-Type": "application/json"}
        connection.request("POST", "/gradio_api/component_server/", json.dumps(body), headers)
        response = connection.getresponse()
        content = response.read()
        return None if response.status == 503 else json.loads(content)


@dataclass
class _Person:
    """Types letter by letter and sends requests like the page: one at a time, always for the newest text."""

    app: App
    number: int
    latencies: list[float] = field(default_factory=list)  # seconds from a keystroke to its pictures
    refused: int = 0

    def type(self, seconds: float) -> None:
        rng = random.Random(self.number)
        text = " ".join(rng.choices(WORDS, k=30))
        seeds = [rng.randrange(999_999) for _ in range(NUM_SEEDS)]
        connection, answered = self.app.connect(), 0  # letters
        start = time.perf_counter() + rng.random() * KEY_INTERVAL
        while (now := time.perf_counter()) < start + seconds:
            typed = math.ceil(max(0.0, now - start) / KEY_INTERVAL)
            if typed == answered:
                time.sleep(max(0.0, start + typed * KEY_INTERVAL - now))
                continue
            answer = self.app.draw(connection, text[:typed], seeds, f"person{self.number}")
            if answer is None:
                self.refused += 1
                time.sleep(RETRY_DELAY)
                continue
            if len(answer.get("pictures", [])) != NUM_SEEDS:
                raise InputError(f"the app failed: {answer.get('error', answer)}")
            self.latencies.append(time.perf_counter() - start - (typed - 1) * KEY_INTERVAL)
            answered = typed
        connection.close()


@dataclass(frozen=True)
class _Turn:
    """What people measured in one turn of typing."""

    latencies: list[float]
    refused: int
    processor_seconds: float


def _type_together(apps: list[App], people: int, seconds: float) -> _Turn:
    """People who type at one app, or are divided among several."""
    crowd = [_Person(apps[number % len(apps)], number) for number in range(people)]
    before = sum(app.processor_seconds() for app in apps)
    with ThreadPoolExecutor(people) as threads:
        list(threads.map(lambda person: person.type(seconds), crowd))
    latencies = [latency for person in crowd for latency in person.latencies]
    if not latencies:
        raise InputError(f"nobody got an answer within {seconds} seconds")
    used = sum(app.processor_seconds() for app in apps) - before
    return _Turn(latencies, sum(person.refused for person in crowd), used)


def _visitors(app: App, seconds: float) -> dict[str, dict]:
    """What nobody and each of `VISITORS`, who plays for so many seconds, cost the server; empty without Chromium."""
    try:
        from playwright.sync_api import sync_playwright

        from . import screen
    except ModuleNotFoundError:
        return {}
    with sync_playwright() as playwright:
        try:
            browser = screen.start_chromium(playwright)
        except InputError:
            return {}
        start = app.processor_seconds()
        time.sleep(seconds / 3)
        idle = round((app.processor_seconds() - start) * 3 * 60 / seconds, 2)
        visits = {name: _visit(app, browser, back, seconds) for name, back in VISITORS.items()}
        return {"nobody": {"loading_s": 0.0, "playing_s": idle, "requests": 0}} | visits


def _visit(app: App, browser: "Browser", back: str, seconds: float) -> dict:
    """What a visitor costs the server who types, drags a slider and drags Blend, and draws on this back."""
    from .screen import DRAG_SCRIPT, MAX_LOADING_MS, OUR_SELECTORS, PAUSE_MS

    page = browser.new_page(viewport={"width": 1280, "height": 800})
    page.add_init_script(f"localStorage['t2i-draws-on'] = '{back}'")
    asked: list[str] = []  # functions of the server
    page.on("request", lambda request: asked.append(str(json.loads(request.post_data or "{}").get("fn_name"))))
    start = app.processor_seconds()
    page.goto(f"http://127.0.0.1:{app.port}{OUR_SELECTORS['address']}")
    page.wait_for_selector(OUR_SELECTORS["ready"])
    state = "On this device" if back == "device" else "On the server"
    page.locator(OUR_SELECTORS["switch"], has_text=state).wait_for(timeout=MAX_LOADING_MS)
    page.wait_for_timeout(PAUSE_MS)
    loaded = app.processor_seconds()
    asked.clear()
    page.locator(OUR_SELECTORS["caption"]).select_text()  # an empty caption would be asked of the server
    page.keyboard.type(" ".join(WORDS)[: round(seconds / 3 / KEY_INTERVAL)], delay=1000 * KEY_INTERVAL)
    page.evaluate(DRAG_SCRIPT, [OUR_SELECTORS["attribute"], OUR_SELECTORS["pictures"], seconds / 3])
    page.get_by_role("tab", name="Blend").click()
    page.evaluate(DRAG_SCRIPT, [OUR_SELECTORS["blend"], OUR_SELECTORS["picture"], seconds / 3])
    played = app.processor_seconds()
    page.close()
    return {
        "loading_s": round(loaded - start, 2),
        "playing_s": round((played - loaded) * 60 / seconds, 2),
        "requests": round(sum(map(asked.count, DRAWING_FUNCTIONS)) * 60 / seconds),
    }


def _summary(turns: list[_Turn], seconds: float) -> dict:
    milliseconds = 1000 * np.concatenate([turn.latencies for turn in turns])
    rates = [len(turn.latencies) / seconds for turn in turns]
    return {
        "answers_a_second": round(float(np.mean(rates)), 1),
        "answers_a_second_by_turn": [round(rate, 1) for rate in rates],
        "median_ms": round(float(np.median(milliseconds))),
        "p95_ms": round(float(np.quantile(milliseconds, 0.95))),
        "processor_ms": round(1000 * sum(turn.processor_seconds for turn in turns) / len(milliseconds), 1),
        "refused": sum(turn.refused for turn in turns),
    }
