import math

import pytest
import torch
from torch.nn.functional import normalize

from t2i.metrics import quality
from t2i.metrics.quality import (
    cycle_error,
    frechet_distance,
    kid,
    mean_paired_distance,
    mean_pairwise_distance,
    r_precision,
    roc_auc,
)


def normal(count: int, seed: int, mean: float = 0, scale: float = 1, width: int = 8) -> torch.Tensor:
    return mean + scale * torch.randn(count, width, generator=torch.Generator().manual_seed(seed))


def test_kid_is_near_0_for_one_distribution_and_grows_with_the_distance():
    same, deviation = kid(normal(600, 1), normal(600, 2), subsets=20)
    near, far = (kid(normal(600, 1), normal(600, 2, mean), subsets=20)[0] for mean in (0.5, 1))
    assert abs(same) < 0.05 and 0 < deviation < 0.1 and same < near < far
    assert kid(normal(600, 1), normal(600, 2), subsets=20) == (same, deviation)


def test_kid_of_two_points_each_in_one_dimension():
    """k(a, b) = (ab + 1)³."""
    x, y = torch.tensor([[0.0], [1.0]]), torch.tensor([[2.0], [2.0]])
    value, _ = kid(x, y, subsets=2)
    assert value == pytest.approx(1 + 125 - 2 * (1 + 1 + 27 + 27) / 4)


def test_frechet_distance_of_known_normal_distributions():
    count, width = 40_000, 4
    x, y = normal(count, 1, width=width), normal(count, 2, 2, 3, width)
    assert frechet_distance(x, y) == pytest.approx(width * (2**2 + (3 - 1) ** 2), rel=0.05)
    assert frechet_distance(x, x) == pytest.approx(0, abs=1e-6)
    assert frechet_distance(normal(20, 1, width=50), normal(20, 2, width=50)) > 10  # few samples: biased, but finite


def test_r_precision_is_1_for_the_right_captions_and_chance_for_shuffled_ones():
    texts = normal(400, 1, width=32)
    assert r_precision(texts + 0.01, texts) == 1
    assert r_precision(texts[torch.randperm(400, generator=torch.Generator().manual_seed(0))], texts) < 0.05
    assert r_precision(texts[:3], texts[:3]) == 1  # there are fewer than a hundred captions


@pytest.mark.parametrize("block", [4096, 7])
def test_r_precision_in_blocks_is_that_of_the_whole_table(block, monkeypatch):
    monkeypatch.setattr(quality, "BLOCK_SIZE", block)
    row_counts, multiply = [], torch.Tensor.__matmul__
    texts = normal(200, 1, width=32)
    pictures = texts + 2 * normal(200, 2, width=32)
    g, correct = torch.Generator().manual_seed(5), 0
    for i, row in enumerate(normalize(pictures) @ normalize(texts).T):
        wrong = torch.randperm(199, generator=g)[:99]
        correct += bool(row[i] > row[wrong + (wrong >= i)].max())

    def record_rows(a, b):
        product = multiply(a, b)
        row_counts.append(len(product))
        return product

    monkeypatch.setattr(torch.Tensor, "__matmul__", record_rows)
    assert 0.1 < correct / 200 < 0.9 and r_precision(pictures, texts, seed=5) == correct / 200
    assert max(row_counts) == min(block, 200)


def test_r_precision_within_a_class_compares_with_captions_of_the_class_alone():
    texts = torch.eye(40)
    classes = torch.arange(40) % 4
    pictures = texts.clone()
    pictures[0] += 3 * texts[1]  # nearer to a caption of another class, which is not asked
    pictures[1] += 3 * texts[5]  # nearer to another caption of its class
    assert r_precision(pictures, texts, num_wrong=9, classes=classes) == 39 / 40
    few = torch.cat([torch.zeros(30), torch.arange(1, 11)])  # ten classes of one caption do not count
    assert r_precision(texts, texts, num_wrong=9, classes=few) == 1
    assert math.isnan(r_precision(texts, texts, num_wrong=40, classes=classes))


def test_r_precision_never_ranks_a_caption_against_itself():
    texts = torch.eye(5)
    assert r_precision(texts, texts, num_wrong=4) == 1


def test_mean_pairwise_distance_is_that_of_all_pairs():
    assert mean_pairwise_distance(torch.tensor([[0.0, 0], [3, 4], [0, 0]])) == pytest.approx(10 / 3)


def test_mean_paired_distance_is_that_of_equal_rows():
    assert mean_paired_distance(torch.zeros(2, 2), torch.tensor([[3.0, 4], [0, 1]])) == pytest.approx(3)


def test_the_cycle_error_is_0_for_the_truth_and_1_for_nothing():
    """G draws 128 pixels, with a channel for each number of z, and S reads it from 64 pixels."""
    z = normal(70, 1, width=4)

    def generator(z, h):
        return z[:, :, None, None].expand(-1, -1, 128, 128)

    def style_encoder(x):
        assert x.shape[2:] == (64, 64)
        return x.mean((2, 3))

    assert cycle_error(style_encoder, generator, z, z) == pytest.approx(0, abs=1e-9)
    assert cycle_error(lambda x: 0 * style_encoder(x), generator, z, z) == pytest.approx(1)
    first = torch.eye(4)[:1]
    partial_error = cycle_error(lambda x: style_encoder(x) * first, generator, z, z, directions=first)
    assert partial_error == pytest.approx(0, abs=1e-9)
    assert cycle_error(lambda x: style_encoder(x) * first, generator, z, z) == pytest.approx(0.75, abs=0.1)


def test_roc_auc_is_the_share_of_pairs_in_the_right_order():
    positive, negative = torch.tensor([3.0, 1.0]), torch.tensor([2.0, 0.0, 0.5])
    assert roc_auc(positive, negative) == pytest.approx(5 / 6)
    assert roc_auc(negative, positive) == pytest.approx(1 / 6)
    assert roc_auc(positive, positive) == 0.5
