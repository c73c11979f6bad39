"""Attribute sliders: what the first coordinates of z control, measured from pixels alone.

In the paper z means whatever training leaves it to mean. Here, with any objective, the first coordinates can be
taught: a step of 1 in one of them changes its measure by the standard deviation among photos of one class.
"""

import torch
from torch import Tensor
from torch.nn.functional import smooth_l1_loss

ATTRIBUTES = (  # name, low end and high end, in the order of z's coordinates
    ("Background", "dark", "light"),
    ("Greenery", "little", "much"),
    ("Size", "small", "large"),
    ("Across", "left", "right"),
    ("Height", "low", "high"),
)
BORDER_WIDTH = 8  # pixels on each side that count as background
SUBJECT_DISTANCE = 0.6  # in colour from the background, from which on a pixel counts as subject
EDGE_SOFTNESS = 0.15  # the width of that threshold's sigmoid


def measure_attributes(x: Tensor) -> Tensor:
    """The measures (B, 5) of pictures x (B, 3, S, S) in -1…1, differentiable.

    They are the brightness and the excess of green of the border, then of the pixels that differ from the border in
    colour their share, and their centre from the left and from below in -1…1.
    """
    side = x.shape[-1]
    inner = torch.zeros(side, side, dtype=torch.bool, device=x.device)
    inner[BORDER_WIDTH:-BORDER_WIDTH, BORDER_WIDTH:-BORDER_WIDTH] = True
    red, green, blue = background = x[:, :, ~inner].mean(2).T
    distance = (x - background.T[:, :, None, None]).square().sum(1).add(1e-6).sqrt()
    subject = ((distance - SUBJECT_DISTANCE) / EDGE_SOFTNESS).sigmoid()
    share = subject.mean((1, 2))
    axis = torch.linspace(-1, 1, side, device=x.device)
    across, down = ((subject * position).mean((1, 2)) / (share + 0.02) for position in (axis, axis[:, None]))
    brightness = 0.299 * red + 0.587 * green + 0.114 * blue
    return torch.stack([brightness, green - (red + blue) / 2, share, across, -down], 1)


def attribute_scale(first: Tensor, second: Tensor) -> Tensor:
    """Standard deviations (5,) of the measures within a class, from pairs (B, 3, S, S) of photos of one class."""
    return (measure_attributes(first) - measure_attributes(second)).square().mean(0).div(2).sqrt().clamp(min=0.01)


def attribute_loss(pictures: Tensor, z: Tensor, scale: Tensor) -> Tensor:
    """Smooth L1 loss between the differences of two pictures' measures and the differences of their noise.

    It is added to G's loss with any objective. Pictures (2 B, 3, S, S) are two of each caption, with noise z (2 B, Z).
    Differences, because a caption too decides what a picture measures. `scale` (5,): the change for a step of 1 in z.
    """
    first, second = (measure_attributes(pictures.float()) / scale).chunk(2)
    z_first, z_second = z[:, : len(scale)].chunk(2)
    return smooth_l1_loss(first - second, z_first - z_second)
