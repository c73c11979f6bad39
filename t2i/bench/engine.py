"""The engine against the plain networks in float32, as PyTorch runs them.

The two take turns, so that a busy machine slows both. A ratio is the median of the ratios of pairs, with its quartiles.
On CUDA the device's own events measure the time.
"""

import io
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from ..device import best_device, processor, usable_cores
from ..engine.engine import RENDER_GRAPH_BATCH_SIZES, Engine
from ..engine.graphs import GraphedFunction
from ..locate import Checkpoint
from ..models import Networks, describe, encode
from ..studio import noise

BATCH_SIZES = {"cpu": (1, 16, 64, 256), "cuda": RENDER_GRAPH_BATCH_SIZES}
NUM_EXACTNESS_PICTURES = 256
CAPTION = "this flower has pink petals and a yellow center {}"
SECONDS, WARM_UP_PAIRS, MIN_PAIRS = 3.0, 2, 5  # of a comparison
MATRIX_SIZES = {"cpu": 1024, "cuda": 8192}  # of the product whose speed is compared with that of the engine
NUM_REPLAYS = 10  # of a CUDA graph, timed together because the first waits for its launch
NUM_STARTS = 3

# Seconds to import torch, to import t2i after it, to load and to draw; then resident memory in MB.
START_PROGRAM = """
import sys, time
from pathlib import Path
times = [time.perf_counter()]
def lap(): times.append(time.perf_counter())
import torch; lap()
import t2i; lap()
torch.set_num_threads(int(sys.argv[2]))
studio = t2i.load(sys.argv[1]); lap()
studio.draw("a red flower"); lap()
laps = [b - a for a, b in zip(times, times[1:])]
status = Path("/proc/self/status")
lines = status.read_text().splitlines() if status.exists() else []
memory = [int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS")]
import json; print(json.dumps([*laps, *memory]))
"""


def run(model: str, seconds: float = SECONDS, batch_sizes: tuple[int, ...] = ()) -> dict:
    """All measurements of a model by name, folder or Hub id; each comparison takes so many seconds.

    `batch_sizes`: those of the device if it is empty. Like an application, it sets the threads of the process.
    """
    torch.set_num_threads(usable_cores())
    checkpoint = Checkpoint(model)
    networks = checkpoint.read("text_encoder", "generator")
    engine, plain = Engine(networks), Plain(networks)
    batch_sizes = batch_sizes or BATCH_SIZES[engine.device.type]
    return {
        "model": Path(model).name,
        "generator": describe({"generator": networks["generator"]})["generator"]["type"],
        "size": engine.size,
        "machine": machine(engine),
        "start": start(checkpoint.folder.resolve()),  # it is read by a process with another working folder
        "exactness": exactness(engine, plain),
        "comparisons": list(comparisons(engine, plain, seconds, batch_sizes)),
        "roofline": [roofline(engine, plain, batch_size, seconds) for batch_size in batch_sizes],
    }


class Plain:
    """The networks as they were trained, in float32, with the methods of the engine."""

    def __init__(self, networks: Networks):
        self.device = torch.device(best_device())
        self.text = networks["text_encoder"].eval().to(self.device)
        self.generator = networks["generator"].eval().to(self.device)

    @torch.inference_mode()
    def embed(self, captions: list[str]) -> Tensor:
        return self.text(encode(captions, self.text.config.length).to(self.device))

    @torch.inference_mode()
    def render(self, z: Tensor, h: Tensor) -> np.ndarray:
        pictures = self.generator(z.to(self.device), h.to(self.device))
        return (pictures * 127.5 + 128).byte().permute(0, 2, 3, 1).contiguous().cpu().numpy()

    def operations(self) -> int:
        """Multiplications and additions of the generator for one picture."""
        z, h = torch.zeros(1, self.generator.config.noise), torch.zeros(1, self.generator.config.embedding)
        with FlopCounterMode(display=False) as counter, torch.inference_mode():
            self.generator(z.to(self.device), h.to(self.device))
        return counter.get_total_flops()


