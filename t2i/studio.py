"""What a person asks for: pictures of captions, ways between them, and a photo's style under other words."""

import operator
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import normalize

from . import vocabulary
from .engine.engine import Engine
from .errors import InputError
from .locate import Checkpoint
from .media.photo import prepare
from .models import DCGANGeneratorConfig
from .models.text_encoder import ALPHABET
from .registry import MODELS, ModelSpec, read_spec
from .store import AttributeSlider

DRAWING_ROLES = ("text_encoder", "generator")  # of a checkpoint, the networks that draw
PHOTO_ROLES = ("style_encoder", "image_encoder")  # and those that see photos, if the model has them
UNNAMED_ATTRIBUTES = tuple(AttributeSlider(f"Style {i}") for i in range(1, 5))  # of directions that nobody chose
MOST_STEPS = 256  # pictures of a way
REMEMBERED = 4096  # seeds: while a person types or drags, they stay
ROW = 4  # seeds in a row of their plane
STEP = 3.0  # how far style 1 moves z: three standard deviations of z along the direction


def load(name: str | Path = "flowers", device: str | None = None) -> "Studio":
    """Load a model by name, folder or Hub id (see `locate.resolve`); CUDA if there is one, else the CPU."""
    checkpoint = Checkpoint(name)
    spec = find_spec(name, checkpoint)
    return Studio(load_engine(checkpoint, device), spec, checkpoint.attributes, checkpoint.words)


def load_engine(checkpoint: Checkpoint, device: str | None = None) -> Engine:
    """The engine of a model, with the encoders of photos that it has."""
    roles = [*DRAWING_ROLES, *filter(checkpoint.has, PHOTO_ROLES)]
    return Engine(checkpoint.read(*roles), device, len(checkpoint.attributes))


def find_spec(name: str | Path, checkpoint: Checkpoint) -> ModelSpec:
    """What menus say about a model: of a registered one its own description, of another the one in its folder.

    What that leaves out is taken from the model whose text encoder it shares.
    """
    if spec := MODELS.get(str(name)):
        return spec
    path = Path(str(name).partition("@")[0])
    short = path.resolve().name if path.is_dir() else path.name
    base = MODELS.get(str(checkpoint.config.get("text_encoder")), ModelSpec("", ""))
    fields = ("placeholder", "examples", "subject", "gallery_captions")
    shared = {field: getattr(base, field) for field in fields}
    return read_spec(checkpoint.folder, **shared | {"name": short, "title": short})


def noise(seeds: int | Iterable[int]) -> Tensor:
    """The noise z (N, 100), float32, of seeds 0 to 2⁶³ − 1, the same in any batch and on any device.

    Torch seeds its generator with the lower 32 bits: seeds that agree in those have the same noise.
    """
    return torch.stack([_noise(seed) for seed in _whole(seeds)])


@lru_cache(REMEMBERED)
def _noise(seed: int) -> Tensor:
    return torch.randn(DCGANGeneratorConfig.noise, generator=torch.Generator().manual_seed(seed))


def between(seeds: Sequence[int], at: Sequence[Sequence[float]]) -> Tensor:
    """The noise z (N, 100) of points on the plane of seeds, which lie there in rows of four.

    `at`: a point [across, down] from each seed, both from 0 to 1: 1 across is seed + 1, 1 down is seed + 4. Between
    seeds the noise of the four around a point is mixed, and scaled by the length of its weights: so it stays noise of
    standard deviation 1, about 10 long, which is all that G ever saw.
    """
    if len(at) != len(seeds) or not all(len(point) == 2 and all(0 <= x <= 1 for x in point) for point in at):
        raise InputError("at must be a point [across, down] from 0 to 1 for each seed")
    across, down = torch.tensor(at, dtype=torch.float32).unbind(1)
    weights = torch.stack([(1 - across) * (1 - down), across * (1 - down), (1 - across) * down, across * down])
    corners = torch.stack([noise(seed + step for seed in seeds) for step in (0, 1, ROW, ROW + 1)])  # (4, N, 100)
    return (normalize(weights, dim=0)[..., None] * corners).sum(0)


