"""Children of two pictures."""

from dataclasses import replace

import pytest
import torch

import t2i
from t2i.breeding import MAX_GENOME_CAPTIONS, Genome, check_genomes, children

NOISE = torch.randn(200, 100, generator=torch.Generator().manual_seed(0))
MOTHER = Genome(("a red flower",), (1.0,), tuple(torch.randn(100, generator=torch.Generator().manual_seed(1)).tolist()))
FATHER = Genome(("a blue bird",), (1.0,), tuple(torch.randn(100, generator=torch.Generator().manual_seed(2)).tolist()))


def test_children_take_from_both_and_keep_the_norm_of_the_noise():
    bred = children([MOTHER, FATHER], NOISE, 0.1)
    shares = torch.tensor([dict(zip(child.captions, child.weights))["a red flower"] for child in bred])
    assert shares.min() < 0.1 and shares.max() > 0.9 and abs(shares.mean() - 0.5) < 0.1
    assert all(abs(sum(child.weights) - 1) < 1e-6 for child in bred)
    z = torch.tensor([child.z for child in bred])
    assert 0.8 < z.std() < 1.2
    toward = [torch.cosine_similarity(z, torch.tensor(parent.z)[None]).mean() for parent in (MOTHER, FATHER)]
    assert min(toward) > 0.4


def test_mutation_replaces_what_the_parents_give():
    pure, half, whole = (torch.tensor([child.z for child in children([MOTHER, FATHER], NOISE, m)]) for m in (0, 0.5, 1))
    assert torch.allclose(whole, NOISE)
    assert (pure - half).square().mean() < (pure - whole).square().mean()
    twins = torch.tensor([child.z for child in children([MOTHER, MOTHER], NOISE, 0)])
    assert torch.cosine_similarity(twins, torch.tensor(MOTHER.z)[None]).min() > 0.9


def test_captions_of_many_generations_are_bounded():
    many = Genome(tuple("abcd"), (0.25,) * 4, MOTHER.z)
    more = Genome(tuple("efgh"), (0.25,) * 4, FATHER.z)
    for child in children([many, more], NOISE, 0.1):
        assert len(child.captions) == MAX_GENOME_CAPTIONS and abs(sum(child.weights) - 1) < 1e-6


@pytest.mark.parametrize("parents", [[MOTHER], [MOTHER] * 3, MOTHER])
def test_other_families_are_refused(parents):
    with pytest.raises(t2i.InputError, match="breeding takes two parents, not [13]$"):
        children(parents, NOISE, 0.1)


@pytest.mark.parametrize("mutation", [1.5, -0.1, "1", None, [0.1, 0.1], float("nan")])
def test_other_mutations_are_refused(mutation):
    with pytest.raises(t2i.InputError, match="^mutation must be a number from 0 to 1, not "):
        children([MOTHER, FATHER], NOISE, mutation)


@pytest.mark.parametrize(
    "parent, words",
    [
        (replace(MOTHER, captions=(b"x",)), "a caption must be text, not b'x'"),
        (replace(MOTHER, captions=(None,)), "a caption must be text, not None"),
        (replace(MOTHER, weights=("1",)), "with 1 captions must be as many numbers that sum to 1, not .'1',."),
        (replace(MOTHER, weights=(0.4,)), "numbers that sum to 1, not .0.4,."),
        (replace(MOTHER, weights=(0.5, 0.5)), "with 1 captions must be as many numbers"),
        (replace(MOTHER, z=MOTHER.z[1:]), "z of a Genome must be 100 finite numbers"),
        (replace(MOTHER, z=None), "z of a Genome must be 100 finite numbers, not None"),
        ("a red flower", "parents and children must be of the type Genome, not 'a red flower'"),
        ([MOTHER], "parents and children must be of the type Genome, not "),
        (None, "parents and children must be of the type Genome, not None"),
    ],
)
def test_parents_and_children_that_are_not_valid_are_refused(parent, words):
    with pytest.raises(t2i.InputError, match=words):
        children([FATHER, parent], NOISE, 0.1)
    with pytest.raises(t2i.InputError, match=words):
        check_genomes([parent], len(MOTHER.z))
