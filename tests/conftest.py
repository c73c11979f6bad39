"""What the tests share: a model small enough to make on the spot."""

from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from torch import nn

from t2i import checkpoint
from t2i.models import (
    Discriminator,
    DiscriminatorConfig,
    Generator,
    GeneratorConfig,
    ImageEncoder,
    ImageEncoderConfig,
    StyleEncoder,
    StyleEncoderConfig,
    TextEncoder,
    TextEncoderConfig,
)


@pytest.fixture(scope="session")
def tiny_networks() -> dict[str, nn.Module]:
    """Networks of width 8 with random weights and random batch norm statistics, in evaluation mode."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        networks = {
            "text_encoder": TextEncoder(TextEncoderConfig(widths=(16, 16, 16), hidden=16)),
            "generator": Generator(GeneratorConfig(width=8)),
            "discriminator": Discriminator(DiscriminatorConfig(width=8)),
            "style_encoder": StyleEncoder(StyleEncoderConfig(width=8)),
            "image_encoder": ImageEncoder(ImageEncoderConfig(width=8)),
        }
        for network in (networks["text_encoder"], networks["generator"].project):
            for weight in network.parameters():
                weight.data *= 4  # so that other words make another picture
        calibrate = networks["image_encoder"].calibrate  # so that other seeds match otherwise
        calibrate.weight.data.fill_(1000)
        calibrate.bias.data.fill_(18)
        for network in networks.values():
            for layer in network.eval().modules():
                if isinstance(layer, (nn.BatchNorm1d, nn.BatchNorm2d)):
                    for values, low, high in (
                        (layer.running_mean, -0.3, 0.3),
                        (layer.running_var, 0.1, 0.3),
                        (layer.weight, 0.7, 1.4),
                        (layer.bias, -0.3, 0.3),
                    ):
                        nn.init.uniform_(values, low, high)
    return networks


@pytest.fixture
def tiny_model(tiny_networks, tmp_path) -> Path:
    """A checkpoint folder with the tiny networks, a fresh one for each test."""
    folder = tmp_path / "tiny"
    checkpoint.save(folder, tiny_networks, {name: asdict(n.config) for name, n in tiny_networks.items()})
    return folder
