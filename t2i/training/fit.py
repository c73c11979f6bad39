"""What all trainings share: the loop, seeds, averaged weights, the state of a run, its log, and its checkpoint."""

import ctypes
import json
import math
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import OneCycleLR
from tqdm import tqdm

from .. import store
from ..device import hardware
from ..errors import InputError
from ..locate import Checkpoint, shared_text_encoder
from ..models import Generator, TextEncoder
from ..registry import MODELS
from .attributes import ATTRIBUTES
from .distributed import Processes

PATHS = ("data", "text", "model", "out", "start")  # the fields of configurations that may name a path


def keep_freed_memory() -> None:
    """Let the C library keep freed memory for the next step instead of returning it to the kernel.

    On Linux with glibc it took a step of `train gan` (n = 32, one thread) from 1.31 to 1.19 s of processor time;
    elsewhere a no-op.
    """
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        libc.mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD
        libc.mallopt(-8, 1)  # M_ARENA_MAX
        libc.mallopt(-4, 0)  # M_MMAP_MAX


def step_generator(seed: int, step: int) -> torch.Generator:
    """The random generator of one step. It depends on seed and step alone, so a resumed run repeats nothing."""
    return torch.Generator().manual_seed(1_000_003 * seed + step)  # torch keeps the lower 32 bits


class EMA:
    """Exponential moving average of a network's weights. Its decay warms up from 0, so that early weights fade soon."""

    def __init__(self, network: nn.Module, decay: float):
        self.decay, self.state = decay, {k: v.detach().clone() for k, v in network.state_dict().items()}

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        decay = min(self.decay, (1 + step) / (10 + step))
        for name, value in network.state_dict().items():
            if value.is_floating_point():
                self.state[name].lerp_(value, 1 - decay)
            else:
                self.state[name].copy_(value)

    def load(self, state: dict[str, Tensor]) -> None:
        for name, value in self.state.items():
            value.copy_(state[name])


class Learner:
    """A network with its optimizer, a one-cycle learning rate over `steps`, and the EMA of its weights.

    `state`: the `state_dict` of an earlier run to resume, or an empty one.
    """

    def __init__(self, network: nn.Module, optimizer: Optimizer, steps: int, ema_decay: float, state: dict[str, dict]):
        self.network, self.optimizer, self.ema = network, optimizer, EMA(network, ema_decay)
        warm_up = 0.1 if steps > 10 else 0.0  # a tenth of ten steps or fewer makes torch divide by zero
        self.schedule = OneCycleLR(optimizer, optimizer.defaults["lr"], steps, pct_start=warm_up)
        if state:
            network.load_state_dict(state["network"])
            optimizer.load_state_dict(state["optimizer"])
            self.schedule.load_state_dict(state["schedule"])
            self.ema.load(state["ema"])

    def step(self, loss: Tensor, step: int, max_norm: float | None = None) -> dict[str, float]:
        """One optimizer step; returns the loss by name. `max_norm` clips the gradient."""
        self.optimizer.zero_grad()
        loss.backward()
        if max_norm:
            nn.utils.clip_grad_norm_(self.network.parameters(), max_norm)
        self.optimizer.step()
        self.schedule.step()
        self.ema.update(self.network, step)
        return {"loss": loss.item()}

    def state_dict(self) -> dict[str, dict]:
        return {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "ema": self.ema.state,
        }


