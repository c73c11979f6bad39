"""The fast core: captions to embeddings, noise and embeddings to pixels, pixels to noise, on the CPU or CUDA.

For who wants it faster still, what did not pay on CPUs, measured side by side: every transposed convolution as
`_as_blocks` (the seams cost more than the kernels win, but in the last one, of 3 channels); convolutions as matrix
products over gathered neighbours (slower from 16 pictures on); packed convolutions in the text encoder (their width
varies, and weights laid out for another one are laid out anew in each call). Not tried: `torch.compile`, which wants a
C++ compiler where it runs, and TorchScript, which is deprecated.
"""

import copy

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import fuse_conv_bn_eval

from .errors import InputError
from .models import GeneratorConfig, encode
from .models.residual import Residual

CHUNK = 64  # pictures in one pass: bounds the memory
REMEMBERED = 1024  # embeddings, 4 KiB each
USUAL = 16  # pictures at once for which the weights are laid out; any number works


class Engine:
    """Text encoder and generator rewritten for speed; the networks given stay as they are.

    Batch norm is folded into the convolutions, the memory is channels-last, and the generator computes in bfloat16
    where the hardware does. On a CPU, oneDNN has each layer's weights in its own order from the beginning and computes
    the activation with the layer. A picture does not depend on the others of its batch, but for rounding.
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
        noise, projected = generator.config.noise, generator.config.projected
        first, *middle, last, tanh = _fold(generator.draw)
        generator.draw = nn.Sequential(*_as_linear(first), *middle, _as_blocks(last), tanh)
        heard = generator.draw[1].weight[:, :noise]
        self.directions = torch.eye(named, noise) if named else _directions(heard)
        generator.project = self._place(generator.project, generator.config.embedding)
        generator.draw = self._place(generator.draw, noise + projected, 1, 1)
        self._text = text.to(self.device, memory_format=torch.channels_last)
        self._generator = generator
        self._style = self._eye(networks.get("style_encoder"))
        self._sight = self._eye(networks.get("image_encoder"))
        self._remembered: dict[str, Tensor] = {}  # the last used are the last

    @torch.inference_mode()
    def embed(self, captions: list[str]) -> Tensor:
        """Embeddings h (B, 1024) of captions, on the engine's device; new ones are computed together and remembered."""
        keys = [caption.lower()[: self._text.config.length] for caption in captions]
        found = {key: self._remembered.pop(key, None) for key in keys}
        new = [key for key, h in found.items() if h is None]
        for start in range(0, len(new), CHUNK):
            part = new[start : start + CHUNK]
            found |= zip(part, self._text(encode(part, self._text.config.length).to(self.device)).split(1))
        self._remember(found)
        return torch.cat([found[key] for key in keys])

    @torch.inference_mode()
    def render(self, z: Tensor, h: Tensor) -> np.ndarray:
        """Noise z (B, 100) and embeddings h (B, 1024) to pixels (B, 64, 64, 3), uint8."""
        return np.concatenate([self._render(*part) for part in zip(z.split(CHUNK), h.split(CHUNK))])

    @torch.inference_mode()
    def invert(self, pixels: np.ndarray) -> Tensor:
        """Pixels (B, 64, 64, 3), uint8, to the noise (B, 100), float32, on the CPU, that would draw their style."""
        return self._see(self._style, "style", pixels)

    @torch.inference_mode()
    def embed_photos(self, pixels: np.ndarray) -> Tensor:
        """Pixels (B, 64, 64, 3), uint8, to embeddings (B, 1024), float32, on the CPU, comparable to captions' h."""
        return self._see(self._sight, "image", pixels)

    @torch.inference_mode()
    def match(self, pixels: np.ndarray, h: Tensor) -> Tensor:
        """How well pixels (B, 64, 64, 3), uint8, fit embeddings h (B, 1024): probabilities (B,), on the CPU.

        One of either goes with all of the other.
        """
        seen = self.embed_photos(pixels)  # refuses a model that cannot see
        return self._sight.match(seen, h.float().cpu())

    @property
    def fit(self) -> tuple[float, float]:
        """Slope and offset of the log-odds of `match` by the cosine."""
        fitted = _there(self._sight, "image").calibrate
        return fitted.weight.item(), fitted.bias.item()

    def _eye(self, network: nn.Module | None) -> nn.Module | None:
        """A network that looks at pictures, made fast; None if the model has none."""
        if network is None:
            return None
        network = _frozen(network)  # the rest stays in float32: a cosine in bfloat16 would tie half of the matches
        network.look = self._place(_fold(network.look), 3, 64, 64)
        return network

    def _place(self, layers: nn.Sequential, *shape: int) -> nn.Sequential:
        """Layers on the device and, if that is a CPU, packed for inputs of this shape."""
        layers = layers.to(self.device, self.dtype, memory_format=torch.channels_last)
        if self.device.type != "cpu" or not torch.backends.mkldnn.is_available():
            return layers
        x = torch.zeros(USUAL, *shape, dtype=self.dtype)
        return _pack(layers, x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 else x)

    def _see(self, network: nn.Module | None, name: str, pixels: np.ndarray) -> Tensor:
        network = _there(network, name)
        x = torch.from_numpy(pixels).to(self.device).permute(0, 3, 1, 2)  # channels-last already: no copy
        return torch.cat([network((part.to(self.dtype) - 127.5) / 127.5).float().cpu() for part in x.split(CHUNK)])

    def _remember(self, embeddings: dict[str, Tensor]) -> None:
        self._remembered |= {key: h.clone() for key, h in embeddings.items()}  # not the whole batch with each
        for oldest in list(self._remembered)[:-REMEMBERED]:
            self._remembered.pop(oldest, None)

    def _render(self, z: Tensor, h: Tensor) -> np.ndarray:
        blocks = self._generator(z.to(self.device, self.dtype), h.to(self.device, self.dtype))
        levels = blocks.float().mul_(127.5).add_(128).byte()  # -1…1 to 0.5…255.5, cut
        return _join(levels).cpu().numpy()


class _Grid(nn.Module):
    """Rows (B, side · side · C) to channels-last images (B, C, side, side)."""

    def __init__(self, side: int):
        super().__init__()
        self.side = side

    def forward(self, x: Tensor) -> Tensor:
        return x.unflatten(1, (self.side, self.side, -1)).permute(0, 3, 1, 2)


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
    return [nn.Flatten(), linear, _Grid(side)]


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


def _there(network: nn.Module | None, name: str) -> nn.Module:
    if network is None:
        raise InputError(f"this model has no {name} encoder: `python -m t2i train {name}` trains one")
    return network


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


def _directions(weight: Tensor) -> Tensor:
    """The four directions of z (4, 100), of length 1, along which the first layer (F, 100) moves most.

    Its first right singular vectors, the closed-form factorisation of Shen & Zhou 2021 (SeFa, section 3.2);
    the largest entry of each is positive.
    """
    found = torch.linalg.svd(weight.double(), full_matrices=False).Vh[:4]
    largest = found.gather(1, found.abs().argmax(1, keepdim=True))
    return (found * largest.sign()).float()


def computes_bfloat16(device: torch.device) -> bool:
    """Whether the hardware itself computes in bfloat16, and may; emulated, it is far slower than float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    able = device.type == "cpu" and torch.cpu._is_avx512_bf16_supported()
    return able and torch.ops.mkldnn._is_mkldnn_bf16_supported()  # ONEDNN_MAX_CPU_ISA may forbid it
