"""The fast core: captions to embeddings, noise and embeddings to pixels, pixels to noise, on the CPU or CUDA.

For who wants it faster still, what did not pay on CPUs, measured side by side: every transposed convolution as
`_as_blocks` (the seams cost more than the kernels win, but in the last one, of 3 channels); convolutions as matrix
products over gathered neighbours (slower from 16 pictures on); packed convolutions in the text encoder (their width
varies, and weights laid out for another one are laid out anew in each call); `torch.compile` (bfloat16, one thread: 8 %
more processor time for 1 picture and 16, 6 % less for a caption, after 5 to 20 s with a C++ compiler).
"""

import copy
import threading
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import fuse_conv_bn_eval

from .errors import InputError
from .machine import computes_bfloat16
from .models import GeneratorConfig, encode
from .models.generator import main_directions
from .models.residual import Residual

CHUNK = 64  # rows in one pass: bounds the memory
CAPTURED = (1, 16, CHUNK)  # rows for which there is a CUDA graph: one, a page of them, a crowd's
MANY = 1024  # pictures for which there is one too: fewer leave most of a large GPU idle
REMEMBERED = 1024  # embeddings, 4 KiB each
USUAL = 16  # pictures at once for which the weights are laid out; any number works


class Engine:
    """Text encoder and generator rewritten for speed; the networks given stay as they are.

    Batch norm is folded into the convolutions, the memory is channels-last, and the generator computes in bfloat16
    where a CPU does, in float16 on CUDA. On a CPU, oneDNN has each layer's weights in its own order from the beginning
    and computes the activation with the layer. On CUDA all between characters, embeddings and pixels are graphs. A
    picture does not depend on the others of its batch, but for rounding.
    """

    def __init__(self, networks: dict[str, nn.Module], device: str | None = None, named: int = 0):
        """`named`: how many of z's first coordinates were taught what they steer; they are then the `directions`."""
        text, generator = (_frozen(networks[name]) for name in ("text_encoder", "generator"))
        if (generator.config.embedding, generator.config.noise) != (text.config.embedding, GeneratorConfig.noise):
            raise InputError("the text encoder and the generator do not belong together: train the generator again")
        for name, size in (("style_encoder", ("noise", generator)), ("image_encoder", ("embedding", text))):
            if name in networks and getattr(networks[name].config, size[0]) != getattr(size[1].config, size[0]):
                raise InputError(f"the {name.replace('_', ' ')} does not belong to this model: train it again")
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.dtype = torch.bfloat16 if computes_bfloat16(self.device) else torch.float32
        if self.device.type == "cuda":
            self.dtype = torch.float16  # off by 0.04 levels of 255, bfloat16 by 0.3; no activation passes 17 of 65,504
        noise, projected = generator.config.noise, generator.config.projected
        first, *middle, last, tanh = _fold(generator.draw)
        generator.draw = nn.Sequential(*_as_linear(first), *middle, _as_blocks(last), tanh)
        self.directions = torch.eye(named, noise) if named else main_directions(generator.draw[1].weight[:, :noise])
        generator.project = self._place(generator.project, generator.config.embedding)
        generator.draw = self._place(generator.draw, noise + projected, 1, 1)
        self._text = text.to(self.device, memory_format=torch.channels_last)
        self._generator = generator
        self._eyes = {n: self._eye(networks[n]) for n in ("style_encoder", "image_encoder") if n in networks}
        self._remembered: dict[str, Tensor] = {}  # the last used are the last
        codes, z, h = encode([""], text.config.length), torch.zeros(1, noise), torch.zeros(1, text.config.embedding)
        self._hear = self._batched(lambda codes: self._text(codes, self.device.type in CAPTURE), CAPTURED, codes)
        self._draw = self._batched(self._pixels, (*CAPTURED, MANY), z, h)

    @torch.inference_mode()
    def embed(self, captions: list[str]) -> Tensor:
        """Embeddings h (B, 1024) of captions, on the CPU; new ones are computed together and remembered."""
        keys = [caption.lower()[: self._text.config.length] for caption in captions]
        found = {key: self._remembered.pop(key, None) for key in dict.fromkeys(keys)}
        new = [key for key, h in found.items() if h is None]
        if new:
            found |= zip(new, self._hear(encode(new, self._text.config.length)).split(1))
        self._remember(found)
        return torch.cat([found[key] for key in keys])

    @torch.inference_mode()
    def render(self, z: Tensor, h: Tensor) -> np.ndarray:
        """Noise z (B, 100) and embeddings h (B, 1024) to pixels (B, 64, 64, 3), uint8."""
        return self._draw(z, h).numpy()

    @torch.inference_mode()
    def invert(self, pixels: np.ndarray) -> Tensor:
        """Pixels (B, 64, 64, 3), uint8, to the noise (B, 100), float32, on the CPU, that would draw their style."""
        return self._eye_of("style").see(torch.from_numpy(pixels))

    @torch.inference_mode()
    def embed_photos(self, pixels: np.ndarray) -> Tensor:
        """Pixels (B, 64, 64, 3), uint8, to embeddings (B, 1024), float32, on the CPU, comparable to captions' h."""
        return self._eye_of("image").see(torch.from_numpy(pixels))

    @torch.inference_mode()
    def match(self, pixels: np.ndarray, h: Tensor) -> Tensor:
        """How well pixels (B, 64, 64, 3), uint8, fit embeddings h (B, 1024): probabilities (B,), on the CPU.

        One of either goes with all of the other.
        """
        seen = self.embed_photos(pixels)  # refuses a model that cannot see
        return self._eye_of("image").match(seen, h.float().cpu())

    @property
    def fit(self) -> tuple[float, float]:
        """Slope and offset of the log-odds of `match` by the cosine."""
        fitted = self._eye_of("image").calibrate
        return fitted.weight.item(), fitted.bias.item()

    def _eye(self, network: nn.Module) -> nn.Module:
        """A network that looks at pictures, made fast: `see` is it for pixels."""
        network = _frozen(network)  # the rest stays in float32: a cosine in bfloat16 would tie half of the matches
        network.look = self._place(_fold(network.look), 3, 64, 64)

        def see(pixels: Tensor) -> Tensor:
            x = pixels.permute(0, 3, 1, 2).to(self.dtype)  # channels-last already
            return network((x - 127.5) / 127.5).float()

        network.see = self._batched(see, CAPTURED, torch.zeros(1, 64, 64, 3, dtype=torch.uint8))
        return network

    def _eye_of(self, name: str) -> nn.Module:
        if f"{name}_encoder" not in self._eyes:
            raise InputError(f"this model has no {name} encoder: `python -m t2i train {name}` trains one")
        return self._eyes[f"{name}_encoder"]

    def _place(self, layers: nn.Sequential, *shape: int) -> nn.Sequential:
        """Layers on the device and, if that is a CPU, packed for inputs of this shape."""
        layers = layers.to(self.device, self.dtype, memory_format=torch.channels_last)
        if self.device.type != "cpu" or not torch.backends.mkldnn.is_available():
            return layers
        x = torch.zeros(USUAL, *shape, dtype=self.dtype)
        return _pack(layers, x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 else x)

    def _remember(self, embeddings: dict[str, Tensor]) -> None:
        self._remembered |= {key: h.clone() for key, h in embeddings.items()}  # not the whole batch with each
        for oldest in list(self._remembered)[:-REMEMBERED]:
            self._remembered.pop(oldest, None)

    def _batched(self, function: Callable[..., Tensor], sizes: tuple[int, ...], *rows: Tensor) -> Callable[..., Tensor]:
        """A function of rows, like these, for any number of them: from the CPU to the device and back."""
        if self.device.type in CAPTURE:
            return Graphs(self.device, function, sizes, *rows)
        return lambda *rows: self._in_chunks(function, *rows)

    def _in_chunks(self, function: Callable[..., Tensor], *rows: Tensor) -> Tensor:
        parts = zip(*(x.to(self.device).split(CHUNK) for x in rows))
        return torch.cat([function(*part).cpu() for part in parts])

    def _pixels(self, z: Tensor, h: Tensor) -> Tensor:
        blocks = self._generator(z.to(self.dtype), h.to(self.dtype))
        return _join(blocks.float().mul_(127.5).add_(128).byte())  # -1…1 to 0.5…255.5, cut


