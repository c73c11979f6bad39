import pytest
import torch

from t2i.training.attributes import ATTRIBUTES, attribute_loss, attribute_scale, measure_attributes


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
    i = [attribute[0] for attribute in ATTRIBUTES].index(name)
    before, after = (measure_attributes(scene(**ends))[0] for ends in (low, high))
    assert after[i] > before[i] + 0.05
    if name in ("Across", "Height"):
        assert torch.allclose(before[:i], after[:i], atol=0.02), "only the place has changed"


def test_measures_are_bounded_and_pass_gradients_on():
    for picture in (torch.zeros(1, 3, 64, 64), torch.ones(1, 3, 64, 64), scene()):
        picture.requires_grad_()
        measures = measure_attributes(picture)
        assert measures.shape == (1, len(ATTRIBUTES)) and measures.isfinite().all() and measures.abs().max() <= 2
        measures.sum().backward()
        assert picture.grad.isfinite().all()


def test_the_loss_is_0_for_pictures_that_differ_as_their_noise():
    pictures = torch.cat([scene(background=(v, v, v)) for v in (0.1, -0.1)])
    measures = measure_attributes(pictures)
    scale = attribute_scale(pictures[:1], pictures[1:])
    z = torch.zeros(2, 100)
    z[:, : len(ATTRIBUTES)] = measures / scale
    assert attribute_loss(pictures, z, scale) < 1e-6 < 0.1 < attribute_loss(pictures, -z, scale)
