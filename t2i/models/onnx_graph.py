"""Networks as ONNX: what writes a graph. Only inference needs it.

torch.onnx needs the packages `onnx` and, by default, `onnxscript`, which the page would have to install to export a
model at its first start. The format is stable, and these networks need few of its operators.
"""

import struct
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from .residual import Residual

IR_VERSION, OPSET = 8, 17
TYPES = {torch.float32: 1, torch.uint8: 2, torch.int32: 6, torch.int64: 7, torch.float16: 10}
Dimension = int | str  # a number, or the name of one that varies
Field = int | float | str | bytes  # of a protocol buffer


class Graph:
    """A graph of operators under construction. Values go by their names.

    Weights are stored in half precision; the runtime casts them to float32 once, when it loads the graph.
    """

    def __init__(self) -> None:
        self._nodes: list[bytes] = []
        self._tensors: list[bytes] = []
        self._inputs: list[bytes] = []
        self._outputs: list[bytes] = []
        self._num_values = 0

    def add(self, operator: str, *inputs: str, **attributes: int | float | list[int]) -> str:
        """Add an operator with one output; returns the output's name."""
        output = self._new_name()
        parts: list[tuple[int, Field]] = [*((1, name) for name in inputs), (2, output), (4, operator)]
        parts += [(5, _attribute(name, value)) for name, value in attributes.items()]
        self._nodes.append(_message(parts))
        return output

    def input(self, name: str, dtype: torch.dtype, *shape: Dimension) -> str:
        self._inputs.append(_value(name, dtype, shape))
        return name

    def output(self, name: str, value: str, dtype: torch.dtype, *shape: Dimension) -> None:
        self._nodes.append(_message([(1, value), (2, name), (4, "Identity")]))
        self._outputs.append(_value(name, dtype, shape))

    def constant(self, values: Tensor | float | list[int]) -> str:
        """A tensor, stored as it is; a list is one of int64."""
        tensor, name = torch.as_tensor(values), self._new_name()
        data = tensor.detach().contiguous().numpy().tobytes()
        dimensions = [(1, size) for size in tensor.shape]
        self._tensors.append(_message([*dimensions, (2, TYPES[tensor.dtype]), (8, name), (9, data)]))
        return name

    def weight(self, weight: Tensor) -> str:
        """A weight, stored in half precision, as float32."""
        return self.add("Cast", self.constant(weight.half()), to=TYPES[torch.float32])

    def cast(self, x: str, dtype: torch.dtype) -> str:
        return self.add("Cast", x, to=TYPES[dtype])

    def layers(self, x: str, *layers: nn.Module) -> str:
        """Apply layers of torch, one after the other. Batch norm must be folded."""
        for layer in layers:
            x = self._layer(x, layer)
        return x

    def serialize(self) -> bytes:
        """The model as a file of ONNX."""
        parts: list[tuple[int, Field]] = [(2, "t2i")]  # the graph's name
        for number, messages in ((1, self._nodes), (5, self._tensors), (11, self._inputs), (12, self._outputs)):
            parts += [(number, message) for message in messages]
        graph = _message(parts)
        return _message([(1, IR_VERSION), (2, "t2i"), (7, graph), (8, _message([(2, OPSET)]))])

    def _new_name(self) -> str:
        self._num_values += 1
        return str(self._num_values)

    def _layer(self, x: str, layer: nn.Module) -> str:
        if isinstance(layer, nn.Sequential):
            return self.layers(x, *layer)
        if isinstance(layer, Residual):
            return self.add("LeakyRelu", self.add("Add", x, self.layers(x, layer.bottleneck)), alpha=layer.slope)
        if isinstance(layer, nn.Linear):
            return self.add("Gemm", x, self.weight(layer.weight), self.constant(layer.bias), transB=1)
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            operator = "Conv" if isinstance(layer, nn.Conv2d) else "ConvTranspose"
            places = {"strides": [*layer.stride], "pads": [*layer.padding] * 2}
            bias = [] if layer.bias is None else [self.constant(layer.bias)]
            return self.add(operator, x, self.weight(layer.weight), *bias, **places)
        if isinstance(layer, nn.MaxPool2d):
            return self.add("MaxPool", x, kernel_shape=[*layer.kernel_size], strides=[*layer.stride])  # type: ignore[misc]
        if isinstance(layer, nn.LeakyReLU):
            return self.add("LeakyRelu", x, alpha=layer.negative_slope)
        return self.add({nn.ReLU: "Relu", nn.Tanh: "Tanh", nn.Flatten: "Flatten"}[type(layer)], x)


# ---- protocol buffers: a message is its fields, each with its number


def _message(fields: Iterable[tuple[int, Field]]) -> bytes:
    return b"".join(_field(number, value) for number, value in fields)


def _field(number: int, value: Field) -> bytes:
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    if isinstance(value, float):
        return _varint(number << 3 | 5) + struct.pack("<f", value)
    data = value.encode() if isinstance(value, str) else value
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _varint(number: int) -> bytes:
    number %= 2**64  # negative numbers as their complement
    data = bytearray()
    while number >= 0x80:
        data.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*data, number])


def _attribute(name: str, value: int | float | list[int]) -> bytes:
    if isinstance(value, list):
        return _message([(1, name), *((8, number) for number in value), (20, 7)])
    return _message([(1, name), (2, value), (20, 1)] if isinstance(value, float) else [(1, name), (3, value), (20, 2)])


def _value(name: str, dtype: torch.dtype, shape: tuple[Dimension, ...]) -> bytes:
    dimensions = [(1, _message([(1 if isinstance(size, int) else 2, size)])) for size in shape]
    tensor = _message([(1, TYPES[dtype]), (2, _message(dimensions))])
    return _message([(1, name), (2, _message([(1, tensor)]))])
