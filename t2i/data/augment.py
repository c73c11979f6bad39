"""Differentiable augmentation of what a discriminator sees (Zhao et al. 2020): two views of each picture.

Photos and drawn pictures are augmented alike, each picture by its own draw, so that heads on strong features do not
learn the training photos by heart. Draws come from torch's global generator on the CPU, whatever the device.
"""

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, interpolate, pad

VIEW = 64  # pixels along a side of a view
SHIFT, HOLE = 8, 28  # pixels: how far the whole is moved at most, and the side of the square that is cut out


def views(x: Tensor, pairs: int = 0) -> list[Tensor]:
    """Pictures (B, 3, S, S) to their whole, and to a window of it in full detail: (B, 3, 64, 64) each.

    The window has half of the sides, or 64 pixels if that is less. The last `pairs` pictures are augmented as the
    `pairs` before them: otherwise the distance of two pictures of one caption would be that of their augmentations.
    """
    side = min(VIEW, x.shape[-1] // 2)
    whole = _crop(pad(to_view(x), (SHIFT,) * 4, mode="reflect"), VIEW, pairs)
    window = to_view(_crop(x, side, pairs))
    return [_cut_out(_recolour(view, pairs), pairs) for view in (whole, window)]


def to_view(x: Tensor) -> Tensor:
    """To 64×64: means of pixels, or linear between them."""
    if x.shape[-1] == VIEW:
        return x
    if x.shape[-1] > VIEW:
        return adaptive_avg_pool2d(x, VIEW)
    return interpolate(x, (VIEW, VIEW), mode="bilinear", align_corners=False)


def _crop(x: Tensor, side: int, pairs: int) -> Tensor:
    """A square of each picture; slices, for the backward pass of an index takes as long as a generator's."""
    most = x.shape[-1] - side
    places = _uniform((2,), x, pairs, 0, most + 1).long().clamp(max=most).tolist()
    return torch.stack([one[:, a : a + side, b : b + side] for one, (a, b) in zip(x.unbind(0), places)])


def recolour(x: Tensor, saturation: Tensor, contrast: Tensor, brightness: Tensor) -> Tensor:
    """Pictures (B, 3, S, S) with colours changed by numbers (B, 1, 1, 1): 1, 1 and 0 leave them as they are."""
    grey = x.mean(1, keepdim=True)
    x = (x - grey) * saturation + grey
    level = x.mean((1, 2, 3), keepdim=True)
    return (x - level) * contrast + level + brightness


def _recolour(x: Tensor, pairs: int) -> Tensor:
    bounds = (0.6, 1.4), (0.7, 1.3), (-0.2, 0.2)
    return recolour(x, *(_uniform((1, 1, 1), x, pairs, low, high).to(x.device) for low, high in bounds))


def _cut_out(x: Tensor, pairs: int) -> Tensor:
    corner = _uniform((2, 1), x, pairs, -HOLE // 2, VIEW - HOLE // 2).long()
    place = torch.arange(VIEW)
    row, column = ((place >= corner[:, i]) & (place < corner[:, i] + HOLE) for i in (0, 1))
    return x * ~(row[:, None, :, None] & column[:, None, None, :]).to(x.device)


def _uniform(shape: tuple[int, ...], x: Tensor, pairs: int, low: float, high: float) -> Tensor:
    """Numbers (B, *shape) on the CPU; the last `pairs` repeat those before them."""
    values = torch.empty(len(x) - pairs, *shape).uniform_(low, high)
    return torch.cat([values, values[len(values) - pairs :]])
