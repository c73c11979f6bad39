"""Style encoder S(x): infers the noise z of a picture, which holds what its caption does not say (section 4.4)."""

from dataclasses import dataclass

from torch import Tensor, nn


@dataclass(frozen=True)
class StyleEncoderConfig:
    """Sizes of the style encoder; `width` is n, the channels at 32×32."""

    noise: int = 100
    width: int = 64

    @property
    def size(self) -> int:
        """Side of its input pictures in pixels, fixed by the number of layers."""
        return 64


class StyleEncoder(nn.Module):
    """Pictures (B, 3, 64, 64) in -1…1 to the noise ẑ (B, Z) from which the generator would draw them."""

    def __init__(self, config: StyleEncoderConfig = StyleEncoderConfig()):
        super().__init__()
        self.config = config
        n = config.width

        def down(a: int, b: int) -> nn.Conv2d:
            return nn.Conv2d(a, b, 4, 2, 1, bias=False)

        self.look = nn.Sequential(  # 64×64×3
            nn.Conv2d(3, n, 4, 2, 1), nn.LeakyReLU(0.2),  # 32×32×n
            down(n, 2 * n), nn.BatchNorm2d(2 * n), nn.LeakyReLU(0.2),  # 16×16×2n
            down(2 * n, 4 * n), nn.BatchNorm2d(4 * n), nn.LeakyReLU(0.2),  # 8×8×4n
            down(4 * n, 8 * n), nn.BatchNorm2d(8 * n), nn.LeakyReLU(0.2),  # 4×4×8n
            nn.Conv2d(8 * n, config.noise, 4), nn.Flatten(),  # Z
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.look(x)
