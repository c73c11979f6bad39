"""Named styles: what the first coordinates of z steer, told from pictures alone.

In the paper z means whatever training leaves it to mean. Here the first coordinates are taught, beside any objective:
a step of 1 in one of them moves its measure by the spread it has among photos of one class.
"""

import torch
from torch import Tensor
from torch.nn.functional import smooth_l1_loss

STYLES = (  # name, its low end and its high end, in the order of z's coordinates
    ("Background", "dark", "light"),
    ("Greenery", "little", "much"),
    ("Size", "small", "large"),
    ("Across", "left", "right"),
    ("Height", "low", "high"),
)
BORDER = 8  # pixels that count as background, on each side
APART, SOFT = 0.6, 0.15  # distance in colour from the background that makes the subject, and how soft the edge is


def measures(x: Tensor) -> Tensor:
    """The measures (B, 5) of pictures x (B, 3, S, S) in -1…1, differentiable.

    The border's brightness and excess of green; of the pixels unlike the border, their share, and their centre from
    the left and from below, -1…1.
    """
    side = x.shape[-1]
    inner = torch.zeros(side, side, dtype=torch.bool, device=x.device)
    inner[BORDER:-BORDER, BORDER:-BORDER] = True
    red, green, blue = background = x[:, :, ~inner].mean(2).T
    distance = (x - background.T[:, :, None, None]).square().sum(1).add(1e-6).sqrt()
    subject = ((distance - APART) / SOFT).sigmoid()
    share = subject.mean((1, 2))
    place = torch.linspace(-1, 1, side, device=x.device)
    across, down = ((subject * axis).mean((1, 2)) / (share + 0.02) for axis in (place, place[:, None]))
    brightness = 0.299 * red + 0.587 * green + 0.114 * blue
    return torch.stack([brightness, green - (red + blue) / 2, share, across, -down], 1)


def attribute_spread(one: Tensor, other: Tensor) -> Tensor:
    """Standard deviations (5,) of the measures within a class, from pairs (B, 3, S, S) of photos of one class."""
    return (measures(one) - measures(other)).square().mean(0).div(2).sqrt().clamp(min=0.01)


def attribute_loss(pictures: Tensor, z: Tensor, scale: Tensor) -> Tensor:
    """How far pictures (2 B, 3, S, S), two of each caption, are from differing as their noise z (2 B, Z) says.

    Added to G's loss of any objective; differences, because a caption has a say in what a picture measures.
    `scale` (5,): what a step of 1 in z should change.
    """
    (one, other), (a, b) = (measures(pictures.float()) / scale).chunk(2), z[:, : len(scale)].chunk(2)
    return smooth_l1_loss(one - other, a - b)