class Studio:
    """A loaded model: `spec` and `name` say which, `attributes` its sliders.

    `size`: pixels of a side of what it draws; what it sees, photos and drawn pictures alike, is reduced to 64×64.
    `has_image_encoder`: whether it has an image encoder, which `index`, `describe` and `match` need.
    """

    def __init__(
        self,
        engine: Engine,
        spec: ModelSpec,
        attributes: tuple[AttributeSlider, ...] = (),
        words: frozenset[str] = frozenset(),
    ):
        self.engine, self.spec, self.name = engine, spec, spec.name
        self.attributes = attributes or UNNAMED_ATTRIBUTES
        self._words = words

    def draw(
        self,
        captions: str | Sequence[str],
        seeds: int | Iterable[int] = 0,
        style: Sequence[float] = (),
        at: Sequence[Sequence[float]] = (),
        like: Sequence[float] | Tensor = (),
    ) -> list[Image.Image]:
        """Draw captions: a picture a seed, or a picture a caption, or one for each pair if both are as many.

        `style`: numbers from -1 to 1, one for each of `styles` or fewer; 0 leaves the pictures as they are.
        `at`: how far on from each seed, as `between` says; nothing for the seeds' own pictures.
        `like`: a photo's noise (100,), as `style` reads it: the pictures are in its style, the seeds add what it leaves
        open.
        Captions are lower-cased and read up to 201 characters. Pictures are S×S, S being `size`. `InputError` if one
        cannot be drawn.
        """
        return [Image.fromarray(pixels) for pixels in self.draw_array(captions, seeds, style, at, like)]

    def draw_array(
        self,
        captions: str | Sequence[str],
        seeds: int | Iterable[int] = 0,
        style: Sequence[float] = (),
        at: Sequence[Sequence[float]] = (),
        like: Sequence[float] | Tensor = (),
    ) -> np.ndarray:
        """The same as pixels (N, S, S, 3), uint8."""
        h = self._embed(captions)
        z = between(_whole(seeds), at) if len(at) else noise(seeds)
        z = (_around(like, z) if len(like) else z) + self._move(style)
        if len(h) != len(z) and 1 not in (len(h), len(z)):
            raise InputError(f"{len(h)} captions and {len(z)} seeds: give one of either, or as many of both")
        count = max(len(h), len(z))
        return self.engine.render(z.expand(count, -1), h.expand(count, -1))

    def blend(self, caption_a: str, caption_b: str, steps: int = 17, seed: int = 0) -> list[Image.Image]:
        """The way from one caption to another with the noise of one seed, both ends included (section 4.3, Figure 8).

        `steps`: 2 to 256 pictures.
        """
        weights = [[1 - share, share] for share in _shares(steps)]
        return [Image.fromarray(pixels) for pixels in self.mix_array([caption_a, caption_b], weights, seed)]

    def mix_array(self, captions: Sequence[str], weights: Sequence[Sequence[float]], seed: int = 0) -> np.ndarray:
        """Pixels (N, S, S, 3) between captions: a row of `weights` (N, C), summing to 1, mixes their embeddings.

        Sums of embeddings lie where captions would, section 4.3; the noise is that of one seed.
        """
        if not len(weights) or not all(len(row) == len(captions) and abs(sum(row) - 1) < 1e-3 for row in weights):
            raise InputError(f"weights must be rows of {len(captions)} numbers that sum to 1, one for each caption")
        h = torch.tensor(weights, dtype=torch.float32) @ self._embed(captions)
        return self.engine.render(noise(seed).expand(len(h), -1), h)

    def wander(self, caption: str, seed_a: int, seed_b: int, steps: int = 17) -> list[Image.Image]:
        """The way from one seed to another under one caption, both ends included (Figure 8).

        The noise moves on the sphere: noise of 100 dimensions has a length of about 10, and the straight way passes
        through shorter ones, which G never saw. `steps`: 2 to 256 pictures.
        """
        z = _slerp(*noise([seed_a, seed_b]), torch.tensor(_shares(steps)))
        return [Image.fromarray(pixels) for pixels in self.engine.render(z, self._embed([caption]).expand(len(z), -1))]

    def style(self, photo: Image.Image) -> Tensor:
        """The style of a photo: the noise (100,) that S reads in its central square (section 4.4).

        It is the mean of the noise that such a picture may have: short where the generator hardly answers to noise.
        `InputError` if the model has no style encoder, or the photo cannot be read (see `photo.prepare`).
        """
        return self.engine.invert(prepare(photo)[None])[0]

    def restyle(self, photo: Image.Image, captions: str | Sequence[str]) -> list[Image.Image]:
        """Captions in the style of a photo, G(S(photo), φ(t)): what the words say, as the photo has it (Figure 6)."""
        return [Image.fromarray(pixels) for pixels in self.restyle_array(photo, captions)]

    def restyle_array(self, photo: Image.Image, captions: str | Sequence[str]) -> np.ndarray:
        """The same as pixels (N, S, S, 3), uint8."""
        h = self._embed(captions)
        return self.engine.render(self.style(photo).expand(len(h), -1), h)

    def index(self, photos: Sequence[Image.Image]) -> Tensor:
        """Photos as directions (N, 1024) in the joint space, for `search`: their central squares, seen at 64×64.

        `InputError` if the model has no image encoder, or a photo cannot be read.
        """
        return normalize(self.engine.embed_photos(_squares(photos)))

    def embed(self, captions: str | Sequence[str]) -> Tensor:
        """Captions as directions (N, 1024) in the joint space: products with an index's are cosines."""
        return normalize(self._embed(captions))

    def search(self, caption: str, index: Tensor, count: int = 16) -> list[tuple[int, float]]:
        """The best photos of an index (N, 1024) for a caption: their places in it, and cosines from -1 to 1."""
        if count < 1:
            raise InputError(f"count must be from 1, not {count}")
        scores = index @ self.embed([caption])[0]
        best = scores.topk(min(count, len(scores)))
        return list(zip(best.indices.tolist(), best.values.tolist()))

    def describe(self, photo: Image.Image, captions: str | Sequence[str]) -> list[tuple[str, float]]:
        """Captions by how well they fit a photo, the best first, with cosines from -1 to 1."""
        captions = _listed(captions)
        scores = self.embed(captions) @ self.index([photo])[0]
        return [(captions[i], float(scores[i])) for i in scores.argsort(descending=True)]

    def match(self, photos: Sequence[Image.Image], captions: str | Sequence[str]) -> list[float]:
        """How probably photos, or pictures drawn, and captions belong together, from 0 to 1, as `fit` has it.

        One of either, or as many of both. `InputError` if the model has no image encoder or a photo cannot be read.
        """
        h = self._embed(captions)
        if len(h) != len(photos) and 1 not in (len(h), len(photos)):
            raise InputError(f"{len(photos)} photos and {len(h)} captions: give one of either, or as many of both")
        return self.engine.match(_squares(photos), h).tolist()

    @property
    def parameters(self) -> int:
        """How many numbers the networks that draw have learnt."""
        return self.engine.parameters

    @property
    def has_image_encoder(self) -> bool:
        """Whether the model has an image encoder."""
        return self.engine.has_image_encoder

    @property
    def size(self) -> int:
        """Pixels of a side of a picture."""
        return self.engine.size

    @property
    def fit(self) -> tuple[float, float]:
        """A match by its cosine: the slope and offset of its log-odds, as `train image` fitted them to photos.

        Odds of the caption being the photo's own rather than one of another class, both as likely beforehand.
        """
        return self.engine.calibration

    def strange(self, caption: str) -> list[str]:
        """The words of a caption that the text encoder hardly met, if they are a quarter of it or more; else none.

        Also none if the model's words were not recorded (`train text` records them).
        """
        return vocabulary.strange(caption[: self.engine.caption_length], self._words) if self._words else []

    def _embed(self, captions: str | Sequence[str]) -> Tensor:
        captions = _listed(captions)
        if not captions:
            raise InputError("give at least one caption")
        for caption in captions:
            self._check(caption)
        return self.engine.embed(captions)

    def _check(self, caption: str) -> None:
        if set(ALPHABET[:-1]).isdisjoint(caption.lower()[: self.engine.caption_length]):  # the last is the space
            raise InputError("Type a caption with at least one letter, digit or sign the model knows.")

    def _move(self, style: Sequence[float]) -> Tensor:
        """What these style numbers add to z, (100,)."""
        directions = self.engine.directions
        if len(style) > len(directions) or not all(-1 <= value <= 1 for value in style):
            raise InputError(f"style must be up to {len(directions)} numbers from -1 to 1, not {list(style)}")
        return STEP * torch.tensor([float(value) for value in style]) @ directions[: len(style)]


