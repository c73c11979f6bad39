"""The engine against the plain networks in float32, as PyTorch runs them, taking turns in one run.

What is compared is timed in pairs, so that a busy machine slows both; a ratio is the median of the pairs' ratios, with
its quartiles. On CUDA the device's own events keep the time.
"""

import io
import json
import subprocess
import sys
import time
from collections.abc import Callable
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
from ..models import describe, encode
from ..studio import noise

BATCHES = {"cpu": (1, 16, 64, 256), "cuda": RENDER_GRAPH_BATCH_SIZES}
EXACT = 256  # pictures compared
CAPTION = "this flower has pink petals and a yellow center {}"
SECONDS, WARM_UP, FEWEST = 3.0, 2, 5  # of a comparison; pairs before it; pairs in it
SIDES = {"cpu": 1024, "cuda": 8192}  # of the square matrices whose product is the machine's rate
REPLAYS = 10  # of a graph, timed together: the first waits for its launch
STARTS = 3

# Seconds to import torch, t2i after it, to load and to draw; resident memory after that, in MB.
START = """
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


def run(model: str, seconds: float = SECONDS, batches: tuple[int, ...] = ()) -> dict:
    """All figures of a model by name, folder or Hub id; `seconds` for each comparison, in the device's `BATCHES`.

    Takes the threads for itself, as an application does.
    """
    torch.set_num_threads(usable_cores())
    checkpoint = Checkpoint(model)
    networks = checkpoint.read("text_encoder", "generator")
    engine, plain = Engine(networks), Plain(networks)
    batches = batches or BATCHES[engine.device.type]
    return {
        "model": Path(model).name,
        "generator": describe({"generator": networks["generator"]})["generator"]["type"],
        "size": engine.size,
        "machine": machine(engine),
        "start": start(checkpoint.folder.resolve()),  # a process with another working folder reads it, too
        "exactness": exactness(engine, plain),
        "comparisons": list(comparisons(engine, plain, seconds, batches)),
        "roofline": [roofline(engine, plain, batch, seconds) for batch in batches],
    }


class Plain:
    """The networks as they were trained, in float32, behind the engine's verbs."""

    def __init__(self, networks: dict):
        self.device = torch.device(best_device())
        self.text, self.generator = (networks[n].eval().to(self.device) for n in ("text_encoder", "generator"))

    @torch.inference_mode()
    def embed(self, captions: list[str]) -> Tensor:
        return self.text(encode(captions, self.text.config.length).to(self.device))

    @torch.inference_mode()
    def render(self, z: Tensor, h: Tensor) -> np.ndarray:
        pictures = self.generator(z.to(self.device), h.to(self.device))
        return (pictures * 127.5 + 128).byte().permute(0, 2, 3, 1).contiguous().cpu().numpy()

    def operations(self) -> int:
        """Multiplications and additions of the generator for one picture."""
        with FlopCounterMode(display=False) as counter, torch.inference_mode():
            self.generator(
                noise(0).to(self.device), torch.zeros(1, self.generator.config.embedding, device=self.device)
            )
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
    except metadata.PackageNotFoundError:  # where only the core is installed
        return "none"


def start(folder: Path) -> dict:
    """Medians of a few new processes: seconds, and megabytes where the system tells them."""
    command = [sys.executable, "-c", START, str(folder), str(usable_cores())]
    names = ("import_torch", "import_t2i", "load", "first_picture", "memory_mb")
    runs = [
        json.loads(subprocess.run(command, check=True, capture_output=True, cwd=Path(__file__).parents[2]).stdout)
        for _ in range(STARTS)
    ]
    return {name: round(float(np.median(values)), 3) for name, values in zip(names, zip(*runs))}


def exactness(engine: Engine, plain: Plain) -> dict:
    """In levels of 255, how far the engine's pictures are from the plain networks' and from its own, drawn alone."""
    z, captions = noise(range(EXACT)), [CAPTION.format(number) for number in range(EXACT)]
    h = engine.embed(captions)
    drawn = engine.render(z, h).astype(int)
    off = np.abs(drawn - plain.render(z, plain.embed(captions)))
    again = np.concatenate([engine.render(*one) for one in zip(z[:16].split(1), h[:16].split(1))])
    return {
        "pictures": EXACT,
        "mean": round(float(off.mean()), 4),
        "max": int(off.max()),
        "max_alone_or_in_a_batch": int(np.abs(drawn[:16] - again).max()),
    }


