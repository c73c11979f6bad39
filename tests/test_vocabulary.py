"""The vocabulary of a text encoder, the unknown words of a caption, and the hint about them in every tab."""

import io

import pytest
from PIL import Image

from t2i.vocabulary import MIN_CAPTIONS, frequent_words, unknown_words
from tests.screen import free_port, rest, save, served

UNKNOWN = "the stock market fell"
HINT = "This model knows flowers. It has hardly met “stock”, “market”, “fell”."
HINT_OF_ALL_MODELS = "These models know flowers. They have hardly met “stock”, “market”, “fell”."
VOCABULARY = frozenset("a red flower with the petals of this is on tip and".split())


def test_a_word_is_frequent_if_it_is_in_ten_captions():
    captions = ["A Red flower; red, red!"] * (MIN_CAPTIONS - 1) + ["a red-hot flower"]
    assert frequent_words(captions) == ["a", "flower", "red"]
    assert frequent_words(captions[1:]) == [] and frequent_words([]) == []


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
        ("a réd ｆｌｏｗｅｒ", []),
        ("", []),
        ("花 1234", []),
    ],
)
def test_a_caption_has_unknown_words_if_they_are_a_quarter_of_it(caption, expected):
    assert unknown_words(caption, VOCABULARY) == expected


@pytest.fixture(scope="module")
def learned(tiny_networks, compared, tmp_path_factory):
    """The address of a page whose model has a recorded vocabulary."""
    folder = save(tiny_networks, tmp_path_factory.mktemp("learned") / "tiny", words="a blue bird of the")
    with served({"flowers": folder, **compared}, free_port()) as address:
        yield address


@pytest.mark.parametrize(
    "tab, words, hint",
    [
        ("draw", "#t2i-draw-caption", HINT),
        ("blend", "#t2i-blend-2", HINT),
        ("style", ".t2i-style th textarea >> nth=1", HINT),
        ("compare", "#t2i-compare-caption", HINT_OF_ALL_MODELS),
        ("search", "#t2i-search-caption", HINT),
    ],
)
def test_a_hint_names_unknown_words_once_the_typing_rests(new_page, learned, tab, words, hint):
    page = new_page(f"{learned}/?tab={tab}&caption=a+bird&caption=a+blue+bird")
    box = page.locator(words)
    box.wait_for()
    if tab == "style":
        photo = io.BytesIO()
        Image.new("RGB", (90, 70), "red").save(photo, "PNG")
        files = [{"name": "red.png", "mimeType": "image/png", "buffer": photo.getvalue()}]
        page.locator(".t2i-style input[type=file]").set_input_files(files)
    rest(page)
    note = page.locator(".note:visible:not(.hint)").first
    assert note.inner_text() == ""
    box.fill(UNKNOWN)
    page.locator(".note:visible", has_text=hint).wait_for()
    assert note.get_attribute("class").split()[0] == "note" and "error" not in note.get_attribute("class")
    page.locator(".live:visible", has_text=hint).wait_for()
    if tab == "draw":  # the image encoder does not know these words either, so there are no matches
        page.wait_for_timeout(1000)
        assert not any(page.locator(".match").all_inner_texts()) and page.locator(".sort").is_hidden()
    top = box.bounding_box()
    if tab == "blend":  # the hint stays while the slider moves
        page.evaluate(
            "note => { window.gone = 0; new MutationObserver(() => (window.gone += !note.textContent))"
            ".observe(note, { childList: true, characterData: true, subtree: true }) }",
            note.element_handle(),
        )
        for _ in range(5):
            page.get_by_label("Blend", exact=True).press("ArrowRight")
            rest(page)
        assert note.inner_text() == hint and page.evaluate("window.gone") == 0
    box.fill("a blue bird")
    page.wait_for_function("note => note.textContent === ''", arg=note.element_handle())
    assert box.bounding_box() == top  # nothing jumps
    if tab == "draw":
        page.locator(".match", has_text="%").nth(15).wait_for()
        assert page.locator(".sort").is_visible()