def machine(engine: Engine) -> dict:
    return {
        "device": engine.device.type,
        "processor": torch.cuda.get_device_name() if engine.device.type == "cuda" else processor(),
        "cores": usable_cores(),
        "threads": torch.get_num_threads(),
        "computes_in": str(engine.dtype).removeprefix("torch."),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "python": sys.version.split()[0],
        "torch": torch.__version__,
        "gradio": _version("gradio"),
    }


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:  # only the core is installed
        return "none"


def start(folder: Path) -> dict:
    """Medians of a few new processes: seconds, and megabytes if the system reports them."""
    command = [sys.executable, "-c", START_PROGRAM, str(folder), str(usable_cores())]
    names = ("import_torch", "import_t2i", "load", "first_picture", "memory_mb")
    runs = [
        json.loads(subprocess.run(command, check=True, capture_output=True, cwd=Path(__file__).parents[2]).stdout)
        for _ in range(NUM_STARTS)
    ]
    return {name: round(float(np.median(values)), 3) for name, values in zip(names, zip(*runs))}


def exactness(engine: Engine, plain: Plain) -> dict:
    """Differences in levels of 255: of the engine from the plain networks, and of a picture alone from the batch."""
    z = noise(range(NUM_EXACTNESS_PICTURES), engine.noise_size)
    captions = [CAPTION.format(i) for i in range(NUM_EXACTNESS_PICTURES)]
    h = engine.embed(captions)
    pictures = engine.render(z, h).astype(int)
    difference = np.abs(pictures - plain.render(z, plain.embed(captions)))
    alone = np.concatenate([engine.render(*row) for row in zip(z[:16].split(1), h[:16].split(1))])
    return {
        "pictures": NUM_EXACTNESS_PICTURES,
        "mean": round(float(difference.mean()), 4),
        "max": int(difference.max()),
        "max_alone_or_in_a_batch": int(np.abs(pictures[:16] - alone).max()),
    }


def comparisons(engine: Engine, plain: Plain, seconds: float, batch_sizes: tuple[int, ...]) -> Iterator[dict]:
    """The times of each computation, for each batch size, by both."""
    numbers = iter(range(NUM_EXACTNESS_PICTURES, sys.maxsize))  # new captions, because the engine caches embeddings

    def captions(count: int) -> list[str]:
        return [CAPTION.format(next(numbers)) for _ in range(count)]

    for size in batch_sizes:
        z, h = noise(range(size), engine.noise_size), engine.embed(captions(size))
        yield _row("render", size, lambda model: model.render(z, h), plain, engine, seconds)
        yield _row("embed", size, lambda model: model.embed(captions(size)), plain, engine, seconds)
        yield _row("both", size, lambda model: model.render(z, model.embed(captions(size))), plain, engine, seconds)
    z = noise(range(16), engine.noise_size)

    def draw(model: Engine | Plain) -> np.ndarray:
        return model.render(z, model.embed(captions(1)).expand(16, -1))

    yield _row("a caption to 16 pictures", 16, draw, plain, engine, seconds)
    yield _row("a caption to 16 JPEGs", 16, lambda model: [_jpeg(p) for p in draw(model)], plain, engine, seconds)


def roofline(engine: Engine, plain: Plain, batch_size: int, seconds: float) -> dict:
    """The speed of the engine's generator as a share of that of a matrix product of the same data type."""
    z = noise(range(batch_size), engine.noise_size)
    h = torch.randn(batch_size, plain.generator.config.embedding)
    render, count = _render_alone(engine, z, h)
    side = MATRIX_SIZES[engine.device.type]
    matrix = torch.randn(side, side, dtype=engine.dtype, device=engine.device)

    def product() -> float:
        return float((matrix @ matrix)[0, 0])  # waits for the device

    times = _time_pairs([render, product], seconds)
    operations = plain.operations()
    rates = np.array([operations * count, 2 * side**3]) / times / 1e9  # 10⁹ operations a second
    shares = rates[:, 0] / rates[:, 1]
    return {
        "batch": batch_size,
        "operations": operations,
        "render_gflops": round(float(np.median(rates[:, 0])), 1),
        "product_gflops": round(float(np.median(rates[:, 1])), 1),
        "share": _quartiles(shares),
    }


