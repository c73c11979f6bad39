import pytest
import torch

from t2i.models import DCGANGenerator, DCGANGeneratorConfig, Discriminator, DiscriminatorConfig
from t2i.registry import OBJECTIVES
from t2i.training.objectives import BETA, LOSSES, diversity_loss, mutual_information_loss


@pytest.fixture
def batch():
    torch.manual_seed(0)
    g, d = DCGANGenerator(DCGANGeneratorConfig(width=4)), Discriminator(DiscriminatorConfig(width=4))
    return g, d, torch.rand(4, 3, 64, 64), torch.randn(4, 1024), torch.randn(4, 1024), torch.randn(6, 100)


def test_the_table_describes_each_objective():
    assert tuple(LOSSES) == tuple(OBJECTIVES)


class Recorder:
    """A stand-in for G or D that records the captions it gets."""

    def __init__(self):
        self.captions, self.weight = [], torch.ones((), requires_grad=True)

    def __call__(self, first, h):
        self.captions.append(h)
        return self.weight * (first.mean() + h.mean(1))

    def look(self, x):
        return x

    score = __call__


@pytest.mark.parametrize("name", OBJECTIVES)
def test_each_objective_yields_a_loss_for_d_then_one_for_g(batch, name):
    g, d, *rest = batch
    losses = LOSSES[name](g, d, *rest)
    loss = next(losses)
    loss.backward()
    assert all(p.grad is None for p in g.parameters()), "D's loss must not reach G"
    assert all(p.grad is not None for p in d.parameters())
    next(losses).backward()
    assert all(p.grad is not None for p in g.parameters())
    assert next(losses, None) is None


@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_table_says_which_captions_each_objective_uses(name):
    g, d, objective = Recorder(), Recorder(), OBJECTIVES[name]
    x, h, wrong, z = torch.rand(4, 3, 64, 64), torch.randn(4, 1024), torch.randn(4, 1024), torch.randn(6, 100)
    losses = LOSSES[name](g, d, x, h, wrong, z)
    next(losses)
    assert any(torch.equal(captions, wrong) for captions in d.captions) == objective.mismatching
    with_interpolated = torch.cat([h, BETA * h[:2] + (1 - BETA) * h[2:]])
    in_g_turn = with_interpolated if objective.interpolated else h
    assert torch.equal(g.captions[0], in_g_turn)
    assert all(len(captions) == len(h) for captions in d.captions), "D's own turn has no interpolated captions"
    d.captions.clear()
    next(losses)
    assert len(d.captions) == 1 and torch.equal(d.captions[0], in_g_turn)


class Constant(Recorder):
    """A stand-in for G or D whose pictures or scores are 0; it records them."""

    def __init__(self):
        super().__init__()
        self.scores = []

    def __call__(self, first, h):
        scores = torch.zeros(len(h)) * self.weight
        scores.retain_grad()
        self.scores.append(scores)
        return scores

    score = __call__


@pytest.mark.parametrize("name", OBJECTIVES)
def test_all_fakes_have_the_same_weight_in_the_loss_of_g(name):
    d = Constant()
    losses = LOSSES[name](Constant(), d, torch.rand(4, 3, 64, 64), *torch.randn(2, 4, 1024), torch.randn(6, 100))
    next(losses)
    d.scores.clear()
    next(losses).backward()
    (gradient,) = (scores.grad for scores in d.scores)
    assert len(gradient) == (6 if OBJECTIVES[name].interpolated else 4)
    assert (gradient == gradient[0]).all()


def test_mismatching_and_fake_have_half_the_weight_each():
    """Algorithm 1, line 10: with all scores 0 each term is log 2, and these two have half the weight."""
    rest = torch.rand(4, 3, 64, 64), torch.randn(4, 1024), torch.randn(4, 1024), torch.randn(6, 100)
    for name in OBJECTIVES:
        assert next(LOSSES[name](Constant(), Constant(), *rest)).item() == pytest.approx(2 * 0.693147, abs=1e-5)


def test_the_diversity_loss_is_what_each_pair_lacks_of_the_least_distance():
    assert diversity_loss(torch.tensor([0.0, 0.0]), 0.3).item() == pytest.approx(0.3)
    assert diversity_loss(torch.tensor([0.3, 9.0]), 0.3) == 0
    assert diversity_loss(torch.tensor([0.1, 9.0]), 0.3).item() == pytest.approx(0.1)  # not of the mean distance


def test_the_mutual_information_loss_is_what_the_correlation_lacks_of_its_target():
    z = torch.randn(1000, 100, generator=torch.Generator().manual_seed(0))
    assert mutual_information_loss(3 * z + 1, z, 0.7) == 0
    assert mutual_information_loss(z.roll(1, 0), z, 0.7).item() == pytest.approx(0.7, abs=0.01)
    assert mutual_information_loss(torch.zeros_like(z), z, 0.7).item() == pytest.approx(0.7)
