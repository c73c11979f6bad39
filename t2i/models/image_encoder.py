"""Image encoder: a small network that embeds pictures in the text encoder's space (arXiv 1605.05395)."""

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn.functional import cosine_similarity

from .residual import Residual


@dataclass(frozen=True)
class ImageEncoderConfig:
    """Sizes of the image encoder; `width` is n, the channels at 32×32."""

    embedding: int = 1024
    width: int = 48

    @property
    def size(self) -> int:
        """Side of its input pictures in pixels, fixed by the number of layers."""
        return 64


class ImageEncoder(nn.Module):
    """Pictures (B, 3, 64, 64) in -1…1 to embeddings (B, E) of root mean square 1, comparable to captions' h."""

    def __init__(self, config: ImageEncoderConfig = ImageEncoderConfig()):
        super().__init__()
        self.config = config
        n = config.width

        def down(a: int, b: int) -> nn.Conv2d:
            return nn.Conv2d(a, b, 4, 2, 1, bias=False)

        self.look = nn.Sequential(  # 64×64×3
            nn.Conv2d(3, n, 4, 2, 1), nn.LeakyReLU(0.2),  # 32×32×n
            down(n, 2 * n), nn.BatchNorm2d(2 * n), nn.LeakyReLU(0.2),  # 16×16×2n
            Residual(2 * n, 0.2),  # 16×16×2n
            down(2 * n, 4 * n), nn.BatchNorm2d(4 * n), nn.LeakyReLU(0.2),  # 8×8×4n
            Residual(4 * n, 0.2),  # 8×8×4n
            down(4 * n, 8 * n), nn.BatchNorm2d(8 * n), nn.LeakyReLU(0.2),  # 4×4×8n
            Residual(8 * n, 0.2),  # 4×4×8n
            nn.AdaptiveAvgPool2d(1), nn.Flatten(),  # 8n
            nn.Linear(8 * n, config.embedding), nn.RMSNorm(config.embedding, elementwise_affine=False),  # E
        )  # fmt: skip
        self.calibrate = nn.Linear(1, 1)  # cosine to log-odds; fitted after training

    def forward(self, x: Tensor) -> Tensor:
        return self.look(x)

    def match_probability(self, x: Tensor, h: Tensor) -> Tensor:
        """The probability (B,) that embeddings of pictures x and captions h, both (B, E), belong together.

        The alternative is a caption of another class, and both are equally likely beforehand.
        """
        return self.calibrate(cosine_similarity(x, h)[:, None]).sigmoid()[:, 0]
