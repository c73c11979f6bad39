"""The engine against the plain networks."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from t2i.engine.engine import EMBEDDING_CACHE_SIZE, MAX_BATCH, Engine
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
from tests.generators import max_difference, plain_pixels, random_embeddings, random_noise, tiny_cbn

CAPTIONS = ["a red flower", "this flower is blue; it has many thin petals, a white center and long green leaves", "x"]
CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA")
DEVICES = ["cpu", pytest.param("cuda", marks=CUDA)]


def embedding_tolerance(engine) -> float:
    """How far a number of an embedding, whose root mean square is 1, may be from the plain network's."""
    return 1e-4 if engine.dtype == torch.float32 else 0.03


@pytest.mark.parametrize("device", DEVICES)
def test_pictures_are_those_of_the_plain_generator(networks, device):
    engine, z, h = Engine(networks, device), random_noise(9), random_embeddings(9)
    pixels, expected = engine.render(z, h), plain_pixels(networks["generator"], z, h)
    assert pixels.shape == (9, engine.size, engine.size, 3)
    assert pixels.dtype == np.uint8 and pixels.flags.c_contiguous
    assert expected.std() > 20  # all networks would agree on a flat grey
    assert max_difference(pixels, expected) <= (1 if engine.dtype == torch.float32 else 12)


@pytest.mark.parametrize("dtype", [torch.float32, None])
@pytest.mark.parametrize("packs", [True, False])
@pytest.mark.parametrize("size, channels", [(32, (8, 4, 4, 4)), (64, (8, 4, 4, 4, 4)), (128, (7, 5, 3, 3, 2, 1))])
def test_pictures_of_any_size_are_those_of_the_plain_generator(
    tiny_networks, monkeypatch, size, channels, packs, dtype
):
    """With and without oneDNN, in float32 and in the precision of this processor; alone and in several batches."""
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: packs)
    monkeypatch.setattr("t2i.engine.engine.MAX_BATCH_PIXELS", 4 * size**2)
    if dtype:
        monkeypatch.setattr("t2i.engine.engine.computes_bfloat16", lambda device: False)
    networks = tiny_networks | {"generator": tiny_cbn(size, channels)}
    engine, z, h = Engine(networks, "cpu"), random_noise(9), random_embeddings(9)
    pixels, expected = engine.render(z, h), plain_pixels(networks["generator"], z, h)
    assert pixels.shape == (9, size, size, 3) and expected.std() > 20
    max_allowed, mean_allowed = (1, 0.01) if engine.dtype == torch.float32 else (24, 0.7)
    assert max_difference(pixels, expected) <= max_allowed
    assert np.abs(pixels.astype(int) - expected).mean() < mean_allowed
    assert max_difference(engine.render(z[8:], h[8:]), pixels[8:]) <= 1
    assert max_difference(engine.render(z[2:5], h[2:5])[0], pixels[2]) <= 1


class UnknownGenerator(DCGANGenerator):
    """A type without a fast form."""


@pytest.mark.parametrize("device", DEVICES)
def test_a_generator_without_a_fast_form_runs_in_its_plain_form(tiny_networks, device):
    generator = copy.deepcopy(tiny_networks["generator"])
    generator.__class__ = UnknownGenerator
    engine = Engine(tiny_networks | {"generator": generator}, device)
    assert any(isinstance(layer, UnknownGenerator) for layer in engine._generator.modules())
    z, h = random_noise(9), random_embeddings(9)
    pixels = engine.render(z, h)
    assert pixels.flags.c_contiguous
    tolerance = 1 if engine.dtype == torch.float32 else 12
    assert max_difference(pixels, plain_pixels(tiny_networks["generator"], z, h)) <= tolerance


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    "name, method, width", [("style_encoder", "invert", 100), ("image_encoder", "embed_photos", 1024)]
)
def test_photos_are_encoded_as_by_the_plain_networks(tiny_networks, device, name, method, width):
    pixels = np.random.default_rng(0).integers(0, 256, (70, 64, 64, 3), np.uint8)
    engine = Engine(tiny_networks, device)
    with torch.inference_mode():
        expected = tiny_networks[name](torch.from_numpy(pixels).permute(0, 3, 1, 2) / 127.5 - 1)
    encoded = getattr(engine, method)(pixels)
    assert encoded.shape == (70, width) and encoded.dtype == torch.float32 and encoded.device.type == "cpu"
    share = 1e-4 if engine.dtype == torch.float32 else 0.05
    torch.testing.assert_close(encoded, expected, rtol=0, atol=share * expected.abs().max().item())
    torch.testing.assert_close(encoded[3:4], getattr(engine, method)(pixels[3:4]), rtol=0, atol=share * 10)


