"""Widen a trained network, the function kept (Net2WiderNet: Chen, Goodfellow & Shlens 2016, section 2.2)."""

from dataclasses import replace

import torch
from torch import Tensor, nn


def fits(narrow: nn.Module, wide: nn.Module) -> bool:
    """Whether `widen` can: the configurations differ in width alone, and by no more than twice."""
    few, many = narrow.config.width, wide.config.width
    return replace(narrow.config, width=many) == wide.config and few <= many <= 2 * few


@torch.no_grad()
def widen(narrow: nn.Module, wide: nn.Module, seed: int) -> nn.Module:
    """Give `wide` the function of `narrow`, the same network with up to twice as many channels between its layers.

    The first channels are there twice, and a weight that read one reads its share of both. Shares are random and sum
    to 1, so that the two learn apart.
    """
    g = torch.Generator().manual_seed(seed)
    for layer, own in zip(narrow.modules(), wide.modules()):
        for part, weight in (*layer.named_parameters(recurse=False), *layer.named_buffers(recurse=False)):
            new = getattr(own, part)
            reads = 0 if isinstance(layer, nn.ConvTranspose2d) else 1  # the axis of the channels that are read
            for axis, (few, many) in enumerate(zip(weight.shape, new.shape)):
                weight = _twice(weight, axis, many - few, g if axis == reads and weight.dim() > 1 else None)
            new.copy_(weight)
    return wide


def _twice(weight: Tensor, axis: int, count: int, shares: torch.Generator | None) -> Tensor:
    """The first `count` along an axis twice, ahead of the others; with `shares`, so that the two sum to the one."""
    first, rest = weight.split([count, weight.shape[axis] - count], axis)
    if shares is None:
        return torch.cat([first, first, rest], axis)
    share = 2 * torch.rand(first.shape, generator=shares) - 0.5
    return torch.cat([first * share, first * (1 - share), rest], axis)
