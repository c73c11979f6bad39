"""Layers packed for oneDNN, and the text encoder's convolutions as table lookups and matrix products.

`torch.compile` did not pay on CPUs (bfloat16, one thread: 8 % more processor time for 1 picture and for 16, 6 % less
for a caption, after 5 to 20 s with a C++ compiler).
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ..models.fuse import linear, weight_and_bias
from ..models.residual import Residual

PACKING_BATCH = 16  # the batch size for which weights are packed; any other works, too


class PackedLayer(nn.Module):
    """A layer and the activation after it as one oneDNN operation, with weights packed ahead of time for inputs like x.

    `torch.compile` replaces such layers by the same operations, but needs a compiler. Weights are packed twice: with
    AVX2, a single picture took twice as long in the order that oneDNN wants for many.
    """

    def __init__(self, layer: nn.Module, activation: nn.Module | None, x: Tensor):
        super().__init__()
        ops = torch.ops.mkldnn
        options: tuple = ()
        if isinstance(layer, nn.Linear):
            self._run, reorder = ops._linear_pointwise, lambda w, *x: ops._reorder_linear_weight(w, x[-1][0])
        elif isinstance(layer, nn.Conv2d):
            self._run, reorder = ops._convolution_pointwise, ops._reorder_convolution_weight
            options = (layer.padding, layer.stride, layer.dilation, layer.groups)
        else:
            self._run, reorder = ops._convolution_transpose_pointwise, ops._reorder_convolution_transpose_weight
            options = (layer.padding, layer.output_padding, layer.stride, layer.dilation, layer.groups)
        self._weight_for_one, self._weight = (reorder(layer.weight, *options, part.shape) for part in (x[:1], x))
        self._arguments = (layer.bias, *options, *_activation_arguments(activation), "")

    def forward(self, x: Tensor) -> Tensor:
        return self._run(x, self._weight_for_one if len(x) == 1 else self._weight, *self._arguments)


def _activation_arguments(activation: nn.Module | None) -> tuple[str, list[float]]:
    """oneDNN's name of an activation, and its parameters."""
    if isinstance(activation, nn.LeakyReLU):
        return "leaky_relu", [activation.negative_slope]
    return {nn.ReLU: "relu", nn.Tanh: "tanh", type(None): "none"}[type(activation)], []


@torch.inference_mode()
def pack(layers: nn.Sequential, x: Tensor) -> nn.Sequential:
    """The layers with a `PackedLayer` wherever oneDNN has one; x is an example of their input."""
    packed, remaining = [], list(layers)
    while remaining:
        layer = remaining.pop(0)
        if isinstance(layer, Residual):
            layer.bottleneck = pack(layer.bottleneck, x)
        elif isinstance(layer, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)):
            activated = bool(remaining) and isinstance(remaining[0], (nn.ReLU, nn.LeakyReLU, nn.Tanh))
            layer = PackedLayer(layer, remaining.pop(0) if activated else None, x)
        packed.append(layer)
        x = layer(x)
    return nn.Sequential(*packed)


class Cast(nn.Module):
    """Converts its input to another precision."""

    def __init__(self, dtype: torch.dtype):
        super().__init__()
        self._dtype = dtype

    def forward(self, x: Tensor) -> Tensor:
        return x.to(self._dtype)


class CharacterConvolution(nn.Module):
    """A convolution over one-hot characters and a ReLU, codes (B, L) to (B, C, 1, L'), as sums of rows of a table.

    Of 70 products with a one-hot vector, 69 are with 0.
    """

    def __init__(self, convolution: nn.Module):
        super().__init__()
        weight, bias = weight_and_bias(convolution)
        weight = weight.squeeze(2).permute(2, 1, 0)  # (taps, 70, C)
        table = nn.functional.pad(weight, (0, 0, 1, 0))  # code 0 is no character
        table[0] += bias
        self._table = nn.Parameter(table.flatten(0, 1), False)
        self._offsets = torch.arange(len(table)) * table.shape[1]

    def forward(self, codes: Tensor) -> Tensor:
        rows = codes.long().unfold(1, len(self._offsets), 1) + self._offsets  # (B, L', taps)
        x = nn.functional.embedding_bag(rows.flatten(0, 1), self._table, mode="sum").relu_()
        return x.unflatten(0, rows.shape[:2]).transpose(1, 2).unsqueeze(2)


class UnfoldedConvolution(nn.Module):
    """A one-dimensional convolution, (B, A, 1, L) to (B, C, 1, L'), as a product of unfolded windows with a matrix.

    oneDNN would reorder the weights of a convolution again for each length L.
    """

    def __init__(self, taps: int, product: nn.Sequential):
        super().__init__()
        self._taps, self._product = taps, product

    def forward(self, x: Tensor) -> Tensor:
        windows = x.squeeze(2).unfold(2, self._taps, 1).permute(0, 2, 3, 1)  # (B, L', taps, A)
        x = self._product(windows.flatten(2).flatten(0, 1))
        return x.unflatten(0, windows.shape[:2]).transpose(1, 2).unsqueeze(2)


def fast_text_convolutions(layers: nn.Sequential, place: Callable[..., nn.Sequential]) -> nn.Sequential:
    """The text encoder's convolutions, each with an activation and a pooling after it, for codes (B, L).

    The first one becomes a `CharacterConvolution`, the others `UnfoldedConvolution`s. `place(layers, width)` returns
    layers ready for inputs (B, width); everything from the second convolution on computes in their precision.
    """
    first, _, first_pooling, *rest = layers
    unfolded: list[nn.Module] = []
    for convolution, activation, pooling in zip(*[iter(rest)] * 3):
        weight = convolution.weight.squeeze(2).transpose(1, 2).flatten(1)  # (C, taps · A)
        matrix = linear(weight, convolution.bias)
        product = place(nn.Sequential(matrix, activation), matrix.in_features)
        unfolded += [UnfoldedConvolution(convolution.kernel_size[1], product), pooling]
    layers_before = [CharacterConvolution(first), first_pooling, Cast(matrix.weight.dtype)]
    return nn.Sequential(*layers_before, *unfolded, Cast(convolution.weight.dtype))
