"""The fixtures of data sets."""

from tests.datasets import corpus, own_cache

__all__ = ["corpus", "own_cache"]
