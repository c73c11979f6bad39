"""The networks of the paper, one file each."""

from .discriminator import Discriminator, DiscriminatorConfig
from .generator import Generator, GeneratorConfig
from .image_encoder import ImageEncoder, ImageEncoderConfig
from .style_encoder import StyleEncoder, StyleEncoderConfig
from .text_encoder import TextEncoder, TextEncoderConfig, encode

__all__ = [
    "Discriminator",
    "DiscriminatorConfig",
    "Generator",
    "GeneratorConfig",
    "ImageEncoder",
    "ImageEncoderConfig",
    "StyleEncoder",
    "StyleEncoderConfig",
    "TextEncoder",
    "TextEncoderConfig",
    "encode",
]
