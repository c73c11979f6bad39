"""Layers packed for oneDNN, and the text encoder's as sums and matrix products.

`torch.compile` did not pay on CPUs (bfloat16, one thread: 8 % more processor time for 1 picture and 16, 6 % less for a
caption, after 5 to 20 s with a C++ compiler).
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ..models.fuse import linear
from ..models.residual import Residual

USUAL = 16  # pictures at once for which the weights are laid out; any number works


class _Packed(nn.Module):
    """A layer and the activation behind it as one operation of oneDNN, its weights laid out ahead for inputs as x.

    These are the operations that `torch.compile` makes of such layers, without the compiler. Weights are laid
    out twice: with AVX2, one picture alone took twice as long in the order that oneDNN wants for many.
    """

    def __init__(self, layer: nn.Module, activation: nn.Module | None, x: Tensor):
        super().__init__()
        ops, shape = torch.ops.mkldnn, ()
        if isinstance(layer, nn.Linear):
            self._run, lay_out = ops._linear_pointwise, lambda w, *x: ops._reorder_linear_weight(w, x[-1][0])
        elif isinstance(layer, nn.Conv2d):
            self._run, lay_out = ops._convolution_pointwise, ops._reorder_convolution_weight
            shape = (layer.padding, layer.stride, layer.dilation, layer.groups)
        else:
            self._run, lay_out = ops._convolution_transpose_pointwise, ops._reorder_convolution_transpose_weight
            shape = (layer.padding, layer.output_padding, layer.stride, layer.dilation, layer.groups)
        self._one, self._many = (lay_out(layer.weight, *shape, part.shape) for part in (x[:1], x))
        self._rest = (layer.bias, *shape, *_name(activation), "")

    def forward(self, x: Tensor) -> Tensor:
        return self._run(x, self._one if len(x) == 1 else self._many, *self._rest)


class _As(nn.Module):
    """The same in another precision."""

    def __init__(self, dtype: torch.dtype):
        super().__init__()
        self._dtype = dtype

    def forward(self, x: Tensor) -> Tensor:
        return x.to(self._dtype)


class _Spelt(nn.Module):
    """A convolution over characters and a ReLU, codes (B, L) to (B, C, 1, L'), as sums of rows of a table.

    A character is a unit vector, so that all but one in 70 of the convolution's products are with 0.
    """

    def __init__(self, convolution: nn.Conv2d):
        super().__init__()
        weight = convolution.weight.squeeze(2).permute(2, 1, 0)  # (places, 70, C)
        table = nn.functional.pad(weight, (0, 0, 1, 0))  # code 0 is no character
        table[0] += convolution.bias
        self._table = nn.Parameter(table.flatten(0, 1), False)
        self._starts = torch.arange(len(table)) * table.shape[1]

    def forward(self, codes: Tensor) -> Tensor:
        rows = codes.long().unfold(1, len(self._starts), 1) + self._starts  # (B, L', places)
        made = nn.functional.embedding_bag(rows.flatten(0, 1), self._table, mode="sum").relu_()
        return made.unflatten(0, rows.shape[:2]).transpose(1, 2).unsqueeze(2)


class _Lines(nn.Module):
    """A convolution along lines, (B, A, 1, L) to (B, C, 1, L'), as a product of their windows with a matrix.

    A convolution would have its weights laid out anew for each length L.
    """

    def __init__(self, places: int, product: nn.Sequential):
        super().__init__()
        self._places, self._product = places, product

    def forward(self, x: Tensor) -> Tensor:
        windows = x.squeeze(2).unfold(2, self._places, 1).permute(0, 2, 3, 1)  # (B, L', places, A)
        made = self._product(windows.flatten(2).flatten(0, 1))
        return made.unflatten(0, windows.shape[:2]).transpose(1, 2).unsqueeze(2)


def _name(activation: nn.Module | None) -> tuple[str, list[float]]:
    """What oneDNN calls an activation, and its numbers."""
    if isinstance(activation, nn.LeakyReLU):
        return "leaky_relu", [activation.negative_slope]
    return {nn.ReLU: "relu", nn.Tanh: "tanh", type(None): "none"}[type(activation)], []


@torch.inference_mode()
def pack(layers: nn.Sequential, x: Tensor) -> nn.Sequential:
    """The layers with `_Packed` ones where that can be; x is an example of what they will see."""
    packed, layers = [], list(layers)
    while layers:
        layer = layers.pop(0)
        if isinstance(layer, Residual):
            layer.bottleneck = pack(layer.bottleneck, x)
        elif isinstance(layer, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)):
            active = bool(layers) and isinstance(layers[0], (nn.ReLU, nn.LeakyReLU, nn.Tanh))
            layer = _Packed(layer, layers.pop(0) if active else None, x)
        packed.append(layer)
        x = layer(x)
    return nn.Sequential(*packed)


def as_lines(layers: nn.Sequential, place: Callable[..., nn.Sequential]) -> nn.Sequential:
    """Convolutions, each with an activation and a pooling behind it, as `_Spelt`, then `_Lines`, and poolings.

    `place(layers, width)` makes layers ready for rows of that width; what they compute in is between the lines, too.
    """
    spelt, _, pooled, *rest = layers
    made: list[nn.Module] = []
    for convolution, activation, pooling in zip(*[iter(rest)] * 3):
        weight = convolution.weight.squeeze(2).transpose(1, 2).flatten(1)  # (C, places · A)
        matrix = linear(weight, convolution.bias)
        product = place(nn.Sequential(matrix, activation), matrix.in_features)
        made += [_Lines(convolution.kernel_size[1], product), pooling]
    return nn.Sequential(_Spelt(spelt), pooled, _As(matrix.weight.dtype), *made, _As(convolution.weight.dtype))
