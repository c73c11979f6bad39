"""What a person asks for: pictures of captions."""

import operator
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from . import checkpoint
from .checkpoint import ModelSpec
from .engine import Engine
from .errors import InputError
from .models import GeneratorConfig
from .models.text_encoder import ALPHABET

STEP = 3.0  # how far style 1 moves z: three standard deviations of z along the direction


def load(name: str | Path = "flowers", device: str | None = None) -> "Studio":
    """Load a model by name, folder or Hub id (see `checkpoint.resolve`); CUDA if there is one, else the CPU."""
    folder = checkpoint.resolve(name)
    name = str(name)
    spec = checkpoint.MODELS.get(name) or ModelSpec(name=name, title=Path(name).name)
    return Studio(checkpoint.read(folder, "text_encoder", "generator"), spec, device)


def noise(seeds: int | Iterable[int]) -> Tensor:
    """The noise z (N, 100), float32, of seeds 0 to 2⁶³ − 1, the same in any batch and on any device.

    Torch seeds its generator with the lower 32 bits: seeds that agree in those have the same noise.
    """
    rows = (torch.Generator().manual_seed(seed) for seed in _whole(seeds))
    return torch.stack([torch.randn(GeneratorConfig.noise, generator=g) for g in rows])


class Studio:
    """A loaded model: `spec` and `name` say which, `parameters` how many numbers were learnt."""

    def __init__(self, networks: dict[str, nn.Module], spec: ModelSpec, device: str | None = None):
        self.spec, self.name = spec, spec.name
        self.engine = Engine(networks, device)
        used = (networks["text_encoder"], networks["generator"])
        self.parameters = sum(p.numel() for network in used for p in network.parameters())
        self._reads = networks["text_encoder"].config.length

    def draw(
        self, captions: str | Sequence[str], seeds: int | Iterable[int] = 0, style: Sequence[float] = ()
    ) -> list[Image.Image]:
        """Draw captions: a picture a seed, or a picture a caption, or one for each pair if both are as many.

        `style`: up to four numbers from -1 to 1, "style 1" to "style 4"; 0 leaves the pictures as they are.
        Captions are lower-cased and read up to 201 characters. Pictures are 64×64. `InputError` if one cannot be drawn.
        """
        return [Image.fromarray(pixels) for pixels in self.draw_array(captions, seeds, style)]

    def draw_array(
        self, captions: str | Sequence[str], seeds: int | Iterable[int] = 0, style: Sequence[float] = ()
    ) -> np.ndarray:
        """The same as pixels (N, 64, 64, 3), uint8."""
        captions = [captions] if isinstance(captions, str) else list(captions)
        for caption in captions:
            self._check(caption)
        z = noise(seeds) + self._move(style)
        if not captions or len(captions) != len(z) and 1 not in (len(captions), len(z)):
            raise InputError(f"{len(captions)} captions and {len(z)} seeds: give one of either, or as many of both")
        h, count = self.engine.embed(captions), max(len(captions), len(z))
        return self.engine.render(z.expand(count, -1), h.expand(count, -1))

    def mix_array(self, captions: Sequence[str], weights: Sequence[Sequence[float]], seed: int = 0) -> np.ndarray:
        """Pixels (N, 64, 64, 3) between captions: a row of `weights` (N, C), summing to 1, mixes their embeddings.

        Sums of embeddings lie where captions would, section 4.3; the noise is that of one seed.
        """
        for caption in captions:
            self._check(caption)
        h = torch.tensor(weights, dtype=torch.float32, device=self.engine.device) @ self.engine.embed(captions)
        return self.engine.render(noise(seed).expand(len(h), -1), h)

    def _check(self, caption: str) -> None:
        if set(ALPHABET[:-1]).isdisjoint(caption.lower()[: self._reads]):  # the last is the space
            raise InputError("Type a caption with at least one letter, digit or sign the model knows.")

    def _move(self, style: Sequence[float]) -> Tensor:
        """What these style numbers add to z, (100,)."""
        directions = self.engine.directions
        if len(style) > len(directions) or not all(-1 <= value <= 1 for value in style):
            raise InputError(f"style must be up to {len(directions)} numbers from -1 to 1, not {list(style)}")
        return STEP * torch.tensor([float(value) for value in style]) @ directions[: len(style)]


def _whole(seeds: int | Iterable[int]) -> list[int]:
    try:
        found = [operator.index(seed) for seed in (seeds if isinstance(seeds, Iterable) else [seeds])]
    except TypeError:
        raise InputError(f"a seed must be a whole number, not {seeds!r}") from None
    if not found:
        raise InputError("give at least one seed")
    if bad := [seed for seed in found if not 0 <= seed < 2**63]:
        raise InputError(f"a seed must be from 0 to 2**63 - 1, not {bad[0]}")
    return found
