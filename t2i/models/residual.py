"""The bottleneck block that the released code adds to both networks."""

from torch import Tensor, nn
from torch.nn.functional import leaky_relu


class Residual(nn.Module):
    """x + bottleneck(x), then leaky ReLU of this slope (0 is ReLU); the shape stays the same."""

    def __init__(self, channels: int, slope: float = 0.0):
        super().__init__()
        if channels < 4:
            raise ValueError(f"a residual block needs 4 channels or more, not {channels}")
        self.slope, narrow = slope, channels // 4
        self.bottleneck = nn.Sequential(
            nn.Conv2d(channels, narrow, 1, bias=False), nn.BatchNorm2d(narrow), nn.LeakyReLU(slope),
            nn.Conv2d(narrow, narrow, 3, padding=1, bias=False), nn.BatchNorm2d(narrow), nn.LeakyReLU(slope),
            nn.Conv2d(narrow, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return leaky_relu(x + self.bottleneck(x), self.slope)
