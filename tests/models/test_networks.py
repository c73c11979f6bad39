import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from t2i.models import (
    DCGANGenerator,
    DCGANGeneratorConfig,
    Discriminator,
    DiscriminatorConfig,
    ImageEncoderConfig,
    StyleEncoderConfig,
    TextEncoder,
    TextEncoderConfig,
    encode,
)
from t2i.models.text_encoder import ALPHABET, count_steps, normalize_caption

SMALL = TextEncoderConfig(widths=(16, 16, 16), hidden=16, embedding=32)


def test_the_alphabet_has_the_seventy_characters_of_the_paper():
    assert len(ALPHABET) == 70


def test_encode_lowercases_truncates_and_skips_unknown_characters():
    codes = encode(["aB 花!", "x" * 500, ""])
    assert codes.shape == (3, 201)
    assert codes[0, :6].tolist() == [1, 2, 70, 0, ALPHABET.index("!") + 1, 0]
    assert (codes[1] == 24).all() and (codes[2] == 0).all()


@given(st.text(ALPHABET + ALPHABET.upper()))
def test_a_caption_in_the_alphabet_stays_as_it_is(caption):
    assert normalize_caption(caption) == caption.lower()


@given(st.text())
def test_a_normalized_caption_is_not_changed_again(caption):
    assert normalize_caption(normalize_caption(caption)) == normalize_caption(caption)


@pytest.mark.parametrize(
    "caption, plain",
    [
        ("a\u00a0red\u2009flower\u3000\n\there", "a red flower   here"),
        ("A rosé flower, Ånger, ﬁne, cœur, weiß, naïve", "a rose flower, anger, fine, coeur, weiss, naive"),
        ("e\u0301clair, I\u0307stanbul, İstanbul, ıs", "eclair, istanbul, istanbul, is"),
        ("Ａ ｒｅｄ ｆｌｏｗｅｒ！ ５", "a red flower! 5"),
        ("the bird’s five–petaled star‑shaped", "the bird's five-petaled star-shaped"),
        ("pe\u00adtals\u200b and\ufeff \u2764\ufe0f", "petals and \u2764"),
    ],
)
def test_other_spellings_become_the_characters_of_the_alphabet(caption, plain):
    assert normalize_caption(caption) == plain
    assert torch.equal(encode([caption]), encode([plain]))


@pytest.mark.parametrize(
    "sign", ["“red”", "‘red’", "red — and", "red – and", "red…", "＂red＂", "«red»", "花", "½", "™"]
)
def test_signs_that_say_nothing_stay_unknown(sign):
    assert normalize_caption(f"a {sign} flower") == f"a {sign} flower"


def test_embeddings_have_unit_scale_and_do_not_depend_on_their_batch():
    torch.manual_seed(0)
    network = TextEncoder(SMALL).eval()
    captions = ["a", "a red flower", "petals " * 28, "🌸", ""]
    with torch.inference_mode():
        together = network(encode(captions))
        alone = torch.cat([network(encode([c])) for c in captions])
    assert together.shape == (5, 32)
    assert torch.allclose(together.square().mean(1), torch.ones(5), atol=1e-3)
    assert torch.allclose(together, alone, atol=1e-5)
    assert torch.allclose(together[3], together[4])
    assert not torch.allclose(together[0], together[1], atol=1e-3)


def test_the_number_of_recurrent_steps_follows_the_length():
    codes = encode(["", "a", "a" * 18, "a" * 19, "a" * 201])
    assert count_steps(codes).tolist() == [1, 1, 1, 2, 8]


def test_the_longest_caption_has_eight_recurrent_steps():
    features = TextEncoder(SMALL).convolutions(torch.zeros(1, 70, 1, 201))
    assert features.shape == (1, 16, 1, 8)


def test_the_generator_and_the_discriminator_have_the_shapes_of_the_paper():
    g, d = DCGANGenerator(DCGANGeneratorConfig(width=4)), Discriminator(DiscriminatorConfig(width=4))
    pictures = g(torch.randn(3, 100), torch.randn(3, 1024))
    assert pictures.shape == (3, 3, 64, 64) and pictures.abs().max() <= 1
    assert d.look(pictures).shape == (3, 32, 4, 4)
    assert d(pictures, torch.randn(3, 1024)).shape == (3,)


def test_both_networks_use_the_caption():
    torch.manual_seed(0)
    g, d = DCGANGenerator(DCGANGeneratorConfig(width=4)).eval(), Discriminator(DiscriminatorConfig(width=4)).eval()
    z, (h, other_h) = torch.randn(1, 100), torch.randn(2, 1, 1024)
    assert not torch.equal(g(z, h), g(z, other_h))
    assert not torch.equal(d(g(z, h), h), d(g(z, h), other_h))


def test_both_encoders_of_photos_take_pictures_of_one_size():
    assert StyleEncoderConfig().size == ImageEncoderConfig().size