@pytest.mark.parametrize("name", ["style", "image"])
def test_without_a_photo_encoder_the_engine_draws_and_refuses_photos(tiny_networks, name):
    engine = Engine({n: network for n, network in tiny_networks.items() if n != f"{name}_encoder"}, "cpu")
    assert len(engine.render(random_noise(1), random_embeddings(1))) == 1
    with pytest.raises(InputError, match=f"train {name}"):
        {"style": engine.invert, "image": engine.embed_photos}[name](np.zeros((1, 64, 64, 3), np.uint8))


def test_encoders_of_another_model_are_refused(tiny_networks):
    for name, network in (
        ("style_encoder", StyleEncoder(StyleEncoderConfig(noise=7, width=4))),
        ("image_encoder", ImageEncoder(ImageEncoderConfig(embedding=7, width=4))),
    ):
        with pytest.raises(InputError, match=f"{name.replace('_', ' ')} does not belong"):
            Engine(tiny_networks | {name: network}, "cpu")


def test_the_comparison_notices_other_batch_statistics(tiny_networks):
    changed = copy.deepcopy(tiny_networks)
    changed["generator"].draw[2].bottleneck[4].running_var *= 2
    z, h = random_noise(4), random_embeddings(4)
    assert max_difference(Engine(changed, "cpu").render(z, h), plain_pixels(tiny_networks["generator"], z, h)) > 3


@pytest.mark.parametrize("device", DEVICES)
def test_embeddings_are_those_of_the_plain_text_encoder(tiny_networks, device):
    with torch.inference_mode():
        expected = tiny_networks["text_encoder"](encode(CAPTIONS))
    engine = Engine(tiny_networks, device)
    h = engine.embed(CAPTIONS)
    assert h.dtype == torch.float32
    torch.testing.assert_close(h.cpu(), expected, rtol=0, atol=embedding_tolerance(engine))


def test_an_embedding_is_cached_and_the_same_in_any_list(tiny_networks):
    engine = Engine(tiny_networks, "cpu")
    together = engine.embed(CAPTIONS)
    for caption, row in zip(CAPTIONS, together):
        torch.testing.assert_close(Engine(tiny_networks, "cpu").embed([caption])[0], row, rtol=0, atol=1e-5)
    calls = []
    engine._text_encoder.register_forward_hook(lambda *_: calls.append(1))
    assert torch.equal(engine.embed([c.upper() for c in CAPTIONS[::-1]]), together.flip(0))
    long = "r" * 201
    assert torch.equal(engine.embed([long + " and more"]), engine.embed([long]))
    assert len(calls) == 1


def test_the_cache_keeps_the_most_recently_used_embeddings(tiny_networks, monkeypatch):
    monkeypatch.setattr("t2i.engine.engine.EMBEDDING_CACHE_SIZE", 3)
    engine, batches = Engine(tiny_networks, "cpu"), []
    engine._text_encoder.register_forward_hook(lambda _, codes, h: batches.append(len(h)))
    first = engine.embed(["a", "b", "c", "a"])
    assert torch.equal(first[0], first[3])
    engine.embed(["a"])
    engine.embed(["d", "e"])  # there is room for these two and "a"
    engine.embed(["a", "d", "e"])
    assert batches == [3, 2] and len(engine._embedding_cache) == 3
    assert engine.embed(["b"] * (EMBEDDING_CACHE_SIZE + 1)).shape == (EMBEDDING_CACHE_SIZE + 1, 1024)
    assert batches == [3, 2, 1]
    assert engine.embed([f"{number}" for number in range(MAX_BATCH + 1)]).shape == (MAX_BATCH + 1, 1024)
    assert batches[3:] == [MAX_BATCH, 1]


@pytest.mark.parametrize("count", [2, 16, MAX_BATCH + 1])
def test_a_picture_does_not_depend_on_its_batch(networks, count):
    engine, z, h = Engine(networks, "cpu"), random_noise(count), random_embeddings(count)
    together = engine.render(z, h)
    for i in (0, 1, count - 1):
        assert max_difference(engine.render(z[i : i + 1], h[i : i + 1])[0], together[i]) <= 1
    assert max_difference(together[0], together[1]) > 20
    assert np.array_equal(engine.render(z, h), together)


