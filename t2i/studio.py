"""A loaded model: pictures of captions, interpolations, the styles of photos, and search among photos."""

import operator
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import normalize

from . import vocabulary
from .breeding import WEIGHTS_TOLERANCE, Genome, check_genomes, children
from .device import checked_device
from .engine.batching import BatchedEngine
from .engine.engine import Engine
from .engine.mixing import mix
from .errors import InputError, abbreviated, check_captions, check_list, check_number, check_numbers
from .locate import Checkpoint
from .media.photo import prepare
from .models import DCGANGeneratorConfig
from .models.text_encoder import ALPHABET, normalize_caption
from .registry import MODELS, ModelSpec, read_spec
from .store import MAX_NETWORK_SIZE, AttributeSlider

DRAWING_ROLES = ("text_encoder", "generator")  # the networks that draw
PHOTO_ROLES = ("style_encoder", "image_encoder")  # the networks that encode photos; a model may lack them
UNNAMED_ATTRIBUTES = tuple(AttributeSlider(f"Style {i}") for i in range(1, 5))  # of the generator's own directions
MAX_STEPS = 256  # pictures of an interpolation
NOISE_CACHE_SIZE = 4096  # seeds; they stay the same while a visitor types or drags
SEEDS_PER_ROW = 4  # of the plane of seeds
MAX_VARIETY = 1.5  # noise of a larger norm is too far from the training's
ATTRIBUTE_STEP = 3.0  # how far an attribute of 1 moves z: three standard deviations along the direction


def load(name: str | Path = "flowers", device: str | None = None) -> "Studio":
    """Load a model by name, folder or Hub id (see `locate.resolve`); CUDA if there is one, else the CPU.

    `InputError` if there is no such model or device.
    """
    checkpoint = Checkpoint(name)
    spec = find_spec(name, checkpoint)
    return Studio(
        load_engine(checkpoint, device), spec, checkpoint.attributes, checkpoint.words, checkpoint.caption_mean
    )


def load_engine(checkpoint: Checkpoint, device: str | None = None) -> Engine:
    """The engine of a model, with those photo encoders that the model has."""
    device = checked_device(device)
    roles = [*DRAWING_ROLES, *filter(checkpoint.has, PHOTO_ROLES)]
    return Engine(checkpoint.read(*roles), device, len(checkpoint.attributes))


def find_spec(name: str | Path, checkpoint: Checkpoint) -> ModelSpec:
    """The description of a model: from the registry, or from `model.json` in the folder of an unregistered model.

    Fields that this file leaves out come from the registered model whose text encoder is shared. Without a title, the
    title is the name: the last part of the folder or the Hub id.
    """
    if spec := MODELS.get(str(name)):
        return spec
    path = Path(name)
    short_name = path.resolve().name if path.is_dir() else str(name).partition("@")[0].rpartition("/")[2]
    base = MODELS.get(str(checkpoint.config.get("text_encoder")), ModelSpec("", ""))
    fields = ("placeholder", "examples", "short_examples", "subject", "gallery_captions")
    defaults = {field: getattr(base, field) for field in fields}
    spec = read_spec(checkpoint.folder, **defaults | {"name": short_name, "title": short_name})
    if spec.examples != base.examples and spec.short_examples == base.short_examples:
        return replace(spec, short_examples=())  # they are of other examples
    return spec


def noise(seeds: int | Iterable[int], size: int = DCGANGeneratorConfig.noise) -> Tensor:
    """The noise z (N, Z) of seeds 0 to 2⁶³ − 1, float32, the same in any batch and on any device.

    `size`: Z, the `noise_size` of a model. Torch uses only the lower 32 bits of a seed: seeds with the same lower bits
    have the same noise.
    """
    size = int(check_number(size, "size", 1, MAX_NETWORK_SIZE, whole=True))
    return torch.stack([_noise_of_seed(seed, size) for seed in _checked_seeds(seeds)])


@lru_cache(NOISE_CACHE_SIZE)
def _noise_of_seed(seed: int, size: int) -> Tensor:
    return torch.randn(size, generator=torch.Generator().manual_seed(seed))


