"""The networks that draw, as ONNX: the same computations as the engine's, for runtimes outside Python.

They are rewritten as far as those runtimes need it: batch norm is folded. Upsampling stays a transposed convolution,
which in WebAssembly takes 10 % less time than a sub-pixel convolution and 30 % less than nearest neighbours and 3×3.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from .cbn_fast import joint_affine, transposed_layer
from .cbn_generator import SLOPE, CBNGenerator, ConditionalNorm, Upsample, folded_first_layer
from .dcgan_generator import DCGANGenerator
from .fuse import fold, frozen
from .onnx_graph import Graph
from .style_encoder import StyleEncoder
from .text_encoder import STEP_STRIDE, TextEncoder


@torch.no_grad()
def to_onnx(network: nn.Module) -> bytes | None:
    """A network as ONNX, with half-precision weights and float32 arithmetic; None if its type has no such form.

    Inputs and outputs by name; B varies, and so does L, from 66 characters on:

    - text encoder: codes (B, L), int32 → h (B, E), float32
    - generator: z (B, Z), h (B, E), float32 → pixels (B, S, S, 3), uint8
    - style encoder: pixels (B, S, S, 3), uint8 → z (B, Z), float32
    """
    form = ONNX_FORMS.get(type(network))
    if not form:
        return None
    graph = Graph()
    form(graph, frozen(network))
    return graph.serialize()


def _text_encoder(graph: Graph, network: TextEncoder) -> None:
    codes = graph.input("codes", torch.int32, "B", "L")
    first, *rest = network.convolutions
    assert isinstance(first, nn.Conv2d)
    depth = graph.constant(torch.tensor([first.in_channels + 1], dtype=torch.int32))
    one_hot = graph.add("OneHot", codes, depth, graph.constant(torch.tensor([0.0, 1.0])))  # (B, L, 71)
    x = graph.add("Unsqueeze", graph.add("Transpose", one_hot, perm=[0, 2, 1]), graph.constant([2]))
    first.weight = nn.Parameter(nn.functional.pad(first.weight, (0, 0, 0, 0, 1, 0)))  # code 0 is the zero vector
    x = graph.layers(x, first, *rest)  # (B, C, 1, T)
    x = graph.add("Transpose", graph.add("Squeeze", x, graph.constant([2])), perm=[2, 0, 1])
    states = graph.add("Squeeze", _gru(graph, x, network.recurrent), graph.constant([1]))  # (T, B, hidden)

    known = graph.cast(graph.add("Greater", codes, graph.constant(torch.tensor(0, dtype=torch.int32))), torch.float32)
    positions = graph.add("Mul", known, _indices(graph, codes, axis=1, first=1.0))
    last = graph.add("ReduceMax", positions, axes=[1], keepdims=0)  # (B,)
    rounded_up = graph.add("Add", last, graph.constant(STEP_STRIDE - 1.0))
    steps = graph.add("Floor", graph.add("Div", rounded_up, graph.constant(float(STEP_STRIDE))))
    steps = graph.add("Max", steps, graph.constant(1.0))
    index = graph.add("Unsqueeze", _indices(graph, states, axis=0), graph.constant([1]))
    mask = graph.cast(graph.add("Less", index, steps), torch.float32)  # (T, B)
    masked = graph.add("Mul", states, graph.add("Unsqueeze", mask, graph.constant([2])))
    total = graph.add("ReduceSum", masked, graph.constant([0]), keepdims=0)
    count = graph.add("Unsqueeze", graph.add("ReduceSum", mask, graph.constant([0]), keepdims=0), graph.constant([1]))
    x = graph.layers(graph.add("Div", total, count), network.project)
    square = graph.add("ReduceMean", graph.add("Mul", x, x), axes=[1])
    root = graph.add("Sqrt", graph.add("Add", square, graph.constant(torch.finfo(torch.float32).eps)))
    graph.output("h", graph.add("Div", x, root), torch.float32, "B", network.config.embedding)


def _gru(graph: Graph, x: str, gru: nn.GRU) -> str:
    """Its states (T, 1, B, hidden) for x (T, B, C). ONNX has the update gate first, torch the reset gate."""

    def reordered(name: str) -> Tensor:
        reset, update, new = gru.get_parameter(name).chunk(3)
        return torch.cat([update, reset, new])

    weights = [graph.weight(reordered(name)[None]) for name in ("weight_ih_l0", "weight_hh_l0")]
    bias = torch.cat([reordered("bias_ih_l0"), reordered("bias_hh_l0")])[None]
    return graph.add("GRU", x, *weights, graph.constant(bias), hidden_size=gru.hidden_size, linear_before_reset=1)


def _indices(graph: Graph, x: str, axis: int, first: float = 0.0) -> str:
    """The numbers from `first` on, float32, as many as x is long on this axis."""
    length = graph.cast(graph.add("Gather", graph.add("Shape", x), graph.constant(torch.tensor(axis))), torch.float32)
    end = graph.add("Add", length, graph.constant(first))
    return graph.add("Range", graph.constant(first), end, graph.constant(1.0))


def _cbn_generator(graph: Graph, network: CBNGenerator) -> None:
    config, draw = network.config, network.draw
    joint = _joint_input(graph, network)
    norms = [norm for norm in draw if isinstance(norm, ConditionalNorm)]
    sizes = [norm.norm.num_features for norm in norms for _ in ("scale", "shift")]
    affine = graph.layers(joint, *network.map, joint_affine(norms))
    ends = [sum(sizes[: i + 1]) for i in range(len(sizes))]
    parts = iter([_channels(graph, affine, end - size, end) for size, end in zip(sizes, ends)])

    def activate(x: str, norm: nn.Module) -> str:
        if isinstance(norm, ConditionalNorm):
            x = graph.add("Add", graph.add("Mul", x, next(parts)), next(parts))
        return graph.add("LeakyRelu", x, alpha=SLOPE)

    x = graph.layers(joint, folded_first_layer(network))
    x = graph.add("Reshape", x, graph.constant([-1, 4, 4, config.channels[0]]))
    x = activate(graph.add("Transpose", x, perm=[0, 3, 1, 2]), draw[0])
    for layer, norm in zip(draw[1::2], draw[2::2]):
        convolution = transposed_layer(layer) if isinstance(layer, Upsample) else layer
        x = activate(graph.layers(x, *fold(nn.Sequential(convolution, norm.get_submodule("norm")))), norm)
    _output_pixels(graph, graph.layers(x, network.to_rgb), config.size)


def _channels(graph: Graph, x: str, start: int, end: int) -> str:
    """Columns of x (B, C) as (B, columns, 1, 1)."""
    columns = graph.add("Slice", x, *map(graph.constant, ([start], [end], [1])))
    return graph.add("Unsqueeze", columns, graph.constant([2, 3]))


def _dcgan_generator(graph: Graph, network: DCGANGenerator) -> None:
    joint = graph.add("Unsqueeze", _joint_input(graph, network), graph.constant([2, 3]))
    _output_pixels(graph, graph.layers(joint, *fold(network.draw)), network.config.size)


def _joint_input(graph: Graph, network: CBNGenerator | DCGANGenerator) -> str:
    """z and the projected h, side by side."""
    z = graph.input("z", torch.float32, "B", network.config.noise)
    h = graph.input("h", torch.float32, "B", network.config.embedding)
    return graph.add("Concat", z, graph.layers(h, network.project), axis=1)


def _output_pixels(graph: Graph, x: str, size: int) -> None:
    """-1…1 to 0…255, as `fuse.to_bytes`."""
    x = graph.add("Add", graph.add("Mul", x, graph.constant(127.5)), graph.constant(128.0))
    pixels = graph.add("Transpose", graph.cast(x, torch.uint8), perm=[0, 2, 3, 1])
    graph.output("pixels", pixels, torch.uint8, "B", size, size, 3)


def _style_encoder(graph: Graph, network: StyleEncoder) -> None:
    size = network.config.size
    pixels = graph.input("pixels", torch.uint8, "B", size, size, 3)
    x = graph.add("Transpose", graph.cast(pixels, torch.float32), perm=[0, 3, 1, 2])
    x = graph.add("Div", graph.add("Sub", x, graph.constant(127.5)), graph.constant(127.5))
    graph.output("z", graph.layers(x, *fold(network.look)), torch.float32, "B", network.config.noise)


ONNX_FORMS: dict[type[nn.Module], Callable] = {
    TextEncoder: _text_encoder,
    CBNGenerator: _cbn_generator,
    DCGANGenerator: _dcgan_generator,
    StyleEncoder: _style_encoder,
}