def comparisons(engine: Engine, plain: Plain, seconds: float, batches: tuple[int, ...]):
    """Each thing that is done, in each batch, by both."""
    new = iter(range(EXACT, sys.maxsize))  # the engine remembers captions, those of `exactness` too

    def captions(count: int) -> list[str]:
        return [CAPTION.format(next(new)) for _ in range(count)]

    for batch in batches:
        z, h = noise(range(batch)), engine.embed(captions(batch))
        yield _row("render", batch, lambda it: it.render(z, h), plain, engine, seconds)
        yield _row("embed", batch, lambda it: it.embed(captions(batch)), plain, engine, seconds)
        yield _row("both", batch, lambda it: it.render(z, it.embed(captions(batch))), plain, engine, seconds)
    z = noise(range(16))
    job = lambda it: it.render(z, it.embed(captions(1)).expand(16, -1))  # noqa: E731
    yield _row("a caption to 16 pictures", 16, job, plain, engine, seconds)
    yield _row("a caption to 16 JPEGs", 16, lambda it: [_jpeg(one) for one in job(it)], plain, engine, seconds)


def roofline(engine: Engine, plain: Plain, batch: int, seconds: float) -> dict:
    """What share of the rate of a matrix product, in the engine's own precision, its drawing reaches."""
    z, h = noise(range(batch)), torch.randn(batch, plain.generator.config.embedding)
    draw, drawn = _drawing(engine, z, h)
    side = SIDES[engine.device.type]
    matrix = torch.randn(side, side, dtype=engine.dtype, device=engine.device)

    def product() -> float:
        return float((matrix @ matrix)[0, 0])  # waits for the device

    pair = _pairs([draw, product], seconds)
    operations = plain.operations()
    rates = np.array([operations * drawn, 2 * side**3]) / pair / 1e9  # 10⁹ operations a second
    shares = rates[:, 0] / rates[:, 1]
    return {
        "batch": batch,
        "operations": operations,
        "render_gflops": round(float(np.median(rates[:, 0])), 1),
        "product_gflops": round(float(np.median(rates[:, 1])), 1),
        "share": _spread(shares),
    }


def _drawing(engine: Engine, z: Tensor, h: Tensor) -> tuple[Callable[[], object], int]:
    """What draws these, and how many pictures that makes: a graph alone if there is one, as copies wait for the bus."""
    if not isinstance(engine._generate, GraphedFunction):
        return lambda: engine.render(z, h), len(z)
    engine.render(z, h)  # the graph will find them where it reads
    captured = engine._generate.graphs
    _, replay, made = next((one for one in captured if len(one[2]) >= len(z)), captured[-1])
    return lambda: [replay() for _ in range(REPLAYS)], REPLAYS * len(made)


def table(figures: dict) -> str:
    """The figures in words, as the README shows them."""
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
            f"| {row['what']} | {row['batch']} | {row['plain_ms']} | {row['engine_ms']} | {_told(row['ratio'], 2)} |"
        )
    lines += [
        "",
        f"{figures['roofline'][0]['operations'] / 1e6:.1f} million operations a picture; drawing them, "
        f"{'without copies, ' if m['device'] == 'cuda' else ''}of the rate of a product:",
    ]
    for row in figures["roofline"]:
        share = _told({key: 100 * value for key, value in row["share"].items()}, 0)
        lines.append(f"batch {row['batch']}: {row['render_gflops']} of {row['product_gflops']} GFLOP/s, {share} %")
    return "\n".join(lines)


def _row(what: str, batch: int, job: Callable, plain: Plain, engine: Engine, seconds: float) -> dict:
    times = _pairs([lambda: job(plain), lambda: job(engine)], seconds)
    plain_ms, engine_ms = (float(f"{1000 * t:.3g}") for t in np.median(times, axis=0))
    ratio = _spread(times[:, 0] / times[:, 1])
    return {"what": what, "batch": batch, "plain_ms": plain_ms, "engine_ms": engine_ms, "ratio": ratio}


def _pairs(jobs: list[Callable[[], object]], seconds: float) -> np.ndarray:
    """Seconds (N, 2) of two jobs that take turns."""
    times, end = [], time.perf_counter() + seconds
    while len(times) < WARM_UP + FEWEST or time.perf_counter() < end:
        times.append([_timed(job) for job in jobs])
    return np.array(times[WARM_UP:])


def _timed(job: Callable[[], object]) -> float:
    if torch.cuda.is_available():
        return _timed_by_device(job)
    start = time.perf_counter()
    job()
    return time.perf_counter() - start


def _timed_by_device(job: Callable[[], object]) -> float:
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    job()
    end.record()
    end.synchronize()
    return start.elapsed_time(end) / 1000


def _spread(values: np.ndarray) -> dict:
    low, median, high = (round(float(q), 3) for q in np.quantile(values, [0.25, 0.5, 0.75]))
    return {"median": median, "low": low, "high": high}


def _told(spread: dict, digits: int) -> str:
    return f"{spread['median']:.{digits}f} ({spread['low']:.{digits}f} to {spread['high']:.{digits}f})"


def _jpeg(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG")
    return buffer.getvalue()
