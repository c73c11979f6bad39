"""The fixtures of data sets."""

from tests.datasets import dataset, empty_cache

__all__ = ["dataset", "empty_cache"]