class Graphs:
    """A function of rows, captured for a few sizes of batch and called with any number of rows, on the CPU.

    They are copied to where the graph of the next size reads, and others' rows may lie behind them; more than the
    largest size go in chunks of it. Calls and captures, from any thread, take turns, each to its end.
    """

    _turn = threading.Lock()

    @torch.no_grad()
    def __init__(self, device: torch.device, function: Callable[..., Tensor], sizes: tuple[int, ...], *rows: Tensor):
        """`rows`: an example of each argument, (1, …)."""
        batches = [[torch.cat([row] * size).to(device) for row in rows] for size in sizes]
        with self._turn:
            self.captured = CAPTURE[device.type](function, batches)

    @torch.no_grad()
    def __call__(self, *rows: Tensor) -> Tensor:
        """Rows (B, …) to what the function makes of them, (B, …), in pinned memory."""
        most = self.captured[-1][2]
        answer = torch.empty(len(rows[0]), *most.shape[1:], dtype=most.dtype, pin_memory=most.is_cuda)
        with self._turn:
            for part, *part_rows in zip(*(x.split(len(most)) for x in (answer, *rows))):
                inputs, replay, made = next(one for one in self.captured if len(one[2]) >= len(part))
                for place, x in zip(inputs, part_rows):
                    place[: len(x)].copy_(x, non_blocking=True)
                replay()
                part.copy_(made[: len(part)])  # waits
        return answer


