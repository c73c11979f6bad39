"""What both trainings share: precision, the folder of a run, resuming, averaged weights."""

import ctypes
import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor, nn

from ..checkpoint import write
from ..errors import InputError
from ..machine import computes_bfloat16


def half_precision(device: str) -> torch.autocast:
    """Autocast to bfloat16 where the hardware computes in it, a no-op elsewhere (emulated, it is far slower)."""
    return torch.autocast(device, torch.bfloat16, enabled=computes_bfloat16(torch.device(device)))


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


def save_state(file: Path, config: dict, step: int, parts: dict[str, dict]) -> None:
    """Write everything a run needs to go on, tensors and plain values only."""
    write(file, lambda p: torch.save({"config": config, "step": step, "parts": parts}, p))


def load_state(file: Path, config: dict, free: tuple[str, ...]) -> tuple[int, dict[str, dict]] | None:
    """The step and parts of an earlier run, or None.

    Raises `InputError` that names the fields, but for the `free` ones, in which its configuration differs.
    """
    if not file.exists():
        return None
    try:
        state = torch.load(file, map_location="cpu", weights_only=True)
        old, step, parts = state["config"], state["step"], state["parts"]
    except Exception as error:  # torch names no common base for what a broken file raises
        raise InputError(f"{file}: cannot be read ({error}); delete it to start again") from None
    differ = [k for k in sorted(old.keys() | config.keys()) if k not in free and old.get(k) != config.get(k)]
    if differ:
        told = "; ".join(f"{k} was {old.get(k)!r}, now {config.get(k)!r}" for k in differ)
        raise InputError(f"{file.parent}: holds a run with another configuration ({told}); choose another --out")
    return step, parts


def kept(file: Path, source: str, make: Callable[[], Tensor]) -> Tensor:
    """`make()`, kept in a run's folder; made anew if what is there was made of another source, or is broken."""
    try:
        found = torch.load(file, weights_only=True)
        if found["source"] == source:
            return found["made"]
    except Exception:  # torch names no common base for what a broken file raises
        pass
    made = make()
    write(file, lambda p: torch.save({"source": source, "made": made}, p))
    return made


def shown(config) -> dict:
    """The configuration as it is published: of places only the last name, for folders differ between machines."""
    places = ("data", "text", "model", "out", "start")
    return {k: Path(v).name if k in places else v for k, v in asdict(config).items()}


def log(folder: Path, **figures: float) -> None:
    """Append one line of figures to `log.jsonl`."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "log.jsonl", "a") as file:
        file.write(json.dumps(figures) + "\n")
