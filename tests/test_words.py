"""Which words a text encoder knows, and which captions are strange to it."""

import pytest

from t2i.words import OFTEN, common, strange

KNOWN = frozenset("a red flower with the petals of this is on tip and".split())


def test_words_are_common_by_the_captions_they_stand_in():
    captions = ["A Red flower; red, red!"] * (OFTEN - 1) + ["a red-hot flower"]
    assert common(captions) == ["a", "flower", "red"]
    assert common(captions[1:]) == [] and common([]) == []


@pytest.mark.parametrize(
    "caption, expected",
    [
        ("this flower is red", []),
        ("This FLOWER is Red!", []),
        ("a red car on the street", ["car", "street"]),
        ("Car car, car.", ["car"]),
        ("a car", ["car"]),
        ("a red flower with the petals of a car", []),  # one of nine
        ("a red flower of glass", []),  # one of five
        ("a red flower, glass", ["glass"]),  # one of four
        ("a red flo", []),  # still being typed
        ("flo", []),
        ("a flo ", ["flo"]),
        ("a flox", ["flox"]),
        ("a car flo", ["car"]),
        ("", []),
        ("花 1234", []),
    ],
)
def test_a_caption_is_strange_from_a_quarter_of_unknown_words_on(caption, expected):
    assert strange(caption, KNOWN) == expected
