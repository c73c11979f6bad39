import pytest
import torch

from t2i.models.projected_discriminator import MIXED, SIDES, PixelDiscriminator, ProjectedDiscriminator

CHANNELS = [24, 40, 112, 320]


@pytest.fixture(scope="module")
def discriminator():
    torch.manual_seed(0)
    return ProjectedDiscriminator(CHANNELS, 32).eval()


@pytest.fixture
def views():
    g = torch.Generator().manual_seed(0)
    return [[torch.randn(4, c, s, s, generator=g) for c, s in zip(CHANNELS, SIDES)] for _ in range(2)]


def test_mixed_maps_are_wider_than_the_features(discriminator, views):
    mixed = discriminator.mix(views)
    assert [tuple(m.shape[1:]) for m in mixed] == [(c, s, s) for c, s in zip(MIXED, SIDES)] * 2
    assert all(wide > narrow for wide, narrow in zip(MIXED, CHANNELS))


def test_coarse_maps_reach_the_finer_ones_and_not_the_other_way(discriminator, views):
    changed = [[m.clone() for m in maps] for maps in views]
    changed[0][2] += 1
    moved = [not torch.equal(a, b) for a, b in zip(discriminator.mix(views), discriminator.mix(changed))]
    assert moved == [True, True, True, False, *[False] * 4]


def test_mixing_is_frozen_and_heads_learn(discriminator, views):
    assert not any(p.requires_grad for p in discriminator.mixing.parameters())
    assert all(p.requires_grad for p in discriminator.heads.parameters())


def test_every_head_of_every_view_scores_with_and_without_a_caption(discriminator, views):
    seen = discriminator.trunks(discriminator.mix(views))
    places = 2 * sum(min(s, 4) ** 2 for s in SIDES)
    one, other = (discriminator.scores(seen, h) for h in torch.randn(2, 4, 32))
    assert discriminator.scores(seen).shape == one.shape == (4, places)
    assert ((one - other).abs().amax(0) > 1e-5).all()


def test_a_picture_is_scored_alone_as_in_a_batch(discriminator, views):
    h = torch.randn(4, 32)
    whole = discriminator.scores(discriminator.trunks(discriminator.mix(views)), h)
    first = [[m[:1] for m in maps] for maps in views]
    alone = discriminator.scores(discriminator.trunks(discriminator.mix(first)), h[:1])
    torch.testing.assert_close(alone, whole[:1], atol=1e-5, rtol=1e-4)


def test_pixels_are_scored_by_the_whole_and_by_fine_detail():
    torch.manual_seed(0)
    discriminator = PixelDiscriminator()
    x = torch.rand(2, 3, 64, 64)
    whole, detail = discriminator(x, x)
    assert whole.shape == (2, 16) and detail.shape == (2, 256)
    assert torch.allclose(discriminator(x, x + 0.5)[1], detail, atol=1e-4), "a lighter picture has the same detail"
    checks = 0.2 * (torch.arange(64) % 2)
    assert not torch.allclose(discriminator(x, x + checks)[1], detail, atol=1e-2)
