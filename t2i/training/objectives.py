"""The four objectives of the paper, side by side: their difference is its contribution (sections 4.1 to 4.3).

Each is a Python generator that yields the discriminator's loss, then, after D has been updated, the generator's.
Pictures x (B, 3, 64, 64), their captions h and mismatching captions wrong (B, 1024), noise z (1.5 B, 100):
B rows for the captions, the rest for interpolated ones. Scores are logits; G's loss is the non-saturating one.
"""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.nn.functional import softplus

from ..models import DCGANGenerator, Discriminator

BETA = 0.5  # share of the first caption in an interpolated one, equation (5)


def _true(score: Tensor) -> Tensor:
    return softplus(-score).mean()  # −log sigmoid(s)


def _false(score: Tensor) -> Tensor:
    return softplus(score).mean()  # −log(1 − sigmoid(s))


def mix(h: Tensor) -> Tensor:
    """Interpolated captions (B / 2, E) of captions h (B, E): each of the first half with one of the second."""
    first, second = h.chunk(2)
    return BETA * first[: len(second)] + (1 - BETA) * second


def _drawn(d: Discriminator, fake: Tensor, halfway: Tensor, h: Tensor) -> Tensor:
    """D's scores of pictures of captions h (B, E) and of `mix(h)`, (1.5 B,), for its own turn.

    Two passes, for in one batch norm would mix what D is told of the two, and differently in G's turn: G then fooled
    D in its turn while D, in its own, still saw through it, and learnt nothing.
    """
    return torch.cat([d(fake.detach(), h), d(halfway.detach(), h[: len(halfway)])])


def sameness(difference: Tensor, least: float) -> Tensor:
    """How far the differences (B,) of pictures, two of each caption, stay below the `least` of such a pair.

    Added to G's loss of any objective, not in the paper: D never compares two fakes of a caption, and without this
    G ignored z. In the spirit of mode seeking (Mao et al. 2019), but a pair that differs enough is left alone;
    of the mean over pairs G had made just two pictures a caption.
    """
    return (least - difference).relu().mean()


def gan(g: DCGANGenerator, d: Discriminator, x: Tensor, h: Tensor, wrong: Tensor, z: Tensor) -> Iterator[Tensor]:
    """GAN: D learns only real from fake, equation (1)."""
    fake = g(z[: len(h)], h)
    yield _true(d(x, h)) + _false(d(fake.detach(), h))
    yield _true(d(fake, h))


def gan_cls(g: DCGANGenerator, d: Discriminator, x: Tensor, h: Tensor, wrong: Tensor, z: Tensor) -> Iterator[Tensor]:
    """GAN-CLS: D also learns right from wrong captions, Algorithm 1."""
    fake = g(z[: len(h)], h)  # line 6
    seen = d.look(x)
    yield _true(d.score(seen, h)) + (_false(d.score(seen, wrong)) + _false(d(fake.detach(), h))) / 2  # line 10
    yield _true(d(fake, h))  # line 12


def gan_int(g: DCGANGenerator, d: Discriminator, x: Tensor, h: Tensor, wrong: Tensor, z: Tensor) -> Iterator[Tensor]:
    """GAN-INT: G also draws interpolated captions, equation (5), and D learns that those pictures are drawn, too.

    The paper leaves open whether it does. Without, nothing held G there to pictures, and halfway it drew none. D is
    shown them with the first of their two captions: no photo has an interpolated one, which would give them away
    unseen, and then D has nothing to teach G.
    """
    between = mix(h)
    fake, halfway = g(z[: len(h) + len(between)], torch.cat([h, between])).split([len(h), len(between)])
    yield _true(d(x, h)) + _false(_drawn(d, fake, halfway, h))
    yield _true(d(fake, h)) + _true(d(halfway, between))


def gan_int_cls(
    g: DCGANGenerator, d: Discriminator, x: Tensor, h: Tensor, wrong: Tensor, z: Tensor
) -> Iterator[Tensor]:
    """GAN-INT-CLS: both."""
    between = mix(h)
    fake, halfway = g(z[: len(h) + len(between)], torch.cat([h, between])).split([len(h), len(between)])
    seen = d.look(x)
    yield _true(d.score(seen, h)) + (_false(d.score(seen, wrong)) + _false(_drawn(d, fake, halfway, h))) / 2
    yield _true(d(fake, h)) + _true(d(halfway, between))


OBJECTIVES: dict[str, Callable[..., Iterator[Tensor]]] = {
    "gan": gan,
    "gan-cls": gan_cls,
    "gan-int": gan_int,
    "gan-int-cls": gan_int_cls,
}
