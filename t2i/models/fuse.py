"""Equivalent layers that need fewer operations: the generators' fast forms and the engine are built from them.

What did not pay on CPUs, measured side by side: `transposed_to_subpixels` for every transposed convolution (the seams
cost more than the kernels save, except for the last one, with 3 channels, or before a layer that reads subpixels);
convolutions as matrix products over unfolded windows (slower from 16 pictures on).
"""

import copy
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.functional import pad
from torch.nn.utils import fuse_conv_bn_eval

from .residual import Residual

Network = TypeVar("Network", bound=nn.Module)


def frozen(network: Network) -> Network:
    """A copy for inference: in evaluation mode and without gradients."""
    return copy.deepcopy(network).eval().requires_grad_(False)


def fold(layers: nn.Sequential) -> nn.Sequential:
    """The layers with each batch norm folded into the convolution before it; residual blocks are changed in place."""
    folded: list[nn.Module] = []
    for layer in layers:
        if isinstance(layer, nn.BatchNorm2d):
            convolution = folded.pop()
            assert isinstance(convolution, nn.Conv2d | nn.ConvTranspose2d)
            transposed = isinstance(convolution, nn.ConvTranspose2d)
            layer = fuse_conv_bn_eval(convolution, layer, transpose=transposed).requires_grad_(False)
        elif isinstance(layer, Residual):
            layer.bottleneck = fold(layer.bottleneck)
        folded.append(layer)
    return nn.Sequential(*folded)


def linear(weight: Tensor, bias: Tensor) -> nn.Linear:
    """A linear layer with this weight (C, A) and bias (C,), without gradients."""
    layer = nn.Linear(weight.shape[1], weight.shape[0], device="meta")
    layer.weight, layer.bias = (nn.Parameter(x.contiguous(), False) for x in (weight, bias))
    return layer


def _convolution(weight: Tensor, bias: Tensor, stride: int = 1, padding: int = 0) -> nn.Conv2d:
    out_channels, in_channels, height, width = weight.shape
    layer = nn.Conv2d(in_channels, out_channels, (height, width), stride, padding, device="meta")
    layer.weight, layer.bias = (nn.Parameter(x.contiguous(), False) for x in (weight, bias))
    return layer


def weight_and_bias(layer: nn.Module) -> tuple[Tensor, Tensor]:
    """The parameters of a layer that has a bias."""
    return layer.get_parameter("weight"), layer.get_parameter("bias")


class ToNCHW(nn.Module):
    """Images (B, H, W, C) as (B, C, H, W) in channels-last memory: a view."""

    def forward(self, x: Tensor) -> Tensor:
        return x.permute(0, 3, 1, 2)


def transposed_to_linear(transposed: nn.Module) -> list[nn.Module]:
    """A transposed convolution over 1×1 inputs as a matrix: (B, A, 1, 1) to (B, C, side, side), channels-last."""
    weight, bias = weight_and_bias(transposed)
    side = weight.shape[2]
    matrix = linear(weight.permute(2, 3, 1, 0).flatten(0, 2), bias.repeat(side * side))
    return [nn.Flatten(), matrix, nn.Unflatten(1, (side, side, -1)), ToNCHW()]


def transposed_to_subpixels(transposed: nn.Module) -> nn.Conv2d:
    """A 4×4 transposed convolution of stride 2 as a 2×2 sub-pixel convolution (Shi et al. 2016).

    (B, A, H, W) to subpixels (B, 4C, H + 1, W + 1), which `pixel_shuffle` turns into (B, 2H + 2, 2W + 2, C): the
    picture with a margin of one pixel. Position p reads inputs p − 1 and p, and holds rows 2p − 1 and 2p.
    """
    taps = torch.tensor([[2, 0], [3, 1]])  # of the two rows, by input
    weight, bias = weight_and_bias(transposed)
    weight = weight[:, :, taps][..., taps]  # (A, C, row, input, column, input)
    return _convolution(weight.permute(2, 4, 1, 0, 3, 5).flatten(0, 2), bias.repeat(4), padding=1)


class ZeroEdges(nn.Module):
    """Sets the margin of `transposed_to_subpixels` to 0, the padding that the next convolution expects; in place."""

    def forward(self, subpixels: Tensor) -> Tensor:
        x = subpixels.unflatten(1, (2, 2, -1))  # (B, row, column, C, H, W)
        for edge in (x[:, 0, :, :, 0], x[:, 1, :, :, -1], x[:, :, 0, ..., 0], x[:, :, 1, ..., -1]):
            edge.zero_()
        return subpixels


def to_subpixels(convolution: nn.Module) -> nn.Conv2d:
    """A 3×3 convolution as a 4×4 one of stride 2, (B, A, 2H, 2W) to subpixels (B, 4C, H, W).

    Position p holds rows 2p and 2p + 1.
    """
    weight, bias = weight_and_bias(convolution)
    shifted = [pad(weight, (j, 1 - j, i, 1 - i)) for i in (0, 1) for j in (0, 1)]
    return _convolution(torch.cat(shifted), bias.repeat(4), stride=2, padding=1)


def from_subpixels(convolution: nn.Module) -> nn.Conv2d:
    """A convolution of `to_subpixels` that reads subpixels of `transposed_to_subpixels` after `ZeroEdges`."""
    weight, bias = weight_and_bias(convolution)
    weight = weight.unflatten(3, (2, 2)).unflatten(2, (2, 2))  # (C, A, input, row, input, column)
    return _convolution(weight.permute(0, 3, 5, 1, 2, 4).flatten(1, 3), bias)


def pixel_shuffle(subpixels: Tensor) -> Tensor:
    """Subpixels (B, 4C, H, W), ordered row, column, channel, to pictures (B, 2H, 2W, C)."""
    rows = subpixels.permute(0, 2, 3, 1).unflatten(3, (2, 2, -1)).transpose(2, 3)  # (B, H, 2, W, 2, C)
    return rows.flatten(3, 4).flatten(1, 2)


def to_bytes(x: Tensor) -> Tensor:
    """-1…1 to 0…255, uint8."""
    return x.float().mul_(127.5).add_(128).byte()  # 0.5…255.5, truncated


def main_directions(weight: Tensor) -> Tensor:
    """The four unit directions of z (4, Z) along which the first layer, of this weight (F, Z), changes most.

    They are its first right singular vectors, the closed-form factorisation of Shen & Zhou 2021 (SeFa, section 3.2);
    the largest entry of each is positive.
    """
    vectors = torch.linalg.svd(weight.double(), full_matrices=False).Vh[:4]
    largest = vectors.gather(1, vectors.abs().argmax(1, keepdim=True))
    return (vectors * largest.sign()).float()
