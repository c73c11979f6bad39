import tracemalloc

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from t2i.metrics import disentangling
from t2i.metrics.disentangling import background_colour, explained_variance, style_clusters, verification_roc


def test_the_background_is_the_border_or_what_lies_outside_the_box():
    pixels = np.zeros((64, 64, 3), np.uint8)
    pixels[16:48, 16:48] = 200
    assert background_colour(pixels, None).tolist() == [0, 0, 0]
    pixels[:, :32] = 100
    assert background_colour(pixels, (0, 0, 0.5, 1)).tolist() == pixels[:, 32:].reshape(-1, 3).mean(0).tolist()
    assert (
        background_colour(pixels, (-1, -1, 2, 2)).tolist() == pixels.reshape(-1, 3).mean(0).tolist()
    )  # the subject fills the picture


def test_style_clusters_do_not_mix_separate_groups():
    measurements = np.repeat(np.eye(3) * 100, 40, 0) + np.random.default_rng(0).normal(size=(120, 3))
    clusters = style_clusters(np.concatenate([measurements] * 4))
    assert len(set(clusters)) <= 100
    for a, b in ((0, 40), (40, 80), (80, 120)):
        assert not set(clusters[a:b]) & set(np.delete(clusters[:120], slice(a, b)))


def test_the_roc_area_is_1_for_codes_of_the_cluster_and_a_half_for_noise():
    random = np.random.default_rng(0)
    labels = np.repeat(np.arange(10), 20)
    area, curve = verification_roc(np.eye(10)[labels] + 0.01 * random.normal(size=(200, 10)), labels)
    assert area > 0.99 and curve[0][0] == 0 and curve[-1] == [1, 1] and len(curve) == 50
    chance, _ = verification_roc(random.normal(size=(200, 10)), labels)
    assert chance == pytest.approx(0.5, abs=0.05)


def test_the_explained_variance_is_that_of_a_linear_map_and_none_for_noise():
    random = np.random.default_rng(0)
    codes = random.normal(size=(400, 20))
    signal, noise = codes @ random.normal(size=(20, 3)), random.normal(size=(400, 3))
    noise *= signal.std(0) / noise.std(0)  # half of the sum's variance
    assert explained_variance(codes, [1, 100, 0.01] * signal + 7) > 0.99
    assert explained_variance(5 * codes, signal + noise) == pytest.approx(0.5, abs=0.1)
    assert explained_variance(codes, noise) < 0.02
    assert np.isfinite(explained_variance(codes, np.ones((400, 3))))


@pytest.mark.parametrize("block", [10**9, 100, 1])
def test_any_block_size_gives_the_area_of_the_definition(block, monkeypatch):
    """The definition compares all pairs at once."""
    monkeypatch.setattr(disentangling, "BLOCK_SIZE", block)
    random = np.random.default_rng(1)
    labels = random.integers(5, size=60)
    codes = (random.normal(size=(60, 10)) + np.eye(10)[labels]).astype(np.float32)
    unit = codes / np.linalg.norm(codes, axis=1, keepdims=True)
    first, second = np.triu_indices(60, 1)
    same, scores = labels[first] == labels[second], (unit[first] * unit[second]).sum(1)
    negatives = np.random.default_rng(7).permutation(np.flatnonzero(~same))[: same.sum()]
    pairs = np.concatenate([np.flatnonzero(same), negatives])
    assert verification_roc(codes, labels, seed=7)[0] == roc_auc_score(same[pairs], scores[pairs])


def test_only_a_sample_of_many_codes_is_compared(monkeypatch):
    """As in MS-COCO, where 40,000 codes would make 800 million pairs."""
    random = np.random.default_rng(0)
    labels = random.integers(10, size=3000)
    codes = random.normal(size=(3000, 10)) + 2 * np.eye(10)[labels]
    area, _ = verification_roc(codes, labels)
    monkeypatch.setattr(disentangling, "MAX_CODES", 400)
    tracemalloc.start()
    sample_area, _ = verification_roc(codes, labels)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert sample_area == pytest.approx(area, abs=0.02) and 0.6 < area < 0.9
    assert peak < 10e6  # bytes; the indices of all pairs are 72 millions
