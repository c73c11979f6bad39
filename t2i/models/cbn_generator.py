"""Generator with conditional batch normalisation: the caption enters at every resolution up to 32×32.

The paper's generator gets its caption once, at 4×4 (section 4.1). Here noise and caption also set the scale and shift
of batch norm (de Vries et al. 2017; Zhang et al. 2019, section 4), which keeps pictures true to their captions at
128×128 and costs next to nothing.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import conv_transpose2d, leaky_relu, pad

from .fuse import frozen, linear, main_directions, weight_and_bias
from .generator import Generator

SLOPE = 0.2  # of every leaky ReLU
MAX_CONDITIONAL_SIDE = 32  # above it, conditional norm is slow and changes nothing visible
MAX_REFINED_SIDE = 64  # up to it, each resolution has a second convolution


@dataclass(frozen=True)
class CBNGeneratorConfig:
    """Sizes of the generator; `channels` are those at 4×4, 8×8, … up to `size`, and further ones are not used."""

    noise: int = 100
    embedding: int = 1024
    projected: int = 128
    size: int = 128
    mapped: int = 256
    channels: tuple[int, ...] = (256, 128, 96, 64, 32, 16, 8, 8)

    def __post_init__(self):
        if not 32 <= self.size <= 512 or self.size & (self.size - 1):
            raise ValueError(f"size must be a power of two from 32 to 512, not {self.size}")
        if len(self.channels) < len(self.sides):
            raise ValueError(f"channels must be {len(self.sides)} numbers for size {self.size}")

    @property
    def sides(self) -> tuple[int, ...]:
        """4, 8, … up to `size`."""
        return tuple(2**i for i in range(2, int(math.log2(self.size)) + 1))


class CBNGenerator(Generator):
    """Noise z (B, Z) and embeddings h (B, E) to pictures (B, 3, S, S) in -1…1; h of zeros stands for no caption."""

    def __init__(self, config: CBNGeneratorConfig = CBNGeneratorConfig()):
        super().__init__()
        self.config: CBNGeneratorConfig = config
        sides, channels = config.sides, config.channels
        joint = config.noise + config.projected
        self.project = nn.Sequential(nn.Linear(config.embedding, config.projected), nn.LeakyReLU(SLOPE))
        self.map = nn.Sequential(nn.Linear(joint, config.mapped), nn.LeakyReLU(SLOPE))
        self.first = nn.Sequential(nn.Linear(joint, 16 * channels[0]), nn.Unflatten(1, (channels[0], 4, 4)))
        layers = [self._norm(4, channels[0])]  # 4×4
        for side, a, b in zip(sides[1:], channels, channels[1:]):
            layers += [Upsample(a, b), self._norm(side, b)]  # 8×8, 16×16, …
            if side <= MAX_REFINED_SIDE:
                layers += [nn.Conv2d(b, b, 3, padding=1, bias=False), self._norm(side, b)]
        self.draw = nn.ModuleList(layers)
        self.to_rgb = nn.Sequential(nn.Conv2d(channels[len(sides) - 1], 3, 3, padding=1), nn.Tanh())  # S×S×3

    def _norm(self, side: int, channels: int) -> nn.Module:
        return ConditionalNorm(channels, self.config.mapped) if side <= MAX_CONDITIONAL_SIDE else Norm(channels)

    def forward(self, z: Tensor, h: Tensor) -> Tensor:
        joint = torch.cat([z, self.project(h)], 1)
        w, x = self.map(joint), self.first(joint).contiguous(memory_format=torch.channels_last)
        for layer in self.draw:
            x = layer(x, w) if isinstance(layer, (ConditionalNorm, Norm)) else layer(x)
        return self.to_rgb(x)

    def directions(self) -> Tensor:
        """The four directions of z (4, Z) that change pictures most: see `main_directions`."""
        return main_directions(folded_first_layer(frozen(self)).weight[:, : self.config.noise])


class Upsample(nn.Module):
    """Nearest-neighbour ×2, then a 3×3 convolution, as one transposed 4×4 convolution: the same result, cheaper."""

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(in_channels, out_channels, 3, 3))
        _init_normal(self.weight, 1 / math.sqrt(9 * in_channels))

    def transposed_kernel(self) -> Tensor:
        """The kernel (A, B, 4, 4) of the transposed convolution: taps that read the same pixel are summed."""
        w = pad(self.weight, (1, 1, 1, 1))
        return w[:, :, :-1, :-1] + w[:, :, 1:, :-1] + w[:, :, :-1, 1:] + w[:, :, 1:, 1:]

    def forward(self, x: Tensor) -> Tensor:
        return conv_transpose2d(x, self.transposed_kernel().to(x.dtype), stride=2, padding=1)


class ConditionalNorm(nn.Module):
    """Batch norm (B, C, S, S) whose scale and shift are computed from w (B, M), then leaky ReLU."""

    def __init__(self, channels: int, mapped: int):
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, affine=False)
        self.affine = nn.Linear(mapped, 2 * channels)
        _init_normal(self.affine.weight, 0.02)
        nn.init.zeros_(self.affine.bias)

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        scale, shift = self.affine(w)[..., None, None].chunk(2, 1)
        return leaky_relu(self.norm(x) * (1 + scale) + shift, SLOPE)


class Norm(nn.Module):
    """Batch norm (B, C, S, S) with a learned scale and shift, then leaky ReLU; w is not used."""

    def __init__(self, channels: int):
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        return leaky_relu(self.norm(x), SLOPE)


def folded_first_layer(generator: CBNGenerator) -> nn.Linear:
    """The first layer with its batch norm folded in, for images (4, 4, C) instead of (C, 4, 4)."""
    norm = generator.get_submodule("draw.0.norm")
    assert isinstance(norm, nn.BatchNorm2d)
    mean, variance = norm.get_buffer("running_mean"), norm.get_buffer("running_var")
    parameters = weight_and_bias(generator.first[0])
    weight, bias = (x.unflatten(0, (-1, 16)).transpose(0, 1) for x in parameters)  # (16, C, …)
    scale = torch.rsqrt(variance + norm.eps)
    return linear((weight * scale[:, None]).flatten(0, 1), ((bias - mean) * scale).flatten())


def _init_normal(weight: Tensor, std: float) -> None:
    """Not on the meta device, whose weights are replaced: there torch would first import its compiler, for a second."""
    if not weight.is_meta:
        nn.init.normal_(weight, 0, std)
