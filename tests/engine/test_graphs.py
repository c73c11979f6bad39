"""CUDA graphs; without CUDA, functions that stand in for them."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from t2i.engine.engine import GRAPH_BATCH_SIZES, MAX_BATCH, RENDER_GRAPH_BATCH_SIZES, Engine
from t2i.engine.graphs import CAPTURE_BY_DEVICE, CapturedGraph, GraphedFunction
from t2i.models import encode
from tests.generators import max_difference, plain_pixels, random_embeddings, random_noise, tiny_cbn

LARGEST = RENDER_GRAPH_BATCH_SIZES[-1]
CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA")


@pytest.mark.parametrize("size, sizes", [(32, [1, 16, 128, 1024]), (256, [1, 16, 64])])
def test_graphs_of_large_pictures_have_smaller_batches(tiny_networks, monkeypatch, size, sizes):
    empty = lambda function, batches: [CapturedGraph(x, None, x[0]) for x in batches]  # noqa: E731
    monkeypatch.setitem(CAPTURE_BY_DEVICE, "cpu", empty)
    engine = Engine(tiny_networks | {"generator": tiny_cbn(size, (2,) * 8)}, "cpu")
    assert [len(graph.output) for graph in engine._generate.graphs] == sizes


@pytest.mark.parametrize(
    "count, rendered, embedded",
    [
        (1, [1], [1]),
        (2, [16], [16]),
        (15, [16], [16]),
        (16, [16], [16]),
        (17, [32], [16, 1]),
        (33, [32, 1], [16, 16, 1]),
    ],
)
def test_graphs_of_a_few_sizes_serve_any_number(networks, monkeypatch, replayed_sizes, count, rendered, embedded):
    size = networks["generator"].config.size
    monkeypatch.setattr("t2i.engine.engine.GRAPH_BATCH_SIZES", (1, 16))
    monkeypatch.setattr("t2i.engine.engine.RENDER_GRAPH_BATCH_SIZES", (1, 16, 1024))
    monkeypatch.setattr("t2i.engine.engine.MAX_RENDER_GRAPH_PIXELS", 32 * size**2)
    engine, z, h = Engine(networks, "cpu"), random_noise(count), random_embeddings(count)
    pixels = engine.render(z, h)
    assert replayed_sizes == rendered
    assert pixels.shape == (count, size, size, 3) and pixels.dtype == np.uint8 and pixels.flags.c_contiguous
    tolerance = 1 if engine.dtype == torch.float32 else 12
    assert max_difference(pixels, plain_pixels(networks["generator"], z, h)) <= tolerance
    alone = np.concatenate([engine.render(*pair) for pair in zip(z.split(1), h.split(1))])
    assert max_difference(alone, pixels) <= 1
    replayed_sizes.clear()
    captions = [f"flower {number}" * (number % 9 + 1) for number in range(count)]  # short and long
    with torch.inference_mode():
        expected = networks["text_encoder"](encode(captions))
    tolerance = 1e-4 if engine.dtype == torch.float32 else 0.03
    torch.testing.assert_close(engine.embed(captions), expected, rtol=0, atol=tolerance)
    assert replayed_sizes == embedded


def test_photos_are_encoded_by_graphs(tiny_networks, replayed_sizes):
    pixels = np.random.default_rng(0).integers(0, 256, (MAX_BATCH + 2, 64, 64, 3), np.uint8)
    engine = Engine(tiny_networks, "cpu")
    networks = tiny_networks["style_encoder"], tiny_networks["image_encoder"]
    for network, encoded in zip(networks, (engine.invert(pixels), engine.embed_photos(pixels))):
        with torch.inference_mode():
            expected = network(torch.from_numpy(pixels).permute(0, 3, 1, 2) / 127.5 - 1)
        share = 1e-4 if engine.dtype == torch.float32 else 0.05
        torch.testing.assert_close(encoded, expected, rtol=0, atol=share * expected.abs().max().item())
    assert replayed_sizes == [MAX_BATCH, 16] * 2


@torch.inference_mode()
def test_nothing_in_a_graph_waits_for_a_value(networks):
    """A meta tensor has no values to wait for, so what runs on it can be captured."""
    engine = Engine(networks, "meta")
    codes = encode(["a red flower", "petals " * 20, "x"]).to("meta")
    pixels = torch.zeros(3, 64, 64, 3, dtype=torch.uint8, device="meta")
    assert engine._text_encoder(codes, full_length=True).shape == (3, 1024)
    rendered = engine._run_generator(random_noise(3).to("meta"), random_embeddings(3).to("meta"))
    assert rendered.shape == (3, engine.size, engine.size, 3)
    for name in ("style", "image"):
        network, _ = engine._photo_encoder(name)
        assert len(network(pixels.permute(0, 3, 1, 2).float())) == 3
    with pytest.raises(RuntimeError):
        engine._text_encoder(codes)


def test_rows_left_from_earlier_calls_change_nothing(networks, replayed_sizes):
    engine, z, h = Engine(networks, "cpu"), random_noise(16), random_embeddings(16)
    first = engine.render(z[:5], h[:5])
    second = engine.render(z.flip(0), h.flip(0))
    assert np.array_equal(engine.render(z[:5], h[:5]), first)
    copied = second.copy()
    engine.render(z, h)
    assert np.array_equal(second, copied)  # a result has memory of its own


def check_many_threads(engine, threads: int, calls: int) -> None:
    """Threads render and embed at the same time, and each gets its own results."""
    z, h = random_noise(threads + 3), random_embeddings(threads + 3)
    pixels = [engine.render(z[i : i + 3], h[i : i + 3]) for i in range(threads)]
    embeddings = [engine.embed([f"{i} flowers"]) for i in range(threads)]

    def run(i: int) -> None:
        for _ in range(calls):
            assert np.array_equal(engine.render(z[i : i + 3], h[i : i + 3]), pixels[i])
            codes = encode([f"{i} flowers"], engine.caption_length)
            torch.testing.assert_close(engine._encode_text(codes), embeddings[i], rtol=0, atol=0)  # not the cache

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(run, range(threads)))


def test_many_threads_may_use_graphs(tiny_networks, replayed_sizes):
    check_many_threads(Engine(tiny_networks, "cpu"), threads=8, calls=20)


def test_no_graph_runs_during_a_capture(monkeypatch, replayed_sizes):
    double = GraphedFunction(torch.device("cpu"), lambda x: 2 * x, (2,), torch.zeros(1, 3))
    begun, gate = threading.Event(), threading.Event()
    monkeypatch.setitem(CAPTURE_BY_DEVICE, "cpu", lambda *_: begun.set() or gate.wait() and [])
    with ThreadPoolExecutor(2) as threads:
        threads.submit(GraphedFunction, torch.device("cpu"), lambda x: x, (2,), torch.zeros(1, 3))
        begun.wait()
        result = threads.submit(double, torch.ones(5, 3))
        try:
            with pytest.raises(TimeoutError):
                result.result(timeout=0.2)
        finally:
            gate.set()
        assert torch.equal(result.result(), torch.full((5, 3), 2.0)) and replayed_sizes == [2, 2, 2]


@CUDA
@pytest.mark.parametrize("count", [1, 2, 15, 16, 17, 33, MAX_BATCH, MAX_BATCH + 1, LARGEST + 1])
@torch.inference_mode()
def test_cuda_graphs_compute_what_the_functions_do(networks, count):
    engine, z, h = Engine(networks, "cuda"), random_noise(count), random_embeddings(count)
    pixels, again = engine._generate(z, h), engine._generate(z, h)
    assert pixels.is_pinned() and torch.equal(pixels, again)
    assert max_difference(pixels.numpy(), engine._run_generator(z.cuda(), h.cuda()).cpu().numpy()) <= 2
    codes = encode([f"flower {number}" * (number % 9 + 1) for number in range(count)])
    expected = engine._text_encoder(codes.cuda()).cpu()
    torch.testing.assert_close(engine._encode_text(codes), expected, rtol=0, atol=5e-2)


@CUDA
@pytest.mark.parametrize("size", GRAPH_BATCH_SIZES[1:])
def test_on_cuda_a_picture_does_not_depend_on_its_batch(networks, size):
    engine, z, h = Engine(networks, "cuda"), random_noise(2 * size), random_embeddings(2 * size)
    first = engine.render(z[:size], h[:size])[0]
    z[1:size], h[1:size] = z[size + 1 :], h[size + 1 :]
    assert np.array_equal(engine.render(z[:size], h[:size])[0], first)
    assert np.array_equal(engine.render(z[: size - 1], h[: size - 1])[0], first)
    assert max_difference(engine.render(z[:1], h[:1])[0], first) <= 2


@CUDA
def test_calls_take_no_more_cuda_memory(tiny_networks):
    engine, z, h = Engine(tiny_networks, "cuda"), random_noise(LARGEST + 1), random_embeddings(LARGEST + 1)
    engine.render(z, h)
    before = torch.cuda.memory_allocated()
    for count in (1, 16, 40, LARGEST + 1):
        engine.render(z[:count], h[:count])
    assert torch.cuda.memory_allocated() <= before  # less, if memory of earlier tests was freed


@CUDA
def test_on_cuda_models_may_be_loaded_while_others_draw(tiny_networks):
    engine, z, h = Engine(tiny_networks, "cuda"), random_noise(16), random_embeddings(16)
    expected, done = engine.render(z, h), threading.Event()

    def draw() -> None:
        while not done.is_set():
            assert np.array_equal(engine.render(z, h), expected)

    with ThreadPoolExecutor(5) as threads:
        drawing = [threads.submit(draw) for _ in range(3)]
        loading = [threads.submit(Engine, tiny_networks, "cuda") for _ in range(2)]
        try:
            pictures = [loaded.result().render(z, h) for loaded in loading]
        finally:
            done.set()
        for thread in drawing:
            thread.result()
    assert all(np.array_equal(pixels, expected) for pixels in pictures)


@CUDA
def test_many_threads_may_use_cuda_graphs(tiny_networks):
    check_many_threads(Engine(tiny_networks, "cuda"), threads=8, calls=100)
