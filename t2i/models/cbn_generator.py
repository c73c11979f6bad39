"""Generator with conditional batch normalisation: the caption speaks at every resolution up to 32×32.

The paper's generator hears its caption once, at 4×4 (section 4.1). Here noise and caption also set the scale and
shift of batch norm (de Vries et al. 2017; Zhang et al. 2019, section 4), which keeps pictures true to their words
at 128×128 and costs next to nothing.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import conv_transpose2d, leaky_relu, pad

from . import fuse

SLOPE = 0.2  # of every leaky ReLU
CONDITIONED = 32  # the largest side with conditional norm: above, a scale a picture is slow and changes nothing visible
REFINED = 64  # the largest side with a second convolution


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


def _init_normal(weight: Tensor, deviation: float) -> None:
    """Not on the meta device, whose weights are replaced: for it torch would import its compiler, a second at start."""
    if not weight.is_meta:
        nn.init.normal_(weight, 0, deviation)


class Upsample(nn.Module):
    """Nearest-neighbour ×2, then a 3×3 convolution, as one transposed 4×4 convolution: the same result, cheaper."""

    def __init__(self, a: int, b: int):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(a, b, 3, 3))
        _init_normal(self.weight, 1 / math.sqrt(9 * a))

    def folded(self) -> Tensor:
        """The kernel (A, B, 4, 4) of the transposed convolution: taps that read the same pixel are summed."""
        w = pad(self.weight, (1, 1, 1, 1))
        return w[:, :, :-1, :-1] + w[:, :, 1:, :-1] + w[:, :, :-1, 1:] + w[:, :, 1:, 1:]

    def forward(self, x: Tensor) -> Tensor:
        return conv_transpose2d(x, self.folded().to(x.dtype), stride=2, padding=1)


class ConditionalNorm(nn.Module):
    """Batch norm (B, C, S, S) whose scale and shift are read off w (B, M), then leaky ReLU."""

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
    """Batch norm (B, C, S, S) with a scale and shift of its own, then leaky ReLU; w is not used."""

    def __init__(self, channels: int):
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        return leaky_relu(self.norm(x), SLOPE)


class CBNGenerator(nn.Module):
    """Noise z (B, 100) and embeddings h (B, 1024) to pictures (B, 3, S, S) in -1…1; h of zeros is no caption."""

    def __init__(self, config: CBNGeneratorConfig = CBNGeneratorConfig()):
        super().__init__()
        self.config = config
        sides, channels = config.sides, config.channels
        both = config.noise + config.projected
        self.project = nn.Sequential(nn.Linear(config.embedding, config.projected), nn.LeakyReLU(SLOPE))
        self.map = nn.Sequential(nn.Linear(both, config.mapped), nn.LeakyReLU(SLOPE))
        self.first = nn.Sequential(nn.Linear(both, 16 * channels[0]), nn.Unflatten(1, (channels[0], 4, 4)))
        layers = [self._norm(4, channels[0])]  # 4×4
        for side, a, b in zip(sides[1:], channels, channels[1:]):
            layers += [Upsample(a, b), self._norm(side, b)]  # 8×8, 16×16, …
            if side <= REFINED:
                layers += [nn.Conv2d(b, b, 3, padding=1, bias=False), self._norm(side, b)]
        self.draw = nn.ModuleList(layers)
        self.to_rgb = nn.Sequential(nn.Conv2d(channels[len(sides) - 1], 3, 3, padding=1), nn.Tanh())  # S×S×3

    def _norm(self, side: int, channels: int) -> nn.Module:
        return ConditionalNorm(channels, self.config.mapped) if side <= CONDITIONED else Norm(channels)

    def forward(self, z: Tensor, h: Tensor) -> Tensor:
        both = torch.cat([z, self.project(h)], 1)
        w, x = self.map(both), self.first(both).contiguous(memory_format=torch.channels_last)
        for layer in self.draw:
            x = layer(x, w) if isinstance(layer, (ConditionalNorm, Norm)) else layer(x)
        return self.to_rgb(x)

    def directions(self) -> Tensor:
        """The four directions of z (4, 100) that move pictures most: see `fuse.main_directions`."""
        return fuse.main_directions(_folded_first(fuse.frozen(self)).weight[:, : self.config.noise])

    def fast(self, place: Callable[..., nn.Sequential]) -> nn.Module:
        """z, h to pixels (B, S, S, 3), uint8; `place(layers, *shape)` makes layers ready for inputs (B, *shape)."""
        return _Fast(fuse.frozen(self), place)


class _Fast(nn.Module):
    """The generator with its statistics folded into the layers: of a conditional norm, scale and shift are left.

    What a caption alone decides is computed for each picture: remembered, it would save 0.1 ms of a batch of any size.
    """

    def __init__(self, generator: CBNGenerator, place: Callable[..., nn.Sequential]):
        super().__init__()
        config, draw = generator.config, generator.draw
        both, side, channels = config.noise + config.projected, 4, config.channels[0]
        first = [_folded_first(generator), nn.Unflatten(1, (4, 4, channels)), fuse.Images()]
        conditional, rest = [place(nn.Sequential(*first), both)], []
        for layer, norm in zip(draw[1::2], draw[2::2]):
            [folded] = fuse.fold(nn.Sequential(_transposed(layer) if isinstance(layer, Upsample) else layer, norm.norm))
            if isinstance(norm, ConditionalNorm):
                conditional.append(place(nn.Sequential(folded), channels, side, side))
                side, channels = side * folded.stride[0], folded.out_channels
            else:
                rest += [folded, nn.LeakyReLU(SLOPE)]
        to_rgb, tanh = fuse.to_blocks(generator.to_rgb[0]), generator.to_rgb[1]
        if config.size > REFINED:  # the last row and `to_rgb` on blocks, in a third less time
            rest[-2:] = fuse.as_blocks(rest[-2]), rest[-1], fuse.ZeroEdges()
            to_rgb = fuse.from_blocks(to_rgb)
        norms = [norm for norm in draw if isinstance(norm, ConditionalNorm)]
        self.sizes = [norm.norm.num_features for norm in norms for _ in ("scale", "shift")]
        self.project = place(generator.project, config.embedding)
        self.affine = place(nn.Sequential(*generator.map, _joint_affine(norms)), both)
        self.conditional = nn.ModuleList(conditional)
        self.rest = place(nn.Sequential(*rest, to_rgb, tanh), channels, side, side)

    def forward(self, z: Tensor, h: Tensor) -> Tensor:
        x = torch.cat([z, self.project(h)], 1)
        affine = self.affine(x)[..., None, None].split(self.sizes, 1)
        for layer, scale, shift in zip(self.conditional, affine[::2], affine[1::2]):
            x = leaky_relu(torch.addcmul(shift, layer(x), scale), SLOPE, inplace=True)
        return fuse.join(fuse.to_bytes(self.rest(x)))


def _transposed(layer: Upsample) -> nn.ConvTranspose2d:
    transposed = nn.ConvTranspose2d(*layer.weight.shape[:2], 4, 2, 1, bias=False, device="meta")
    transposed.weight = nn.Parameter(layer.folded(), False)
    return transposed.eval()


def _folded_first(generator: CBNGenerator) -> nn.Linear:
    """The first layer and its norm as one, for images (4, 4, C) instead of (C, 4, 4)."""
    layer, norm = generator.first[0], generator.draw[0].norm
    weight, bias = (x.unflatten(0, (-1, 16)).transpose(0, 1) for x in (layer.weight, layer.bias))  # (16, C, …)
    scale = torch.rsqrt(norm.running_var + norm.eps)
    return fuse.linear((weight * scale[:, None]).flatten(0, 1), ((bias - norm.running_mean) * scale).flatten())


def _joint_affine(norms: list[ConditionalNorm]) -> nn.Linear:
    """Of all conditional norms, what they multiply with, and add, in one layer."""
    weight, bias = (torch.cat([getattr(norm.affine, name) for norm in norms]) for name in ("weight", "bias"))
    one = [torch.tensor([1.0, 0.0]).repeat_interleave(norm.norm.num_features) for norm in norms]  # 1 + scale
    return fuse.linear(weight, bias + torch.cat(one))
