import pytest
import torch

from t2i.models.projected_discriminator import MAP_SIDES, MIXED_CHANNELS, PixelDiscriminator, ProjectedDiscriminator

CHANNELS = [24, 40, 112, 320]


@pytest.fixture(scope="module")
def discriminator():
    torch.manual_seed(0)
    return ProjectedDiscriminator(CHANNELS, 32).eval()


@pytest.fixture
def views():
    g = torch.Generator().manual_seed(0)
    return [[torch.randn(4, c, s, s, generator=g) for c, s in zip(CHANNELS, MAP_SIDES)] for _ in range(2)]


def test_mixed_maps_are_wider_than_the_features(discriminator, views):
    mixed = discriminator.mix(views)
    assert [tuple(m.shape[1:]) for m in mixed] == [(c, s, s) for c, s in zip(MIXED_CHANNELS, MAP_SIDES)] * 2
    assert all(wide > narrow for wide, narrow in zip(MIXED_CHANNELS, CHANNELS))


def test_coarse_maps_are_mixed_into_finer_ones_and_not_the_other_way(discriminator, views):
    changed = [[m.clone() for m in maps] for maps in views]
    changed[0][2] += 1
    differs = [not torch.equal(a, b) for a, b in zip(discriminator.mix(views), discriminator.mix(changed))]
    assert differs == [True, True, True, False, *[False] * 4]


def test_the_mixing_is_frozen_and_the_heads_are_not(discriminator, views):
    assert not any(p.requires_grad for p in discriminator.mixing.parameters())
    assert all(p.requires_grad for p in discriminator.heads.parameters())


def test_every_head_of_every_view_scores_with_and_without_a_caption(discriminator, views):
    features = discriminator.trunks(discriminator.mix(views))
    positions = 2 * sum(min(s, 4) ** 2 for s in MAP_SIDES)
    first, second = (discriminator.scores(features, h) for h in torch.randn(2, 4, 32))
    assert discriminator.scores(features).shape == first.shape == (4, positions)
    assert ((first - second).abs().amax(0) > 1e-5).all()


def test_scores_do_not_depend_on_the_batch(discriminator, views):
    h = torch.randn(4, 32)
    together = discriminator.scores(discriminator.trunks(discriminator.mix(views)), h)
    first = [[m[:1] for m in maps] for maps in views]
    alone = discriminator.scores(discriminator.trunks(discriminator.mix(first)), h[:1])
    torch.testing.assert_close(alone, together[:1], atol=1e-5, rtol=1e-4)


def test_pixels_are_scored_as_a_whole_and_by_fine_detail():
    torch.manual_seed(0)
    discriminator = PixelDiscriminator()
    x = torch.rand(2, 3, 64, 64)
    whole, detail = discriminator(x, x)
    assert whole.shape == (2, 16) and detail.shape == (2, 256)
    assert torch.allclose(discriminator(x, x + 0.5)[1], detail, atol=1e-4), "a lighter picture has the same detail"
    checks = 0.2 * (torch.arange(64) % 2)
    assert not torch.allclose(discriminator(x, x + checks)[1], detail, atol=1e-2)
