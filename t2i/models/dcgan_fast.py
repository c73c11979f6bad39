"""The fast form of the DCGAN generator, for inference."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from .dcgan_generator import DCGANGenerator
from .fuse import fold, pixel_shuffle, to_bytes, transposed_to_linear, transposed_to_subpixels


class FastDCGANGenerator(nn.Module):
    """z, h to pixels (B, S, S, 3), uint8: batch norm is folded, the first layer is a matrix, the last one subpixels."""

    def __init__(self, generator: DCGANGenerator, place: Callable[..., nn.Sequential]):
        super().__init__()
        config = generator.config
        first, *middle, last, tanh = fold(generator.draw)
        draw = nn.Sequential(*transposed_to_linear(first), *middle, transposed_to_subpixels(last), tanh)
        self.project = place(generator.project, config.embedding)
        self.draw = place(draw, config.noise + config.projected, 1, 1)

    def forward(self, z: Tensor, h: Tensor) -> Tensor:
        subpixels = self.draw(torch.cat([z, self.project(h)], 1)[..., None, None])
        return pixel_shuffle(to_bytes(subpixels))[:, 1:-1, 1:-1].contiguous()  # without the outermost rows and columns
