"""How much faster a step of each GAN trainer is than the same step written plainly, and than with other processes.

All steps take turns in one run.

`train gan`: the plain step runs each batch of pictures and captions through D separately, in eager float32, in the
default memory format, with an unfused Adam. Each following step adds one optimization, up to the trainer's own step.
All compute only the paper's losses.

`train projected`: the step with the feature network of its package and PyTorch's own backward pass, against the
trainer's own feature network. Nothing else differs. Then its real steps, batches and all, by one process or by two
that torchrun starts; in each of these programs a process measures itself: `python -m t2i.bench.training 64 128 4`.
"""

import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import relu6

from ..data.corpus import Corpus
from ..device import best_device, half_precision, is_first_process, processor, to_channels_last, usable_cores
from ..models import DCGANGenerator, DCGANGeneratorConfig, Discriminator, DiscriminatorConfig
from ..training import paper, projected
from ..training.distributed import process_group
from ..training.feature_network import INPUT_SCALE, FeatureNetwork, pretrained
from ..training.fit import keep_freed_memory, step_generator
from ..training.objectives import interpolate

BATCH_SIZE, ROUNDS, WARM_UP_ROUNDS = 64, 12, 3
PROJECTED_ROUNDS = 4  # a step takes seconds
WIDTH, PICTURE_SIZE = 32, 128  # n of the paper's networks; pixels along a side for the projected trainer
PROCESS_ROUNDS, PROCESS_STEPS = 2, 5  # steps of a round, of which the first is not counted
PROCESSES = {  # name, number of processes, and threads of each on as many cores
    "one process, one core": (1, 1),
    "one process, two threads": (1, 2),
    "two processes, a core each": (2, 1),
}
PLAIN_STEPS: dict[str, dict[str, bool]] = {  # name and optimizations
    "plain": {},
    "channels-last": {"channels_last": True},
    "and bfloat16": {"channels_last": True, "half": True},
    "and fused Adam": {"channels_last": True, "half": True, "fused": True},
}


def plain_step(
    width: int, device: str, channels_last: bool = False, half: bool = False, fused: bool = False
) -> tuple[Callable[..., None], tuple[DCGANGenerator, Discriminator]]:
    """One step of GAN-INT-CLS as in Algorithm 1, and the networks that it trains.

    `half`: bfloat16 if the hardware computes in it; `fused`: Adam in one kernel.
    """
    g = DCGANGenerator(DCGANGeneratorConfig(width=width)).to(device).train()
    d = Discriminator(DiscriminatorConfig(width=width)).to(device).train()
    if channels_last:
        g, d = to_channels_last(g, device), to_channels_last(d, device)
    options = {"fused": True} if fused else {"foreach": False}
    adam_d, adam_g = (torch.optim.Adam(n.parameters(), 2e-4, (0.5, 0.999), **options) for n in (d, g))
    precision = half_precision(device) if half else nullcontext()
    softplus = torch.nn.functional.softplus

    def step(x: Tensor, h: Tensor, wrong: Tensor, z: Tensor) -> None:
        with precision:
            captions = torch.cat([h, interpolate(h)])
            fake = g(z, captions)
            negative = (softplus(d(x, wrong)).mean() + softplus(d(fake[: len(h)].detach(), h)).mean()) / 2
            loss = softplus(-d(x, h)).mean() + negative
        adam_d.zero_grad()
        loss.backward()
        adam_d.step()
        with precision:
            loss = softplus(-d(fake, captions)).mean()
        adam_g.zero_grad()
        loss.backward()
        adam_g.step()

    return step, (g, d)


