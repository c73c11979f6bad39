"""Generative Adversarial Text to Image Synthesis: captions to pictures."""

from .errors import InputError
from .studio import Studio, load, noise

__all__ = ["InputError", "Studio", "load", "noise"]
