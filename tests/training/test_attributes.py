import pytest
import torch

from t2i.training.attributes import STYLES, attribute_loss, attribute_spread, measures


def scene(across=32, down=32, radius=10, background=(0.0, 0.0, 0.0), colour=(1.0, -1.0, 1.0)):
    """A disc on a plain background, (1, 3, 64, 64)."""
    y, x = torch.meshgrid(torch.arange(64), torch.arange(64), indexing="ij")
    disc = (y - down).square() + (x - across).square() < radius**2
    return torch.where(disc, torch.tensor(colour)[:, None, None], torch.tensor(background)[:, None, None])[None]


@pytest.mark.parametrize(
    "name, low, high",
    [
        ("Background", {"background": (-0.5, -0.5, -0.5)}, {"background": (0.5, 0.5, 0.5)}),
        ("Greenery", {"background": (0.2, -0.2, 0.2)}, {"background": (-0.2, 0.2, -0.2)}),
        ("Size", {"radius": 6}, {"radius": 20}),
        ("Across", {"across": 20}, {"across": 44}),
        ("Height", {"down": 44}, {"down": 20}),
    ],
)
def test_each_measure_grows_with_its_name(name, low, high):
    place = [style[0] for style in STYLES].index(name)
    one, other = measures(scene(**low))[0], measures(scene(**high))[0]
    assert other[place] > one[place] + 0.05
    if name in ("Across", "Height"):
        assert torch.allclose(one[:place], other[:place], atol=0.02), "the place alone has changed"


def test_measures_are_bounded_and_pass_gradients_on():
    for picture in (torch.zeros(1, 3, 64, 64), torch.ones(1, 3, 64, 64), scene()):
        picture.requires_grad_()
        found = measures(picture)
        assert found.shape == (1, len(STYLES)) and found.isfinite().all() and found.abs().max() <= 2
        found.sum().backward()
        assert picture.grad.isfinite().all()


def test_pictures_that_do_as_they_are_told_cost_nothing():
    pictures = torch.cat([scene(background=(v, v, v)) for v in (0.1, -0.1)])
    found = measures(pictures)
    scale = attribute_spread(pictures[:1], pictures[1:])
    obedient = torch.zeros(2, 100)
    obedient[:, : len(STYLES)] = found / scale
    assert attribute_loss(pictures, obedient, scale) < 1e-6 < 0.1 < attribute_loss(pictures, -obedient, scale)
