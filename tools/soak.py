"""A load test with hostile requests: `python -m tools.soak [SECONDS] [CLIENTS]`.

It starts the page and sends drawings, PNGs, blends, restylings and invalid requests, as the page and as API clients do,
and compares the pictures with those that their caption and seed must give. It prints the server's memory, open files
and temporary files over time. At the end it kills the server during a request and starts it again.
"""

import base64
import io
import json
import os
import random
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
from PIL import Image

import t2i
from t2i.web.service import SERVER_ERROR

ROOT = Path(__file__).parents[1]
CAPTIONS = ("a red flower", "a blue flower with white petals", "yellow petals around a dark centre", "a pink rose")
SEEDS = range(1, 17)
INVALID_REQUESTS = (
    None,
    [],
    {"caption": 5},
    {"caption": "${alert(1)}", "seeds": [1e308]},
    {"caption": "🌸"},
    {"captions": {}},
)
MAX_DIFFERENCE = 10  # mean, in levels of 255: more than that of a JPEG, less than that of another seed
CORRECT, WRONG, ERROR, NO_ANSWER = "correct", "WRONG", "ERROR", "NO ANSWER"

Pictures = dict[tuple[str, str], np.ndarray]  # expected, by "drawn" or "restyled" and caption, a row for each of SEEDS


def start_server(port: int, folder: Path) -> subprocess.Popen:
    environment = os.environ | {"HOST": "127.0.0.1", "PORT": str(port), "TMPDIR": str(folder), "HF_HUB_OFFLINE": "1"}
    with open(folder.parent / "log", "a") as log:
        server = subprocess.Popen([sys.executable, "app.py"], cwd=ROOT, env=environment, stdout=log, stderr=log)
    while server.poll() is None:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/config").close()
            return server
        except urllib.error.URLError:
            time.sleep(0.2)
    sys.exit(f"app.py stopped: see {folder.parent / 'log'}")


class Client:
    """Sends random requests, valid and invalid, and checks the answers."""

    def __init__(self, port: int, expected: Pictures, seed: int):
        self.url, self.expected, self.random = f"http://127.0.0.1:{port}", expected, random.Random(seed)
        self.session = f"soak{seed}"
        with urllib.request.urlopen(f"{self.url}/config") as response:
            components = json.load(response)["components"]
        self.component_ids = {f: c["id"] for c in components for f in c["props"].get("server_fns") or []}

    def call(self, function: str, data: object) -> dict:
        """Call a server function like the page."""
        body = {"data": data, "component_id": self.component_ids[function], "fn_name": function}
        with self.post("component_server/", body | {"session_hash": self.session}) as response:
            return json.load(response)

    def post(self, path: str, body: dict):
        content, headers = json.dumps(body).encode(), {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.url}/gradio_api/{path}", content, headers)
        return urllib.request.urlopen(request, timeout=120)

    def call_api(self, request: dict) -> dict:
        """Call the API event `draw` like a program, through the queue."""
        with self.post("call/v2/draw", request) as response:
            event = json.load(response)["event_id"]
        with urllib.request.urlopen(f"{self.url}/gradio_api/call/v2/draw/{event}", timeout=120) as response:
            result = response.read().decode().partition("event: complete")[2]
        return json.loads(result.partition("data: ")[2])[0]

    def send_random(self) -> str:
        """Send a random request; returns its outcome."""
        kind = self.random.choice(["draw", "draw", "api", "png", "blend", "restyle", "invalid"])
        caption, seeds = self.random.choice(CAPTIONS), self.random.sample(SEEDS, 4)
        if kind == "invalid":
            answer = self.call(self.random.choice(list(self.component_ids)), self.random.choice(INVALID_REQUESTS))
            if answer.get("error") != SERVER_ERROR:
                return "invalid, refused" if "error" in answer else "invalid, answered"
        elif kind == "api":
            answer = self.call_api({"caption": caption, "seeds": seeds})
        else:
            answer = self.call(kind, self.request(kind, caption, seeds))
        if "error" in answer:
            return f"{ERROR}: {answer['error']}"
        return CORRECT if self.is_correct(kind, caption, seeds, answer) else WRONG

    def request(self, kind: str, caption: str, seeds: list[int]) -> dict:
        if kind in ("draw", "png"):
            return {"caption": caption, "seeds": seeds}
        if kind == "blend":  # at its first end, which is a drawing of the caption
            return {"captions": [caption, CAPTIONS[0]], "at": [[0, 0]], "seed": seeds[0]}
        buffer = io.BytesIO()
        photo(seeds[0]).save(buffer, "PNG")
        return {"photo": f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}", "captions": [caption]}

    def is_correct(self, kind: str, caption: str, seeds: list[int], answer: dict) -> bool:
        pictures = np.array([decode(uri) for uri in answer.get("pictures", [answer.get("file")])])
        rows = [seed - 1 for seed in (seeds if kind in ("draw", "api") else seeds[:1])]
        expected = self.expected["restyled" if kind == "restyle" else "drawn", caption][rows]
        if pictures.shape != expected.shape:
            return False
        return np.abs(pictures - expected).mean((1, 2, 3)).max() < MAX_DIFFERENCE


