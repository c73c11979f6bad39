import pytest
import torch

from t2i.training.feature_network import CHANNELS, FeatureNetwork


def photos(count=4):
    return torch.rand(count, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_bfloat16_changes_the_maps_little():
    maps, half_maps = FeatureNetwork()(photos()), FeatureNetwork(torch.bfloat16)(photos())
    for expected, actual in zip(maps, half_maps):
        assert torch.cosine_similarity(expected.flatten(1), actual.float().flatten(1)).min() > 0.99


def test_maps_are_standardised_on_photos_and_the_network_is_frozen():
    network = FeatureNetwork()
    network.standardise([photos()[:2], photos()[2:]])
    maps = network(photos())
    assert [tuple(m.shape[1:]) for m in maps] == [(c, s, s) for c, s in zip(CHANNELS, (16, 8, 4, 2))]
    for m in maps:
        assert m.mean((0, 2, 3)).abs().max() < 1e-3
        assert m.std((0, 2, 3)).sub(1).abs().max() < 1e-3
    assert not any(p.requires_grad for p in network.parameters())


@pytest.mark.parametrize("side", [32, 96])
def test_other_sides_have_maps_at_the_same_strides(side):
    maps = FeatureNetwork()(torch.zeros(1, 3, side, side))
    assert [m.shape[-1] for m in maps] == [side // 4, side // 8, side // 16, side // 32]
