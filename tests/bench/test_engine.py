"""The benchmark of the engine: what it reports, not how fast this machine is."""

import functools
import json
import time

import pytest
import torch

from t2i import store
from t2i.__main__ import main
from t2i.bench import engine
from t2i.engine.engine import CAPTURE_BY_DEVICE, Engine
from t2i.engine.graphs import CapturedGraph
from tests.generators import tiny_cbn


@pytest.fixture(autouse=True)
def one_core(monkeypatch):
    """The benchmark takes all cores, and other tests keep them busy."""
    monkeypatch.setattr(engine, "usable_cores", lambda: 1)


def test_bench_prints_a_table_and_writes_json(capsys, monkeypatch, tiny_model, tmp_path):
    monkeypatch.setattr(engine, "NUM_STARTS", 1)
    monkeypatch.setattr(engine, "run", functools.partial(engine.run, seconds=0, batch_sizes=(1, 16)))
    path = tmp_path / "figures.json"
    assert main(["bench", "--model", str(tiny_model), "--json", str(path)]) == 0
    output, figures = capsys.readouterr().out, json.loads(path.read_text())
    assert output.startswith(f"{path}\n") and engine.table(figures) in output
    rows = [(row["what"], row["batch"]) for row in figures["comparisons"]]
    assert rows == [(what, n) for n in (1, 16) for what in ("render", "embed", "both")] + [
        ("a caption to 16 pictures", 16),
        ("a caption to 16 JPEGs", 16),
    ]
    for row in figures["comparisons"]:
        assert 0 < row["ratio"]["low"] <= row["ratio"]["median"] <= row["ratio"]["high"]
        assert row["plain_ms"] > 0 and row["engine_ms"] > 0
        assert f"| {row['what']} | {row['batch']} | {row['plain_ms']} | {row['engine_ms']} |" in output
    assert figures["exactness"]["mean"] < 1 and figures["exactness"]["pictures"] == 256
    assert figures["start"]["import_t2i"] > 0 and figures["machine"]["threads"] == torch.get_num_threads()


def test_a_model_with_a_cbn_generator_is_measured_too(monkeypatch, tiny_model):
    monkeypatch.setattr(engine, "NUM_STARTS", 1)
    store.save(tiny_model, {"generator": tiny_cbn(32)}, {})
    figures = engine.run(str(tiny_model), 0, (1, 16))
    assert (figures["generator"], figures["size"]) == ("cbn", 32)
    assert "(cbn generator, 32×32)" in engine.table(figures)
    assert figures["exactness"]["mean"] < 1 and len(figures["roofline"]) == 2


def test_no_caption_is_embedded_twice_because_the_engine_caches_embeddings(monkeypatch, tiny_networks):
    embedded, embed = [], Engine.embed
    monkeypatch.setattr(Engine, "embed", lambda self, captions: embedded.extend(captions) or embed(self, captions))
    fast, plain = Engine(tiny_networks), engine.Plain(tiny_networks)
    engine.exactness(fast, plain)
    list(engine.comparisons(fast, plain, 0, (1, 16)))
    assert len(embedded) == len({*embedded}) > engine.NUM_EXACTNESS_PICTURES


def test_operations_of_the_dcgan_generator_are_those_of_its_layers(tiny_networks):
    n = tiny_networks["generator"].config.width
    residual = [c * c // 4 + (c // 4) ** 2 * 9 + c // 4 * c * 9 for c in (8 * n, 4 * n)]
    products = 1024 * 128 + 228 * 8 * n * 16 + 16 * residual[0] + 64 * residual[1]
    for a, b, inputs in ((8 * n, 4 * n, 16), (4 * n, 2 * n, 64), (2 * n, n, 256), (n, 3, 1024)):
        products += 16 * a * b * inputs
    assert engine.Plain(tiny_networks).operations() == 2 * products


def test_operations_of_the_cbn_generator_are_those_of_its_layers(tiny_networks):
    c = (16, 8, 8, 8, 8, 4)
    conditioned = c[0] + 2 * (c[1] + c[2] + c[3])
    products = 1024 * 128 + 228 * 16 + 228 * 16 * c[0] + 16 * 2 * conditioned
    for side, a, b in zip((4, 8, 16, 32, 64), c, c[1:]):
        products += 16 * a * b * side**2 + (9 * b * b * (2 * side) ** 2 if side < 64 else 0)
    products += 9 * c[5] * 3 * 128**2
    assert engine.Plain(tiny_networks | {"generator": tiny_cbn(128, c)}).operations() == 2 * products


def test_jobs_take_turns_and_the_first_pairs_do_not_count():
    turns = []
    times = engine._time_pairs([lambda: turns.append("a"), lambda: turns.append("b")], 0)
    assert turns == ["a", "b"] * (engine.WARM_UP_PAIRS + engine.MIN_PAIRS) and times.shape == (engine.MIN_PAIRS, 2)


def test_a_graph_is_timed_alone_and_repeatedly(tiny_networks, monkeypatch):
    sizes = []

    def capture(function, batches):
        outputs = [function(*inputs) for inputs in batches]
        return [CapturedGraph(x, lambda y=y: sizes.append(len(y)), y) for x, y in zip(batches, outputs)]

    monkeypatch.setitem(CAPTURE_BY_DEVICE, "cpu", capture)
    fast = Engine(tiny_networks, "cpu")
    render, count = engine._render_alone(fast, torch.ones(16, 100), torch.ones(16, 1024))
    inputs = fast._generate.graphs[1].inputs
    assert all((x == 1).all() for x in inputs) and sizes == [16]
    render()
    assert sizes[1:] == [16] * engine.NUM_REPLAYS and count == 16 * engine.NUM_REPLAYS
    largest = len(fast._generate.graphs[-1].output)
    _, count = engine._render_alone(fast, torch.ones(largest + 1, 100), torch.ones(largest + 1, 1024))
    assert count == largest * engine.NUM_REPLAYS  # more rows than the largest graph takes are split


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA")
def test_device_time_includes_all_of_the_work():
    matrix = torch.zeros(4096, 4096, device="cuda")

    def job():
        for _ in range(20):
            matrix @ matrix

    def finished():
        job()
        torch.cuda.synchronize()

    finished()
    start = time.perf_counter()
    finished()
    wall = time.perf_counter() - start
    assert wall / 2 < engine._time(job) < 2 * wall


@pytest.mark.parametrize("words, arguments", [("nonsense", ["nonsense"]), ("nowhere", ["--model", "./nowhere"])])
def test_mistakes_are_reported_in_one_line(capsys, words, arguments):
    assert main(["bench", *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("t2i: ") and error.count("\n") == 1 and words in error
