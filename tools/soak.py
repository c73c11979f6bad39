"""Many visitors at once, some of them hostile: `python -m examples.soak [SECONDS] [CLIENTS]`.

Starts the page and lets clients ask for drawings, PNGs, blends, styles and nonsense, as the page does and as programs
do. Each looks whether its pictures are those that its caption and seed must give. The server's memory, open files and
temporary files are told as they were at the start, at most and at the end. Last, it is killed in mid-request and
started again.
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
from pathlib import Path

import numpy as np
from PIL import Image

import t2i
from t2i.web.service import BROKEN

ROOT = Path(__file__).parents[1]
CAPTIONS = ("a red flower", "a blue flower with white petals", "yellow petals around a dark centre", "a pink rose")
SEEDS = range(1, 17)
NONSENSE = (None, [], {"caption": 5}, {"caption": "${alert(1)}", "seeds": [1e308]}, {"caption": "🌸"}, {"captions": {}})
FAR = 10  # levels of 255: more than a JPEG strays, less than another seed differs


def start(port: int, folder: Path) -> subprocess.Popen:
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


class Visitor:
    """What a page does, and a stranger may."""

    def __init__(self, port: int, made: dict[tuple[str, str], np.ndarray], seed: int):
        self.url, self.made, self.random = f"http://127.0.0.1:{port}", made, random.Random(seed)
        self.session = f"soak{seed}"
        with urllib.request.urlopen(f"{self.url}/config") as answer:
            components = json.load(answer)["components"]
        self.doors = {f: c["id"] for c in components for f in c["props"].get("server_fns") or []}

    def call(self, function: str, data: object) -> dict:
        asked = {"data": data, "component_id": self.doors[function], "fn_name": function, "session_hash": self.session}
        request = urllib.request.Request(
            f"{self.url}/gradio_api/component_server/", json.dumps(asked).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=120) as answer:
            return json.load(answer)

    def event(self, asked: dict) -> dict:
        """The API event `draw`, as a program asks for it: through the queue."""
        door, kind = f"{self.url}/gradio_api/call/v2/draw", {"Content-Type": "application/json"}
        with urllib.request.urlopen(
            urllib.request.Request(door, json.dumps(asked).encode(), kind), timeout=120
        ) as answer:
            event = json.load(answer)["event_id"]
        with urllib.request.urlopen(f"{door}/{event}", timeout=120) as answer:
            told = answer.read().decode().partition("event: complete")[2]
        return json.loads(told.partition("data: ")[2])[0]

    def visit(self) -> str:
        """Ask for something; what came of it, in a word or two."""
        verb = self.random.choice(["draw", "draw", "event", "png", "blend", "restyle", "nonsense"])
        caption, seeds = self.random.choice(CAPTIONS), self.random.sample(SEEDS, 4)
        if verb == "nonsense":
            answer = self.call(self.random.choice(list(self.doors)), self.random.choice(NONSENSE))
            if answer.get("error") != BROKEN:
                return "nonsense refused in words" if "error" in answer else "nonsense answered"
        elif verb == "event":
            answer = self.event({"caption": caption, "seeds": seeds})
        else:
            answer = self.call(verb, self.request(verb, caption, seeds))
        if "error" in answer:
            return f"REFUSED: {answer['error']}"
        return "right" if self.right(verb, caption, seeds, answer) else "WRONG"

    def request(self, verb: str, caption: str, seeds: list[int]) -> dict:
        if verb in ("draw", "png"):
            return {"caption": caption, "seeds": seeds}
        if verb == "blend":  # at its ends, where it is a drawing
            return {"captions": [caption, CAPTIONS[0]], "at": [[0, 0]], "seed": seeds[0]}
        buffer = io.BytesIO()
        photo(seeds[0]).save(buffer, "PNG")
        return {"photo": f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}", "captions": [caption]}

    def right(self, verb: str, caption: str, seeds: list[int], answer: dict) -> bool:
        pictures = [decode(uri) for uri in answer.get("pictures", [answer.get("file")])]
        made = self.made["restyled" if verb == "restyle" else "drawn", caption]
        wanted = made[[seed - 1 for seed in (seeds if verb in ("draw", "event") else seeds[:1])]]
        return np.shape(pictures) == wanted.shape and np.abs(np.subtract(pictures, wanted)).mean((1, 2, 3)).max() < FAR


def photo(seed: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 255, (64, 64, 3), np.uint8))


def decode(uri: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))).convert("RGB"), int)


def state(server: subprocess.Popen, folder: Path) -> tuple[int, int, int]:
    """Memory in MB, open files, files in the temporary folder."""
    pages = int(Path(f"/proc/{server.pid}/statm").read_text().split()[1])
    files = sum(path.is_file() for path in folder.rglob("*"))
    return pages * os.sysconf("SC_PAGE_SIZE") // 10**6, len(os.listdir(f"/proc/{server.pid}/fd")), files


def crowd(port: int, made: dict, clients: int, seconds: float, watch) -> tuple[Counter, list[tuple]]:
    """Let clients visit for a time; what came of it, and the server's states meanwhile."""
    came, end, states = Counter(), time.monotonic() + seconds, [watch()]

    def client(seed: int) -> None:
        visitor = Visitor(port, made, seed)
        while time.monotonic() < end:
            try:
                came[visitor.visit()] += 1
            except OSError as error:
                busy = isinstance(error, urllib.error.HTTPError) and error.code == 503
                came["busy" if busy else f"NO ANSWER: {error}"] += 1

    threads = [threading.Thread(target=client, args=(seed,)) for seed in range(clients)]
    for thread in threads:
        thread.start()
    while time.monotonic() < end:
        time.sleep(1)
        states.append(watch())
    for thread in threads:
        thread.join()
    return came, [*states, watch()]


