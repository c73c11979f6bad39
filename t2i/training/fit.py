"""What the trainings share: precision, the folder of a run, resuming, averaged weights, what is kept for all runs."""

import ctypes
import json
import sys
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import OneCycleLR

from ..errors import InputError
from ..store import write_tensors


def keep_memory() -> None:
    """Let the C library keep freed memory for the next step instead of returning it to the kernel.

    On Linux with glibc it took a step of `train gan` (n = 32, one thread) from 1.31 to 1.19 s of processor time;
    elsewhere a no-op.
    """
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        libc.mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD
        libc.mallopt(-8, 1)  # M_ARENA_MAX
        libc.mallopt(-4, 0)  # M_MMAP_MAX


def random(seed: int, step: int) -> torch.Generator:
    """The randomness of one step: a function of seed and step alone, so a resumed run repeats nothing."""
    return torch.Generator().manual_seed(1_000_003 * seed + step)  # torch keeps the lower 32 bits


class Average:
    """Exponential moving average of a network's weights; its decay warms up from 0, so early weights fade soon."""

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


class Learning:
    """A network with its optimizer, a rate that rises and falls once in so many steps, and averaged weights.

    Goes on from the `parts` of an earlier run, if there are any.
    """

    def __init__(self, network: nn.Module, optimizer: Optimizer, steps: int, decay: float, parts: dict[str, dict]):
        self.network, self.optimizer, self.average = network, optimizer, Average(network, decay)
        warm = 0.1 if steps > 10 else 0.0  # no step of so few to warm up in, and of ten torch divides by zero
        self.schedule = OneCycleLR(optimizer, optimizer.defaults["lr"], steps, pct_start=warm)
        if parts:
            network.load_state_dict(parts.get("network") or parts["model"])  # as `train text` called it once
            optimizer.load_state_dict(parts["optimizer"])
            self.schedule.load_state_dict(parts["schedule"])
            self.average.load(parts["average"])

    def step(self, loss: Tensor, step: int, longest: float | None = None) -> None:
        """Follow the gradient of a loss, cut to the length `longest`."""
        self.optimizer.zero_grad()
        loss.backward()
        if longest:
            nn.utils.clip_grad_norm_(self.network.parameters(), longest)
        self.optimizer.step()
        self.schedule.step()
        self.average.update(self.network, step)

    def parts(self) -> dict[str, dict]:
        parts = {"network": self.network, "optimizer": self.optimizer, "schedule": self.schedule}
        return {name: part.state_dict() for name, part in parts.items()} | {"average": self.average.state}


class State:
    """The file that a run goes on from, tensors and plain values only.

    `step` and `parts` are those of the earlier run, and `old` its configuration; 0 and empty where there was none.
    `sources` holds the digest of what is learnt from, by the option that names it: its place may change, but not what
    it holds. `InputError` names the fields, but for the `free` ones, in which the configurations differ, or the source.
    """

    def __init__(self, file: Path, config: dict, sources: dict[str, str], free: tuple[str, ...]):
        self.file, self.config, self.sources = file, config, sources
        self.old, self.step, self.parts = {}, 0, {}
        if file.exists():
            self._read(free)

    def _read(self, free: tuple[str, ...]) -> None:
        try:
            state = torch.load(self.file, map_location="cpu", weights_only=True)
            self.old, self.step, self.parts = state["config"], state["step"], state["parts"]
        except Exception as error:  # torch names no common base for what a broken file raises
            raise InputError(f"{self.file}: cannot be read ({error}); delete it to start again") from None
        old, new = self.old, self.config
        differ = [k for k in sorted(old.keys() | new.keys()) if k not in free and old.get(k) != new.get(k)]
        if differ:
            told = "; ".join(f"{k} was {old.get(k)!r}, now {new.get(k)!r}" for k in differ)
            place = self.file.parent
            raise InputError(f"{place}: holds a run with another configuration ({told}); choose another --out")
        before = state.get("sources", {})  # none of a run from before they were kept
        if changed := [k for k, digest in self.sources.items() if before.get(k, digest) != digest]:
            told = " and ".join(f"--{k} {new[k]}" for k in changed)
            raise InputError(f"{told}: is not what this run began with; restore it, or start again without {self.file}")

    def save(self, step: int, parts: dict) -> None:
        """Write everything the run needs to go on."""
        state = {"config": self.config, "sources": self.sources, "step": step, "parts": parts}
        write_tensors(self.file, state)


def shown(config) -> dict:
    """The configuration as it is published: of places only the last name, for folders differ between machines."""
    places = ("data", "text", "model", "out", "start")
    return {k: Path(v).name if k in places else v for k, v in asdict(config).items()}


def log(folder: Path, **figures: float) -> None:
    """Append one line of figures to `log.jsonl`."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "log.jsonl", "a") as file:
        file.write(json.dumps(figures) + "\n")
