import pytest
import torch

from t2i import registry
from t2i.models import DCGANGenerator, DCGANGeneratorConfig, Discriminator, DiscriminatorConfig
from t2i.training.objectives import BETA, OBJECTIVES, sameness


@pytest.fixture
def batch():
    torch.manual_seed(0)
    g, d = DCGANGenerator(DCGANGeneratorConfig(width=4)), Discriminator(DiscriminatorConfig(width=4))
    return g, d, torch.rand(4, 3, 64, 64), torch.randn(4, 1024), torch.randn(4, 1024), torch.randn(6, 100)


def test_every_objective_has_a_registered_model():
    assert tuple(OBJECTIVES) == registry.OBJECTIVES


class Recorder:
    """Stands for G or D and notes the captions that it is given."""

    def __init__(self):
        self.seen, self.weight = [], torch.ones((), requires_grad=True)

    def __call__(self, first, h):
        self.seen.append(h)
        return self.weight * (first.mean() + h.mean(1))

    def look(self, x):
        return x

    score = __call__


@pytest.mark.parametrize("name", OBJECTIVES)
def test_each_yields_a_loss_for_d_then_one_for_g(batch, name):
    g, d, *rest = batch
    turns = OBJECTIVES[name](g, d, *rest)
    loss = next(turns)
    loss.backward()
    assert all(p.grad is None for p in g.parameters()), "D's loss must not reach G"
    assert all(p.grad is not None for p in d.parameters())
    next(turns).backward()
    assert all(p.grad is not None for p in g.parameters())
    assert next(turns, None) is None


@pytest.mark.parametrize("name", OBJECTIVES)
def test_only_cls_shows_d_wrong_captions_and_only_int_mixes_them(name):
    g, d = Recorder(), Recorder()
    x, h, wrong, z = torch.rand(4, 3, 64, 64), torch.randn(4, 1024), torch.randn(4, 1024), torch.randn(6, 100)
    next(OBJECTIVES[name](g, d, x, h, wrong, z))
    assert any(torch.equal(seen, wrong) for seen in d.seen) == name.endswith("cls")
    mixed = torch.cat([h, BETA * h[:2] + (1 - BETA) * h[2:]])
    assert torch.equal(g.seen[0], mixed if "int" in name else h)
    own = [h, h[:2]] if "int" in name else [h]
    told = d.seen[-len(own) :]
    assert all(map(torch.equal, told, own)), "D learns of every drawn picture, by people's captions"


@pytest.mark.parametrize("name", OBJECTIVES)
def test_d_is_asked_of_the_same_batches_in_both_turns(name):
    """Batch norm ties a score to its batch: what D learns in its turn must hold in G's."""
    g, d = Recorder(), Recorder()
    x, h, wrong, z = torch.rand(4, 3, 64, 64), torch.randn(4, 1024), torch.randn(4, 1024), torch.randn(6, 100)
    turns = OBJECTIVES[name](g, d, x, h, wrong, z)
    next(turns)
    own = len(d.seen)
    next(turns)
    drawn = d.seen[own:]
    assert [len(seen) for seen in drawn] == [len(seen) for seen in d.seen[own - len(drawn) : own]]
    assert torch.equal(drawn[0], h)


def test_d_weighs_wrong_and_fake_by_half():
    """Algorithm 1, line 10: with all scores 0 each term is log 2, the two false ones at half weight."""

    class Zero(Recorder):
        def __call__(self, first, h):
            return torch.zeros(len(h)) * self.weight

        score = __call__

    rest = torch.rand(4, 3, 64, 64), torch.randn(4, 1024), torch.randn(4, 1024), torch.randn(6, 100)
    for name in OBJECTIVES:
        assert next(OBJECTIVES[name](Zero(), Zero(), *rest)).item() == pytest.approx(2 * 0.693147, abs=1e-5)


def test_sameness_is_what_is_missing_of_the_least_difference():
    assert sameness(torch.tensor([0.0, 0.0]), 0.3).item() == pytest.approx(0.3)
    assert sameness(torch.tensor([0.3, 9.0]), 0.3) == 0
    assert sameness(torch.tensor([0.1, 9.0]), 0.3).item() == pytest.approx(0.1)  # of each pair, not of their mean
