"""Children of two pictures: their captions and their noise mixed, and mutated."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import sqrt

import torch
from torch import Tensor

from .errors import InputError, check_captions, check_list, check_number, check_numbers

MAX_GENOME_CAPTIONS = 4  # of a picture; of more, those with the largest weights remain
WEIGHTS_TOLERANCE = 1e-3  # of their sum, which is 1


@dataclass(frozen=True)
class Genome:
    """What a picture is drawn from: the mean of its captions' embeddings by `weights`, which sum to 1, and noise z."""

    captions: tuple[str, ...]
    weights: tuple[float, ...]
    z: tuple[float, ...]


def check_genomes(genomes: Genome | Iterable[Genome], noise_size: int) -> list[Genome]:
    """One genome or more as a list; `InputError` if there is none, or one is not as `Genome` says with z (Z,)."""
    checked = check_list(genomes, Genome, "parents and children must be of the type Genome")
    if not checked:
        raise InputError("give at least one Genome")
    for genome in checked:
        count = len(check_captions(genome.captions))
        check_numbers(
            genome.weights,
            f"the weights of a Genome with {count} captions must be as many numbers that sum to 1",
            lambda weights: weights.shape == (count,) and abs(weights.sum() - 1) < WEIGHTS_TOLERANCE,
        )
        z_allowed = f"z of a Genome must be {noise_size} finite numbers"
        check_numbers(genome.z, z_allowed, lambda z: z.shape == (noise_size,))
    return checked


def children(parents: Sequence[Genome], noise: Tensor, mutation: float) -> list[Genome]:
    """A child of two parents for each row of `noise` (N, Z), which decides what it takes from whom.

    Each number of z, and the captions, are a weighted mean of the parents'. The weights of z are divided by their norm,
    which keeps its standard deviation. `mutation`, from 0 to 1: the share of the variance of z that is the noise's own.
    Children of neighbouring noise look alike. `InputError` if there are not two valid parents or a number is not valid.
    """
    parents = check_genomes(parents, noise.shape[1])
    if len(parents) != 2:
        raise InputError(f"breeding takes two parents, not {len(parents)}")
    mutation = check_number(mutation, "mutation", 0, 1)
    mother, father = (torch.tensor(parent.z) for parent in parents)
    share = _uniform(noise.roll(noise.shape[1] // 2, 1))  # of the mother; not the numbers that mutate the same place
    mixed = (share * mother + (1 - share) * father) / (share.square() + (1 - share).square()).sqrt()
    z = sqrt(1 - mutation) * mixed + sqrt(mutation) * noise
    caption_shares = _uniform(noise.mean(1) * sqrt(noise.shape[1]))
    return [_child(parents, share, row) for share, row in zip(caption_shares.tolist(), z.tolist())]


def _child(parents: Sequence[Genome], share: float, z: list[float]) -> Genome:
    weights: dict[str, float] = {}
    for parent, own in zip(parents, (share, 1 - share)):
        for caption, weight in zip(parent.captions, parent.weights):
            weights[caption] = weights.get(caption, 0) + own * weight
    kept = sorted(weights, key=weights.__getitem__, reverse=True)[:MAX_GENOME_CAPTIONS]
    total = sum(weights[caption] for caption in kept)
    return Genome(tuple(kept), tuple(weights[caption] / total for caption in kept), tuple(z))


def _uniform(normal: Tensor) -> Tensor:
    """Standard normal numbers as numbers uniform between 0 and 1."""
    return torch.special.ndtr(normal)