def _capture(function: Callable[..., Tensor], batches: list[list[Tensor]]) -> list[tuple]:
    """For each batch of arguments, a CUDA graph: where it reads them, what runs it, where its answer then is."""
    stream, captured = torch.cuda.Stream(batches[0][0].device), []
    stream.wait_stream(torch.cuda.current_stream(stream.device))
    with torch.cuda.stream(stream), torch.backends.cudnn.flags(enabled=True, deterministic=True):
        for inputs in batches:
            for _ in range(3):  # libraries choose algorithms and take memory, which a capture may not see
                function(*inputs)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
                made = function(*inputs)
            captured.append((inputs, graph.replay, made))
    return captured


CAPTURE = {"cuda": _capture}  # by the type of device


class _Permute(nn.Module):
    """Images (B, H, W, C) as (B, C, H, W), channels-last."""

    def forward(self, x: Tensor) -> Tensor:
        return x.permute(0, 3, 1, 2)


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


def _name(activation: nn.Module | None) -> tuple[str, list[float]]:
    """What oneDNN calls an activation, and its numbers."""
    if isinstance(activation, nn.LeakyReLU):
        return "leaky_relu", [activation.negative_slope]
    return {nn.ReLU: "relu", nn.Tanh: "tanh", type(None): "none"}[type(activation)], []


@torch.inference_mode()
def _pack(layers: nn.Sequential, x: Tensor) -> nn.Sequential:
    """The layers with `_Packed` ones where that can be; x is an example of what they will see."""
    packed, layers = [], list(layers)
    while layers:
        layer = layers.pop(0)
        if isinstance(layer, Residual):
            layer.bottleneck = _pack(layer.bottleneck, x)
        elif isinstance(layer, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)):
            active = bool(layers) and isinstance(layers[0], (nn.ReLU, nn.LeakyReLU, nn.Tanh))
            layer = _Packed(layer, layers.pop(0) if active else None, x)
        packed.append(layer)
        x = layer(x)
    return nn.Sequential(*packed)


def _as_linear(transposed: nn.ConvTranspose2d) -> list[nn.Module]:
    """A transposed convolution over one place as a matrix: (B, A, 1, 1) to (B, C, side, side), channels-last."""
    weight, side = transposed.weight, transposed.kernel_size[0]
    linear = nn.Linear(weight.shape[0], weight[0].numel(), device="meta")
    linear.weight = nn.Parameter(weight.permute(2, 3, 1, 0).flatten(0, 2).contiguous(), False)
    linear.bias = nn.Parameter(transposed.bias.repeat(side * side), False)
    return [nn.Flatten(), linear, nn.Unflatten(1, (side, side, -1)), _Permute()]


def _as_blocks(transposed: nn.ConvTranspose2d) -> nn.Conv2d:
    """A 4×4 transposed convolution of stride 2 as a 2×2 convolution, (B, A, H, W) to (B, 4C, H + 1, W + 1).

    What it makes at place p, from the inputs p − 1 and p, are the rows 2p − 1 and 2p: see `_join`.
    """
    taps = torch.tensor([[2, 0], [3, 1]])  # of the two rows, by input
    weight = transposed.weight[:, :, taps][..., taps]  # (A, C, row, input, column, input)
    blocks = nn.Conv2d(transposed.in_channels, 4 * transposed.out_channels, 2, padding=1, device="meta")
    blocks.weight = nn.Parameter(weight.permute(2, 4, 1, 0, 3, 5).flatten(0, 2).contiguous(), False)
    blocks.bias = nn.Parameter(transposed.bias.repeat(4), False)
    return blocks


def _join(blocks: Tensor) -> Tensor:
    """Blocks of 2×2 pixels (B, 4C, H + 1, W + 1) to pictures (B, 2H, 2W, C): the outermost rows are cut off."""
    rows = blocks.permute(0, 2, 3, 1).unflatten(3, (2, 2, -1)).transpose(2, 3)  # (B, H + 1, 2, W + 1, 2, C)
    return rows.flatten(3, 4).flatten(1, 2)[:, 1:-1, 1:-1].contiguous()


def _frozen(network: nn.Module) -> nn.Module:
    return copy.deepcopy(network).eval().requires_grad_(False)


def _fold(layers: nn.Sequential) -> nn.Sequential:
    folded = []
    for layer in layers:
        if isinstance(layer, nn.BatchNorm2d):
            convolution = folded.pop()
            transposed = isinstance(convolution, nn.ConvTranspose2d)
            layer = fuse_conv_bn_eval(convolution, layer, transpose=transposed).requires_grad_(False)
        elif isinstance(layer, Residual):
            layer.bottleneck = _fold(layer.bottleneck)
        folded.append(layer)
    return nn.Sequential(*folded)