def _listed(captions: str | Sequence[str]) -> list[str]:
    return [captions] if isinstance(captions, str) else list(captions)


def _around(like: Sequence[float] | Tensor, z: Tensor) -> Tensor:
    """Noise (N, 100) around that of a photo (100,): it, and so much of z (N, 100) as makes the deviation 1 again.

    S reads a mean, which is the shorter the less the picture tells; the rest is as good as drawn by chance.
    """
    like = torch.as_tensor(like, dtype=torch.float32)
    if like.shape != z.shape[1:] or not like.isfinite().all():
        raise InputError(f"like must be {z.shape[1]} finite numbers, as style(photo) reads them")
    return like + (1 - like.square().mean()).clamp(min=0).sqrt() * z


def _squares(photos: Sequence[Image.Image]) -> np.ndarray:
    """What the networks see of photos and drawn pictures, (N, 64, 64, 3)."""
    if not photos:
        raise InputError("give at least one photo")
    return np.stack([prepare(photo) for photo in photos])


def _shares(steps: int) -> list[float]:
    if not 2 <= steps <= MOST_STEPS:
        raise InputError(f"steps must be from 2 to {MOST_STEPS}, not {steps}")
    return [step / (steps - 1) for step in range(steps)]


def _slerp(a: Tensor, b: Tensor, shares: Tensor) -> Tensor:
    """Noise (N, 100) on the arc from a to b (100,), at these shares (N,) of the way."""
    angle = torch.acos(torch.cosine_similarity(a, b, dim=0).clamp(-1, 1))
    if angle < 1e-3:  # the same seed twice
        return torch.lerp(a, b, shares[:, None])
    shares = shares[:, None]
    return (((1 - shares) * angle).sin() * a + (shares * angle).sin() * b) / angle.sin()


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
