"""The networks of the paper, one file each."""

from .discriminator import Discriminator, DiscriminatorConfig
from .generator import Generator, GeneratorConfig
from .text_encoder import TextEncoder, TextEncoderConfig, encode

__all__ = [
    "Discriminator",
    "DiscriminatorConfig",
    "Generator",
    "GeneratorConfig",
    "TextEncoder",
    "TextEncoderConfig",
    "encode",
]
