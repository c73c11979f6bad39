"""The fast core against the plain networks."""

import copy
import functools
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from torch import nn

from t2i.engine.engine import CAPTURE, CAPTURED, CHUNK, MANY, REMEMBERED, Engine, Graphs
from t2i.engine.onednn import pack
from t2i.errors import InputError
from t2i.locate import Checkpoint
from t2i.models import (
    CBNGenerator,
    CBNGeneratorConfig,
    DCGANGenerator,
    DCGANGeneratorConfig,
    ImageEncoder,
    ImageEncoderConfig,
    StyleEncoder,
    StyleEncoderConfig,
    encode,
)
from tests.generators import tiny_cbn

CAPTIONS = ["a red flower", "this flower is blue; it has many thin petals, a white center and long green leaves", "x"]
CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA")
DEVICES = ["cpu", pytest.param("cuda", marks=CUDA)]


def noise(count: int) -> torch.Tensor:
    return torch.randn(count, 100, generator=torch.Generator().manual_seed(1))


def captions(count: int) -> torch.Tensor:
    return torch.randn(count, 1024, generator=torch.Generator().manual_seed(2))


def levels(a: np.ndarray, b: np.ndarray) -> int:
    """The largest difference of two pictures in levels of 255."""
    return np.abs(a.astype(int) - b.astype(int)).max()


def off(engine) -> float:
    """How far an embedding, of root mean square 1, may be from the plain network's."""
    return 1e-4 if engine.dtype == torch.float32 else 0.03


@pytest.fixture(scope="module", params=["dcgan", "cbn"])
def networks(request, tiny_networks) -> dict[str, nn.Module]:
    """The tiny networks with a generator of either type."""
    return tiny_networks if request.param == "dcgan" else tiny_networks | {"generator": tiny_cbn()}


@pytest.fixture
def replayed(monkeypatch):
    """Graphs on the CPU: instead of a replay the function is called again, in the same memory. The sizes drawn."""
    sizes = []

    def capture(function, batches):
        def again(inputs, made):
            sizes.append(len(made))
            made.copy_(function(*inputs))

        made = [function(*inputs) for inputs in batches]
        return [(inputs, functools.partial(again, inputs, one), one) for inputs, one in zip(batches, made)]

    monkeypatch.setitem(CAPTURE, "cpu", capture)
    return sizes


@torch.inference_mode()
def plain(networks, z, h) -> np.ndarray:
    x = networks["generator"](z, h)
    return (x * 127.5 + 127.5).round().byte().permute(0, 2, 3, 1).numpy()


@pytest.mark.parametrize("device", DEVICES)
def test_pictures_are_those_of_the_plain_generator(networks, device):
    engine, z, h = Engine(networks, device), noise(9), captions(9)
    found, wanted = engine.render(z, h), plain(networks, z, h)
    assert found.shape == (9, engine.size, engine.size, 3)
    assert found.dtype == np.uint8 and found.flags.c_contiguous
    assert wanted.std() > 20  # not a flat grey, on which all networks agree
    assert levels(found, wanted) <= (1 if engine.dtype == torch.float32 else 12)


@pytest.mark.parametrize("dtype", [torch.float32, None])
@pytest.mark.parametrize("packs", [True, False])
@pytest.mark.parametrize("size, channels", [(32, (8, 4, 4, 4)), (64, (8, 4, 4, 4, 4)), (128, (7, 5, 3, 3, 2, 1))])
def test_pictures_of_any_size_are_the_plain_generators(tiny_networks, monkeypatch, size, channels, packs, dtype):
    """With and without oneDNN's operations, in float32 and in what this processor computes in; alone, and in chunks."""
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: packs)
    monkeypatch.setattr("t2i.engine.engine.PIXELS", 4 * size**2)
    if dtype:
        monkeypatch.setattr("t2i.engine.engine.computes_bfloat16", lambda device: False)
    networks = tiny_networks | {"generator": tiny_cbn(size, channels)}
    engine, z, h = Engine(networks, "cpu"), noise(9), captions(9)
    found, wanted = engine.render(z, h), plain(networks, z, h)
    assert found.shape == (9, size, size, 3) and wanted.std() > 20
    most, mean = (1, 0.01) if engine.dtype == torch.float32 else (24, 0.7)
    assert levels(found, wanted) <= most and np.abs(found.astype(int) - wanted).mean() < mean
    assert levels(engine.render(z[8:], h[8:]), found[8:]) <= 1
    assert levels(engine.render(z[2:5], h[2:5])[0], found[2]) <= 1


