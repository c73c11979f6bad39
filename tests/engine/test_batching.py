"""Many people and one engine."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from t2i.engine.batching import MOST, Gatherer, SharedEngine
from t2i.engine.engine import Engine


@pytest.fixture
def gather():
    return Gatherer()


def held(gather, calls):
    """The answers of calls that all wait while somebody else computes, in their order."""
    started, gate, answers = threading.Event(), threading.Event(), []
    with ThreadPoolExecutor(len(calls) + 1) as crowd:
        crowd.submit(gather.alone, lambda: started.set() or gate.wait())
        started.wait()
        for number, call in enumerate(calls, 1):
            answers.append(crowd.submit(call))
            while len(gather._waiting) < number:
                time.sleep(0.001)
        gate.set()
    return answers


def test_what_waits_together_is_computed_together_and_everybody_gets_their_own(gather):
    sizes = []

    def double(rows, more):
        sizes.append(len(rows))
        return rows + more

    people = [torch.arange(10 * i, 10 * i + i) for i in (3, 1, 5)]
    answers = held(gather, [lambda rows=rows: gather(double, rows, rows) for rows in people])
    for rows, answer in zip(people, answers):
        assert torch.equal(answer.result(), 2 * rows)
    assert sizes == [9]


def test_a_person_alone_is_served_at_once(gather):
    sizes = []
    for _ in range(3):
        assert gather(lambda rows: sizes.append(len(rows)) or rows, ["one"]) == ["one"]
    assert sizes == [1, 1, 1]


def test_no_batch_is_longer_than_one_call_or_the_most(gather):
    sizes = []

    def same(rows):
        sizes.append(len(rows))
        return rows

    lengths = [16] * (MOST // 16 + 1) + [MOST + 6, 1]
    answers = held(gather, [lambda n=n: gather(same, np.full(n, n)) for n in lengths])
    assert [len(answer.result()) for answer in answers] == lengths
    assert sizes == [MOST, 16 + 1, MOST + 6]  # the oldest first; who fits in may pass


def test_other_functions_are_computed_apart(gather):
    def upper(rows):
        return [row.upper() + str(len(rows)) for row in rows]

    def lower(rows):
        return [row.lower() + str(len(rows)) for row in rows]

    answers = held(gather, [lambda: gather(upper, ["a"]), lambda: gather(lower, ["B"]), lambda: gather(upper, ["c"])])
    assert [answer.result() for answer in answers] == [["A2"], ["b1"], ["C2"]]


def test_one_mistake_is_not_the_others(gather):
    def careful(rows):
        if "bad" in rows:
            raise ValueError("bad")
        return rows

    good, bad, other = held(gather, [lambda row=row: gather(careful, [row]) for row in ("good", "bad", "other")])
    assert (good.result(), other.result()) == (["good"], ["other"])
    with pytest.raises(ValueError, match="bad"):
        bad.result()
    assert gather(careful, ["again"]) == ["again"]


def test_pictures_do_not_depend_on_who_else_draws(tiny_networks, gather):
    engine = Engine(tiny_networks, "cpu")
    shared = SharedEngine(engine, gather)
    assert shared.device == engine.device and shared.directions is engine.directions
    z = torch.randn(7, 100, generator=torch.Generator().manual_seed(1))
    h = torch.randn(7, 1024, generator=torch.Generator().manual_seed(2))
    pixels = np.random.default_rng(0).integers(0, 256, (7, 64, 64, 3), np.uint8)
    words = [f"flower {number}" for number in range(7)]
    wanted = [engine.render(z, h), engine.embed(words), engine.invert(pixels), engine.embed_photos(pixels)]
    wanted.append(engine.match(pixels, h))
    engine._remembered.clear()
    calls = []
    for part in (slice(0, 2), slice(2, 3), slice(3, 7)):
        calls += [
            lambda part=part: shared.render(z[part], h[part]),
            lambda part=part: shared.embed(words[part]),
            lambda part=part: shared.invert(pixels[part]),
            lambda part=part: shared.embed_photos(pixels[part]),
            lambda part=part: shared.match(pixels[part], h[part]),
        ]
    found = [answer.result() for answer in held(gather, calls)]
    assert np.abs(np.concatenate(found[::5]).astype(int) - wanted[0]).max() <= 1
    for verb in range(1, 5):
        near = wanted[verb].abs().max().item() * (1e-4 if engine.dtype == torch.float32 or verb == 1 else 0.02)
        torch.testing.assert_close(torch.cat(found[verb::5]), wanted[verb], rtol=0, atol=near)
