"""Mixed captions: weighted sums as in the paper, or as long as captions are."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from t2i.engine.mixing import mix

shares = st.lists(st.floats(0, 1), min_size=4, max_size=4).filter(lambda weights: sum(weights) > 0.1)


def embeddings(seed: int, count: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    """Embeddings (4, 64) and a mean (64,)."""
    g = torch.Generator().manual_seed(seed)
    return torch.randn(count, 64, generator=g) + 1, torch.ones(64)


def test_without_a_mean_captions_are_summed():
    h, _ = embeddings(0)
    assert torch.allclose(mix(h, torch.tensor([[0.25, 0.75, 0, 0]])), (0.25 * h[0] + 0.75 * h[1])[None])


@given(seed=st.integers(0, 99), weights=shares)
def test_a_mixed_caption_is_as_far_from_the_mean_as_its_captions(seed, weights):
    h, mean = embeddings(seed)
    row = torch.tensor(weights) / sum(weights)
    mixed = mix(h, row[None], mean)[0]
    expected = row @ (h - mean).norm(dim=1)
    assert torch.isclose((mixed - mean).norm(), expected, rtol=1e-3)
    assert torch.cosine_similarity(mixed - mean, row @ h - mean, dim=0) > 0.999  # the direction stays


def test_a_caption_alone_stays_exactly_as_it_is():
    h, mean = embeddings(1)
    assert torch.equal(mix(h, torch.eye(4), mean), h)


def test_opposite_captions_give_finite_numbers():
    h, mean = embeddings(2, 1)
    mixed = mix(torch.cat([h, 2 * mean - h]), torch.tensor([[0.5, 0.5]]), mean)
    assert mixed.isfinite().all()