def interpolate_noise(seeds: Sequence[int], at: Sequence[Sequence[float]], size: int) -> Tensor:
    """The noise z (N, Z) of points on the plane of seeds, where the seeds are in rows of four.

    `at`: an offset [across, down] from each seed, both from 0 to 1: 1 across is seed + 1, 1 down is seed + 4. Between
    seeds, the noise is a weighted sum of that of the four seeds around the point, divided by the norm of the weights.
    Its standard deviation remains 1, as in the generator's training. `size`: Z.
    """
    across, down = check_numbers(
        at,
        "at must be a point [across, down] from 0 to 1 for each seed",
        lambda points: points.shape == (len(seeds), 2) and _are_from(0, points),
    ).unbind(1)
    weights = torch.stack([(1 - across) * (1 - down), across * (1 - down), (1 - across) * down, across * down])
    steps = (0, 1, SEEDS_PER_ROW, SEEDS_PER_ROW + 1)
    corners = torch.stack([noise((seed + step for seed in seeds), size) for step in steps])  # (4, N, Z)
    return (normalize(weights, dim=0)[..., None] * corners).sum(0)


class Studio:
    """A loaded model: its description `spec` and `name`, and its `attributes`, the sliders.

    `size`: pixels a side of the pictures that it draws. `noise_size`: Z, how many numbers their noise has. Photos, and
    drawn pictures that are used as photos, are reduced to the input size of the photo encoders. `has_image_encoder`:
    whether the model has an image encoder, which `index`, `describe` and `match` need.
    """

    def __init__(
        self,
        engine: Engine | BatchedEngine,
        spec: ModelSpec,
        attributes: tuple[AttributeSlider, ...] = (),
        words: frozenset[str] = frozenset(),
        caption_mean: Tensor | None = None,
    ):
        self.engine, self.spec, self.name = engine, spec, spec.name
        self.attributes = attributes or UNNAMED_ATTRIBUTES
        self._words, self._caption_mean = words, caption_mean

    def draw(
        self,
        captions: str | Sequence[str],
        seeds: int | Iterable[int] = 0,
        attributes: Sequence[float] = (),
        at: Sequence[Sequence[float]] = (),
        like: Sequence[float] | Tensor = (),
        variety: float = 1.0,
    ) -> list[Image.Image]:
        """Draw one caption with each seed, each caption with one seed, or if there are as many of both, each pair.

        `attributes`: numbers from -1 to 1, one for each slider of `self.attributes` or fewer; 0 changes nothing.
        `at`: an offset from each seed on the plane of seeds (see `interpolate_noise`); none for the seeds themselves.
        `like`: the style (Z,) of a photo, from `style`: the pictures have this style, and the seeds vary the rest.
        `variety`: how far the seeds stray from the mean of all pictures, a factor of their noise (ψ); 1 is as trained.
        Captions are read as `normalize_caption` says and cut at 201 characters. Pictures are S×S, S being `size`.
        `InputError` if a caption or a number is not valid.
        """
        return [Image.fromarray(pixels) for pixels in self.draw_array(captions, seeds, attributes, at, like, variety)]

    def draw_array(
        self,
        captions: str | Sequence[str],
        seeds: int | Iterable[int] = 0,
        attributes: Sequence[float] = (),
        at: Sequence[Sequence[float]] = (),
        like: Sequence[float] | Tensor = (),
        variety: float = 1.0,
    ) -> np.ndarray:
        """As `draw`, but pixels (N, S, S, 3), uint8."""
        h = self._embed(captions)
        z = self.latent(seeds, attributes, at, like, variety)
        if len(h) != len(z) and 1 not in (len(h), len(z)):
            raise InputError(f"{len(h)} captions and {len(z)} seeds: give one of either, or as many of both")
        count = max(len(h), len(z))
        return self.engine.render(z.expand(count, -1), h.expand(count, -1))

    def latent(
        self,
        seeds: int | Iterable[int] = 0,
        attributes: Sequence[float] = (),
        at: Sequence[Sequence[float]] = (),
        like: Sequence[float] | Tensor = (),
        variety: float = 1.0,
    ) -> Tensor:
        """The noise z (N, Z) that `draw` draws from, for each seed."""
        z = check_number(variety, "variety", 0, MAX_VARIETY) * self._noise_at(seeds, at)
        return (z if _is_empty(like) else _vary_style(like, z)) + self._attribute_offset(attributes)

    def draw_genomes(self, genomes: Sequence[Genome], attributes: Sequence[float] = ()) -> np.ndarray:
        """Pixels (N, S, S, 3), uint8, of genomes, for instance of the children of two pictures; see `breed`."""
        genomes = check_genomes(genomes, self.noise_size)
        captions = list(dict.fromkeys(caption for genome in genomes for caption in genome.captions))
        own = [dict(zip(genome.captions, genome.weights)) for genome in genomes]
        weights = torch.tensor([[weights.get(caption, 0.0) for caption in captions] for weights in own])
        z = torch.tensor([genome.z for genome in genomes]) + self._attribute_offset(attributes)
        return self.engine.render(z, mix(self._embed(captions), weights, self._caption_mean))

    def breed(
        self,
        parents: Sequence[Genome],
        seeds: int | Iterable[int] = 0,
        at: Sequence[Sequence[float]] = (),
        mutation: float = 0.1,
    ) -> list[Genome]:
        """A child of two pictures for each seed, for `draw_genomes`; see `breeding.children`."""
        return children(parents, self._noise_at(seeds, at), mutation)

    def blend(self, caption_a: str, caption_b: str, steps: int = 17, seed: int = 0) -> list[Image.Image]:
        """Interpolate from one caption to another with the noise of one seed, ends included (section 4.3, Figure 8).

        `steps`: 2 to 256 pictures.
        """
        weights = [[1 - t, t] for t in _fractions(steps)]
        return [Image.fromarray(pixels) for pixels in self.mix_array([caption_a, caption_b], weights, seed)]

    def mix_array(
        self, captions: Sequence[str], weights: Sequence[Sequence[float]], seed: int | Sequence[int] = 0
    ) -> np.ndarray:
        """Pixels (N, S, S, 3), uint8, of mixed captions: a row of `weights` (N, C), summing to 1, mixes the embeddings.

        Such interpolated embeddings are near the data manifold (section 4.3); if the model has the mean of its training
        captions, they are centred on it (see `mixing.mix`). The noise is that of one seed, or of a seed for each row.
        """
        captions = check_captions(captions)
        rows = check_numbers(
            weights,
            f"weights must be rows of {len(captions)} numbers that sum to 1, one for each caption",
            lambda rows: (
                rows.ndim == 2
                and len(rows) > 0
                and rows.shape[1] == len(captions)
                and ((rows.sum(1) - 1).abs() < WEIGHTS_TOLERANCE).all()
            ),
        )
        z = noise(seed, self.noise_size)
        if len(z) not in (1, len(rows)):
            raise InputError(f"{len(z)} seeds and {len(rows)} rows of weights: give one seed, or one for each row")
        return self.engine.render(z.expand(len(rows), -1), mix(self._embed(captions), rows, self._caption_mean))

    def wander(self, caption: str, seed_a: int, seed_b: int, steps: int = 17) -> list[Image.Image]:
        """Interpolate from one seed to another with one caption, both ends included (Figure 8).

        The interpolation is spherical: noise of Z dimensions has a norm of about √Z, and linear interpolation would
        pass through smaller norms, which the generator has not been trained with. `steps`: 2 to 256 pictures.
        """
        z_a, z_b = noise([seed_a, seed_b], self.noise_size)
        z = _slerp(z_a, z_b, torch.tensor(_fractions(steps)))
        return [Image.fromarray(pixels) for pixels in self.engine.render(z, self._embed([caption]).expand(len(z), -1))]

    def style(self, photo: Image.Image) -> Tensor:
        """The style of a photo: the z (Z,) that the style encoder S predicts for its central square (section 4.4).

        It is the mean of the noise of such pictures: its norm is small if the noise has little effect on the picture.
        `InputError` if the model has no style encoder, or the photo cannot be read (see `photo.prepare`).
        """
        return self.engine.invert(_central_squares([photo]))[0]

    def restyle(self, photo: Image.Image, captions: str | Sequence[str]) -> list[Image.Image]:
        """Draw captions in the style of a photo, G(S(photo), φ(t)) (section 4.4, Figure 6)."""
        return [Image.fromarray(pixels) for pixels in self.restyle_array(photo, captions)]

    def restyle_array(self, photo: Image.Image, captions: str | Sequence[str]) -> np.ndarray:
        """As `restyle`, but pixels (N, S, S, 3), uint8."""
        h = self._embed(captions)
        return self.engine.render(self.style(photo).expand(len(h), -1), h)

    def index(self, photos: Sequence[Image.Image]) -> Tensor:
        """Embeddings (N, E) of photos, unit vectors, for `search`; only their central squares count.

        `InputError` if the model has no image encoder, or a photo cannot be read.
        """
        return normalize(self.engine.embed_photos(_central_squares(photos)))

    def embed_captions(self, captions: str | Sequence[str]) -> Tensor:
        """Embeddings (N, E) of captions, unit vectors: their dot products with those of `index` are cosines.

        The generator needs another scale, a root mean square of 1, which `engine.embed` returns.
        """
        return normalize(self._embed(captions))

    def search(self, caption: str, index: Tensor, count: int = 16) -> list[tuple[int, float]]:
        """The photos of an `index` (N, E) that match a caption best: rows of the index, and cosines from -1 to 1."""
        count, h = int(check_number(count, "count", 1, whole=True)), self.embed_captions([caption])[0]
        allowed = f"index must be rows of {len(h)} numbers, as index(photos) returns them"
        scores = check_numbers(index, allowed, lambda rows: rows.ndim == 2 and rows.shape[1] == len(h)) @ h
        best = scores.topk(min(count, len(scores)))
        return list(zip(best.indices.tolist(), best.values.tolist()))

    def describe(self, photo: Image.Image, captions: str | Sequence[str]) -> list[tuple[str, float]]:
        """Captions sorted by how well they match a photo, the best first, with cosines from -1 to 1."""
        captions = check_captions(captions)
        scores = self.embed_captions(captions) @ self.index([photo])[0]
        return [(captions[i], float(scores[i])) for i in scores.argsort(descending=True)]

    def match(self, photos: Sequence[Image.Image], captions: str | Sequence[str]) -> list[float]:
        """The probability that a photo, or a drawn picture, and a caption match, from 0 to 1, by `calibration`.

        One of either, or as many of both. `InputError` if the model has no image encoder or a photo cannot be read.
        """
        h, squares = self._embed(captions), _central_squares(photos)
        if len(h) != len(squares) and 1 not in (len(h), len(squares)):
            raise InputError(f"{len(squares)} photos and {len(h)} captions: give one of either, or as many of both")
        return self.engine.match(squares, h).tolist()

    @property
    def parameters(self) -> int:
        """The number of parameters of the networks that draw."""
        return self.engine.parameters

    @property
    def has_image_encoder(self) -> bool:
        """Whether the model has an image encoder."""
        return self.engine.has_image_encoder

    @property
    def size(self) -> int:
        """Pixels a side of a drawn picture."""
        return self.engine.size

    @property
    def noise_size(self) -> int:
        """How many numbers the noise of a picture has, Z."""
        return self.engine.noise_size

    @property
    def calibration(self) -> tuple[float, float]:
        """Slope and offset of the log-odds of `match` as a function of the cosine, fitted to photos by `train image`.

        The odds are that the caption is the photo's own rather than one of another class, with equal prior odds.
        """
        return self.engine.calibration

    def unknown_words(self, caption: str) -> list[str]:
        """The words of a caption that were rare in the text encoder's training, if they are a quarter of it or more.

        Else none; also none if the vocabulary was not recorded (`train text` records it).
        """
        [caption] = check_captions([caption])
        return vocabulary.unknown_words(caption[: self.engine.caption_length], self._words) if self._words else []

    def _embed(self, captions: str | Sequence[str]) -> Tensor:
        """Embeddings h (N, E) of captions, of root mean square 1, as the generator needs them."""
        captions = check_captions(captions)
        if not captions:
            raise InputError("give at least one caption")
        for caption in captions:
            self._check(caption)
        return self.engine.embed(captions)

    def _check(self, caption: str) -> None:
        signs = set(normalize_caption(caption)[: self.engine.caption_length].strip())
        if not signs:
            raise InputError("Type a few words.")
        letters = {sign for sign in signs if sign.isalpha()}
        if set(ALPHABET[:-1]).isdisjoint(letters or signs):  # the last is the space
            raise InputError("This model reads English only. Try an example.")

    def _noise_at(self, seeds: int | Iterable[int], at: Sequence[Sequence[float]]) -> Tensor:
        """The noise z (N, Z) of seeds, or of points on their plane."""
        if _is_empty(at):
            return noise(seeds, self.noise_size)
        return interpolate_noise(_checked_seeds(seeds), at, self.noise_size)

    def _attribute_offset(self, values: Sequence[float]) -> Tensor:
        """What these positions of the attribute sliders add to z, (Z,)."""
        directions = self.engine.directions
        positions = check_numbers(
            values,
            f"attributes must be up to {len(directions)} numbers from -1 to 1",
            lambda numbers: numbers.ndim == 1 and len(numbers) <= len(directions) and _are_from(-1, numbers),
        )
        return ATTRIBUTE_STEP * positions @ directions[: len(positions)]