class RunState:
    """The file from which a run resumes. It holds tensors and plain values only.

    `step`, `parts` and `saved_config` are those of the earlier run; 0 and empty if there was none.
    `sources`: the digest of each input of the training (data, networks), by the option that names it. Its path may
    change, but not its content. `InputError` names the source that has changed, or the fields in which the
    configurations differ, except the `changeable` ones.
    """

    def __init__(self, file: Path, config: dict, sources: dict[str, str], changeable: tuple[str, ...]):
        self.file, self.config, self.sources = file, config, sources
        self.step = 0
        self.saved_config: dict = {}
        self.parts: dict = {}
        if file.exists():
            self._read(changeable)

    def _read(self, changeable: tuple[str, ...]) -> None:
        try:
            state = torch.load(self.file, map_location="cpu", weights_only=True)
            old, old_sources = state["config"], state["sources"]
            self.saved_config, self.step, self.parts = old, state["step"], state["parts"]
        except Exception as error:  # torch has no common base class for the errors of a broken file
            raise InputError(f"{self.file}: cannot be read ({error}); delete it to start again") from None
        new = self.config
        differ = [k for k in sorted(old.keys() | new.keys()) if k not in changeable and old.get(k) != new.get(k)]
        if differ:
            changes = "; ".join(f"{k} was {old.get(k)!r}, now {new.get(k)!r}" for k in differ)
            folder = self.file.parent
            raise InputError(f"{folder}: holds a run with another configuration ({changes}); choose another --out")
        if changed := [k for k, digest in self.sources.items() if old_sources.get(k) != digest]:
            options = " and ".join(f"--{k} {new[k]}" for k in changed)
            raise InputError(
                f"{options}: is not what this run began with; restore it, or start again without {self.file}"
            )

    def save(self, step: int, parts: dict) -> None:
        """Write everything that the run needs to resume."""
        state = {"config": self.config, "sources": self.sources, "step": step, "parts": parts}
        store.write_tensors(self.file, state)


def run_steps(
    state: RunState,
    title: str,
    total: int,
    save_every: int,
    step: Callable[[int, torch.Generator], dict[str, float]],
    export: Callable[[int, dict], dict[str, float]],
    parts: Callable[[], dict],
    epoch: int = 0,
    processes: Processes = Processes(),
) -> None:
    """The training loop, from the step that `state` has reached to step `total`, with a progress bar.

    `step(i, g)` does step i with the random generator g and returns its losses by name; `InputError` if one is not
    finite. Every `save_every` steps, and at the end, `export(done, cost)` writes the checkpoint of the first `done`
    steps and returns metrics by name, and `parts()` is saved for a resumption. `cost` has the time and hardware of
    these steps. Losses and metrics are logged then, and if the trainer counts epochs also after each epoch, of `epoch`
    steps.

    Ctrl-C and SIGTERM take effect at the end of a step, after the state is saved; the second of them does at once.
    Of several `processes`, all do the steps, and the first one alone shows, logs, exports and saves. Losses are the
    means over the processes, and all stop after the same step.
    """
    start, is_first = time.perf_counter(), processes.is_first
    log = Log(state.file.with_name("log.jsonl"), title, {"epoch": epoch} if epoch else {"step": 1}, state.step)
    steps = range(state.step, total)
    bar = tqdm(steps, desc=title, unit="step", initial=state.step, total=total, disable=not is_first)
    with deferred_signals() as received:
        for i in bar:
            losses, metrics, done = step(i, step_generator(state.config["seed"], i)), {}, i + 1
            losses = processes.mean(losses | {"stops": float(bool(received))})
            saves, stops = done % save_every == 0 or done == total, losses.pop("stops") > 0
            if not all(map(math.isfinite, losses.values())):
                remedy = "train again with a lower --lr"
                raise InputError(f"step {done}: a loss is no longer finite; what was saved last is kept: {remedy}")
            bar.set_postfix({name: f"{loss:.3f}" for name, loss in losses.items()})
            cost = run_cost(state.parts, start) if saves or stops else {}
            if saves and is_first:
                metrics = export(done, cost)
            if (saves or (epoch and done % epoch == 0)) and is_first:
                bar.write(log.append(done, losses | metrics))
            if (saves or stops) and is_first:
                state.save(done, parts() | cost)
            if stops:
                break


@contextmanager
def deferred_signals() -> Iterator[list[int]]:
    """Defer the first SIGINT or SIGTERM to the end of this context; yields the list of those received.

    Python handles signals in its main thread alone: elsewhere, nothing is deferred. A signal that is ignored, as SIGINT
    is in a background job, stays so.
    """
    received: list[int] = []
    handlers: dict[int, Any] = {}

    def restore() -> None:
        while handlers:
            signal.signal(*handlers.popitem())

    def receive(number: int, frame: object) -> None:
        received.append(number)
        restore()

    if threading.current_thread() is threading.main_thread():
        for deferred in (signal.SIGINT, signal.SIGTERM):
            if signal.getsignal(deferred) != signal.SIG_IGN:
                handlers[deferred] = signal.signal(deferred, receive)
    try:
        yield received
    finally:
        restore()
    for number in received:
        signal.raise_signal(number)


