"""The four objectives of the paper, side by side: their difference is its contribution (sections 4.1 to 4.3).

Each is a Python generator that yields the discriminator's loss, then, after D has been updated, the generator's.
Photos x (B, 3, 64, 64), embeddings of their captions h and of mismatching captions wrong (B, E), noise z (1.5 B, Z):
B rows for the captions, the rest for interpolated ones. Scores are logits; G's loss is the non-saturating one.

Below them are two losses that are added to G's with any objective and are not in the paper.
"""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.nn.functional import batch_norm, softplus

from ..models import DCGANGenerator, Discriminator

Q_LR = 1e-3  # of InfoGAN's Q network, higher than G's, because Q must keep up with what G does
Q_INPUT_NOISE = 0.1  # standard deviation of the noise added to the pictures that Q gets
BETA = 0.5  # weight of the first caption in an interpolated one, equation (5)


def bce_real(score: Tensor) -> Tensor:
    """Binary cross-entropy with the label "real and matching": −log sigmoid(s)."""
    return softplus(-score).mean()


def bce_fake(score: Tensor) -> Tensor:
    """Binary cross-entropy with the label "fake or mismatching": −log(1 − sigmoid(s))."""
    return softplus(score).mean()


def interpolate(h: Tensor) -> Tensor:
    """Interpolated captions (B / 2, E) of captions h (B, E): each of the first half with one of the second."""
    first, second = h.chunk(2)
    return BETA * first[: len(second)] + (1 - BETA) * second


def gan(g: DCGANGenerator, d: Discriminator, x: Tensor, h: Tensor, wrong: Tensor, z: Tensor) -> Iterator[Tensor]:
    """GAN: D learns only real from fake, equation (1)."""
    fake = g(z[: len(h)], h)
    yield bce_real(d(x, h)) + bce_fake(d(fake.detach(), h))
    yield bce_real(d(fake, h))


def gan_cls(g: DCGANGenerator, d: Discriminator, x: Tensor, h: Tensor, wrong: Tensor, z: Tensor) -> Iterator[Tensor]:
    """GAN-CLS: D also learns matching from mismatching captions, Algorithm 1."""
    fake = g(z[: len(h)], h)  # line 6
    features = d.look(x)
    real = bce_real(d.score(features, h))
    yield real + (bce_fake(d.score(features, wrong)) + bce_fake(d(fake.detach(), h))) / 2  # line 10
    yield bce_real(d(fake, h))  # line 12


def gan_int(g: DCGANGenerator, d: Discriminator, x: Tensor, h: Tensor, wrong: Tensor, z: Tensor) -> Iterator[Tensor]:
    """GAN-INT: G is also trained on interpolated captions, equation (5).

    As in the released code, D does not get their pictures in its own turn, and all pictures have the same weight in
    G's.
    """
    captions = torch.cat([h, interpolate(h)])
    fake = g(z[: len(captions)], captions)
    yield bce_real(d(x, h)) + bce_fake(d(fake[: len(h)].detach(), h))
    yield bce_real(d(fake, captions))


def gan_int_cls(
    g: DCGANGenerator, d: Discriminator, x: Tensor, h: Tensor, wrong: Tensor, z: Tensor
) -> Iterator[Tensor]:
    """GAN-INT-CLS: both."""
    captions = torch.cat([h, interpolate(h)])
    fake = g(z[: len(captions)], captions)
    features = d.look(x)
    real = bce_real(d.score(features, h))
    yield real + (bce_fake(d.score(features, wrong)) + bce_fake(d(fake[: len(h)].detach(), h))) / 2
    yield bce_real(d(fake, captions))


LOSSES: dict[str, Callable[..., Iterator[Tensor]]] = {  # by the names of `registry.OBJECTIVES`
    "gan": gan,
    "gan-cls": gan_cls,
    "gan-int": gan_int,
    "gan-int-cls": gan_int_cls,
}


def diversity_loss(distance: Tensor, min_distance: float) -> Tensor:
    """How far the distances (B,) of two pictures of a caption fall short of `min_distance`, on average.

    D never compares two fakes of a caption, and without this loss G ignored z. It is like mode seeking (Mao et al.
    2019), but has no gradient for a pair that differs enough, and is taken of each pair: when the mean distance had
    to be large, G drew only two different pictures of a caption.
    """
    return (min_distance - distance).relu().mean()


def mutual_information_loss(estimate: Tensor, z: Tensor, target: float) -> Tensor:
    """How far the correlation of noise z (B, Z) with Q's estimate of it (B, Z) falls short of `target`.

    InfoGAN (Chen et al. 2016) bounds the mutual information by Q's error. Here it is a correlation: if G ignores z,
    the Q of least error predicts a constant, and that gives G no gradient towards using z.
    """
    return (target - (batch_norm(estimate.float(), None, None, training=True) * z).mean()).relu()
