"""How much faster a step of `train gan` is than the same step written plainly, in eager float32, and by what.

All take turns in one run. The plain one runs each pair of pictures and captions through D on its own, in the
networks' own memory layout, with an unfused Adam; the next have one thing more each, up to `train gan`'s own step. All
are the paper's training, with nothing beside its losses.
"""

import statistics
import time
from collections.abc import Callable
from contextlib import nullcontext

import torch
from torch import Tensor

from .. import checkpoint
from ..machine import best_device, processor, usable_cores
from ..models import Discriminator, DiscriminatorConfig, Generator, GeneratorConfig
from ..training.gan import GanTraining, Trainer
from ..training.losses import mix
from ..training.run import half_precision

BATCH, ROUNDS, WARM_UP = 64, 12, 3
LADDER = {  # the plain step, and what more it has
    "plain": (),
    "channels-last": (True,),
    "and bfloat16": (True, True),
    "and fused Adam": (True, True, True),
}


def plain(
    width: int, device: str, last: bool = False, half: bool = False, fused: bool = False
) -> tuple[Callable[..., None], tuple[Generator, Discriminator]]:
    """One step of GAN-INT-CLS as Algorithm 1 reads, and the networks that it trains.

    `last`: channels-last in memory; `half`: bfloat16 where the hardware computes in it; `fused`: Adam in one pass.
    """
    layout = torch.channels_last if last else torch.contiguous_format
    g = Generator(GeneratorConfig(width=width)).to(device, memory_format=layout).train()
    d = Discriminator(DiscriminatorConfig(width=width)).to(device, memory_format=layout).train()
    way = {"fused": True} if fused else {"foreach": False}
    adam_d, adam_g = (torch.optim.Adam(n.parameters(), 2e-4, (0.5, 0.999), **way) for n in (d, g))
    precision = half_precision(device) if half else nullcontext()
    softplus = torch.nn.functional.softplus

    def step(x: Tensor, h: Tensor, wrong: Tensor, z: Tensor) -> None:
        with precision:
            captions = torch.cat([h, mix(h)])
            drawn = g(z, captions)
            fakes = [d(part, h[: len(part)]) for part in drawn.detach().split(len(h))]
            false = (softplus(d(x, wrong)).mean() + softplus(torch.cat(fakes)).mean()) / 2
            loss = softplus(-d(x, h)).mean() + false
        adam_d.zero_grad()
        loss.backward()
        adam_d.step()
        with precision:
            loss = sum(softplus(-d(*part)).mean() for part in zip(drawn.split(len(h)), captions.split(len(h))))
        adam_g.zero_grad()
        loss.backward()
        adam_g.step()

    return step, (g, d)


def run(model: str = "flowers") -> dict:
    """Images a second of each, by the medians of their steps, at the width of this model's generator."""
    width = checkpoint.read(checkpoint.resolve(model), "generator")["generator"].config.width
    device = best_device()
    random = torch.Generator().manual_seed(0)
    x = torch.rand(BATCH, 3, 64, 64, generator=random) * 2 - 1
    h, wrong, z = (torch.randn(*shape, generator=random) for shape in ((BATCH, 1024), (BATCH, 1024), (96, 100)))
    batch = [part.to(device) for part in (x, h, wrong, z)]
    config = GanTraining("", "", "", width=width, diversity=0, information=0)
    trainer = Trainer(config, h.shape[1], device, (batch[0], batch[0].flip(0)))
    steps = {name: plain(width, device, *more)[0] for name, more in LADDER.items()}
    steps["and photos seen once, D without gradients in the turn of G"] = lambda *batch: trainer.step(*batch, epoch=0)
    times: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(WARM_UP + ROUNDS):
        for name, step in steps.items():
            start = time.perf_counter()
            step(*batch)
            if device == "cuda":
                torch.cuda.synchronize()
            times[name].append(time.perf_counter() - start)
    speeds = {name: BATCH / statistics.median(taken[WARM_UP:]) for name, taken in times.items()}
    machine = {"processor": processor(), "cores": usable_cores(), "threads": torch.get_num_threads(), "device": device}
    return {"width": width, "batch": BATCH, "images_a_second": speeds, "machine": machine}


def table(figures: dict) -> str:
    """The figures in words."""
    machine, speeds = figures["machine"], figures["images_a_second"]
    lines = [
        f"a step of GAN-INT-CLS, n = {figures['width']}, batch {figures['batch']}, on {machine['processor']}, "
        f"{machine['threads']} threads, {machine['device']}, torch {torch.__version__}",
        "",
        "| step | images a second | times the plain one |",
        "|---|---|---|",
    ]
    lines += [f"| {name} | {speed:.0f} | {speed / speeds['plain']:.2f} |" for name, speed in speeds.items()]
    return "\n".join(lines)