def _vary_style(style: Sequence[float] | Tensor, z: Tensor) -> Tensor:
    """The style of a photo (Z,) plus so much of the noise z (N, Z) that the standard deviation is 1 again.

    S predicts a mean: the less the photo determines the noise, the smaller its norm. Random noise replaces the rest.
    """
    allowed = f"like must be {z.shape[1]} finite numbers, as style(photo) returns them"
    mean = check_numbers(style, allowed, lambda numbers: numbers.shape == z.shape[1:])
    return mean + (1 - mean.square().mean()).clamp(min=0).sqrt() * z


def _central_squares(photos: Sequence[Image.Image]) -> np.ndarray:
    """Photos or drawn pictures as input of the photo encoders, (N, S, S, 3), uint8."""
    checked = check_list(photos, Image.Image, "a photo must be an Image of Pillow, as Image.open(path) returns it")
    if not checked:
        raise InputError("give at least one photo")
    return np.stack([prepare(photo) for photo in checked])


def _fractions(steps: int) -> list[float]:
    """Evenly spaced numbers from 0 to 1, both included."""
    count = int(check_number(steps, "steps", 2, MAX_STEPS, whole=True))
    return [step / (count - 1) for step in range(count)]


def _is_empty(values: Any) -> bool:
    try:
        return not len(values)
    except TypeError:  # a number, or nothing of the kind
        return False


def _are_from(low: float, numbers: Tensor) -> bool:
    """Whether all numbers are from `low` to 1."""
    return bool(((numbers >= low) & (numbers <= 1)).all())


def _slerp(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    """Spherical interpolation (N, Z) from a to b (Z,), at fractions t (N,) from 0 to 1."""
    angle = torch.acos(torch.cosine_similarity(a, b, dim=0).clamp(-1, 1))
    if angle < 1e-3:  # the same seed twice
        return torch.lerp(a, b, t[:, None])
    t = t[:, None]
    return (((1 - t) * angle).sin() * a + (t * angle).sin() * b) / angle.sin()


def _checked_seeds(seeds: int | Iterable[int]) -> list[int]:
    try:
        numbers = [operator.index(seed) for seed in (seeds if isinstance(seeds, Iterable) else [seeds])]
    except TypeError:
        raise InputError(f"a seed must be a whole number, not {abbreviated(seeds)}") from None
    if not numbers:
        raise InputError("give at least one seed")
    if invalid := [seed for seed in numbers if not 0 <= seed < 2**63]:
        raise InputError(f"a seed must be from 0 to 2**63 - 1, not {abbreviated(invalid[0])}")
    return numbers
