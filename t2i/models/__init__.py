"""The networks, one file each, and the registry of their types."""

from dataclasses import asdict

from torch import nn

from .cbn_generator import CBNGenerator, CBNGeneratorConfig
from .dcgan_generator import DCGANGenerator, DCGANGeneratorConfig
from .discriminator import Discriminator, DiscriminatorConfig
from .image_encoder import ImageEncoder, ImageEncoderConfig
from .image_projection import ImageProjection, ImageProjectionConfig
from .style_encoder import StyleEncoder, StyleEncoderConfig
from .text_encoder import TextEncoder, TextEncoderConfig, encode

# By its role in a checkpoint, the types of a network: class and configuration. A checkpoint that names no type, as
# those from before there were several, has the first.
NETWORKS: dict[str, dict[str, tuple[type[nn.Module], type]]] = {
    "text_encoder": {"char-cnn-rnn": (TextEncoder, TextEncoderConfig)},
    "generator": {"dcgan": (DCGANGenerator, DCGANGeneratorConfig), "cbn": (CBNGenerator, CBNGeneratorConfig)},
    "discriminator": {"dcgan": (Discriminator, DiscriminatorConfig)},
    "style_encoder": {"dcgan": (StyleEncoder, StyleEncoderConfig)},
    "image_encoder": {"residual": (ImageEncoder, ImageEncoderConfig)},
    "image_projection": {"linear": (ImageProjection, ImageProjectionConfig)},
}


def describe(networks: dict[str, nn.Module]) -> dict[str, dict]:
    """What `config.json` says of networks, by role: each one's type and sizes; nothing of other roles."""
    described = {}
    for role, network in networks.items():
        for name, (network_class, _) in NETWORKS.get(role, {}).items():
            if type(network) is network_class:
                described[role] = {"type": name} | asdict(network.config)
    return described


__all__ = [
    "NETWORKS",
    "CBNGenerator",
    "CBNGeneratorConfig",
    "Discriminator",
    "DiscriminatorConfig",
    "DCGANGenerator",
    "DCGANGeneratorConfig",
    "ImageEncoder",
    "ImageEncoderConfig",
    "ImageProjection",
    "ImageProjectionConfig",
    "StyleEncoder",
    "StyleEncoderConfig",
    "TextEncoder",
    "TextEncoderConfig",
    "describe",
    "encode",
]
