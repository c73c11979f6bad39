"""The fast core: captions to embeddings, noise and embeddings to pixels, pixels to noise, on the CPU or CUDA."""

import copy
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import fuse_conv_bn_eval

from .errors import InputError
from .models import GeneratorConfig, encode
from .models.residual import Residual

CHUNK = 64  # pictures in one pass: bounds the memory
REMEMBERED = 1024  # embeddings, 4 KiB each


class Engine:
    """Text encoder and generator rewritten for speed; the networks given stay as they are.

    Batch norm is folded into the convolutions, the memory is channels-last, and the generator computes in bfloat16
    where the hardware does. A picture does not depend on the others of its batch, but for rounding: ±1 level of 255.
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
        layers = _fold(generator.draw)
        first = _Linear(layers[0])
        heard = first.linear.weight[:, : generator.config.noise]
        self.directions = torch.eye(named, generator.config.noise) if named else _directions(heard)
        generator.draw = nn.Sequential(first, *layers[1:])
        self._text = text.to(self.device, memory_format=torch.channels_last)
        self._generator = generator.to(self.device, self.dtype, memory_format=torch.channels_last)
        self._style = self._eye(networks.get("style_encoder"))
        self._sight = self._eye(networks.get("image_encoder"))
        self._remembered = lru_cache(REMEMBERED)(self._embed)

    @torch.inference_mode()
    def embed(self, captions: list[str]) -> Tensor:
        """Embeddings h (B, 1024) of captions, on the engine's device; each is computed alone and remembered."""
        return torch.cat([self._remembered(caption.lower()[: self._text.config.length]) for caption in captions])

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
        network.look = _fold(network.look).to(self.device, self.dtype, memory_format=torch.channels_last)
        return network

    def _see(self, network: nn.Module | None, name: str, pixels: np.ndarray) -> Tensor:
        network = _there(network, name)
        x = torch.from_numpy(pixels).to(self.device).permute(0, 3, 1, 2)  # channels-last already: no copy
        return torch.cat([network((part.to(self.dtype) - 127.5) / 127.5).float().cpu() for part in x.split(CHUNK)])

    def _embed(self, caption: str) -> Tensor:
        return self._text(encode([caption], self._text.config.length).to(self.device))

    def _render(self, z: Tensor, h: Tensor) -> np.ndarray:
        pictures = self._generator(z.to(self.device, self.dtype), h.to(self.device, self.dtype))
        levels = (pictures.float() * 127.5 + 128).byte()  # -1…1 to 0.5…255.5, cut
        return levels.permute(0, 2, 3, 1).cpu().numpy()  # channels-last already: no copy


class _Linear(nn.Module):
    """A transposed convolution over one place, as one matrix product with a channels-last result."""

    def __init__(self, convolution: nn.ConvTranspose2d):
        super().__init__()
        weight, side = convolution.weight, convolution.kernel_size[0]
        self.linear = nn.Linear(weight.shape[0], weight[0].numel(), device="meta")
        self.linear.weight = nn.Parameter(weight.permute(2, 3, 1, 0).flatten(0, 2).contiguous(), False)
        self.linear.bias = nn.Parameter(convolution.bias.repeat(side * side), False)
        self.shape = (side, side, weight.shape[1])

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x.flatten(1)).unflatten(1, self.shape).permute(0, 3, 1, 2)


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
    """Whether the hardware itself computes in bfloat16; emulated, it is far slower than float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device.type == "cpu" and torch.cpu._is_avx512_bf16_supported()
