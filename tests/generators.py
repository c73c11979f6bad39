"""Small CBN generators, and inputs for generators of any type."""

import numpy as np
import torch
from torch import nn

from t2i.models import CBNGenerator, CBNGeneratorConfig


def tiny_cbn(size: int = 128, channels: tuple[int, ...] = (16, 8, 8, 8, 8, 4, 4, 4), **sizes: int) -> CBNGenerator:
    """A random generator with real batch statistics, whose pictures depend on the caption, in evaluation mode."""
    with torch.random.fork_rng():
        torch.manual_seed(size)
        generator = CBNGenerator(CBNGeneratorConfig(size=size, mapped=16, channels=channels, **sizes)).train()
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
            for _ in range(20):  # sets the running statistics
                generator(torch.randn(16, generator.config.noise), torch.randn(16, generator.config.embedding))
        generator.to_rgb[0].weight.data *= 3  # more contrast
    return generator.eval()


def random_noise(count: int) -> torch.Tensor:
    """Noise z (count, 100), the same in each call."""
    return torch.randn(count, 100, generator=torch.Generator().manual_seed(1))


def random_embeddings(count: int) -> torch.Tensor:
    """Embeddings h (count, 1024), the same in each call."""
    return torch.randn(count, 1024, generator=torch.Generator().manual_seed(2))


@torch.inference_mode()
def plain_pixels(generator: nn.Module, z: torch.Tensor, h: torch.Tensor) -> np.ndarray:
    """What the plain network draws, (B, S, S, 3), uint8."""
    return (generator(z, h) * 127.5 + 127.5).round().byte().permute(0, 2, 3, 1).numpy()


def max_difference(a: np.ndarray, b: np.ndarray) -> int:
    """The largest difference of pixels, in levels of 255."""
    return np.abs(a.astype(int) - b.astype(int)).max()
