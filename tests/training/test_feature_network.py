import pytest
import torch
from torch import nn
from torch.nn.functional import relu6

from t2i.training.feature_network import CHANNELS, TO_INPUT, FeatureNetwork, pretrained


def photos(count=4):
    return torch.rand(count, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1


def plain_maps(x):
    """The same maps by the network as its package ships it, with its padding for even sides."""
    network = pretrained().to(x.dtype).requires_grad_(False)
    for block in network._blocks:  # the package fixes its padding for 240-pixel pictures, which become 15×15
        layer = block._depthwise_conv
        if layer.stride[0] == 2:
            k = layer.kernel_size[0]
            layer.static_padding = nn.ZeroPad2d(((k - 2) // 2, (k - 1) // 2) * 2)
    x, maps = relu6(network._bn0(network._conv_stem(x * TO_INPUT))), []
    for block in network._blocks:
        y = block(x)
        if y.shape[-1] != x.shape[-1]:
            maps.append(x)
        x = y
    return [*maps, x][1:]


def test_maps_and_gradients_are_those_of_the_plain_network():
    x = photos(2).double().requires_grad_()
    for fast, plain in zip(FeatureNetwork(torch.float64)(x), plain_maps(x), strict=True):
        torch.testing.assert_close(fast, plain, atol=1e-4, rtol=1e-4)
        one, other = (torch.autograd.grad(m.square().mean(), x, retain_graph=True)[0] for m in (fast, plain))
        torch.testing.assert_close(one, other, atol=1e-5 * float(other.abs().max()), rtol=1e-4)


def test_bfloat16_maps_are_close():
    exact, coarse = FeatureNetwork()(photos()), FeatureNetwork(torch.bfloat16)(photos())
    for one, other in zip(exact, coarse):
        assert torch.cosine_similarity(one.flatten(1), other.float().flatten(1)).min() > 0.99


def test_maps_are_standardised_by_photos_and_the_network_is_frozen():
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
