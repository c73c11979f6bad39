"""How much faster a step of each GAN trainer is than the same step written plainly. All take turns in one run.

`train gan`: the plain step runs each pair of pictures and captions through D on its own, in eager float32, in the
networks' own memory layout, with an unfused Adam; the next have one thing more each, up to the trainer's own step. All
are the paper's training, with nothing beside its losses.

`train projected`: the same step with the feature network as its package ships it, differentiated by autograd, against
the trainer's own feature network. Nothing else differs.
"""

import statistics
import time
from collections.abc import Callable
from contextlib import nullcontext

import torch
from torch import Tensor, nn
from torch.nn.functional import relu6

from ..data.corpus import Corpus
from ..device import best_device, half_precision, processor, usable_cores
from ..models import DCGANGenerator, DCGANGeneratorConfig, Discriminator, DiscriminatorConfig
from ..training import paper, projected
from ..training.feature_network import INPUT_SCALE, FeatureNetwork, pretrained
from ..training.fit import keep_freed_memory, step_generator
from ..training.objectives import interpolate

BATCH, ROUNDS, WARM_UP = 64, 12, 3
PROJECTED_ROUNDS = 4  # a step takes seconds
WIDTH, SIZE = 32, 128  # n of the paper's networks, and pixels of the projected trainer's pictures
LADDER = {  # the plain step, and what more it has
    "plain": (),
    "channels-last": (True,),
    "and bfloat16": (True, True),
    "and fused Adam": (True, True, True),
}


def plain(
    width: int, device: str, last: bool = False, half: bool = False, fused: bool = False
) -> tuple[Callable[..., None], tuple[DCGANGenerator, Discriminator]]:
    """One step of GAN-INT-CLS as Algorithm 1 reads, and the networks that it trains.

    `last`: channels-last in memory; `half`: bfloat16 where the hardware computes in it; `fused`: Adam in one pass.
    """
    layout = torch.channels_last if last else torch.contiguous_format
    g = DCGANGenerator(DCGANGeneratorConfig(width=width)).to(device, memory_format=layout).train()
    d = Discriminator(DiscriminatorConfig(width=width)).to(device, memory_format=layout).train()
    way = {"fused": True} if fused else {"foreach": False}
    adam_d, adam_g = (torch.optim.Adam(n.parameters(), 2e-4, (0.5, 0.999), **way) for n in (d, g))
    precision = half_precision(device) if half else nullcontext()
    softplus = torch.nn.functional.softplus

    def step(x: Tensor, h: Tensor, wrong: Tensor, z: Tensor) -> None:
        with precision:
            captions = torch.cat([h, interpolate(h)])
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


class PlainFeatures(nn.Module):
    """The maps of a `FeatureNetwork` by the network as its package ships it, with autograd's own backward pass."""

    def __init__(self, fast: FeatureNetwork):
        super().__init__()
        self.network, self.scales = pretrained().requires_grad_(False), fast.scales
        for block in self.network._blocks:  # the package fixes its padding for 240-pixel pictures, which become 15×15
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
    """Images a second of each step, by the median of its times."""
    keep_freed_memory()
    device = best_device()
    machine = {"processor": processor(), "cores": usable_cores(), "threads": torch.get_num_threads(), "device": device}
    return {
        "width": WIDTH,
        "size": SIZE,
        "batch": BATCH,
        "images_a_second": _speeds(_paper_steps(device), ROUNDS, device),
        "projected_images_a_second": _speeds(_projected_steps(device), PROJECTED_ROUNDS, device),
        "machine": machine,
    }


def _paper_steps(device: str) -> dict[str, Callable[[], object]]:
    g = torch.Generator().manual_seed(0)
    x = torch.rand(BATCH, 3, 64, 64, generator=g) * 2 - 1
    h, wrong, z = (torch.randn(*shape, generator=g) for shape in ((BATCH, 1024), (BATCH, 1024), (BATCH * 3 // 2, 100)))
    batch = [part.to(device) for part in (x, h, wrong, z)]
    config = paper.GanTraining("", "", "", width=WIDTH, diversity=0, information=0)
    trainer = paper.Trainer(config, h.shape[1], device, (batch[0], batch[0].flip(0)))
    steps = {name: plain(WIDTH, device, *more)[0] for name, more in LADDER.items()}
    steps["and photos seen once, D without gradients in the turn of G"] = lambda *batch: trainer.step(*batch, epoch=0)
    return {name: lambda step=step: step(*batch) for name, step in steps.items()}


def _projected_steps(device: str) -> dict[str, Callable[[], object]]:
    g = torch.Generator().manual_seed(0)
    side = SIZE * 9 // 8
    images = torch.randint(256, (2 * BATCH, side, side, 3), generator=g, dtype=torch.uint8).to(device)
    embeddings = torch.randn(len(images), 1, 1024, generator=g).half().to(device)
    corpus = Corpus(images, embeddings, torch.ones(len(images), dtype=int), torch.arange(len(images)) % 2, SIZE)
    config = projected.ProjectedTraining("", "", "", size=SIZE, batch=BATCH)
    steps = {}
    for name, make in (("plain", PlainFeatures), ("gradients as forward convolutions", lambda fast: fast)):
        trainer = projected.Trainer(config, corpus, device)
        trainer.features = make(trainer.features).to(device)
        batch = projected.Batch.sample(corpus, config, trainer.generator.config.noise, step_generator(0, 0))
        steps[name] = lambda trainer=trainer, batch=batch: trainer.step(batch, 0)
    return steps


def _speeds(steps: dict[str, Callable[[], object]], rounds: int, device: str) -> dict[str, float]:
    times: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(WARM_UP + rounds):
        for name, step in steps.items():
            start = time.perf_counter()
            step()
            if device == "cuda":
                torch.cuda.synchronize()
            times[name].append(time.perf_counter() - start)
    return {name: BATCH / statistics.median(taken[WARM_UP:]) for name, taken in times.items()}


def table(figures: dict) -> str:
    """The figures in words."""
    machine = figures["machine"]
    place = f"{machine['processor']}, {machine['threads']} threads, {machine['device']}, torch {torch.__version__}"
    batch = f"batch {figures['batch']}, on {place}"
    return "\n\n".join(
        (
            f"a step of `train gan`, GAN-INT-CLS, n = {figures['width']}, {batch}",
            _rows(figures["images_a_second"]),
            f"a step of `train projected`, {figures['size']} pixels, {batch}",
            _rows(figures["projected_images_a_second"]),
        )
    )


def _rows(speeds: dict[str, float]) -> str:
    lines = ["| step | images a second | times the plain one |", "|---|---|---|"]
    return "\n".join(
        lines + [f"| {name} | {speed:.0f} | {speed / speeds['plain']:.2f} |" for name, speed in speeds.items()]
    )
