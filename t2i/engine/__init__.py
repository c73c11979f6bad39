"""The fast core: captions to embeddings, noise and embeddings to pixels, pixels to noise."""

from .engine import Engine

__all__ = ["Engine"]
