"""The training photos of a data set with the embeddings of their captions, from which GAN trainers take batches."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from ..models import TextEncoder, encode
from ..models.text_encoder import embed
from .cache import digest, mapped_array
from .imagefolder import CaptionedImages

PHOTOS_AT_ONCE = 32  # whose captions are embedded


@dataclass(frozen=True)
class Corpus:
    """N photos, somewhat larger than the pictures to be generated, and the embeddings of their captions.

    Both may be larger than memory: they are read from memory-mapped files where a batch needs them, and all processes
    of a machine share what the kernel keeps of these. Random choices come from the generator `g` that the caller
    passes.
    """

    images: np.ndarray  # (M, L, L, 3) uint8 of the whole data set
    rows: np.ndarray  # (N,) of the photos among them
    embeddings: np.ndarray  # (N, C, E) float16, C the largest number of captions of a photo
    counts: Tensor  # (N,) captions of each photo
    classes: Tensor  # (N,)
    size: int  # S of the crops, at most L
    device: str  # of the batches; all tensors here are on the CPU

    def __len__(self) -> int:
        return len(self.rows)

    def crops(self, rows: Tensor, g: torch.Generator) -> Tensor:
        """Random crops of photos `rows` (B,), half of them mirrored: (B, 3, S, S) in -1…1."""
        images = torch.from_numpy(self.images[self.rows[rows.numpy()]]).to(self.device)
        return random_crops(images, torch.arange(len(rows)), self.size, g)

    def captions(self, rows: Tensor, max_captions: int, g: torch.Generator) -> Tensor:
        """Embeddings h (B, E) of photos `rows` (B,), each the mean of 1 to `max_captions` of its captions."""
        return mean_embeddings(self.embeddings, self.counts, rows, max_captions, g).to(self.device)

    def mean_caption(self) -> Tensor:
        """The mean embedding (E,) of all captions, float32, on the CPU."""
        parts = (self.embeddings[i : i + PHOTOS_AT_ONCE] for i in range(0, len(self), PHOTOS_AT_ONCE))
        total = sum(part.sum((0, 1), dtype=np.float64) for part in parts)
        return torch.from_numpy(total / self.counts.sum().item()).float()

    def mismatched(self, rows: Tensor, g: torch.Generator) -> Tensor:
        """A random row (B,) of another class for each of `rows` (B,)."""
        result = torch.randint(len(self), (len(rows),), generator=g)
        while (same := self.classes[result] == self.classes[rows]).any():
            result[same] = torch.randint(len(self), (int(same.sum()),), generator=g)
        return result

    def batch(self, size: int, max_captions: int, g: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """One step's photos (B, 3, S, S) in -1…1, their embeddings h (B, E), and mismatching embeddings (B, E).

        B is `size`, and no photo comes twice. A mismatching embedding is of captions of another class.
        """
        rows = torch.randperm(len(self), generator=g)[:size]
        mismatched = self.mismatched(rows, g)
        h, wrong = (self.captions(part, max_captions, g) for part in (rows, mismatched))
        return self.crops(rows, g), h, wrong

    def pairs(self, count: int = 1000) -> tuple[Tensor, Tensor]:
        """Photos (count, 3, S, S) in -1…1, and for each another photo of its class (any, if it is alone there)."""
        g = torch.Generator().manual_seed(0)
        first = torch.randint(len(self), (count,), generator=g)
        second = torch.stack([self._same_class(int(row), g) for row in first])
        return self.crops(first, g), self.crops(second, g)

    def _same_class(self, row: int, g: torch.Generator) -> Tensor:
        rows = (self.classes == self.classes[row]).nonzero()[:, 0]
        rows = rows[rows != row] if len(rows) > 1 else torch.arange(len(self.classes))
        return rows[torch.randint(len(rows), (), generator=g)]


def photo_size(crop: int) -> int:
    """Pixels along a side of the photos from which the paper's trainer takes crops: 76 for 64, as the released code."""
    return crop * 19 // 16


def random_crops(images: Tensor, rows: Tensor, size: int, g: torch.Generator) -> Tensor:
    """Random crops of images (N, L, L, 3) `rows` (B,), half of them mirrored: (B, 3, S, S) in -1…1."""
    shift = torch.randint(images.shape[1] - size + 1, (2, len(rows), 1), generator=g)
    y, x = shift + torch.arange(size)
    x = torch.where(torch.rand(len(rows), 1, generator=g) < 0.5, x, x.flip(1))
    pixels = images[rows[:, None, None], y[:, :, None], x[:, None, :]]
    return (pixels.float() / 127.5 - 1).permute(0, 3, 1, 2)  # channels-last without a copy


@torch.inference_mode()
def load_corpus(dataset: CaptionedImages, text: TextEncoder, size: int, batch: int, device: str) -> Corpus:
    """The training part of a data set, with crops of size×size.

    `InputError` if it has fewer photos than a batch, fewer than two classes, or captions that cannot be read.
    """
    rows = dataset.training_rows(batch, min_classes=2)
    classes = torch.from_numpy(dataset.classes[rows])
    counts = torch.tensor([len(dataset.captions[i]) for i in rows])
    embeddings = embed_all(text, [dataset.captions[i] for i in rows], device)
    return Corpus(dataset.images, rows, embeddings, counts, classes, size, device)


@torch.inference_mode()
def held_out_embeddings(dataset: CaptionedImages, text: TextEncoder, device: str) -> Tensor:
    """Embeddings (8, E) of test captions for the sample sheet; of training captions if there is no test split."""
    rows = dataset.rows("test") if len(dataset.rows("test")) else dataset.rows("train", "val")
    rows = rows[np.linspace(0, len(rows) - 1, 8).astype(int)]
    return embed(text, encode([dataset.captions[i][0] for i in rows], text.config.length).to(device)).cpu()


def embed_all(text: TextEncoder, captions: list[tuple[str, ...]], device: str) -> np.ndarray:
    """Embeddings (N, C, E) float16 of each photo's captions, zero where it has fewer than C; memory-mapped."""
    shape = (len(captions), max(map(len, captions)), text.config.embedding)

    def parts() -> Iterator[tuple[int, np.ndarray]]:
        for start in tqdm(range(0, len(captions), PHOTOS_AT_ONCE), desc="captions", unit="batch"):
            batch = captions[start : start + PHOTOS_AT_ONCE]
            codes = encode([caption for photo in batch for caption in photo], text.config.length)
            embeddings = embed(text, codes.to(device)).half().cpu().split([len(photo) for photo in batch])
            padded = np.zeros((len(batch), *shape[1:]), np.float16)
            for row, h in zip(padded, embeddings):
                row[: len(h)] = h
            yield start, padded

    return mapped_array("embeddings", digest(captions, text), shape, "<f2", parts)


def mean_embeddings(
    embeddings: np.ndarray, counts: Tensor, rows: Tensor, max_captions: int, g: torch.Generator
) -> Tensor:
    """Embeddings h (B, E) of photos `rows` (B,), each the mean of 1 to `max_captions` of its captions.

    Of `embed_all`'s embeddings (N, C, E), a photo has the first `counts` (N,).
    """
    picked = (torch.rand(max_captions, len(rows), generator=g) * counts[rows]).long()
    used = torch.arange(max_captions)[:, None] < torch.randint(1, max_captions + 1, (len(rows),), generator=g)
    weights = used.float() / used.sum(0)
    return (torch.from_numpy(embeddings[rows.numpy(), picked.numpy()]).float() * weights[..., None]).sum(0)