def photo(seed: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 255, (64, 64, 3), np.uint8))


def decode(uri: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))).convert("RGB"), int)


def resources(server: subprocess.Popen, folder: Path) -> tuple[int, int, int]:
    """Memory in MB, open files, files in the temporary folder."""
    pages = int(Path(f"/proc/{server.pid}/statm").read_text().split()[1])
    files = sum(path.is_file() for path in folder.rglob("*"))
    return pages * os.sysconf("SC_PAGE_SIZE") // 10**6, len(os.listdir(f"/proc/{server.pid}/fd")), files


def run_clients(
    port: int, expected: Pictures, clients: int, seconds: float, measure: Callable[[], tuple]
) -> tuple[Counter, list[tuple]]:
    """Send requests from many clients for a time; returns the outcomes, and what `measure` gives each second."""
    outcomes, end, measurements = Counter(), time.monotonic() + seconds, [measure()]

    def run(seed: int) -> None:
        client = Client(port, expected, seed)
        while time.monotonic() < end:
            try:
                outcomes[client.send_random()] += 1
            except OSError as error:
                busy = isinstance(error, urllib.error.HTTPError) and error.code == 503
                outcomes["busy" if busy else f"{NO_ANSWER}: {error}"] += 1

    threads = [threading.Thread(target=run, args=(seed,)) for seed in range(clients)]
    for thread in threads:
        thread.start()
    while time.monotonic() < end:
        time.sleep(1)
        measurements.append(measure())
    for thread in threads:
        thread.join()
    return outcomes, [*measurements, measure()]


def kill_and_restart(server: subprocess.Popen, port: int, folder: Path, expected: Pictures) -> str:
    """Kill the server during a request and start it again; returns the outcomes of requests after that."""
    client = Client(port, expected, 0)

    def request_film() -> None:
        with suppress(OSError):  # the server is killed before it answers
            client.call("film", {"captions": CAPTIONS, "kind": "gif"})

    request = threading.Thread(target=request_film)
    request.start()
    time.sleep(0.2)  # a film takes longer
    server.kill()
    server.wait()
    request.join()
    restarted = start_server(port, folder)
    try:
        return ", ".join(dict.fromkeys(client.send_random() for _ in range(20)))
    finally:
        restarted.kill()
        restarted.wait()


def main(seconds: float = 120, clients: int = 16) -> None:
    studio = t2i.load("flowers")
    expected = {("drawn", caption): studio.draw_array(caption, SEEDS).astype(int) for caption in CAPTIONS}
    restyled = np.stack([studio.restyle_array(photo(seed), CAPTIONS) for seed in SEEDS]).astype(int)
    expected |= {("restyled", caption): restyled[:, i] for i, caption in enumerate(CAPTIONS)}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent) / "tmp"
        folder.mkdir()
        server = start_server(port, folder)

        def measure() -> tuple[int, int, int]:
            return resources(server, folder)

        try:
            run_clients(port, expected, clients, min(seconds / 4, 10), measure)  # warm-up
            outcomes, measurements = run_clients(port, expected, clients, seconds, measure)
            total, counts = sum(outcomes.values()), dict(outcomes.most_common())
            print(f"{total} requests of {clients} clients in {seconds:.0f} s: {counts}")
            for name, values in zip(("memory, MB", "open files", "temporary files"), zip(*measurements)):
                tenths = ", ".join(str(values[len(values) * tenth // 10]) for tenth in range(10))
                print(f"{name}, at each tenth of the time: {tenths}; at the end {values[-1]}, at most {max(values)}")
            print("killed during a request and started again:", kill_and_restart(server, port, folder, expected))
        finally:
            server.kill()
            server.wait()
    if failures := [outcome for outcome in outcomes if outcome.startswith((WRONG, ERROR, NO_ANSWER))]:
        sys.exit(f"failed: {', '.join(failures)}")


if __name__ == "__main__":
    main(*map(float, sys.argv[1:2]), *map(int, sys.argv[2:3]))