@pytest.mark.parametrize("size, sizes", [(32, [1, 16, 128, 1024]), (256, [1, 16, 64])])
def test_there_are_graphs_for_fewer_pictures_if_they_are_large(tiny_networks, monkeypatch, size, sizes):
    empty = lambda function, batches: [(x, None, x[0]) for x in batches]  # noqa: E731
    monkeypatch.setitem(CAPTURE, "cpu", empty)
    engine = Engine(tiny_networks | {"generator": tiny_cbn(size, (2,) * 8)}, "cpu")
    assert [len(drawn) for _, _, drawn in engine._draw.captured] == sizes


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    "name, verb, width", [("style_encoder", "invert", 100), ("image_encoder", "embed_photos", 1024)]
)
def test_photos_are_seen_as_by_the_plain_networks(tiny_networks, device, name, verb, width):
    pixels = np.random.default_rng(0).integers(0, 256, (70, 64, 64, 3), np.uint8)  # more than a chunk
    engine = Engine(tiny_networks, device)
    with torch.inference_mode():
        wanted = tiny_networks[name](torch.from_numpy(pixels).permute(0, 3, 1, 2) / 127.5 - 1)
    found = getattr(engine, verb)(pixels)
    assert found.shape == (70, width) and found.dtype == torch.float32 and found.device.type == "cpu"
    share = 1e-4 if engine.dtype == torch.float32 else 0.05
    torch.testing.assert_close(found, wanted, rtol=0, atol=share * wanted.abs().max().item())
    torch.testing.assert_close(found[3:4], getattr(engine, verb)(pixels[3:4]), rtol=0, atol=share * 10)


@pytest.mark.parametrize("name", ["style", "image"])
def test_without_such_an_encoder_the_engine_draws_and_says_so_of_photos(tiny_networks, name):
    engine = Engine({n: network for n, network in tiny_networks.items() if n != f"{name}_encoder"}, "cpu")
    assert len(engine.render(noise(1), captions(1))) == 1
    with pytest.raises(InputError, match=f"train {name}"):
        {"style": engine.invert, "image": engine.embed_photos}[name](np.zeros((1, 64, 64, 3), np.uint8))


def test_encoders_of_another_model_are_told(tiny_networks):
    for name, network in (
        ("style_encoder", StyleEncoder(StyleEncoderConfig(noise=7, width=4))),
        ("image_encoder", ImageEncoder(ImageEncoderConfig(embedding=7, width=4))),
    ):
        with pytest.raises(InputError, match=f"{name.replace('_', ' ')} does not belong"):
            Engine(tiny_networks | {name: network}, "cpu")


def test_batch_norm_matters_to_that_comparison(tiny_networks):
    other = copy.deepcopy(tiny_networks)
    other["generator"].draw[2].bottleneck[4].running_var *= 2
    z, h = noise(4), captions(4)
    assert levels(Engine(other, "cpu").render(z, h), plain(tiny_networks, z, h)) > 3


@pytest.mark.parametrize("device", DEVICES)
def test_embeddings_are_those_of_the_plain_text_encoder(tiny_networks, device):
    with torch.inference_mode():
        wanted = tiny_networks["text_encoder"](encode(CAPTIONS))
    engine = Engine(tiny_networks, device)
    found = engine.embed(CAPTIONS)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.cpu(), wanted, rtol=0, atol=off(engine))


