"""What every generator offers to the engine and to the trainings."""

from typing import Protocol

import torch
from torch import Tensor, nn


class GeneratorConfig(Protocol):
    """Sizes of a generator of any type."""

    @property
    def noise(self) -> int: ...

    @property
    def embedding(self) -> int: ...

    @property
    def size(self) -> int: ...


class Generator(nn.Module):
    """Noise z (B, Z) and embeddings h (B, E) to pictures (B, 3, S, S) in -1…1. It may have a fast form."""

    config: GeneratorConfig

    def directions(self) -> Tensor:
        """The main directions of z (D, Z), for the sliders of a model without attributes."""
        raise NotImplementedError


def attribute_directions(generator: Generator, num_attributes: int) -> Tensor:
    """The directions of z (D, Z) that the attribute sliders move along.

    They are z's first coordinates, which control the attributes that the generator was trained with, or without such
    attributes its main directions.
    """
    return torch.eye(num_attributes, generator.config.noise) if num_attributes else generator.directions()
