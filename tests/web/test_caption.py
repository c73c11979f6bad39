"""The caption box and what is around it: its size, its placeholder, the examples, the help on the match."""

import pytest

from t2i.registry import MODELS
from tests.screen import pixels, rest, same, settle, wait_for_sample

LONG = "this flower has long white petals that droop around a brown center and many thin green leaves with a fine edge"
# Draw comes last, because Blend begins with its caption.
BOXES = [("Style", ".t2i-style th textarea >> nth=1"), ("Blend", "#t2i-blend-2"), ("Draw", "#t2i-draw-caption")]
ROOM = "box => [box.clientHeight, box.scrollHeight]"

# Whether the middle of a node is visible and not covered by something else.
REACHED = """node => {
  const { left, top, width, height } = node.getBoundingClientRect();
  return node.contains(document.elementFromPoint(left + width / 2, top + height / 2));
}"""


def opened(page, tab: str, box: str):
    page.get_by_role("tab", name=tab).click()
    page.locator(box).wait_for()
    if tab == "Style":
        wait_for_sample(page)
    rest(page)
    return page.locator(box)


def test_the_box_grows_with_its_caption_and_not_within_a_line(page):
    for tab, place in BOXES:
        box = opened(page, tab, place)
        box.fill("a red")
        short, top = box.bounding_box(), page.locator(".tune:visible, .scroll:visible").last.bounding_box()
        box.press_sequentially(" flower")
        rest(page)
        assert box.bounding_box() == short, tab
        assert page.locator(".tune:visible, .scroll:visible").last.bounding_box() == top, tab
        box.fill(LONG)
        visible, needed = box.evaluate(ROOM)
        assert visible >= needed and box.bounding_box()["height"] >= short["height"], tab
        box.fill(LONG * 4)
        visible, needed = box.evaluate(ROOM)
        assert needed > visible, tab  # it scrolls
        most = 8 if tab == "Style" else 5  # lines
        lines = box.evaluate("box => box.clientHeight / parseFloat(getComputedStyle(box).lineHeight)")
        assert most <= lines < most + 1, tab


def test_four_sentences_end_on_one_line(page):
    first = opened(page, "Blend", "#t2i-blend-1")
    page.get_by_label("Four sentences").check()
    first.fill(LONG)
    boxes = [page.locator(f"#t2i-blend-{i}").bounding_box() for i in (1, 2)]
    assert len({box["y"] + box["height"] for box in boxes}) == 1


def test_a_phone_has_no_empty_line_and_no_gap_above_the_examples(page):
    page.set_viewport_size({"width": 360, "height": 740})
    box, chips = page.get_by_label("Caption", exact=True), page.locator(".examples button")
    line = box.evaluate("box => parseFloat(getComputedStyle(box).lineHeight)")
    assert box.bounding_box()["height"] < 2.9 * line
    end = box.bounding_box()["y"] + box.bounding_box()["height"]
    assert chips.first.bounding_box()["y"] - end < 16
    second = chips.nth(1).bounding_box()
    assert 360 - 32 - second["x"] > 60  # it is in sight
    pictures = page.locator(".grid").bounding_box()
    box.fill("🌸")  # a note of one or two lines moves nothing
    page.locator("#t2i-draw-note.error").wait_for()
    note = page.locator("#t2i-draw-note").bounding_box()
    assert page.locator(".grid").bounding_box() == pictures and note["y"] + note["height"] < pictures["y"]


