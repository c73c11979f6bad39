import pytest
import torch
from torch.nn.functional import conv2d, interpolate

from t2i.models import CBNGenerator, CBNGeneratorConfig
from t2i.models.cbn_generator import MAX_CONDITIONAL_SIDE, ConditionalNorm, Upsample

SMALL = {"noise": 10, "embedding": 12, "projected": 6, "mapped": 8, "channels": (8, 8, 8, 4, 4, 4, 4, 4)}


@pytest.mark.parametrize("size", [32, 64, 128, 256, 512])
def test_pictures_have_the_configured_size(size):
    x = CBNGenerator(CBNGeneratorConfig(size=size, **SMALL))(torch.randn(2, 10), torch.randn(2, 12))
    assert x.shape == (2, 3, size, size) and x.abs().max() <= 1


@pytest.mark.parametrize("size", [16, 96, 100, 1024])
def test_other_sizes_are_refused(size):
    with pytest.raises(ValueError, match=f"size must be a power of two from 32 to 512, not {size}"):
        CBNGeneratorConfig(size=size)


def test_too_few_channels_are_refused():
    with pytest.raises(ValueError, match="channels must be 6 numbers for size 128"):
        CBNGeneratorConfig(size=128, channels=(8, 8))


def test_upsample_is_nearest_neighbour_and_a_convolution():
    layer, x = Upsample(3, 5).double(), torch.randn(2, 3, 6, 6).double()
    expected = conv2d(interpolate(x, scale_factor=2), layer.weight.transpose(0, 1).flip(2, 3), padding=1)
    torch.testing.assert_close(layer(x), expected)


def test_the_caption_enters_at_every_resolution_up_to_32():
    generator = CBNGenerator(CBNGeneratorConfig(size=128, **SMALL))
    conditional = [layer for layer in generator.draw if isinstance(layer, ConditionalNorm)]
    sides = [side for side in generator.config.sides if side <= MAX_CONDITIONAL_SIDE]
    assert sides == [4, 8, 16, 32] and len(conditional) == 2 * len(sides) - 1  # one at 4×4