class PlainFeatures(FeatureNetwork):
    """The feature maps of a `FeatureNetwork`, by the network of its package and PyTorch's own backward pass."""

    def __init__(self, fast: FeatureNetwork):
        super().__init__()
        self.network, self.scales = pretrained().requires_grad_(False), fast.scales
        for block in self.network._blocks:  # the package pads for 240-pixel pictures
            layer = block._depthwise_conv
            if layer.stride[0] == 2:
                k = layer.kernel_size[0]
                layer.static_padding = nn.ZeroPad2d(((k - 2) // 2, (k - 1) // 2) * 2)

    def forward(self, x: Tensor) -> list[Tensor]:
        x, maps = relu6(self.network._bn0(self.network._conv_stem(x * INPUT_SCALE))), []
        for block in self.network._blocks:
            y = block(x)
            if y.shape[-1] != x.shape[-1]:
                maps.append(x)
            x = y
        return [(m - mean) / deviation for m, (mean, deviation) in zip([*maps[1:], x], self.scales)]


def run() -> dict:
    """Images a second of each step, from the median of its times."""
    keep_freed_memory()
    device = best_device()
    machine = {"processor": processor(), "cores": usable_cores(), "threads": torch.get_num_threads(), "device": device}
    return {
        "width": WIDTH,
        "size": PICTURE_SIZE,
        "batch": BATCH_SIZE,
        "images_a_second": _measure_speeds(_paper_steps(device), ROUNDS, device),
        "projected_images_a_second": _measure_speeds(_projected_steps(device), PROJECTED_ROUNDS, device),
        "processes": _measure_processes() if device == "cpu" and usable_cores() > 1 else {},
        "machine": machine,
    }


def _paper_steps(device: str) -> dict[str, Callable[[], object]]:
    g = torch.Generator().manual_seed(0)
    sizes = DCGANGeneratorConfig(width=WIDTH)
    x = torch.rand(BATCH_SIZE, 3, sizes.size, sizes.size, generator=g) * 2 - 1
    h, wrong = torch.randn(2, BATCH_SIZE, sizes.embedding, generator=g)
    z = torch.randn(BATCH_SIZE * 3 // 2, sizes.noise, generator=g)  # a half more, for interpolated captions
    batch = [tensor.to(device) for tensor in (x, h, wrong, z)]
    config = paper.GanTraining("", "", "", width=WIDTH, diversity=0, information=0)
    trainer = paper.Trainer(config, h.shape[1], device, (batch[0], batch[0].flip(0)))
    steps: dict[str, Callable[..., object]]
    steps = {name: plain_step(WIDTH, device, **options)[0] for name, options in PLAIN_STEPS.items()}
    steps["and photos passed through D once, no gradients of D's weights in G's turn"] = partial(trainer.step, epoch=0)
    return {name: partial(step, *batch) for name, step in steps.items()}


def _projected_steps(device: str) -> dict[str, Callable[[], object]]:
    corpus = _random_corpus(BATCH_SIZE, PICTURE_SIZE, device)
    config = projected.ProjectedTraining("", "", "", size=PICTURE_SIZE, batch=BATCH_SIZE)
    steps: dict[str, Callable[[], object]] = {}
    for name in ("plain", "gradients as forward convolutions"):
        trainer = projected.Trainer(config, corpus, device)
        if name == "plain":
            trainer.features = PlainFeatures(trainer.features).to(device)
        batch = projected.Batch.sample(corpus, config, trainer.generator.config.noise, step_generator(0, 0))
        steps[name] = partial(trainer.step, batch, 0)
    return steps


def _random_corpus(batch: int, size: int, device: str) -> Corpus:
    g = torch.Generator().manual_seed(0)
    side = size * 9 // 8
    images = torch.randint(256, (2 * batch, side, side, 3), generator=g, dtype=torch.uint8).numpy()
    embeddings = torch.randn(len(images), 1, DCGANGeneratorConfig.embedding, generator=g).half().numpy()
    rows = torch.arange(len(images))
    return Corpus(images, rows.numpy(), embeddings, torch.ones_like(rows), rows % 2, size, device)


def _measure_processes() -> dict[str, dict[str, float]]:
    """Images a second, from the median of the steps, and the peak memory of all processes together, in bytes.

    What processes share, as the code of the libraries, counts for each of them.
    """
    runs: dict[str, list[dict]] = {name: [] for name in PROCESSES}
    for _ in range(PROCESS_ROUNDS):
        for name, (count, threads) in PROCESSES.items():
            launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={count}"]
            sizes = map(str, (BATCH_SIZE, PICTURE_SIZE, PROCESS_STEPS))
            command = [sys.executable, *(launcher if count > 1 else []), "-m", __name__, *sizes]
            variables = {"OMP_NUM_THREADS": str(threads)}
            output = subprocess.run(command, env=os.environ | variables, capture_output=True, text=True)
            if output.returncode:
                raise RuntimeError(output.stderr)
            runs[name].append(json.loads(output.stdout))
    return {
        name: {
            "images_a_second": BATCH_SIZE / statistics.median(s for part in parts for s in part["seconds"]),
            "peak_memory": max(part["peak_memory"] for part in parts),
        }
        for name, parts in runs.items()
    }


def measure_steps(batch: int, size: int, steps: int) -> dict:
    """Seconds of each step of `train projected` but the first, and the peak memory in bytes of all its processes.

    Each process is pinned to as many cores as OMP_NUM_THREADS says.
    """
    keep_freed_memory()
    device, threads = best_device(), int(os.environ["OMP_NUM_THREADS"])
    with process_group() as processes:
        if hasattr(os, "sched_setaffinity"):
            cores = sorted(os.sched_getaffinity(0))
            first = processes.rank * threads % len(cores)
            os.sched_setaffinity(0, cores[first : first + threads])
        corpus = _random_corpus(batch, size, device)
        config = projected.ProjectedTraining("", "", "", size=size, batch=batch)
        share = replace(config, batch=projected.share_of(batch, processes.count))
        trainer = projected.Trainer(config, corpus, device, processes)
        times = []
        for i in range(steps):
            start = time.perf_counter()
            g = processes.generator(step_generator(0, i))
            processes.mean(trainer.step(projected.Batch.sample(corpus, share, trainer.generator.config.noise, g), i))
            times.append(time.perf_counter() - start)
        unit = 1 if sys.platform == "darwin" else 1024
        memory = processes.gather(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit)
        return {"seconds": times[1:], "peak_memory": sum(memory)}


def _measure_speeds(steps: dict[str, Callable[[], object]], rounds: int, device: str) -> dict[str, float]:
    times: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(WARM_UP_ROUNDS + rounds):
        for name, step in steps.items():
            start = time.perf_counter()
            step()
            if device == "cuda":
                torch.cuda.synchronize()
            times[name].append(time.perf_counter() - start)
    return {name: BATCH_SIZE / statistics.median(seconds[WARM_UP_ROUNDS:]) for name, seconds in times.items()}


def table(figures: dict) -> str:
    """What `run` returns, as text and Markdown."""
    machine = figures["machine"]
    hardware = f"{machine['processor']}, {machine['threads']} threads, {machine['device']}, torch {torch.__version__}"
    batch = f"batch {figures['batch']}, on {hardware}"
    parts = [
        f"a step of `train gan`, GAN-INT-CLS, n = {figures['width']}, {batch}",
        _speed_table(figures["images_a_second"]),
        f"a step of `train projected`, {figures['size']} pixels, {batch}",
        _speed_table(figures["projected_images_a_second"]),
    ]
    if figures["processes"]:
        title = f"steps of `train projected` with their data, {figures['size']} pixels, batch {figures['batch']} in all"
        parts += [title, _process_table(figures["processes"])]
    return "\n\n".join(parts)


def _speed_table(speeds: dict[str, float]) -> str:
    lines = ["| step | images a second | times the plain one |", "|---|---|---|"]
    lines += [f"| {name} | {speed:.0f} | {speed / speeds['plain']:.2f} |" for name, speed in speeds.items()]
    return "\n".join(lines)


def _process_table(figures: dict[str, dict[str, float]]) -> str:
    lines = ["| | images a second | times one process on one core | peak memory, MB |", "|---|---|---|---|"]
    one = next(iter(figures.values()))["images_a_second"]
    for name, row in figures.items():
        speed = row["images_a_second"]
        lines.append(f"| {name} | {speed:.1f} | {speed / one:.2f} | {row['peak_memory'] / 2**20:.0f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    measured = measure_steps(*map(int, sys.argv[1:]))
    if is_first_process():
        print(json.dumps(measured))
