import pytest
import torch
from torch import nn

from t2i.models.fuse import (
    ZeroEdges,
    fold,
    from_subpixels,
    frozen,
    pixel_shuffle,
    to_subpixels,
    transposed_to_linear,
    transposed_to_subpixels,
)


@pytest.fixture(autouse=True)
def seeded():
    with torch.random.fork_rng(), torch.inference_mode():
        torch.manual_seed(0)
        yield


def test_a_transposed_convolution_can_be_a_subpixel_convolution_with_a_margin():
    transposed, x = nn.ConvTranspose2d(5, 3, 4, 2, 1), torch.randn(2, 5, 6, 4)
    pixels = pixel_shuffle(transposed_to_subpixels(transposed)(x))
    assert pixels.shape == (2, 14, 10, 3)
    torch.testing.assert_close(pixels[:, 1:-1, 1:-1], transposed(x).permute(0, 2, 3, 1), rtol=1e-5, atol=1e-5)


def test_a_convolution_can_be_a_subpixel_convolution():
    convolution, x = nn.Conv2d(5, 3, 3, padding=1), torch.randn(2, 5, 12, 8)
    pixels = pixel_shuffle(to_subpixels(convolution)(x))
    torch.testing.assert_close(pixels, convolution(x).permute(0, 2, 3, 1), rtol=1e-5, atol=1e-5)


def test_a_convolution_can_read_the_subpixels_of_a_transposed_one():
    transposed, convolution = nn.ConvTranspose2d(5, 4, 4, 2, 1), nn.Conv2d(4, 3, 3, padding=1)
    layers = transposed_to_subpixels(transposed), ZeroEdges(), from_subpixels(to_subpixels(convolution))
    x = torch.randn(2, 5, 6, 4)
    expected = convolution(transposed(x)).permute(0, 2, 3, 1)
    torch.testing.assert_close(pixel_shuffle(nn.Sequential(*layers)(x)), expected, rtol=1e-5, atol=1e-5)


def test_a_transposed_convolution_over_one_pixel_can_be_a_matrix():
    transposed, x = nn.ConvTranspose2d(5, 3, 4), torch.randn(2, 5, 1, 1)
    torch.testing.assert_close(nn.Sequential(*transposed_to_linear(transposed))(x), transposed(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("convolution", [nn.Conv2d(3, 4, 3, bias=False), nn.ConvTranspose2d(3, 4, 4, 2, 1)])
def test_batch_norm_is_folded_into_the_convolution_before_it(convolution, affine):
    norm = nn.BatchNorm2d(4, affine=affine)
    nn.init.uniform_(norm.running_mean, -1, 1)
    nn.init.uniform_(norm.running_var, 0.1, 3)
    layers, x = frozen(nn.Sequential(convolution, norm, nn.ReLU())), torch.randn(2, 3, 6, 6)
    folded = fold(layers)
    assert [type(layer) for layer in folded] == [type(convolution), nn.ReLU]
    torch.testing.assert_close(folded(x), layers(x), rtol=1e-5, atol=1e-5)
