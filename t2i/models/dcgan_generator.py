"""The DCGAN generator G(z, φ(t)): the left half of the paper's Figure 2 (section 4.1)."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .fuse import fold, frozen, main_directions
from .generator import Generator
from .residual import Residual


@dataclass(frozen=True)
class DCGANGeneratorConfig:
    """Sizes of the generator; `width` is the paper's n, the channels at 32×32."""

    noise: int = 100
    embedding: int = 1024
    projected: int = 128
    width: int = 64

    @property
    def size(self) -> int:
        """Side of the pictures in pixels, fixed by the number of layers."""
        return 64


class DCGANGenerator(Generator):
    """Noise z (B, Z) and embeddings h (B, E) to pictures (B, 3, 64, 64) in -1…1."""

    def __init__(self, config: DCGANGeneratorConfig = DCGANGeneratorConfig()):
        super().__init__()
        self.config: DCGANGeneratorConfig = config
        n = config.width
        self.project = nn.Sequential(nn.Linear(config.embedding, config.projected), nn.LeakyReLU(0.2))

        def up(a: int, b: int) -> nn.ConvTranspose2d:
            return nn.ConvTranspose2d(a, b, 4, 2, 1, bias=False)

        self.draw = nn.Sequential(  # 1×1×(noise + projected)
            nn.ConvTranspose2d(config.noise + config.projected, 8 * n, 4, bias=False), nn.BatchNorm2d(8 * n),  # 4×4×8n
            Residual(8 * n),  # 4×4×8n
            up(8 * n, 4 * n), nn.BatchNorm2d(4 * n),  # 8×8×4n
            Residual(4 * n),  # 8×8×4n
            up(4 * n, 2 * n), nn.BatchNorm2d(2 * n), nn.ReLU(),  # 16×16×2n
            up(2 * n, n), nn.BatchNorm2d(n), nn.ReLU(),  # 32×32×n
            nn.ConvTranspose2d(n, 3, 4, 2, 1), nn.Tanh(),  # 64×64×3
        )

    def forward(self, z: Tensor, h: Tensor) -> Tensor:
        return self.draw(torch.cat([z, self.project(h)], 1)[..., None, None])

    def directions(self) -> Tensor:
        """The four directions of z (4, Z) that change pictures most: see `main_directions`."""
        convolution, norm, *_ = self.draw
        [folded] = fold(frozen(nn.Sequential(convolution, norm)))
        weight = folded.get_parameter("weight")[: self.config.noise]  # (Z, 8n, 4, 4)
        return main_directions(weight.flatten(1).T)