def _render_alone(engine: Engine, z: Tensor, h: Tensor) -> tuple[Callable[[], object], int]:
    """A function that generates pictures, and how many; with CUDA graphs it replays one, without copies to the host."""
    if not isinstance(engine._generate, GraphedFunction):
        return lambda: engine.render(z, h), len(z)
    engine.render(z, h)  # copies them to the inputs of the graph
    graphs = engine._generate.graphs
    graph = next((graph for graph in graphs if len(graph.output) >= len(z)), graphs[-1])
    return lambda: [graph.replay() for _ in range(NUM_REPLAYS)], NUM_REPLAYS * len(graph.output)


def table(figures: dict) -> str:
    """What `run` returns, as text and Markdown."""
    m, s, e = figures["machine"], figures["start"], figures["exactness"]
    lines = [
        f"{figures['model']} ({figures['generator']} generator, {figures['size']}×{figures['size']}) "
        f"on {m['processor']}, {m['threads']} threads of {m['cores']} cores, {m['computes_in']} "
        f"({m['instructions']}), torch {m['torch']}, gradio {m['gradio']}, Python {m['python']}",
        f"start: import torch {s['import_torch']:.2f} s, t2i {s['import_t2i']:.2f} s more, load {s['load']:.2f} s, "
        f"first picture {s['first_picture']:.2f} s, {s.get('memory_mb', float('nan')):.0f} MB",
        f"exactness, {e['pictures']} pictures: mean {e['mean']}, max {e['max']} levels of 255 from the plain networks; "
        f"alone or in a batch: {e['max_alone_or_in_a_batch']}",
        "",
        "| milliseconds, medians | batch | plain | engine | times as fast (quartiles) |",
        "|---|---|---|---|---|",
    ]
    for row in figures["comparisons"]:
        lines.append(
            f"| {row['what']} | {row['batch']} | {row['plain_ms']} | {row['engine_ms']} | {_format(row['ratio'], 2)} |"
        )
    lines += [
        "",
        f"{figures['roofline'][0]['operations'] / 1e6:.1f} million operations a picture; speed of rendering"
        f"{' without copies' if m['device'] == 'cuda' else ''}, and its share of that of a matrix product:",
    ]
    for row in figures["roofline"]:
        share = _format({key: 100 * value for key, value in row["share"].items()}, 0)
        lines.append(f"batch {row['batch']}: {row['render_gflops']} of {row['product_gflops']} GFLOP/s, {share} %")
    return "\n".join(lines)


def _row(what: str, batch_size: int, job: Callable, plain: Plain, engine: Engine, seconds: float) -> dict:
    times = _time_pairs([lambda: job(plain), lambda: job(engine)], seconds)
    plain_ms, engine_ms = (float(f"{1000 * t:.3g}") for t in np.median(times, axis=0))
    ratio = _quartiles(times[:, 0] / times[:, 1])
    return {"what": what, "batch": batch_size, "plain_ms": plain_ms, "engine_ms": engine_ms, "ratio": ratio}


def _time_pairs(jobs: list[Callable[[], object]], seconds: float) -> np.ndarray:
    """Seconds (N, 2) of two jobs that take turns."""
    times: list[list[float]] = []
    end = time.perf_counter() + seconds
    while len(times) < WARM_UP_PAIRS + MIN_PAIRS or time.perf_counter() < end:
        times.append([_time(job) for job in jobs])
    return np.array(times[WARM_UP_PAIRS:])


def _time(job: Callable[[], object]) -> float:
    if torch.cuda.is_available():
        return _device_time(job)
    start = time.perf_counter()
    job()
    return time.perf_counter() - start


def _device_time(job: Callable[[], object]) -> float:
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    job()
    end.record()
    end.synchronize()
    return start.elapsed_time(end) / 1000


def _quartiles(values: np.ndarray) -> dict:
    low, median, high = (round(float(q), 3) for q in np.quantile(values, [0.25, 0.5, 0.75]))
    return {"median": median, "low": low, "high": high}


def _format(quartiles: dict, digits: int) -> str:
    return "{median:.{d}f} ({low:.{d}f} to {high:.{d}f})".format(d=digits, **quartiles)


def _jpeg(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG")
    return buffer.getvalue()