class Log:
    """The log of a training in a file of JSON lines, which trainings of the same folder share.

    `unit`: the name of what is counted, and its number of steps. The lines of this training that are later than the
    `done` steps of a resumed run are removed: the run will write them again.
    """

    def __init__(self, path: Path, training: str, unit: dict[str, int], done: int):
        self.path, self.training = path, training
        [(self.unit, self.steps)] = unit.items()
        if not path.exists():
            return
        old = path.read_text("utf-8").splitlines(keepends=True)
        kept = [line for line in old if self._is_kept(line, done)]
        if kept != old:
            store.write(path, lambda p: p.write_text("".join(kept), "utf-8"))

    def append(self, done: int, values: dict[str, float]) -> str:
        """Write a line after `done` steps, and return it."""
        line = json.dumps({"training": self.training, self.unit: done // self.steps} | values)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(line + "\n")
        return line

    def _is_kept(self, line: str, done: int) -> bool:
        try:
            entry = json.loads(line)
            return entry.get("training") != self.training or entry[self.unit] * self.steps <= done
        except (ValueError, LookupError, TypeError, AttributeError):  # cut, or not of this program
            return False


def training_before(state: RunState, start: str) -> dict:
    """What the model `start`, from which a run began, records of its own training; empty if it began anew."""
    if state.parts:
        return state.parts.get("before", {})
    return Checkpoint(start).training("gan") if start else {}


def public_config(config) -> dict:
    """The configuration as it is published: only the last part of a path, since folders differ between machines."""
    return {k: Path(v).name if k in PATHS else v for k, v in asdict(config).items()}


def run_cost(parts: dict, start: float) -> dict[str, object]:
    """Seconds and hardware of a run that began at `start`, added to those that `parts` of its earlier state record."""
    names = dict.fromkeys([*parts.get("hardware", "").split("; "), hardware()])
    seconds = parts.get("seconds", 0) + round(time.perf_counter() - start)
    return {"seconds": seconds, "hardware": "; ".join(filter(None, names))}


def save_checkpoint(
    out: Path,
    networks: dict[str, nn.Module],
    text_name: str,
    text: TextEncoder,
    run: dict,
    examples: list[str],
    has_attributes: bool,
    caption_mean: Tensor | None = None,
) -> None:
    """Write a GAN's networks with their text encoder, which is shared if `text_name` is a registered model.

    `run`: the configuration and what else `config.json` records of the training. `examples`: captions that the page
    offers, for a `model.json` if there is none. `has_attributes`: whether the first coordinates of z have learned the
    attributes, so that sliders can be named after them. `caption_mean`: the mean embedding (E,) of the training
    captions, if mixed captions shall be centred on it.
    """
    if text_name in MODELS:
        shared = shared_text_encoder(text_name)
    else:
        networks = networks | {"text_encoder": text}
        checkpoint = Checkpoint(text_name)
        shared = {"words": " ".join(sorted(checkpoint.words))}
        if checkpoint.has("image_projection"):  # `evaluate` measures retrieval with it
            networks = networks | {"image_projection": checkpoint.read("image_projection")["image_projection"]}
    training = {"text_encoder": Checkpoint(text_name).training("text_encoder"), "gan": run}
    attributes = {"attributes": ATTRIBUTES} if has_attributes else {}
    mean = {} if caption_mean is None else {"caption_mean": store.vector_to_text(caption_mean)}
    store.save(out, networks, shared | attributes | mean | {"training": training})
    description = out / "model.json"
    if not description.exists():
        fields = json.dumps({"examples": examples}, indent=2, ensure_ascii=False)
        store.write(description, lambda partial: partial.write_text(fields + "\n", "utf-8"))


@torch.inference_mode()
def save_samples(path: Path, generator: Generator, h: Tensor, seeds: int = 8) -> None:
    """Write a PNG sheet: a row for each embedding h (N, E), a column for each seed."""
    device = next(generator.parameters()).device
    z = torch.randn(seeds, generator.config.noise, generator=torch.Generator().manual_seed(0)).to(device)
    rows = (generator(z, row.expand(seeds, -1)) for row in h.to(device))
    pixels = torch.cat([torch.cat(list(row), 2) for row in rows], 1)
    sheet = Image.fromarray((pixels * 127.5 + 128).clamp(0, 255).byte().permute(1, 2, 0).cpu().numpy())
    store.write(path, lambda partial: sheet.save(partial, "PNG"))
