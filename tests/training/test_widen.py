import pytest
import torch

from t2i.models import DCGANGenerator, DCGANGeneratorConfig, Discriminator, DiscriminatorConfig
from t2i.training.widen import can_widen, widen


@pytest.fixture
def batch():
    g = torch.Generator().manual_seed(0)
    z, h, x = torch.randn(6, 100, generator=g), torch.randn(6, 32, generator=g), torch.rand(6, 3, 64, 64, generator=g)
    return {DCGANGenerator: (z, h), Discriminator: (2 * x - 1, h)}


def networks(network, config, *widths):
    torch.manual_seed(0)
    return [network(config(embedding=32, projected=16, width=width)) for width in widths]


@pytest.mark.parametrize(
    "network, config", [(DCGANGenerator, DCGANGeneratorConfig), (Discriminator, DiscriminatorConfig)]
)
@pytest.mark.parametrize("width", [4, 6, 8])
def test_a_wider_network_has_the_same_function(batch, network, config, width):
    narrow, wide = networks(network, config, 4, width)
    with torch.inference_mode():
        narrow(*batch[network])  # so that batch norm's statistics are not those of a new network
        widen(narrow, wide, 0)
        for training in (False, True):
            narrow.train(training), wide.train(training)
            torch.testing.assert_close(wide(*batch[network]), narrow(*batch[network]), atol=1e-5, rtol=1e-4)


def test_copies_of_a_channel_learn_differently(batch):
    narrow, wide = networks(DCGANGenerator, DCGANGeneratorConfig, 4, 8)
    widen(narrow, wide, 0)(*batch[DCGANGenerator])[:, 0].square().mean().backward()
    first, second = wide.draw[3].weight.grad[:, :32].chunk(2, 1)
    assert (first - second).norm() > 0.3 * first.norm()


def test_a_seed_gives_the_same_weights():
    [narrow] = networks(DCGANGenerator, DCGANGeneratorConfig, 4)
    first, again, second = (
        widen(narrow, *networks(DCGANGenerator, DCGANGeneratorConfig, 8), seed) for seed in (0, 0, 1)
    )
    assert torch.equal(first.draw[3].weight, again.draw[3].weight)
    assert not torch.equal(first.draw[3].weight, second.draw[3].weight)


@pytest.mark.parametrize("width, expected", [(3, False), (4, True), (5, True), (8, True), (9, False)])
def test_width_may_double_at_most(width, expected):
    assert can_widen(*networks(DCGANGenerator, DCGANGeneratorConfig, 4, width)) is expected


def test_only_the_width_may_differ():
    [narrow] = networks(DCGANGenerator, DCGANGeneratorConfig, 4)
    assert not can_widen(narrow, DCGANGenerator(DCGANGeneratorConfig(embedding=16, projected=16, width=8)))
