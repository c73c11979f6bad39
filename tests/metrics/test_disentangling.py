import tracemalloc

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from t2i.metrics import disentangling
from t2i.metrics.disentangling import background, roc, styles


def test_the_background_is_the_border_or_what_lies_outside_the_box():
    pixels = np.zeros((64, 64, 3), np.uint8)
    pixels[16:48, 16:48] = 200
    assert background(pixels, None).tolist() == [0, 0, 0]
    pixels[:, :32] = 100
    assert background(pixels, (0, 0, 0.5, 1)).tolist() == pixels[:, 32:].reshape(-1, 3).mean(0).tolist()
    assert background(pixels, (-1, -1, 2, 2)).tolist() == pixels.reshape(-1, 3).mean(0).tolist()  # all is subject


def test_styles_are_clusters():
    traits = np.repeat(np.eye(3) * 100, 40, 0) + np.random.default_rng(0).normal(size=(120, 3))
    found = styles(np.concatenate([traits] * 4))
    assert len(set(found)) <= 100
    for a, b in ((0, 40), (40, 80), (80, 120)):  # no cluster spans two heaps
        assert not set(found[a:b]) & set(np.delete(found[:120], slice(a, b)))


def test_the_roc_is_1_for_codes_of_the_style_and_a_half_for_noise():
    random = np.random.default_rng(0)
    labels = np.repeat(np.arange(10), 20)
    told, curve = roc(np.eye(10)[labels] + 0.01 * random.normal(size=(200, 10)), labels)
    assert told > 0.99 and curve[0][0] == 0 and curve[-1] == [1, 1] and len(curve) == 50
    chance, _ = roc(random.normal(size=(200, 10)), labels)
    assert chance == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("block", [10**9, 100, 1])
def test_any_block_gives_the_area_of_the_definition(block, monkeypatch):
    """All pairs at once, as the published figures were made."""
    monkeypatch.setattr(disentangling, "BLOCK", block)
    random = np.random.default_rng(1)
    labels = random.integers(5, size=60)
    codes = (random.normal(size=(60, 10)) + np.eye(10)[labels]).astype(np.float32)
    unit = codes / np.linalg.norm(codes, axis=1, keepdims=True)
    one, other = np.triu_indices(60, 1)
    same, scores = labels[one] == labels[other], (unit[one] * unit[other]).sum(1)
    apart = np.random.default_rng(7).permutation(np.flatnonzero(~same))[: same.sum()]
    used = np.concatenate([np.flatnonzero(same), apart])
    assert roc(codes, labels, seed=7)[0] == roc_auc_score(same[used], scores[used])


def test_of_many_codes_some_are_compared(monkeypatch):
    """As in MS-COCO: all pairs of 40,000 would be 800 millions."""
    random = np.random.default_rng(0)
    labels = random.integers(10, size=3000)
    codes = random.normal(size=(3000, 10)) + 2 * np.eye(10)[labels]
    every, _ = roc(codes, labels)
    monkeypatch.setattr(disentangling, "MOST", 400)
    tracemalloc.start()
    some, _ = roc(codes, labels)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert some == pytest.approx(every, abs=0.02) and 0.6 < every < 0.9
    assert peak < 10e6  # bytes; the indices of all pairs are 72 millions