def test_an_embedding_is_the_same_in_any_list_and_is_remembered(tiny_networks):
    engine = Engine(tiny_networks, "cpu")
    together = engine.embed(CAPTIONS)
    for caption, row in zip(CAPTIONS, together):
        torch.testing.assert_close(Engine(tiny_networks, "cpu").embed([caption])[0], row, rtol=0, atol=1e-5)
    calls = []
    engine._text.register_forward_hook(lambda *_: calls.append(1))
    assert torch.equal(engine.embed([c.upper() for c in CAPTIONS[::-1]]), together.flip(0))
    long = "r" * 201
    assert torch.equal(engine.embed([long + " and more"]), engine.embed([long]))
    assert len(calls) == 1


def test_the_last_used_are_remembered_and_no_more(tiny_networks, monkeypatch):
    monkeypatch.setattr("t2i.engine.engine.REMEMBERED", 3)
    engine, seen = Engine(tiny_networks, "cpu"), []
    engine._text.register_forward_hook(lambda _, codes, h: seen.append(len(h)))
    first = engine.embed(["a", "b", "c", "a"])
    assert torch.equal(first[0], first[3])
    engine.embed(["a"])
    engine.embed(["d", "e"])  # there is room for these and the one used last
    engine.embed(["a", "d", "e"])
    assert seen == [3, 2] and len(engine._remembered) == 3
    assert engine.embed(["b"] * (REMEMBERED + 1)).shape == (REMEMBERED + 1, 1024)
    assert seen == [3, 2, 1]
    assert engine.embed([f"{number}" for number in range(CHUNK + 1)]).shape == (CHUNK + 1, 1024)
    assert seen[3:] == [CHUNK, 1]


@pytest.mark.parametrize("count", [2, 16, CHUNK + 1])
def test_a_picture_does_not_depend_on_its_batch(networks, count):
    engine, z, h = Engine(networks, "cpu"), noise(count), captions(count)
    together = engine.render(z, h)
    for i in (0, 1, count - 1):
        assert levels(engine.render(z[i : i + 1], h[i : i + 1])[0], together[i]) <= 1
    assert levels(together[0], together[1]) > 20
    assert np.array_equal(engine.render(z, h), together)


def test_the_networks_given_stay_as_they_are(networks):
    networks = copy.deepcopy(networks)
    networks["generator"].train()
    before = {name: copy.deepcopy(network.state_dict()) for name, network in networks.items()}
    engine = Engine(networks, "cpu")
    engine.render(noise(2), engine.embed(CAPTIONS[:2]))
    assert networks["generator"].training and not networks["text_encoder"].training
    for name, network in networks.items():
        state = network.state_dict()
        assert state.keys() == before[name].keys()
        assert all(torch.equal(value, state[key]) for key, value in before[name].items())
        assert all(p.requires_grad and p.dtype == torch.float32 for p in network.parameters())


def test_no_batch_norm_is_left_and_on_a_cpu_the_rest_is_packed(networks, monkeypatch):
    for packs in (True, False):
        monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: packs)
        kinds = {type(layer).__name__ for layer in Engine(networks, "cpu")._generator.modules()}
        assert "BatchNorm2d" not in kinds
        assert ("_Packed" in kinds) == packs and ("ConvTranspose2d" in kinds) != packs


@pytest.mark.parametrize("packs, dtype", [(True, torch.float32), (False, torch.float32), (True, None)])
def test_256_pictures_are_those_of_the_plain_networks(monkeypatch, packs, dtype):
    """With and without oneDNN's operations, in float32 and in what this processor computes in, on real weights."""
    networks = Checkpoint("flowers").read("text_encoder", "generator")
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: packs)
    if dtype:
        monkeypatch.setattr("t2i.engine.engine.computes_bfloat16", lambda device: False)
    engine, z = Engine(networks, "cpu"), noise(256)
    assert engine.dtype == (dtype or engine.dtype)
    words = [f"{caption} {i}" for i in range(86) for caption in CAPTIONS][:256]
    h = engine.embed(words)
    found = engine.render(z, h)
    with torch.inference_mode():
        wanted = plain(networks, z, networks["text_encoder"](encode(words)))
    apart = np.abs(found.astype(int) - wanted)
    most, mean = (1, 0.01) if engine.dtype == torch.float32 else (16, 0.7)
    assert apart.max() <= most and apart.mean() < mean
    assert levels(engine.render(z[7:8], h[7:8])[0], found[7]) <= 1
    assert levels(engine.render(z[5:26], h[5:26])[2], found[7]) <= 1


