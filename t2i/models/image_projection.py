"""Image projection: frozen image features to the joint space of pictures and captions (arXiv 1605.05395)."""

from dataclasses import dataclass

from torch import nn


@dataclass(frozen=True)
class ImageProjectionConfig:
    """Sizes of the image features and of the embeddings."""

    features: int = 1280
    embedding: int = 1024


class ImageProjection(nn.Sequential):
    """Image features (B, F) to embeddings (B, E) of root mean square 1. `dropout`: of features, in training."""

    def __init__(self, config: ImageProjectionConfig = ImageProjectionConfig(), dropout: float = 0.0):
        super().__init__(
            nn.RMSNorm(config.features, elementwise_affine=False),
            nn.Dropout(dropout),
            nn.Linear(config.features, config.embedding),
            nn.RMSNorm(config.embedding, elementwise_affine=False),
        )
        self.config = config
