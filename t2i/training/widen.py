"""Widen a trained network without changing its function (Net2WiderNet: Chen, Goodfellow & Shlens 2016, section 2.2)."""

from dataclasses import replace
from typing import TypeVar

import torch
from torch import Tensor, nn

from ..models import DCGANGenerator, Discriminator

Network = TypeVar("Network", bound=DCGANGenerator | Discriminator)


def can_widen(narrow: Network, wide: Network) -> bool:
    """Whether `widen` works: the configurations differ in width alone, and at most by a factor of two."""
    before, after = narrow.config.width, wide.config.width
    return replace(narrow.config, width=after) == wide.config and before <= after <= 2 * before


@torch.no_grad()
def widen(narrow: Network, wide: Network, seed: int) -> Network:
    """Give `wide` the function of `narrow`, the same network with at most half as many channels; returns `wide`.

    The first channels are duplicated, and each weight that reads one is divided between its two copies, in random
    shares that sum to 1, so that the copies learn differently.
    """
    g = torch.Generator().manual_seed(seed)
    for layer, wide_layer in zip(narrow.modules(), wide.modules()):
        input_axis = 0 if isinstance(layer, nn.ConvTranspose2d) else 1
        for name, weight in (*layer.named_parameters(recurse=False), *layer.named_buffers(recurse=False)):
            wide_weight = getattr(wide_layer, name)
            for axis, (before, after) in enumerate(zip(weight.shape, wide_weight.shape)):
                divided = axis == input_axis and weight.dim() > 1
                weight = _duplicate(weight, axis, after - before, g if divided else None)
            wide_weight.copy_(weight)
    return wide


def _duplicate(weight: Tensor, axis: int, count: int, g: torch.Generator | None) -> Tensor:
    """Repeat the first `count` along an axis, ahead of the rest; with `g`, divide them between the two copies."""
    first, rest = weight.split([count, weight.shape[axis] - count], axis)
    if g is None:
        return torch.cat([first, first, rest], axis)
    share = 2 * torch.rand(first.shape, generator=g) - 0.5
    return torch.cat([first * share, first * (1 - share), rest], axis)