@pytest.mark.parametrize(
    "count, drawn, heard",
    [
        (1, [1], [1]),
        (2, [16], [16]),
        (15, [16], [16]),
        (16, [16], [16]),
        (17, [32], [16, 1]),
        (33, [32, 1], [16, 16, 1]),
    ],
)
def test_graphs_of_a_few_sizes_take_any_number(networks, monkeypatch, replayed, count, drawn, heard):
    monkeypatch.setattr("t2i.engine.engine.CAPTURED", (1, 16))
    size = networks["generator"].config.size
    monkeypatch.setattr("t2i.engine.engine.MANY", 32 * size**2 // 64**2)  # 32 pictures of this size
    engine, z, h = Engine(networks, "cpu"), noise(count), captions(count)
    found = engine.render(z, h)
    assert replayed == drawn
    assert found.shape == (count, size, size, 3) and found.dtype == np.uint8 and found.flags.c_contiguous
    assert levels(found, plain(networks, z, h)) <= (1 if engine.dtype == torch.float32 else 12)
    alone = np.concatenate([engine.render(*one) for one in zip(z.split(1), h.split(1))])
    assert levels(alone, found) <= 1
    replayed.clear()
    words = [f"flower {number}" * (number % 9 + 1) for number in range(count)]  # short and long
    with torch.inference_mode():
        wanted = networks["text_encoder"](encode(words))
    torch.testing.assert_close(engine.embed(words), wanted, rtol=0, atol=off(engine))
    assert replayed == heard


def test_graphs_look_at_photos(tiny_networks, replayed):
    pixels = np.random.default_rng(0).integers(0, 256, (CHUNK + 2, 64, 64, 3), np.uint8)
    engine = Engine(tiny_networks, "cpu")
    wanted = tiny_networks["style_encoder"], tiny_networks["image_encoder"]
    for network, found in zip(wanted, (engine.invert(pixels), engine.embed_photos(pixels))):
        with torch.inference_mode():
            seen = network(torch.from_numpy(pixels).permute(0, 3, 1, 2) / 127.5 - 1)
        share = 1e-4 if engine.dtype == torch.float32 else 0.05
        torch.testing.assert_close(found, seen, rtol=0, atol=share * seen.abs().max().item())
    assert replayed == [CHUNK, 16] * 2


@torch.inference_mode()
def test_nothing_in_a_graph_waits_for_a_value(networks):
    """A tensor without values cannot be asked for one, as little as one in a capture."""
    engine = Engine(networks, "meta")
    codes, pixels = encode(CAPTIONS).to("meta"), torch.zeros(3, 64, 64, 3, dtype=torch.uint8, device="meta")
    assert engine._text(codes, whole=True).shape == (3, 1024)
    assert engine._pixels(noise(3).to("meta"), captions(3).to("meta")).shape == (3, engine.size, engine.size, 3)
    for name in ("style_encoder", "image_encoder"):
        assert len(engine._eyes[name](pixels.permute(0, 3, 1, 2).float())) == 3
    with pytest.raises(RuntimeError):
        engine._text(codes)


def test_what_lies_behind_a_batch_is_not_seen(networks, replayed):
    engine, z, h = Engine(networks, "cpu"), noise(16), captions(16)
    first = engine.render(z[:5], h[:5])
    others = engine.render(z.flip(0), h.flip(0))
    assert np.array_equal(engine.render(z[:5], h[:5]), first)
    kept = others.copy()
    engine.render(z, h)
    assert np.array_equal(others, kept)  # an answer is nobody else's memory


def crowd(engine, people: int, times: int) -> None:
    """Many threads draw and embed at once, and each gets its own."""
    z, h = noise(people + 3), captions(people + 3)
    wanted = [engine.render(z[i : i + 3], h[i : i + 3]) for i in range(people)]
    heard = [engine.embed([f"{i} flowers"]) for i in range(people)]

    def draw(i: int) -> None:
        for _ in range(times):
            assert np.array_equal(engine.render(z[i : i + 3], h[i : i + 3]), wanted[i])
            codes = encode([f"{i} flowers"], engine._text.config.length)
            torch.testing.assert_close(engine._hear(codes), heard[i], rtol=0, atol=0)  # not what is remembered

    with ThreadPoolExecutor(people) as threads:
        list(threads.map(draw, range(people)))


def test_many_threads_may_draw_with_graphs(tiny_networks, replayed):
    crowd(Engine(tiny_networks, "cpu"), people=8, times=20)


def test_nothing_is_drawn_beside_a_capture(monkeypatch, replayed):
    double = Graphs(torch.device("cpu"), lambda x: 2 * x, (2,), torch.zeros(1, 3))
    begun, gate = threading.Event(), threading.Event()
    monkeypatch.setitem(CAPTURE, "cpu", lambda *_: begun.set() or gate.wait() and [])
    with ThreadPoolExecutor(2) as threads:
        threads.submit(Graphs, torch.device("cpu"), lambda x: x, (2,), torch.zeros(1, 3))
        begun.wait()
        answer = threads.submit(double, torch.ones(5, 3))
        try:
            with pytest.raises(TimeoutError):
                answer.result(timeout=0.2)
        finally:
            gate.set()
        assert torch.equal(answer.result(), torch.full((5, 3), 2.0)) and replayed == [2, 2, 2]


@CUDA
@pytest.mark.parametrize("count", [1, 2, 15, 16, 17, 33, CHUNK, CHUNK + 1, MANY + 1])
@torch.inference_mode()
def test_cuda_graphs_give_what_is_computed_without(networks, count):
    engine, z, h = Engine(networks, "cuda"), noise(count), captions(count)
    found, again = engine._draw(z, h), engine._draw(z, h)
    assert found.is_pinned() and torch.equal(found, again)
    assert levels(found.numpy(), engine._pixels(z.cuda(), h.cuda()).cpu().numpy()) <= 2
    codes = encode([f"flower {number}" * (number % 9 + 1) for number in range(count)])
    torch.testing.assert_close(engine._hear(codes), engine._text(codes.cuda()).cpu(), rtol=0, atol=5e-2)


@CUDA
@pytest.mark.parametrize("size", CAPTURED[1:])
def test_on_cuda_the_others_of_a_batch_change_nothing(networks, size):
    engine, z, h = Engine(networks, "cuda"), noise(2 * size), captions(2 * size)
    one = engine.render(z[:size], h[:size])
    z[1:size], h[1:size] = z[size + 1 :], h[size + 1 :]
    assert np.array_equal(engine.render(z[:size], h[:size])[0], one[0])
    assert np.array_equal(engine.render(z[: size - 1], h[: size - 1])[0], one[0])
    assert levels(engine.render(z[:1], h[:1])[0], one[0]) <= 2


@CUDA
def test_on_cuda_calls_take_no_more_memory(tiny_networks):
    engine, z, h = Engine(tiny_networks, "cuda"), noise(MANY + 1), captions(MANY + 1)
    engine.render(z, h)
    before = torch.cuda.memory_allocated()
    for count in (1, 16, 40, MANY + 1):
        engine.render(z[:count], h[:count])
    assert torch.cuda.memory_allocated() <= before  # less, if others' was freed


@CUDA
def test_on_cuda_models_may_be_loaded_while_others_draw(tiny_networks):
    engine, z, h = Engine(tiny_networks, "cuda"), noise(16), captions(16)
    wanted, done = engine.render(z, h), threading.Event()

    def draw() -> None:
        while not done.is_set():
            assert np.array_equal(engine.render(z, h), wanted)

    with ThreadPoolExecutor(5) as threads:
        people = [threads.submit(draw) for _ in range(3)]
        loaded = [threads.submit(Engine, tiny_networks, "cuda") for _ in range(2)]
        try:
            pictures = [one.result().render(z, h) for one in loaded]
        finally:
            done.set()
        for one in people:
            one.result()
    assert all(np.array_equal(one, wanted) for one in pictures)


@CUDA
def test_many_threads_may_draw_with_cuda_graphs(tiny_networks):
    crowd(Engine(tiny_networks, "cuda"), people=8, times=100)


@CUDA
def test_256_pictures_on_cuda_are_those_of_the_plain_networks():
    networks = Checkpoint("flowers").read("text_encoder", "generator")
    engine, z = Engine(networks, "cuda"), noise(256)
    h = engine.embed(CAPTIONS).repeat(86, 1)[:256]
    off = np.abs(engine.render(z, h).astype(int) - plain(networks, z, h))
    assert off.max() <= 4 and off.mean() < 0.1


@pytest.mark.parametrize("activation", [None, nn.ReLU(), nn.LeakyReLU(0.2), nn.LeakyReLU(0.0), nn.Tanh()])
@pytest.mark.parametrize(
    "layer, shape",
    [
        (nn.Linear(5, 7), (5,)),
        (nn.Conv2d(5, 7, 3, padding=1), (5, 6, 6)),
        (nn.Conv2d(5, 7, 4, 2, 1, bias=False), (5, 6, 6)),
        (nn.ConvTranspose2d(5, 7, 4, 2, 1), (5, 6, 6)),
    ],
)
@torch.inference_mode()
def test_a_packed_layer_is_the_layer(layer, shape, activation):
    layers = nn.Sequential(layer, *[activation][: activation is not None])
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layer.reset_parameters()
        x = torch.randn(3, *shape)
    packed = pack(layers, x[:2])
    assert [type(layer).__name__ for layer in packed] == ["_Packed"]
    torch.testing.assert_close(packed(x), layers(x), rtol=1e-5, atol=1e-5)


@torch.inference_mode()
def test_the_directions_are_those_that_move_the_first_layer_most(networks):
    directions, generator = Engine(networks, "cpu").directions, networks["generator"]
    torch.testing.assert_close(directions @ directions.T, torch.eye(4))
    assert (directions.gather(1, directions.abs().argmax(1, keepdim=True)) > 0).all()
    paper = isinstance(generator, DCGANGenerator)
    first = generator.draw[:2] if paper else nn.Sequential(generator.first, generator.draw[0].norm)

    def moved(z: torch.Tensor) -> torch.Tensor:
        z = torch.nn.functional.pad(z, (0, 128))
        z = z[..., None, None] if paper else z
        return (first(z) - first(0 * z)).flatten(1)

    gains = torch.linalg.svdvals(moved(torch.eye(100)))
    torch.testing.assert_close(moved(directions).norm(dim=1), gains[:4])


def test_networks_that_do_not_belong_together_are_refused(tiny_networks):
    small = {"mapped": 8, "channels": (4,) * 6}
    for generator in (
        DCGANGenerator(DCGANGeneratorConfig(width=8, embedding=512)),
        DCGANGenerator(DCGANGeneratorConfig(width=8, noise=64)),
        CBNGenerator(CBNGeneratorConfig(embedding=512, **small)),
        CBNGenerator(CBNGeneratorConfig(noise=64, **small)),
    ):
        with pytest.raises(InputError, match="belong together"):
            Engine(tiny_networks | {"generator": generator}, "cpu")
