import pytest
import torch

from t2i.data.augment import HOLE, SHIFT, VIEW, _crop, _cut_out, to_view, views


def picture(size=128):
    return torch.rand(3, size, size, generator=torch.Generator().manual_seed(0)) * 2 - 1


@pytest.mark.parametrize("size", [32, 64, 128, 256])
def test_both_views_have_64_pixels_and_pass_gradients_on(size):
    x = picture(size)[None].repeat(3, 1, 1, 1).requires_grad_()
    for view in views(x):
        assert view.shape == (3, 3, VIEW, VIEW)
        [gradient] = torch.autograd.grad(view.square().sum(), x, retain_graph=True)
        assert gradient.isfinite().all() and gradient.abs().sum() > 0


def test_the_last_pairs_share_their_augmentation():
    torch.manual_seed(0)
    for view in views(picture()[None].repeat(8, 1, 1, 1), pairs=3):
        assert torch.equal(view[2:5], view[5:])
        assert len({tuple(x.flatten()[:99].tolist()) for x in view[:5]}) == 5, "the others have each their own"


def test_a_crop_is_a_window_of_its_own_for_each_picture():
    torch.manual_seed(0)
    rows = torch.arange(96.0)[None, None, :, None].expand(40, 1, 96, 96)
    tops = _crop(rows, VIEW, 0)[:, 0, 0, 0]
    assert 0 <= tops.min() < tops.max() <= 96 - VIEW and len(tops.unique()) > 10


def test_the_whole_is_moved_by_a_few_pixels_alone():
    torch.manual_seed(0)
    x = torch.arange(128.0)[None, None, :, None].expand(40, 3, 128, 128)
    padded = torch.nn.functional.pad(to_view(x), (SHIFT,) * 4, mode="reflect")
    middle = _crop(padded, VIEW, 0)[:, 0, VIEW // 2, 0]
    assert (middle - to_view(x)[0, 0, VIEW // 2, 0]).abs().max() <= 2 * SHIFT  # a row here is two of the picture


def test_a_square_is_cut_out():
    torch.manual_seed(0)
    holed = _cut_out(torch.ones(40, 3, VIEW, VIEW), 0)
    sizes = (holed[:, 0] == 0).sum((1, 2))
    assert 0 < sizes.min() and sizes.max() == HOLE**2 and set(holed.unique().tolist()) == {0.0, 1.0}
