"""Discriminator D(x, φ(t)): the right half of the paper's Figure 2 (section 4.1)."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .residual import Residual


@dataclass(frozen=True)
class DiscriminatorConfig:
    """Sizes of the discriminator; `width` is n, the channels at 32×32."""

    embedding: int = 1024
    projected: int = 128
    width: int = 64


class Discriminator(nn.Module):
    """Pictures (B, 3, 64, 64) in -1…1 and embeddings h (B, E) to logits (B,), positive for real and matching."""

    def __init__(self, config: DiscriminatorConfig = DiscriminatorConfig()):
        super().__init__()
        self.config = config
        n, m = config.width, config.projected

        def down(a: int, b: int) -> nn.Conv2d:
            return nn.Conv2d(a, b, 4, 2, 1, bias=False)

        self.look = nn.Sequential(  # 64×64×3
            nn.Conv2d(3, n, 4, 2, 1), nn.LeakyReLU(0.2),  # 32×32×n
            down(n, 2 * n), nn.BatchNorm2d(2 * n), nn.LeakyReLU(0.2),  # 16×16×2n
            down(2 * n, 4 * n), nn.BatchNorm2d(4 * n), nn.LeakyReLU(0.2),  # 8×8×4n
            down(4 * n, 8 * n), nn.BatchNorm2d(8 * n),  # 4×4×8n
            Residual(8 * n, 0.2),  # 4×4×8n
        )
        self.project = nn.Sequential(
            nn.Linear(config.embedding, m, bias=False), nn.BatchNorm1d(m), nn.LeakyReLU(0.2),
        )
        self.judge = nn.Sequential(  # 4×4×(8n + m)
            nn.Conv2d(8 * n + m, 8 * n, 1, bias=False), nn.BatchNorm2d(8 * n), nn.LeakyReLU(0.2),  # 4×4×8n
            nn.Conv2d(8 * n, 1, 4), nn.Flatten(0),  # 1
        )

    def score(self, features: Tensor, h: Tensor) -> Tensor:
        """Scores (B,) of features of `look` (B, 8n, 4, 4) with captions h (B, E): features serve many captions."""
        text = self.project(h)[..., None, None].expand(-1, -1, 4, 4)
        return self.judge(torch.cat([features, text], 1))

    def forward(self, x: Tensor, h: Tensor) -> Tensor:
        return self.score(self.look(x), h)
