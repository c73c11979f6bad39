import pytest
import torch

from t2i.models import DCGANGenerator, DCGANGeneratorConfig, Discriminator, DiscriminatorConfig
from t2i.training.widen import fits, widen


@pytest.fixture
def batch():
    g = torch.Generator().manual_seed(0)
    z, h, x = torch.randn(6, 100, generator=g), torch.randn(6, 32, generator=g), torch.rand(6, 3, 64, 64, generator=g)
    return {DCGANGenerator: (z, h), Discriminator: (2 * x - 1, h)}


def networks(made, described, *widths):
    torch.manual_seed(0)
    return [made(described(embedding=32, projected=16, width=width)) for width in widths]


@pytest.mark.parametrize(
    "made, described", [(DCGANGenerator, DCGANGeneratorConfig), (Discriminator, DiscriminatorConfig)]
)
@pytest.mark.parametrize("width", [4, 6, 8])
def test_a_wider_network_does_the_same(batch, made, described, width):
    narrow, wide = networks(made, described, 4, width)
    with torch.inference_mode():
        narrow(*batch[made])  # batch norm's statistics are no longer those of a new one
        widen(narrow, wide, 0)
        for training in (False, True):
            narrow.train(training), wide.train(training)
            torch.testing.assert_close(wide(*batch[made]), narrow(*batch[made]), atol=1e-5, rtol=1e-4)


def test_twins_learn_apart(batch):
    narrow, wide = networks(DCGANGenerator, DCGANGeneratorConfig, 4, 8)
    widen(narrow, wide, 0)(*batch[DCGANGenerator])[:, 0].square().mean().backward()
    one, twin = wide.draw[3].weight.grad[:, :32].chunk(2, 1)  # what channels and their twins write
    assert (one - twin).norm() > 0.3 * one.norm()


def test_a_seed_gives_the_same_weights():
    [narrow] = networks(DCGANGenerator, DCGANGeneratorConfig, 4)
    one, same, other = (widen(narrow, *networks(DCGANGenerator, DCGANGeneratorConfig, 8), seed) for seed in (0, 0, 1))
    assert torch.equal(one.draw[3].weight, same.draw[3].weight)
    assert not torch.equal(one.draw[3].weight, other.draw[3].weight)


@pytest.mark.parametrize("width, can", [(3, False), (4, True), (5, True), (8, True), (9, False)])
def test_width_may_double_at_most(width, can):
    assert fits(*networks(DCGANGenerator, DCGANGeneratorConfig, 4, width)) is can


def test_nothing_but_width_may_differ():
    [narrow] = networks(DCGANGenerator, DCGANGeneratorConfig, 4)
    assert not fits(narrow, DCGANGenerator(DCGANGeneratorConfig(embedding=16, projected=16, width=8)))
