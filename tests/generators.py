"""Small generators of the second type, with random weights."""

import torch
from torch import nn

from t2i.models import CBNGenerator, CBNGeneratorConfig


def tiny_cbn(size: int = 128, channels: tuple[int, ...] = (16, 8, 8, 8, 8, 4, 4, 4)) -> CBNGenerator:
    """A generator whose batch norms have seen pictures and whose captions matter, in evaluation mode."""
    with torch.random.fork_rng():
        torch.manual_seed(size)
        generator = CBNGenerator(CBNGeneratorConfig(size=size, mapped=16, channels=channels)).train()
        for weight in generator.project.parameters():
            weight.data *= 4
        for layer in generator.modules():
            if isinstance(layer, nn.BatchNorm2d) and layer.affine:
                nn.init.uniform_(layer.weight, 0.7, 1.4)
                nn.init.uniform_(layer.bias, -0.3, 0.3)
            if isinstance(affine := getattr(layer, "affine", None), nn.Linear):
                nn.init.normal_(affine.weight, 0, 0.2)
                nn.init.uniform_(affine.bias, -0.3, 0.3)
        with torch.no_grad():
            for _ in range(20):  # running statistics, each another's
                generator(torch.randn(16, 100), torch.randn(16, 1024))
        generator.to_rgb[0].weight.data *= 3  # not a flat grey
    return generator.eval()
