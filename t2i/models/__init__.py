"""The networks, one file each, and the registry of their types."""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any, TypedDict

from torch import nn

from .cbn_fast import FastCBNGenerator
from .cbn_generator import CBNGenerator, CBNGeneratorConfig
from .dcgan_fast import FastDCGANGenerator
from .dcgan_generator import DCGANGenerator, DCGANGeneratorConfig
from .discriminator import Discriminator, DiscriminatorConfig
from .fuse import frozen
from .generator import Generator, attribute_directions
from .image_encoder import ImageEncoder, ImageEncoderConfig
from .image_projection import ImageProjection, ImageProjectionConfig
from .plain_generator import PlainGenerator
from .style_encoder import StyleEncoder, StyleEncoderConfig
from .text_encoder import TextEncoder, TextEncoderConfig, encode


class Networks(TypedDict, total=False):
    """Networks of a model, by their role in its checkpoint."""

    text_encoder: TextEncoder
    generator: Generator
    discriminator: Discriminator
    style_encoder: StyleEncoder
    image_encoder: ImageEncoder
    image_projection: ImageProjection


# By role in a checkpoint, then by the `type` that its `config.json` names: class and configuration.
NETWORKS: dict[str, dict[str, tuple[type[nn.Module], type]]] = {
    "text_encoder": {"char-cnn-rnn": (TextEncoder, TextEncoderConfig)},
    "generator": {"dcgan": (DCGANGenerator, DCGANGeneratorConfig), "cbn": (CBNGenerator, CBNGeneratorConfig)},
    "discriminator": {"dcgan": (Discriminator, DiscriminatorConfig)},
    "style_encoder": {"dcgan": (StyleEncoder, StyleEncoderConfig)},
    "image_encoder": {"residual": (ImageEncoder, ImageEncoderConfig)},
    "image_projection": {"linear": (ImageProjection, ImageProjectionConfig)},
}

FAST_FORMS: dict[type[Generator], type[nn.Module]] = {
    DCGANGenerator: FastDCGANGenerator,
    CBNGenerator: FastCBNGenerator,
}


def fast_form(generator: Generator, place: Callable[..., nn.Sequential]) -> nn.Module:
    """A copy of a generator for inference, z (B, Z) and h (B, E) to pixels (B, S, S, 3), uint8.

    It is the generator's fast form, or if it has none the plain network. `place(layers, *shape)` returns layers ready
    for inputs (B, *shape): on the device, in its precision.
    """
    return FAST_FORMS.get(type(generator), PlainGenerator)(frozen(generator), place)


def describe(networks: dict[str, nn.Module]) -> dict[str, dict]:
    """What `config.json` says of networks, by role: type and sizes. Networks of other roles are left out."""
    described: dict[str, dict] = {}
    for role, network in networks.items():
        for name, (network_class, _) in NETWORKS.get(role, {}).items():
            if type(network) is network_class:
                config: Any = network.config  # a frozen dataclass
                described[role] = {"type": name} | asdict(config)
    return described


__all__ = [
    "NETWORKS",
    "CBNGenerator",
    "CBNGeneratorConfig",
    "Discriminator",
    "DiscriminatorConfig",
    "DCGANGenerator",
    "DCGANGeneratorConfig",
    "Generator",
    "ImageEncoder",
    "ImageEncoderConfig",
    "ImageProjection",
    "ImageProjectionConfig",
    "Networks",
    "StyleEncoder",
    "StyleEncoderConfig",
    "TextEncoder",
    "TextEncoderConfig",
    "attribute_directions",
    "describe",
    "encode",
    "fast_form",
]
