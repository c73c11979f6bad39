"""Fast inference: captions to embeddings, noise and embeddings to pixels, photos to noise and embeddings."""

from .engine import Engine

__all__ = ["Engine"]
