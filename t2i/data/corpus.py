"""The training pictures of a data set with the embeddings of their captions: what GAN trainers draw batches from."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from ..errors import InputError
from ..models import TextEncoder, encode
from ..models.text_encoder import embed
from . import imagefolder
from .cache import digest, kept

SCALED_SIZE = 76  # pixels of a side of the photos from which crops of 64 are taken


@dataclass(frozen=True)
class Corpus:
    """Photos somewhat larger than the pictures that are drawn, and the embeddings of their captions."""

    images: Tensor  # (N, L, L, 3) uint8, on the training device
    embeddings: Tensor  # (N, C, 1024) float16, C the most captions of one picture, on the training device
    counts: Tensor  # (N,) captions of each picture, on the CPU
    classes: Tensor  # (N,), on the CPU
    size: int  # S of the pictures that are cropped from the photos, at most L

    def crops(self, rows: Tensor, g: torch.Generator) -> Tensor:
        """Random crops of photos `rows` (B,), half of them mirrored: (B, 3, S, S) in -1…1."""
        return crops(self.images, rows, self.size, g)

    def captions(self, rows: Tensor, most: int, g: torch.Generator) -> Tensor:
        """Embeddings h (B, 1024) of pictures `rows` (B,), each the mean of one to `most` of its captions."""
        return mean_captions(self.embeddings, self.counts, rows, most, g)

    def others(self, rows: Tensor, g: torch.Generator) -> Tensor:
        """A row of another class for each of `rows` (B,)."""
        other = torch.randint(len(self.images), (len(rows),), generator=g)
        while (same := self.classes[other] == self.classes[rows]).any():
            other[same] = torch.randint(len(self.images), (int(same.sum()),), generator=g)
        return other

    def batch(self, size: int, captions: int, g: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Pictures (B, 3, S, S) in -1…1, embeddings h (B, 1024) and mismatching ones (B, 1024)."""
        rows = torch.randperm(len(self.images), generator=g)[:size]
        wrong = self.others(rows, g)
        h, other = (self.captions(part, captions, g) for part in (rows, wrong))
        return self.crops(rows, g), h, other

    def pairs(self, count: int = 1000) -> tuple[Tensor, Tensor]:
        """Photos (count, 3, S, S) in -1…1, and as many others of their classes (any, if no class has two)."""
        g = torch.Generator().manual_seed(0)
        one = torch.randint(len(self.images), (count,), generator=g)
        other = torch.stack([self._mate(int(i), g) for i in one])
        return self.crops(one, g), self.crops(other, g)

    def _mate(self, row: int, g: torch.Generator) -> Tensor:
        mates = (self.classes == self.classes[row]).nonzero()[:, 0]
        mates = mates[mates != row] if len(mates) > 1 else torch.arange(len(self.classes))
        return mates[torch.randint(len(mates), (), generator=g)]


def crops(images: Tensor, rows: Tensor, size: int, g: torch.Generator) -> Tensor:
    """Random crops of images (N, L, L, 3) `rows` (B,), half of them mirrored: (B, 3, S, S) in -1…1."""
    shift = torch.randint(images.shape[1] - size + 1, (2, len(rows), 1), generator=g)
    y, x = shift + torch.arange(size)
    x = torch.where(torch.rand(len(rows), 1, generator=g) < 0.5, x, x.flip(1))
    pixels = images[rows[:, None, None], y[:, :, None], x[:, None, :]]
    return (pixels.float() / 127.5 - 1).permute(0, 3, 1, 2)  # channels-last without a copy


@torch.inference_mode()
def load_corpus(captioned: imagefolder.Captioned, text: TextEncoder, size: int, least: int, device: str) -> Corpus:
    """The training part of a data set, of at least so many pictures of two classes or more; `InputError` otherwise."""
    rows = captioned.training(least)
    classes = torch.from_numpy(captioned.classes[rows])
    if len(classes.unique()) < 2:
        raise InputError(f"{captioned.name}: needs training pictures of at least two classes for mismatching captions")
    counts = torch.tensor([len(captioned.captions[i]) for i in rows])
    embeddings = embed_all(text, [captioned.captions[i] for i in rows], device)
    images = torch.from_numpy(captioned.images[rows])
    return Corpus(images.to(device), embeddings.to(device), counts, classes, size)


@torch.inference_mode()
def held_out_captions(captioned: imagefolder.Captioned, text: TextEncoder, device: str) -> Tensor:
    """Embeddings (8, 1024) of test captions, for the sample grid; of training captions where there is no test split."""
    rows = captioned.rows("test") if len(captioned.rows("test")) else captioned.rows("train", "val")
    rows = rows[np.linspace(0, len(rows) - 1, 8).astype(int)]
    return embed(text, encode([captioned.captions[i][0] for i in rows], text.config.length).to(device)).cpu()


def embed_all(text: TextEncoder, captions: list[tuple[str, ...]], device: str) -> Tensor:
    """Embeddings (N, C, 1024) float16 of each picture's captions, zero where it has fewer; kept for all trainings."""

    def made() -> Tensor:
        found = torch.zeros(len(captions), max(map(len, captions)), text.config.embedding, dtype=torch.float16)
        for start in tqdm(range(0, len(captions), 32), desc="captions", unit="batch"):
            part = captions[start : start + 32]
            codes = encode([c for one in part for c in one], text.config.length)
            rows = embed(text, codes.to(device)).half().cpu().split([len(one) for one in part])
            for place, row in enumerate(rows, start):
                found[place, : len(row)] = row
        return found

    return kept("embeddings", digest(captions, text), made)


def mean_captions(embeddings: Tensor, counts: Tensor, rows: Tensor, most: int, g: torch.Generator) -> Tensor:
    """Embeddings h (B, 1024) of pictures `rows` (B,), each the mean of one to `most` of its captions.

    Of `embed_all`'s embeddings (N, C, 1024), a picture has the first `counts` (N,).
    """
    picked = (torch.rand(most, len(rows), generator=g) * counts[rows]).long()
    used = (torch.arange(most)[:, None] < torch.randint(1, most + 1, (len(rows),), generator=g)).float()
    share = (used / used.sum(0)).to(embeddings.device)
    return (embeddings[rows, picked].float() * share[..., None]).sum(0)
