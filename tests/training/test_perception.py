import torch

from t2i.models import Discriminator, DiscriminatorConfig
from t2i.training.perception import HOLE, SHIFT, Discriminators, Perception, apart, disturbed


def photos(count=8):
    return torch.rand(count, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_maps_are_scaled_by_the_photos_and_frozen():
    see = Perception(photos())
    maps = see(photos())
    assert [tuple(m.shape[1:]) for m in maps] == [(24, 16, 16), (40, 8, 8), (112, 4, 4)]
    for seen in maps:
        assert seen.mean((0, 2, 3)).abs().max() < 1e-3 and (seen.std((0, 2, 3)) - 1).abs().max() < 1e-3
    assert not any(p.requires_grad for p in see.parameters())


def test_each_map_has_a_judge_beside_d_and_none_learns_to_see():
    torch.manual_seed(0)
    d, see = Discriminator(DiscriminatorConfig(embedding=32, width=4)), Perception(photos())
    x, h = photos().requires_grad_(), torch.randn(8, 32)
    alone = Discriminators(d, None)
    assert torch.equal(alone(x, h)[:, 0], d(x, h))
    both = Discriminators(d, see)
    scores = both(x, h)
    assert scores.shape == (8, 4)
    both.requires_grad_(True)
    scores[:, 1:].sum().backward()
    assert x.grad.abs().sum() > 0
    assert all(p.grad is None for p in see.parameters())
    assert not any(name.startswith("see") for name in both.state_dict())


def test_captions_matter_to_every_judge():
    torch.manual_seed(0)
    both = Discriminators(Discriminator(DiscriminatorConfig(embedding=32, width=4)), Perception(photos()))
    seen, h = both.look(photos()), torch.randn(2, 8, 32)
    assert ((both.match(seen, h[0]) - both.match(seen, h[1])).abs().amax(0) > 1e-4).all()


def test_a_disturbed_picture_is_moved_and_holed():
    torch.manual_seed(0)
    x = torch.full((4, 3, 64, 64), 0.5)
    out = disturbed(x)
    assert out.shape == x.shape and set(out.unique().tolist()) == {0.0, 0.5}
    assert 0 < (out[0, 0] == 0).sum() <= HOLE**2
    mark = torch.zeros(1, 3, 64, 64)
    mark[..., 32, 32] = 1
    places = torch.cat([disturbed(mark)[0, 0].nonzero() for _ in range(40)])
    assert len(places) and (places - 32).abs().max() <= SHIFT and len(places.unique(dim=0)) > 5


def test_apart_measures_pairs():
    maps = [torch.randn(6, 4, 8, 8), torch.randn(6, 2, 4, 4)]
    same = [m[:3].repeat(2, 1, 1, 1).requires_grad_() for m in maps]
    assert apart(same).max() < 1e-5
    apart(same).sum().backward()
    assert all((m.grad == 0).all() for m in same)  # the slope of a bare root would be no number
    wanted = torch.stack([(m[:3] - m[3:]).square().mean((1, 2, 3)).sqrt() for m in maps]).mean(0)
    assert torch.allclose(apart(maps), wanted)