def test_the_given_networks_stay_unchanged(networks):
    networks = copy.deepcopy(networks)
    networks["generator"].train()
    before = {name: copy.deepcopy(network.state_dict()) for name, network in networks.items()}
    engine = Engine(networks, "cpu")
    engine.render(random_noise(2), engine.embed(CAPTIONS[:2]))
    assert networks["generator"].training and not networks["text_encoder"].training
    for name, network in networks.items():
        state = network.state_dict()
        assert state.keys() == before[name].keys()
        assert all(torch.equal(value, state[key]) for key, value in before[name].items())
        assert all(p.requires_grad and p.dtype == torch.float32 for p in network.parameters())


def test_batch_norm_is_folded_and_layers_are_packed_on_a_cpu(networks, monkeypatch):
    for packs in (True, False):
        monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: packs)
        types = {type(layer).__name__ for layer in Engine(networks, "cpu")._generator.modules()}
        assert "BatchNorm2d" not in types
        assert ("PackedLayer" in types) == packs and ("ConvTranspose2d" in types) != packs


@pytest.mark.parametrize(
    "packs, dtype, count", [(True, torch.float32, 32), (False, torch.float32, 32), (True, None, 256)]
)
def test_many_pictures_are_those_of_the_plain_networks(monkeypatch, packs, dtype, count):
    """With and without oneDNN, in float32 and in the precision of this processor, with trained weights."""
    networks = Checkpoint("flowers").read("text_encoder", "generator")
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: packs)
    if dtype:
        monkeypatch.setattr("t2i.engine.engine.computes_bfloat16", lambda device: False)
    engine, z = Engine(networks, "cpu"), random_noise(count)
    assert engine.dtype == (dtype or engine.dtype)
    captions = [f"{caption} {i}" for i in range(86) for caption in CAPTIONS][:count]
    h = engine.embed(captions)
    pixels = engine.render(z, h)
    with torch.inference_mode():
        expected = plain_pixels(networks["generator"], z, networks["text_encoder"](encode(captions)))
    difference = np.abs(pixels.astype(int) - expected)
    max_allowed, mean_allowed = (1, 0.01) if engine.dtype == torch.float32 else (32, 0.7)
    assert difference.max() <= max_allowed and difference.mean() < mean_allowed
    assert max_difference(engine.render(z[7:8], h[7:8])[0], pixels[7]) <= 1
    assert max_difference(engine.render(z[5:26], h[5:26])[2], pixels[7]) <= 1


@CUDA
def test_256_pictures_on_cuda_are_those_of_the_plain_networks():
    networks = Checkpoint("flowers").read("text_encoder", "generator")
    engine, z = Engine(networks, "cuda"), random_noise(256)
    h = engine.embed(CAPTIONS).repeat(86, 1)[:256]
    difference = np.abs(engine.render(z, h).astype(int) - plain_pixels(networks["generator"], z, h))
    assert difference.max() <= 4 and difference.mean() < 0.1


@torch.inference_mode()
def test_directions_are_those_that_change_the_first_layer_most(networks):
    directions, generator = Engine(networks, "cpu").directions, networks["generator"]
    torch.testing.assert_close(directions @ directions.T, torch.eye(4))
    assert (directions.gather(1, directions.abs().argmax(1, keepdim=True)) > 0).all()
    is_dcgan = isinstance(generator, DCGANGenerator)
    first = generator.draw[:2] if is_dcgan else nn.Sequential(generator.first, generator.draw[0].norm)

    def change(z: torch.Tensor) -> torch.Tensor:
        z = torch.nn.functional.pad(z, (0, generator.config.projected))
        z = z[..., None, None] if is_dcgan else z
        return (first(z) - first(0 * z)).flatten(1)

    gains = torch.linalg.svdvals(change(torch.eye(100)))
    torch.testing.assert_close(change(directions).norm(dim=1), gains[:4])


def test_networks_that_do_not_belong_together_are_refused(tiny_networks):
    small = {"mapped": 8, "channels": (4,) * 6}
    for generator in (
        DCGANGenerator(DCGANGeneratorConfig(width=8, embedding=512)),
        CBNGenerator(CBNGeneratorConfig(embedding=512, **small)),
    ):
        with pytest.raises(InputError, match="belong together"):
            Engine(tiny_networks | {"generator": generator}, "cpu")
