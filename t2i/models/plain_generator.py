"""The plain form of a generator, for inference: the engine runs it for types that have no fast form."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from .fuse import to_bytes
from .generator import Generator


class PlainGenerator(nn.Module):
    """z, h to pixels (B, S, S, 3), uint8, by the generator as it is."""

    def __init__(self, generator: Generator, place: Callable[..., nn.Sequential]):
        super().__init__()
        sizes = generator.config.noise, generator.config.embedding
        self.layers = place(nn.Sequential(_JointInput(generator, sizes)), sum(sizes))

    def forward(self, z: Tensor, h: Tensor) -> Tensor:
        return to_bytes(self.layers(torch.cat([z, h], 1))).permute(0, 2, 3, 1).contiguous()


class _JointInput(nn.Module):
    """A generator that takes z and h as one tensor (B, Z + E)."""

    def __init__(self, generator: Generator, sizes: tuple[int, int]):
        super().__init__()
        self.generator, self.sizes = generator, sizes

    def forward(self, x: Tensor) -> Tensor:
        return self.generator(*x.split(self.sizes, 1))