@pytest.mark.parametrize("width", [1440, 900])
def test_every_example_is_whole_and_reached_with_a_mouse(page, width):
    page.set_viewport_size({"width": width, "height": 800})
    chips = page.locator(".examples button:visible")
    examples = MODELS["flowers"].examples
    count = len(examples)
    assert chips.count() == count and all(chip.evaluate(REACHED) for chip in chips.all())
    assert chips.evaluate_all("chips => chips.every(chip => chip.scrollWidth <= chip.clientWidth)")
    page.locator(".examples.has-thumbnails").wait_for()
    first = pixels(page)
    pressed = "chips => chips.map(chip => chip.getAttribute('aria-pressed'))"
    for i in range(count):
        assert chips.nth(i).inner_text() in examples[i]
        chips.nth(i).click()
        assert page.get_by_label("Caption", exact=True).input_value() == examples[i]
        assert chips.evaluate_all(pressed) == [str(i == j).lower() for j in range(count)]
    assert not same(first, pixels(page)).any()
    page.get_by_label("Caption", exact=True).fill("a blue bird")
    assert "true" not in chips.evaluate_all(pressed)


def test_an_empty_box_says_what_its_model_can_draw(page):
    caption, head = page.get_by_label("Caption", exact=True), page.locator(".t2i-head .what")
    caption.fill("")
    settle(page)
    assert caption.get_attribute("placeholder") == "Describe a flower\u00a0…"
    assert page.locator("#t2i-draw-note").inner_text() == "Type a few words."
    assert head.inner_text() == "Describe a flower. Pictures redraw with every keystroke."
    page.locator("#t2i-draw-model").select_option("birds")
    assert caption.get_attribute("placeholder") == "Describe a bird\u00a0…"
    assert head.inner_text().startswith("Describe a bird. ")


def test_a_blend_marks_the_sentence_that_is_empty(page):
    second = opened(page, "Blend", "#t2i-blend-2")
    second.fill(" ")
    page.locator("#t2i-blend-note", has_text="Type a few words for the second sentence.").wait_for()
    invalid = page.locator(".sentences textarea[aria-invalid=true]")
    assert invalid.count() == 1 and invalid.get_attribute("id") == "t2i-blend-2"
    accent = page.locator(".play").evaluate("play => getComputedStyle(play).backgroundColor")
    for part in (second, page.locator("label[for=t2i-blend-2]")):
        assert part.evaluate("part => getComputedStyle(part)[part.value ? 'borderBottomColor' : 'color']") == accent
    second.fill("a blue bird")
    page.wait_for_function("!document.querySelector('.sentences [aria-invalid=true]')")


def test_pasted_line_breaks_become_spaces(page):
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    for tab, place in [*BOXES, ("Compare", "#t2i-compare-caption"), ("Search", "#t2i-search-caption")]:
        box = opened(page, tab, place)
        box.fill("a red flower")
        box.evaluate("box => box.setSelectionRange(2, 5)")
        page.evaluate("navigator.clipboard.writeText('blue\\r\\nor\\nwhite')")
        page.keyboard.press("Control+V")
        assert box.input_value() == "a blue or white flower", tab
        assert box.evaluate("box => box.selectionStart") == len("a blue or white"), tab
        page.keyboard.press("Enter")
        assert box.input_value() == "a blue or white flower", tab


def test_the_box_for_several_captions_keeps_its_lines(page):
    box = opened(page, "Search", "#t2i-search-own")
    box.fill("an oak")
    box.press("Enter")
    box.press_sequentially("a bird")
    assert box.input_value() == "an oak\na bird"


def test_the_help_on_the_match_covers_no_picture_and_does_not_flicker(page):
    page.wait_for_function("[...document.querySelectorAll('.match')].every(match => match.textContent)")
    help_text = page.locator("#t2i-draw-match-help")
    for width in (1280, 900, 700):
        page.set_viewport_size({"width": width, "height": 800})
        spot = page.locator(".sort")
        spot.hover()
        assert help_text.is_visible() and spot.evaluate(REACHED), width
        box, grid = help_text.bounding_box(), page.locator(".grid").bounding_box()
        beside = box["x"] + box["width"] <= grid["x"] or box["y"] >= grid["y"] + grid["height"]
        assert beside and box["x"] >= 0, width
        page.mouse.move(5, 5)
        assert not help_text.is_visible(), width
