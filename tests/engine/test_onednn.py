import pytest
import torch
from torch import nn

from t2i.engine.onednn import pack


@pytest.mark.parametrize("activation", [None, nn.ReLU(), nn.LeakyReLU(0.2), nn.LeakyReLU(0.0), nn.Tanh()])
@pytest.mark.parametrize(
    "layer, shape",
    [
        (nn.Linear(5, 7), (5,)),
        (nn.Conv2d(5, 7, 3, padding=1), (5, 6, 6)),
        (nn.Conv2d(5, 7, 4, 2, 1, bias=False), (5, 6, 6)),
        (nn.ConvTranspose2d(5, 7, 4, 2, 1), (5, 6, 6)),
    ],
)
@torch.inference_mode()
def test_a_packed_layer_computes_what_the_layer_does(layer, shape, activation):
    layers = nn.Sequential(layer, *[activation][: activation is not None])
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layer.reset_parameters()
        x = torch.randn(3, *shape)
    packed = pack(layers, x[:2])
    assert [type(layer).__name__ for layer in packed] == ["PackedLayer"]
    torch.testing.assert_close(packed(x), layers(x), rtol=1e-5, atol=1e-5)
