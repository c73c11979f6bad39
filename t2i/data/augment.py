"""Differentiable augmentation of a discriminator's input (DiffAugment, Zhao et al. 2020): two views of each picture.

Photos and generated pictures are augmented alike and each at random, so that heads on strong features do not learn
the training photos by heart. The random numbers come from torch's global generator on the CPU, on any device.
"""

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, interpolate, pad

from ..models import StyleEncoderConfig

VIEW_SIZE = StyleEncoderConfig().size  # pixels along a side of a view, which S, too, gets
MAX_SHIFT = 8  # pixels by which the whole picture moves at most
CUTOUT_SIZE = 28  # pixels along a side of the square that is set to 0


def diff_augment(x: Tensor, pairs: int = 0) -> list[Tensor]:
    """Two augmented views of pictures (B, 3, S, S): the whole and a window of full detail, each (B, 3, 64, 64).

    The window has half the side of the picture, or 64 pixels if that is less. The last `pairs` pictures are augmented
    as the `pairs` before them, so that the distance of two pictures of a caption is not that of their augmentations.
    """
    side = min(VIEW_SIZE, x.shape[-1] // 2)
    whole = _random_crop(pad(to_view(x), (MAX_SHIFT,) * 4, mode="reflect"), VIEW_SIZE, pairs)
    window = to_view(_random_crop(x, side, pairs))
    return [_random_cutout(_random_recolour(view, pairs), pairs) for view in (whole, window)]


def to_view(x: Tensor) -> Tensor:
    """Resize pictures (B, 3, S, S) to (B, 3, 64, 64): means of pixels where S is larger, else bilinear."""
    if x.shape[-1] == VIEW_SIZE:
        return x
    if x.shape[-1] > VIEW_SIZE:
        return adaptive_avg_pool2d(x, VIEW_SIZE)
    return interpolate(x, (VIEW_SIZE, VIEW_SIZE), mode="bilinear", align_corners=False)


def recolour(x: Tensor, saturation: Tensor, contrast: Tensor, brightness: Tensor) -> Tensor:
    """Change colours of pictures (B, 3, S, S) by numbers (B, 1, 1, 1): 1, 1 and 0 leave them as they are."""
    grey = x.mean(1, keepdim=True)
    x = (x - grey) * saturation + grey
    level = x.mean((1, 2, 3), keepdim=True)
    return (x - level) * contrast + level + brightness


def _random_crop(x: Tensor, side: int, pairs: int) -> Tensor:
    """A square of each picture. Slices, because the backward pass of an index takes as long as a generator's."""
    max_offset = x.shape[-1] - side
    offsets = _uniform((2,), x, pairs, 0, max_offset + 1).long().clamp(max=max_offset).tolist()
    crops = (picture[:, top : top + side, left : left + side] for picture, (top, left) in zip(x.unbind(0), offsets))
    return torch.stack(list(crops))


def _random_recolour(x: Tensor, pairs: int) -> Tensor:
    bounds = (0.6, 1.4), (0.7, 1.3), (-0.2, 0.2)
    return recolour(x, *(_uniform((1, 1, 1), x, pairs, low, high).to(x.device) for low, high in bounds))


def _random_cutout(x: Tensor, pairs: int) -> Tensor:
    corner = _uniform((2, 1), x, pairs, -CUTOUT_SIZE // 2, VIEW_SIZE - CUTOUT_SIZE // 2).long()
    pixel = torch.arange(VIEW_SIZE)
    row, column = ((pixel >= corner[:, i]) & (pixel < corner[:, i] + CUTOUT_SIZE) for i in (0, 1))
    return x * ~(row[:, None, :, None] & column[:, None, None, :]).to(x.device)


def _uniform(shape: tuple[int, ...], x: Tensor, pairs: int, low: float, high: float) -> Tensor:
    """Random numbers (B, *shape) on the CPU; the last `pairs` repeat those before them."""
    values = torch.empty(len(x) - pairs, *shape).uniform_(low, high)
    return torch.cat([values, values[len(values) - pairs :]])
