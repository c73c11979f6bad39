import pytest
import torch

from t2i.data.augment import CUTOUT_SIZE, MAX_SHIFT, VIEW_SIZE, _random_crop, _random_cutout, diff_augment, to_view


def picture(size=128):
    return torch.rand(3, size, size, generator=torch.Generator().manual_seed(0)) * 2 - 1


@pytest.mark.parametrize("size", [32, 64, 128, 256])
def test_both_views_have_64_pixels_and_pass_gradients_on(size):
    x = picture(size)[None].repeat(3, 1, 1, 1).requires_grad_()
    for view in diff_augment(x):
        assert view.shape == (3, 3, VIEW_SIZE, VIEW_SIZE)
        [gradient] = torch.autograd.grad(view.square().sum(), x, retain_graph=True)
        assert gradient.isfinite().all() and gradient.abs().sum() > 0


def test_the_last_pairs_share_their_augmentation():
    torch.manual_seed(0)
    for view in diff_augment(picture()[None].repeat(8, 1, 1, 1), pairs=3):
        assert torch.equal(view[2:5], view[5:])
        assert len({tuple(x.flatten()[:99].tolist()) for x in view[:5]}) == 5, "each of the others has its own"


def test_each_picture_is_cropped_at_random():
    torch.manual_seed(0)
    rows = torch.arange(96.0)[None, None, :, None].expand(40, 1, 96, 96)
    tops = _random_crop(rows, VIEW_SIZE, 0)[:, 0, 0, 0]
    assert 0 <= tops.min() < tops.max() <= 96 - VIEW_SIZE and len(tops.unique()) > 10


def test_the_whole_picture_moves_by_a_few_pixels_only():
    torch.manual_seed(0)
    x = torch.arange(128.0)[None, None, :, None].expand(40, 3, 128, 128)
    padded = torch.nn.functional.pad(to_view(x), (MAX_SHIFT,) * 4, mode="reflect")
    middle = _random_crop(padded, VIEW_SIZE, 0)[:, 0, VIEW_SIZE // 2, 0]
    moved = middle - to_view(x)[0, 0, VIEW_SIZE // 2, 0]
    assert moved.abs().max() <= 2 * MAX_SHIFT  # a row here is two of the picture


def test_a_square_is_cut_out():
    torch.manual_seed(0)
    cut = _random_cutout(torch.ones(40, 3, VIEW_SIZE, VIEW_SIZE), 0)
    sizes = (cut[:, 0] == 0).sum((1, 2))
    assert 0 < sizes.min() and sizes.max() == CUTOUT_SIZE**2 and set(cut.unique().tolist()) == {0.0, 1.0}