def killed(server: subprocess.Popen, port: int, folder: Path, made: dict) -> str:
    """Kill the server while it draws, start it again, and ask it the same."""
    visitor = Visitor(port, made, 0)
    film = {"captions": CAPTIONS, "kind": "gif"}
    hanging = threading.Thread(target=lambda: unanswered(lambda: visitor.call("film", film)))
    hanging.start()
    time.sleep(0.2)  # a film takes longer
    server.kill()
    server.wait()
    hanging.join()
    again = start(port, folder)
    try:
        return ", ".join(dict.fromkeys(visitor.visit() for _ in range(20)))
    finally:
        again.kill()
        again.wait()


def unanswered(job) -> None:
    try:
        job()
    except OSError:
        pass  # nobody is there to answer


def main(seconds: float = 120, clients: int = 16) -> None:
    studio = t2i.load("flowers")
    made = {("drawn", caption): studio.draw_array(caption, SEEDS).astype(int) for caption in CAPTIONS}
    restyled = np.stack([studio.restyle_array(photo(seed), CAPTIONS) for seed in SEEDS]).astype(int)
    made |= {("restyled", caption): restyled[:, i] for i, caption in enumerate(CAPTIONS)}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "tmp"
        folder.mkdir()
        server = start(port, folder)
        try:
            crowd(port, made, clients, min(seconds / 4, 10), lambda: state(server, folder))  # its pools fill up first
            came, states = crowd(port, made, clients, seconds, lambda: state(server, folder))
            print(f"{sum(came.values())} requests of {clients} clients in {seconds:.0f} s: {dict(came.most_common())}")
            for name, values in zip(("memory, MB", "open files", "temporary files"), zip(*states)):
                way = ", ".join(str(values[len(values) * tenth // 10]) for tenth in range(10))
                print(f"{name}, at each tenth of the time: {way}, and at the end {values[-1]}; at most {max(values)}")
            print("killed in mid-request and started again:", killed(server, port, folder, made))
        finally:
            server.kill()
            server.wait()
    if wrong := [told for told in came if told[:5] in ("WRONG", "NO AN", "REFUS")]:
        sys.exit(f"not as promised: {', '.join(wrong)}")


if __name__ == "__main__":
    main(*map(float, sys.argv[1:2]), *map(int, sys.argv[2:3]))
