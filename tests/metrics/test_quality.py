import pytest
import torch
from torch.nn.functional import normalize

from t2i.metrics import quality
from t2i.metrics.quality import area, cycle_error, distance, frechet, kid, precision, spread


def normal(count: int, seed: int, mean: float = 0, scale: float = 1, width: int = 8) -> torch.Tensor:
    return mean + scale * torch.randn(count, width, generator=torch.Generator().manual_seed(seed))


def test_kid_is_near_0_for_one_distribution_and_grows_with_the_distance():
    same, deviation = kid(normal(600, 1), normal(600, 2), subsets=20)
    near, far = (kid(normal(600, 1), normal(600, 2, mean), subsets=20)[0] for mean in (0.5, 1))
    assert abs(same) < 0.05 and 0 < deviation < 0.1 and same < near < far
    assert kid(normal(600, 1), normal(600, 2), subsets=20) == (same, deviation)


def test_kid_by_hand():
    """Two points each, one dimension: k(a, b) = (ab + 1)³."""
    x, y = torch.tensor([[0.0], [1.0]]), torch.tensor([[2.0], [2.0]])
    found, _ = kid(x, y, subsets=2)
    assert found == pytest.approx(1 + 125 - 2 * (1 + 1 + 27 + 27) / 4)


def test_frechet_of_known_normals():
    count, width = 40_000, 4
    one, other = normal(count, 1, width=width), normal(count, 2, 2, 3, width)
    assert frechet(one, other) == pytest.approx(width * (2**2 + (3 - 1) ** 2), rel=0.05)
    assert frechet(one, one) == pytest.approx(0, abs=1e-6)
    assert frechet(normal(20, 1, width=50), normal(20, 2, width=50)) > 10  # few samples: biased, but finite


def test_precision_is_1_for_the_right_captions_and_chance_for_shuffled():
    texts = normal(400, 1, width=32)
    assert precision(texts + 0.01, texts) == 1
    assert precision(texts[torch.randperm(400, generator=torch.Generator().manual_seed(0))], texts) < 0.05
    assert precision(texts[:3], texts[:3]) == 1  # fewer than a hundred: as many as there are


@pytest.mark.parametrize("block", [4096, 7])
def test_precision_in_blocks_is_that_of_the_whole_table(block, monkeypatch):
    monkeypatch.setattr(quality, "BLOCK", block)
    widest, multiply = [], torch.Tensor.__matmul__
    texts = normal(200, 1, width=32)
    pictures = texts + 2 * normal(200, 2, width=32)
    g, right = torch.Generator().manual_seed(5), 0
    for i, row in enumerate(normalize(pictures) @ normalize(texts).T):
        wrong = torch.randperm(199, generator=g)[:99]
        right += bool(row[i] > row[wrong + (wrong >= i)].max())

    def noting(one, other):
        widest.append(len(found := multiply(one, other)))
        return found

    monkeypatch.setattr(torch.Tensor, "__matmul__", noting)
    assert 0.1 < right / 200 < 0.9 and precision(pictures, texts, seed=5) == right / 200
    assert max(widest) == min(block, 200)


def test_precision_never_ranks_a_caption_against_itself():
    texts = torch.eye(5)
    assert precision(texts, texts, others=4) == 1


def test_spread_is_the_mean_distance():
    assert spread(torch.tensor([[0.0, 0], [3, 4], [0, 0]])) == pytest.approx(10 / 3)


def test_distance_is_the_mean_of_each_to_its_fellow():
    assert distance(torch.zeros(2, 2), torch.tensor([[3.0, 4], [0, 1]])) == pytest.approx(3)


def test_the_cycle_error_is_0_for_the_truth_and_1_for_nothing():
    """G of 128 pixels paints a channel for each number of z, and S, which sees 64, reads it off."""
    z = normal(70, 1, width=4)

    def generator(z, h):
        return z[:, :, None, None].expand(-1, -1, 128, 128)

    def read(x):
        assert x.shape[2:] == (64, 64)
        return x.mean((2, 3))

    assert cycle_error(read, generator, z, z) == pytest.approx(0, abs=1e-9)
    assert cycle_error(lambda x: 0 * read(x), generator, z, z) == pytest.approx(1)
    first = torch.eye(4)[:1]
    assert cycle_error(lambda x: read(x) * first, generator, z, z, along=first) == pytest.approx(0, abs=1e-9)
    assert cycle_error(lambda x: read(x) * first, generator, z, z) == pytest.approx(0.75, abs=0.1)


def test_area_is_the_share_of_pairs_in_the_right_order():
    right, wrong = torch.tensor([3.0, 1.0]), torch.tensor([2.0, 0.0, 0.5])
    assert area(right, wrong) == pytest.approx(5 / 6) and area(wrong, right) == pytest.approx(1 / 6)
    assert area(right, right) == 0.5
