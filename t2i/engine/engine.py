"""Fast inference on the CPU or CUDA: captions to embeddings, noise and embeddings to pixels, pixels to noise."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from ..device import best_device, computes_bfloat16, to_channels_last
from ..errors import InputError
from ..models import ImageEncoder, Networks, StyleEncoder, attribute_directions, encode, fast_form
from ..models.fuse import fold, frozen
from ..models.text_encoder import normalize_caption
from .graphs import CAPTURE_BY_DEVICE, GraphedFunction
from .onednn import PACKING_BATCH, fast_text_convolutions, pack

MAX_BATCH = 128  # rows in one pass, which bounds the memory
MAX_BATCH_PIXELS = 2**19  # in one pass on a CPU: larger layers get new memory in each pass, and took half as long again
GRAPH_BATCH_SIZES = (1, 16, MAX_BATCH)  # a CUDA graph for each: one row, a page of pictures, the pages of many people
RENDER_GRAPH_BATCH_SIZES = (*GRAPH_BATCH_SIZES, 1024)  # fewer pictures leave most of a large GPU idle
MAX_RENDER_GRAPH_PIXELS = 2**22  # larger pictures have graphs for fewer
EMBEDDING_CACHE_SIZE = 1024  # captions, 4 KiB each

PhotoEncoder = StyleEncoder | ImageEncoder


class Engine:
    """The networks of a model rewritten for speed; the networks given stay as they are.

    The generator runs in its fast form. Batch norm is folded, the memory format is channels-last, and all convolutions
    compute in bfloat16 if the CPU does, those of pictures in float16 on CUDA. On a CPU, oneDNN gets each layer's
    weights in its own order ahead of time and computes the activation together with the layer. On CUDA, everything
    between characters, embeddings and pixels is CUDA graphs. A picture does not depend on the rest of its batch,
    except for rounding.

    `size`: side of the pictures in pixels. `noise_size`: the length Z of their noise. `directions`: (D, Z), those of z
    that the attribute sliders move along.
    """

    def __init__(self, networks: Networks, device: str | None = None, num_attributes: int = 0):
        """`num_attributes`: how many of z's first coordinates control an attribute; they are then the `directions`.

        Without attributes, the directions are the generator's own. `InputError` if the networks do not fit together.
        """
        text, generator = frozen(networks["text_encoder"]), networks["generator"]
        if generator.config.embedding != text.config.embedding:
            raise InputError("the text encoder and the generator do not belong together: train the generator again")
        style, image = networks.get("style_encoder"), networks.get("image_encoder")
        if style and style.config.noise != generator.config.noise:
            raise InputError("the style encoder does not belong to this model: train it again")
        if image and image.config.embedding != text.config.embedding:
            raise InputError("the image encoder does not belong to this model: train it again")
        self.device = torch.device(device or best_device())
        self.dtype = torch.bfloat16 if computes_bfloat16(self.device) else torch.float32
        if self.device.type == "cuda":
            self.dtype = torch.float16  # off by 0.04 levels of 255, bfloat16 by 0.3; no activation exceeds 17 of 65,504
        self.size, self.noise_size = generator.config.size, generator.config.noise
        self.caption_length = text.config.length
        self.parameters = sum(p.numel() for network in (text, generator) for p in network.parameters())
        self.has_image_encoder = image is not None
        self.directions = attribute_directions(generator, num_attributes)
        self._generator = fast_form(generator, self._place)
        if self.device.type == "cpu":
            text.one_hot = nn.Identity()
            text.convolutions = fast_text_convolutions(text.convolutions, self._place)
        self._text_encoder = to_channels_last(text, self.device)
        self._embedding_cache: dict[str, Tensor] = {}  # by caption, the least recently used first
        encoders = {"style": style, "image": image}
        self._photo_encoders = {name: self._fast_photo_encoder(x) for name, x in encoders.items() if x}
        z, h = torch.zeros(1, self.noise_size), torch.zeros(1, text.config.embedding)
        full_length = self.device.type in CAPTURE_BY_DEVICE
        codes = encode([""], text.config.length)
        self._encode_text = self._batched(lambda codes: text(codes, full_length), GRAPH_BATCH_SIZES, codes)
        max_graph, max_batch = MAX_RENDER_GRAPH_PIXELS // self.size**2, MAX_BATCH_PIXELS // self.size**2
        sizes = tuple(sorted({min(size, max_graph) for size in RENDER_GRAPH_BATCH_SIZES}))
        self._generate = self._batched(self._run_generator, sizes, z, h, max_batch=min(MAX_BATCH, max_batch))

    @torch.inference_mode()
    def embed(self, captions: list[str]) -> Tensor:
        """Embeddings h (B, E) of captions, float32, on the CPU. New captions are computed together, then cached."""
        keys = [normalize_caption(caption)[: self.caption_length] for caption in captions]
        cached = {key: self._embedding_cache.pop(key, None) for key in dict.fromkeys(keys)}
        embeddings = {key: h for key, h in cached.items() if h is not None}
        if new := [key for key in cached if key not in embeddings]:
            h = self._encode_text(encode(new, self.caption_length))
            embeddings |= zip(new, map(Tensor.clone, h))  # a view would keep the whole batch alive
        self._cache_embeddings(embeddings)
        return torch.stack([embeddings[key] for key in keys])

    @torch.inference_mode()
    def render(self, z: Tensor, h: Tensor) -> np.ndarray:
        """Noise z (B, Z) and embeddings h (B, E) to pixels (B, S, S, 3), uint8; S is `size`."""
        return self._generate(z, h).numpy()

    @torch.inference_mode()
    def invert(self, pixels: np.ndarray) -> Tensor:
        """Pixels (B, S, S, 3), uint8, to the noise (B, Z) of pictures in their style, float32, on the CPU.

        S is the input size of the style encoder. `InputError` if the model has none.
        """
        _, encode_pixels = self._photo_encoder("style")
        return encode_pixels(torch.from_numpy(pixels))

    @torch.inference_mode()
    def embed_photos(self, pixels: np.ndarray) -> Tensor:
        """Pixels (B, S, S, 3), uint8, to embeddings (B, E), float32, on the CPU, comparable to captions' h.

        S is the input size of the image encoder. `InputError` if the model has none.
        """
        _, encode_pixels = self._photo_encoder("image")
        return encode_pixels(torch.from_numpy(pixels))

    @torch.inference_mode()
    def match(self, pixels: np.ndarray, h: Tensor) -> Tensor:
        """How well pixels (B, S, S, 3), uint8, match embeddings h (B, E): probabilities (B,), on the CPU.

        One row of either is matched with all rows of the other. `InputError` if the model has no image encoder.
        """
        network, encode_pixels = self._photo_encoder("image")
        assert isinstance(network, ImageEncoder)
        return network.match_probability(encode_pixels(torch.from_numpy(pixels)), h.float().cpu())

    @property
    def calibration(self) -> tuple[float, float]:
        """Slope and offset of the log-odds of `match` as a function of the cosine."""
        network, _ = self._photo_encoder("image")
        assert isinstance(network, ImageEncoder)
        return network.calibrate.weight.item(), network.calibrate.bias.item()

    def _photo_encoder(self, name: str) -> tuple[PhotoEncoder, Callable[[Tensor], Tensor]]:
        if name not in self._photo_encoders:
            raise InputError(f"this model has no {name} encoder: `python -m t2i train {name}` trains one")
        return self._photo_encoders[name]

    def _fast_photo_encoder(self, network: PhotoEncoder) -> tuple[PhotoEncoder, Callable[[Tensor], Tensor]]:
        """A fast copy of the network, and it as a function of pixels (B, S, S, 3), uint8, S being its input size."""
        network, size = frozen(network), network.config.size
        # The calibration stays in float32: in bfloat16, half of the matches would be ties.
        network.look = self._place(fold(network.look), 3, size, size)

        def encode_pixels(pixels: Tensor) -> Tensor:
            x = pixels.permute(0, 3, 1, 2).to(self.dtype)  # channels-last already
            return network((x - 127.5) / 127.5).float()

        return network, self._batched(encode_pixels, GRAPH_BATCH_SIZES, torch.zeros(1, size, size, 3).byte())

    def _place(self, layers: nn.Sequential, *shape: int) -> nn.Sequential:
        """Layers on the device and, if it is a CPU, packed for inputs (B, *shape)."""
        layers = to_channels_last(layers, self.device, self.dtype)
        if self.device.type != "cpu" or not torch.backends.mkldnn.is_available():
            return layers
        x = torch.zeros(PACKING_BATCH, *shape, dtype=self.dtype)
        return pack(layers, x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 else x)

    def _cache_embeddings(self, embeddings: dict[str, Tensor]) -> None:
        self._embedding_cache |= embeddings
        for oldest in list(self._embedding_cache)[:-EMBEDDING_CACHE_SIZE]:
            self._embedding_cache.pop(oldest, None)

    def _batched(
        self, function: Callable[..., Tensor], graph_sizes: tuple[int, ...], *rows: Tensor, max_batch: int = MAX_BATCH
    ) -> Callable[..., Tensor]:
        """The function for any number of rows, from the CPU to the device and back.

        `rows`: an example of each argument, (1, …). `graph_sizes`: the batches for which CUDA graphs are captured.
        """
        if self.device.type in CAPTURE_BY_DEVICE:
            return GraphedFunction(self.device, function, graph_sizes, *rows)
        return lambda *rows: self._in_batches(function, max_batch, *rows)

    def _in_batches(self, function: Callable[..., Tensor], max_batch: int, *rows: Tensor) -> Tensor:
        batches = zip(*(x.to(self.device).split(max_batch) for x in rows))
        return torch.cat([function(*batch).cpu() for batch in batches])

    def _run_generator(self, z: Tensor, h: Tensor) -> Tensor:
        return self._generator(z.to(self.dtype), h.to(self.dtype))
