"""The fast core: captions to embeddings, noise and embeddings to pixels, pixels to noise, on the CPU or CUDA."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from ..device import best_device, computes_bfloat16
from ..errors import InputError
from ..models import DCGANGeneratorConfig, encode
from ..models.fuse import fold, frozen
from .graphs import CAPTURE, Graphs
from .onednn import USUAL, as_lines, pack

CHUNK = 128  # rows in one pass: bounds the memory; a crowd of eight is drawn by one
PIXELS = CHUNK * 64**2  # in one pass on a CPU: layers of more get fresh memory each time, which took half as long again
CAPTURED = (1, 16, CHUNK)  # rows for which there is a CUDA graph: one, a page of them, a crowd's
MANY = 1024  # pictures of 64×64 for which there is one too: fewer leave most of a large GPU idle
REMEMBERED = 1024  # embeddings, 4 KiB each


class Engine:
    """Text encoder and generator rewritten for speed; the networks given stay as they are.

    A generator brings its own fast form. Batch norm is folded, the memory is channels-last, and all convolutions
    compute in bfloat16 where a CPU does, those of pictures in float16 on CUDA. On a CPU, oneDNN has each layer's
    weights in its own order from the beginning and computes the activation with the layer. On CUDA all between
    characters, embeddings and pixels are graphs. A picture does not depend on the others of its batch, but for
    rounding.
    """

    def __init__(self, networks: dict[str, nn.Module], device: str | None = None, named: int = 0):
        """`named`: how many of z's first coordinates were taught what they steer; they are then the `directions`."""
        text, generator = frozen(networks["text_encoder"]), networks["generator"]
        if (generator.config.embedding, generator.config.noise) != (text.config.embedding, DCGANGeneratorConfig.noise):
            raise InputError("the text encoder and the generator do not belong together: train the generator again")
        for name, size in (("style_encoder", ("noise", generator)), ("image_encoder", ("embedding", text))):
            if name in networks and getattr(networks[name].config, size[0]) != getattr(size[1].config, size[0]):
                raise InputError(f"the {name.replace('_', ' ')} does not belong to this model: train it again")
        self.device = torch.device(device or best_device())
        self.dtype = torch.bfloat16 if computes_bfloat16(self.device) else torch.float32
        if self.device.type == "cuda":
            self.dtype = torch.float16  # off by 0.04 levels of 255, bfloat16 by 0.3; no activation passes 17 of 65,504
        self.size, noise = generator.config.size, generator.config.noise
        self.caption_length = text.config.length
        self.parameters = sum(p.numel() for network in (text, generator) for p in network.parameters())
        self.sees = "image_encoder" in networks
        self.directions = torch.eye(named, noise) if named else generator.directions()
        self._generator = generator.fast(self._place)
        if self.device.type == "cpu":
            text.letters, text.convolutions = nn.Identity(), as_lines(text.convolutions, self._place)
        self._text = text.to(self.device, memory_format=torch.channels_last)
        self._eyes = {n: self._eye(networks[n]) for n in ("style_encoder", "image_encoder") if n in networks}
        self._remembered: dict[str, Tensor] = {}  # the last used are the last
        codes, z, h = encode([""], text.config.length), torch.zeros(1, noise), torch.zeros(1, text.config.embedding)
        self._hear = self._batched(lambda codes: self._text(codes, self.device.type in CAPTURE), CAPTURED, codes)
        sizes = sorted({min(size, MANY * 64**2 // self.size**2) for size in (*CAPTURED, MANY)})
        self._draw = self._batched(self._pixels, tuple(sizes), z, h, chunk=min(CHUNK, PIXELS // self.size**2))

    @torch.inference_mode()
    def embed(self, captions: list[str]) -> Tensor:
        """Embeddings h (B, 1024) of captions, on the CPU; new ones are computed together and remembered."""
        keys = [caption.lower()[: self._text.config.length] for caption in captions]
        found = {key: self._remembered.pop(key, None) for key in dict.fromkeys(keys)}
        new = [key for key, h in found.items() if h is None]
        if new:
            heard = self._hear(encode(new, self._text.config.length))
            found |= zip(new, torch.unbind_copy(heard))  # not the whole batch is remembered with each
        self._remember(found)
        return torch.stack([found[key] for key in keys])

    @torch.inference_mode()
    def render(self, z: Tensor, h: Tensor) -> np.ndarray:
        """Noise z (B, 100) and embeddings h (B, 1024) to pixels (B, S, S, 3), uint8, S being `size`."""
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
        network = frozen(network)  # the rest stays in float32: a cosine in bfloat16 would tie half of the matches
        network.look = self._place(fold(network.look), 3, 64, 64)

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
        return pack(layers, x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 else x)

    def _remember(self, embeddings: dict[str, Tensor]) -> None:
        self._remembered |= embeddings
        for oldest in list(self._remembered)[:-REMEMBERED]:
            self._remembered.pop(oldest, None)

    def _batched(
        self, function: Callable[..., Tensor], sizes: tuple[int, ...], *rows: Tensor, chunk: int = CHUNK
    ) -> Callable[..., Tensor]:
        """A function of rows, like these, for any number of them: from the CPU to the device and back."""
        if self.device.type in CAPTURE:
            return Graphs(self.device, function, sizes, *rows)
        return lambda *rows: self._in_chunks(function, chunk, *rows)

    def _in_chunks(self, function: Callable[..., Tensor], chunk: int, *rows: Tensor) -> Tensor:
        parts = zip(*(x.to(self.device).split(chunk) for x in rows))
        return torch.cat([function(*part).cpu() for part in parts])

    def _pixels(self, z: Tensor, h: Tensor) -> Tensor:
        return self._generator(z.to(self.dtype), h.to(self.dtype))
