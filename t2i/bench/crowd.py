"""People who type at once, over real HTTP to the real app on this machine.

It gathers requests, answers one at a time, or is there twice, with half of the people and of the cores each. The three
take turns (A B C A B C). The simulated people run beside them, on the same cores.
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

import numpy as np

from .. import locate
from ..device import processor, usable_cores
from ..engine.batching import MOST
from ..errors import InputError

CLIENTS = (1, 8, 32, 128)
SECONDS, TURNS = 6.0, 2  # of typing in a turn; turns of each app
KEY = 0.18  # seconds between two keystrokes: 66 words a minute
RETRY = 1.0  # seconds until the page asks again after a refusal
SEEDS = 16
WAYS = ("gathered", "alone", "two copies")
WORDS = "a the flower petals with pink red yellow white purple center long thin round green leaves and stamen".split()

# The app as `python app.py` runs it, with at most so many pictures drawn together: 1 is one request at a time.
APP = """
import runpy, sys
from t2i import shared
shared.MOST = int(sys.argv[2])
runpy.run_path(sys.argv[1], run_name="__main__")
"""


def run(model: str, clients: tuple[int, ...] = CLIENTS, seconds: float = SECONDS) -> dict:
    """Throughput and delays for each number of people and way of serving them."""
    half = max(1, usable_cores() // 2)
    started = [App(model, MOST), App(model, 1), *(App(model, MOST, half) for _ in range(2))]  # at once: it takes long
    with ExitStack() as stack:
        gathered, alone, *copies = [stack.enter_context(app) for app in started]
        served = dict(zip(WAYS, ([gathered], [alone], copies)))
        for apps in served.values():
            _crowd(apps, 2, min(seconds, 2.0))  # warm-up
        rows = []
        for people in clients:
            turns = {name: [] for name in served}
            for _ in range(TURNS):
                for name, apps in served.items():
                    turns[name].append(_crowd(apps, people, seconds))
            rows.append({"people": people} | {name: _figures(found, seconds) for name, found in turns.items()})
    return {
        "model": Path(model).name,
        "machine": {"processor": processor(), "cores": usable_cores()},
        "seconds_a_key": KEY,
        "crowds": rows,
    }


def table(figures: dict) -> str:
    """The figures in words."""
    m = figures["machine"]
    lines = [
        f"{figures['model']} on {m['processor']}, {m['cores']} cores for the app and the crowd; a key each "
        f"{1000 * figures['seconds_a_key']:.0f} ms, 16 pictures an answer",
        "",
        "| people | requests | answers a second | keystroke to pictures, median | 95th percentile "
        "| processor time an answer | refused |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in figures["crowds"]:
        for name in WAYS:
            f = row[name]
            lines.append(
                f"| {row['people']} | {name} | {f['answers_a_second']} | {f['median_ms']} ms | {f['p95_ms']} ms "
                f"| {f['processor_ms']} ms | {f['refused']} |"
            )
    return "\n".join(lines)


class App:
    """`app.py` on a free port of this machine, in a process of its own, until the block ends.

    `most` pictures are drawn together, in so many `threads`, or in as many as the app itself chooses.
    """

    def __init__(self, model: str, most: int, threads: int | None = None):
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
            [sys.executable, "-c", APP, str(root / "app.py"), str(most)],
            cwd=root,
            env=os.environ | environment | {"GRADIO_ANALYTICS_ENABLED": "False"},
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> "App":
        if not any("Running on" in line for line in self._process.stdout):
            self.__exit__()
            raise InputError("app.py did not start; its own words are above")
        connection = self.connect()
        connection.request("GET", "/config")
        components = json.load(connection.getresponse())["components"]
        self.component = next(c["id"] for c in components if "draw" in c["props"].get("server_fns", []))
        return self

    def __exit__(self, *_) -> None:
        self._process.terminate()
        self._process.wait()
        self._process.stdout.close()

    def processor_seconds(self) -> float:
        """What the app has computed so far; not a number where the system does not tell."""
        try:
            fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return math.nan
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")  # of the program and for it

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)

    def draw(self, connection: http.client.HTTPConnection, caption: str, seeds: list[int], session: str) -> dict | None:
        """What the page would get for this caption; None where the server is busy."""
        request = {"caption": caption, "seeds": seeds, "style": [0], "model": "flowers", "whole": 0}
        body = {"data": request, "component_id": self.component, "fn_name": "draw", "session_hash": session}
        headers = {"Content-Type": "application/json"}
        connection.request("POST", "/gradio_api/component_server/", json.dumps(body), headers)
        reply = connection.getresponse()
        answer = reply.read()
        return None if reply.status == 503 else json.loads(answer)


@dataclass
class _Person:
    """Types letter by letter, and asks as the page does: one request under way, and always the newest one next."""

    app: App
    number: int
    delays: list[float] = field(default_factory=list)  # seconds from a keystroke to its pictures
    refused: int = 0

    def type(self, seconds: float) -> None:
        chance = random.Random(self.number)
        text = " ".join(chance.choices(WORDS, k=30))
        seeds = [chance.randrange(999_999) for _ in range(SEEDS)]
        connection, shown = self.app.connect(), 0
        start = time.perf_counter() + chance.random() * KEY
        while (now := time.perf_counter()) < start + seconds:
            typed = math.ceil(max(0.0, now - start) / KEY)
            if typed == shown:
                time.sleep(max(0.0, start + typed * KEY - now))
                continue
            answer = self.app.draw(connection, text[:typed], seeds, f"person{self.number}")
            if answer is None:
                self.refused += 1
                time.sleep(RETRY)
                continue
            if len(answer.get("pictures", [])) != SEEDS:
                raise InputError(f"the app failed: {answer.get('error', answer)}")
            self.delays.append(time.perf_counter() - start - (typed - 1) * KEY)
            shown = typed
        connection.close()


@dataclass(frozen=True)
class _Turn:
    """What a crowd met in so many seconds of typing."""

    delays: list[float]
    refused: int
    processor_seconds: float


def _crowd(apps: list[App], people: int, seconds: float) -> _Turn:
    """People at one app, or each at one of several."""
    crowd = [_Person(apps[number % len(apps)], number) for number in range(people)]
    before = sum(app.processor_seconds() for app in apps)
    with ThreadPoolExecutor(people) as threads:
        list(threads.map(lambda person: person.type(seconds), crowd))
    delays = [delay for person in crowd for delay in person.delays]
    if not delays:
        raise InputError(f"nobody had an answer within {seconds} seconds")
    return _Turn(delays, sum(person.refused for person in crowd), sum(app.processor_seconds() for app in apps) - before)


def _figures(turns: list[_Turn], seconds: float) -> dict:
    delays = 1000 * np.concatenate([turn.delays for turn in turns])
    rates = [len(turn.delays) / seconds for turn in turns]
    return {
        "answers_a_second": round(float(np.mean(rates)), 1),
        "answers_a_second_by_turn": [round(rate, 1) for rate in rates],
        "median_ms": round(float(np.median(delays))),
        "p95_ms": round(float(np.quantile(delays, 0.95))),
        "processor_ms": round(1000 * sum(turn.processor_seconds for turn in turns) / len(delays), 1),
        "refused": sum(turn.refused for turn in turns),
    }
