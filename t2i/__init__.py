"""Generative Adversarial Text to Image Synthesis: captions to pictures."""

from .errors import InputError
from .onnx import export_onnx
from .studio import Studio, load, noise

__all__ = ["InputError", "Studio", "export_onnx", "load", "noise"]
