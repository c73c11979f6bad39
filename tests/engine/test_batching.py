"""Many threads and one engine."""

import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import pytest
import torch

from t2i.engine.batching import BatchedEngine, DynamicBatcher
from t2i.engine.engine import MAX_BATCH, Engine
from tests.generators import random_embeddings, random_noise


@pytest.fixture
def batcher():
    return DynamicBatcher()


def run_waiting(batcher, calls) -> list[Future]:
    """The results of calls that all wait, in this order, while something else is computed."""
    started, gate, results = threading.Event(), threading.Event(), []
    with ThreadPoolExecutor(len(calls) + 1) as threads:
        threads.submit(batcher.run_alone, lambda: started.set() or gate.wait())
        started.wait()
        for number, call in enumerate(calls, 1):
            results.append(threads.submit(call))
            while len(batcher._waiting) < number:
                time.sleep(0.001)
        gate.set()
    return results


def test_waiting_calls_are_computed_together_and_each_gets_its_own_rows(batcher):
    sizes = []

    def add(a, b):
        sizes.append(len(a))
        return a + b

    inputs = [torch.arange(10 * i, 10 * i + i) for i in (3, 1, 5)]
    results = run_waiting(batcher, [lambda rows=rows: batcher(add, rows, rows) for rows in inputs])
    for rows, result in zip(inputs, results):
        assert torch.equal(result.result(), 2 * rows)
    assert sizes == [9]


def test_a_single_call_runs_at_once(batcher):
    sizes = []
    for _ in range(3):
        assert batcher(lambda rows: sizes.append(len(rows)) or rows, ["row"]) == ["row"]
    assert sizes == [1, 1, 1]


def test_a_batch_is_limited_except_for_a_single_call(batcher):
    sizes = []

    def identity(rows):
        sizes.append(len(rows))
        return rows

    lengths = [16] * (MAX_BATCH // 16 + 1) + [MAX_BATCH + 6, 1]
    results = run_waiting(batcher, [lambda n=n: batcher(identity, np.full(n, n)) for n in lengths])
    assert [len(result.result()) for result in results] == lengths
    assert sizes == [MAX_BATCH, 16 + 1, MAX_BATCH + 6]  # the oldest first, then any that there is room for


def test_different_functions_are_not_batched_together(batcher):
    def upper(rows):
        return [row.upper() + str(len(rows)) for row in rows]

    def lower(rows):
        return [row.lower() + str(len(rows)) for row in rows]

    calls = [lambda: batcher(upper, ["a"]), lambda: batcher(lower, ["B"]), lambda: batcher(upper, ["c"])]
    results = run_waiting(batcher, calls)
    assert [result.result() for result in results] == [["A2"], ["b1"], ["C2"]]


def test_an_error_reaches_only_the_call_that_caused_it(batcher):
    def check(rows):
        if "bad" in rows:
            raise ValueError("bad")
        return rows

    first, bad, last = run_waiting(batcher, [lambda row=row: batcher(check, [row]) for row in ("first", "bad", "last")])
    assert (first.result(), last.result()) == (["first"], ["last"])
    with pytest.raises(ValueError, match="bad"):
        bad.result()
    assert batcher(check, ["again"]) == ["again"]


def test_results_do_not_depend_on_the_other_callers(tiny_networks, batcher):
    engine = Engine(tiny_networks, "cpu")
    batched = BatchedEngine(engine, batcher)
    assert batched.device == engine.device and batched.directions is engine.directions
    z, h = random_noise(7), random_embeddings(7)
    pixels = np.random.default_rng(0).integers(0, 256, (7, 64, 64, 3), np.uint8)
    captions = [f"flower {number}" for number in range(7)]
    expected = [engine.render(z, h), engine.embed(captions), engine.invert(pixels), engine.embed_photos(pixels)]
    expected.append(engine.match(pixels, h))
    engine._embedding_cache.clear()
    calls = []
    for part in (slice(0, 2), slice(2, 3), slice(3, 7)):
        calls += [
            lambda part=part: batched.render(z[part], h[part]),
            lambda part=part: batched.embed(captions[part]),
            lambda part=part: batched.invert(pixels[part]),
            lambda part=part: batched.embed_photos(pixels[part]),
            lambda part=part: batched.match(pixels[part], h[part]),
        ]
    results = [result.result() for result in run_waiting(batcher, calls)]
    assert np.abs(np.concatenate(results[::5]).astype(int) - expected[0]).max() <= 1
    for i in range(1, 5):
        tolerance = expected[i].abs().max().item() * (1e-4 if engine.dtype == torch.float32 or i == 1 else 0.02)
        torch.testing.assert_close(torch.cat(results[i::5]), expected[i], rtol=0, atol=tolerance)
