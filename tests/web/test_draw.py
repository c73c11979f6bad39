"""The tab "Draw" in a real browser, on small networks of random weights."""

import json

import numpy as np
import pytest
from PIL import Image

import t2i
from t2i.web.schemas import PICTURES_PER_PAGE
from tests.screen import decode, hold_requests, matches, note, pixels, same, seeds, settle

CAPTION = "a flower with pink petals"


def test_typing_changes_the_pictures(page):
    first = pixels(page)
    box = page.get_by_label("Caption", exact=True)
    box.fill("")
    box.press_sequentially("a blue bird", delay=20)
    page.wait_for_function("[...document.querySelectorAll('.grid img')].every(i => i.alt === 'a blue bird')")
    second = pixels(page)
    assert not same(first, second).any()
    box.fill(page.evaluate("document.querySelector('.examples button').title"))
    assert same(first, pixels(page)).all()  # the same caption and seeds: the same pictures
    page.wait_for_function("document.querySelector('.live').textContent.startsWith('Sixteen pictures')")


def test_a_caption_that_cannot_be_read_shows_an_error_and_keeps_the_pictures(page):
    before = pixels(page)
    box = page.get_by_label("Caption", exact=True)
    for text in ("", "   ", "🌸🌸🌸"):
        box.fill(text)
        settle(page)
        assert note(page)
        assert box.get_attribute("aria-invalid") == "true"
        assert same(before, pixels(page)).all()
        box.fill(CAPTION)
        settle(page)
        assert note(page) == ""
        before = pixels(page)


def test_a_hostile_caption_is_shown_as_text(page):
    for text in (
        "${alert(1)}<script>alert(2)</script>",
        "<img src=x onerror=alert(3)>",
        "{{#each this}}`${alert(4)}`",
    ):
        page.get_by_label("Caption", exact=True).fill(text)
        settle(page)
        page.locator(".picture").first.click()
        page.wait_for_timeout(200)
        assert page.locator("#t2i-draw-big-caption").inner_text() == text
        assert page.locator(".t2i-draw script, .t2i-draw img[src=x]").count() == 0
        page.keyboard.press("Escape")
    # The page fixture checks that there were no dialogs and errors.


def test_a_caption_of_5000_characters_is_cut_and_the_page_says_so(page):
    box = page.get_by_label("Caption", exact=True)
    box.fill("red " * 1250)
    long = pixels(page)
    assert "201" in note(page)
    box.fill(("red " * 1250)[:201])
    assert same(long, pixels(page)).all()


def test_shuffle_changes_all_pictures_but_the_locked_one(page):
    before, numbers = pixels(page), seeds(page)
    page.get_by_label("Lock seed 3", exact=True).click()
    page.get_by_role("button", name="Shuffle").click()
    after = pixels(page)
    assert same(before, after).tolist() == [i == 2 for i in range(PICTURES_PER_PAGE)]
    assert [i for i in range(PICTURES_PER_PAGE) if seeds(page)[i] == numbers[i]] == [2]
    page.get_by_label("Seed", exact=True).fill("1")
    assert same(before, pixels(page)).all()  # a seed always gives the same picture


def test_attribute_sliders_follow_arrow_keys_and_reset(page):
    before = pixels(page)
    page.get_by_text("Adjust", exact=True).click()
    slider = page.get_by_label("Style 2", exact=True)
    for _ in range(10):
        slider.press("ArrowRight")
    assert not same(before, pixels(page)).any()
    assert page.locator("output").nth(1).inner_text() == "0.50"
    page.get_by_label("Reset style 2").click()
    assert same(before, pixels(page)).all()
    page.get_by_label("Style 4", exact=True).press("Home")
    assert not same(before, pixels(page)).any()
    page.get_by_role("button", name="Reset all").click()
    assert same(before, pixels(page)).all()


def drag(page, selector: str, across: float, down: float) -> None:
    """Drag from the middle of a node, in steps, by so many pixels."""
    area = page.locator(selector).bounding_box()
    x, y = area["x"] + area["width"] / 2, area["y"] + area["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + across, y + down, steps=8)
    page.mouse.up()


def pitch(page) -> float:
    """Pixels from one picture to the next."""
    boxes = [page.locator(".picture").nth(i).bounding_box() for i in (0, 1)]
    return boxes[1]["x"] - boxes[0]["x"]


def place(page) -> str:
    """Where the sixteen pictures are on the plane of seeds, in words."""
    return page.locator(".place span").inner_text()


def test_the_grid_is_dragged_like_a_map_over_the_seeds(page):
    before, box, side = pixels(page), page.get_by_label("Seed", exact=True), pitch(page)
    page.get_by_label("Lock seed 1", exact=True).click()
    drag(page, "li:nth-child(6) .picture", -side / 2, -side / 4)  # the window moves right and down
    assert same(before, pixels(page)).tolist() == [True] + [False] * 15  # the locked one stays
    assert place(page) == "Seed 1, 0.50 across and 0.25 down"
    assert not page.locator("dialog").is_visible()  # a drag is no click
    page.locator(".picture").nth(5).click()
    assert page.locator(".recipe").inner_text().startswith("Seed 6, 0.50 across and 0.25 down")
    with page.expect_download() as download:
        page.get_by_role("button", name="PNG 64 px").click()
    page.keyboard.press("Escape")
    picture = Image.open(download.value.path())
    assert json.loads(picture.text["t2i"])["at"] == [pytest.approx([0.5, 0.25], abs=0.01)]
    assert np.abs(pixels(page)[5] - np.asarray(picture, int)).mean() < 8  # a JPEG of the same
    page.get_by_label("Lock seed 1", exact=True).click()
    page.get_by_role("button", name="Back to seed 1").click()
    assert same(before, pixels(page)).all() and box.input_value() == "1"
    assert not page.locator(".back").is_visible()
    drag(page, "li:nth-child(11) .picture", 0, -side)  # one picture up: the next row of four
    assert place(page) == "Seed 5" and same(before[4:], pixels(page)[:12]).all()
    drag(page, "li:nth-child(1) .picture", 0, 4 * side)
    assert place(page).startswith("Drag") and same(before, pixels(page)).all()  # the plane begins here


def test_shift_and_arrow_keys_travel_over_the_seeds(page):
    before = pixels(page)
    page.locator(".picture").first.focus()
    for _ in range(10):
        page.keyboard.press("Shift+ArrowDown")
    down = pixels(page)
    assert place(page) == "Seed 5" and same(before[4:], down[:12]).all()  # ten tenths down: the next row of four
    page.keyboard.press("Shift+ArrowUp")
    assert place(page) == "Seed 1, 0.00 across and 0.90 down"
    page.keyboard.press("ArrowRight")  # without Shift, to the next picture
    assert page.evaluate("document.activeElement.getAttribute('aria-describedby')").startswith("t2i-draw-seed-1 ")


@pytest.mark.parametrize("first, outward, along", [(1, -1, -1), (999_983, 1, 1)])
def test_the_plane_stops_at_its_edge_in_one_direction_only(page, first, outward, along):
    """Up in its first row, and down in its last one; it still moves across."""
    box = page.get_by_label("Seed", exact=True)
    box.fill(str(first))
    before = pixels(page)
    page.locator(".picture").first.focus()
    for _ in range(12):
        page.keyboard.press("Shift+ArrowUp" if outward < 0 else "Shift+ArrowDown")
    assert outward < 0 or place(page) == f"Seed {first}, 0.00 across and 1.00 down"
    page.keyboard.press("Shift+ArrowRight" if along < 0 else "Shift+ArrowLeft")
    assert f", {'0.10' if along < 0 else '0.90'} across" in place(page)
    assert not same(before, pixels(page)).any()
    box.fill(str(first))
    side = pitch(page)
    drag(page, "li:nth-child(6) .picture", along * side / 2, -outward * side / 2)
    assert place(page).startswith(f"Seed {first if along < 0 else first - 1}, 0.50 across and ")


def test_a_tiles_details_show_only_when_wanted(page):
    page.mouse.move(5, 5)
    foot = "i => getComputedStyle(document.querySelectorAll('.foot')[i]).opacity"
    assert {page.evaluate(foot, i) for i in range(16)} == {"0"}
    page.locator(".picture").nth(2).hover()
    assert page.evaluate(foot, 2) == "1"
    page.get_by_label("Lock seed 3", exact=True).click()
    page.locator(".picture").nth(5).focus()
    page.mouse.move(5, 5)
    assert [page.evaluate(foot, i) for i in range(16)] == ["1" if i in (2, 5) else "0" for i in range(16)]
    matches(page)
    page.get_by_role("button", name="Sort by match").click()
    assert {page.evaluate(foot, i) for i in range(16)} == {"1"}


def test_a_picture_enlarged_by_keyboard_is_saved_as_it_is(page, model):
    screen = pixels(page)
    page.locator(".picture").first.focus()
    for key in ("ArrowRight", "ArrowDown", "Enter"):
        page.keyboard.press(key)
    assert page.locator("dialog").is_visible()
    with page.expect_download() as download:
        page.get_by_role("button", name="PNG 64 px").click()
    picture = Image.open(download.value.path())
    assert (picture.format, picture.size) == ("PNG", (64, 64))
    made = json.loads(picture.text["t2i"])
    assert made["seed"] == 6 and [picture.text["Description"]] == made["captions"]
    drawn = t2i.load(model).draw_array(made["captions"], [made["seed"]], made["attributes"])[0]
    assert np.abs(np.asarray(picture, int) - drawn).max() <= 1
    distance = np.abs(screen - np.asarray(picture, int)).mean(axis=(1, 2, 3))
    assert distance.argmin() == 5 and distance[5] < 8  # the sixth on the screen, which is a JPEG
    with page.expect_download() as download:
        page.get_by_role("button", name="PNG 256 px").click()
    assert Image.open(download.value.path()).size == (256, 256)
    page.keyboard.press("Escape")
    assert not page.locator("dialog").is_visible()
    assert page.evaluate("document.activeElement.getAttribute('aria-describedby')").startswith("t2i-draw-seed-5 ")


def test_the_dialog_turns_to_the_next_and_the_previous_picture(page):
    screen = pixels(page)
    page.locator(".picture").nth(14).click()
    big = """async () => {
      const image = new Image();
      image.src = document.querySelector('.big').src;
      await image.decode();
      const canvas = Object.assign(document.createElement('canvas'), { width: 64, height: 64 });
      canvas.getContext('2d').drawImage(image, 0, 0, 64, 64);
      return canvas.toDataURL('image/png');
    }"""
    turns = {
        16: lambda: page.keyboard.press("ArrowRight"),
        1: lambda: page.get_by_role("button", name="Next picture").click(),
        2: lambda: page.keyboard.press("ArrowRight"),
        3: lambda: page.keyboard.press("ArrowRight"),
    }
    for seed, turn in turns.items():
        turn()
        assert page.locator(".recipe").inner_text().startswith(f"Seed {seed} ")
        page.wait_for_function("document.querySelector('.big').naturalWidth === 256")  # the larger one
        distance = np.abs(screen - decode(page.evaluate(big))[..., :3]).mean(axis=(1, 2, 3))
        assert distance.argmin() == seed - 1
    page.keyboard.press("ArrowLeft")
    page.get_by_role("button", name="Previous picture").click()
    assert page.locator(".recipe").inner_text().startswith("Seed 1 ")
    with page.expect_download() as download:
        page.get_by_role("button", name="PNG 64 px").click()
    assert json.loads(Image.open(download.value.path()).text["t2i"])["seed"] == 1
    page.keyboard.press("Escape")
    focused = "document.activeElement.getAttribute('aria-describedby')?.startsWith('t2i-draw-seed-0 ')"
    page.wait_for_function(focused)


def test_an_answer_older_than_the_pictures_is_dropped(page):
    held = hold_requests(page, "a late caption")
    box = page.get_by_label("Caption", exact=True)
    box.fill("a late caption")
    box.fill("a prompt caption")
    settle(page)  # the page no longer waits for the held answer
    prompt = pixels(page)
    assert len(held) == 1
    with page.expect_response(lambda answer: answer.request == held[0].request) as late:
        held[0].continue_()
    assert late.value.json()["pictures"]
    page.wait_for_timeout(200)
    assert page.locator(".grid img").first.get_attribute("alt") == "a prompt caption"
    assert same(prompt, pixels(page)).all()


BUSY = {"status": 503, "content_type": "text/plain", "body": "The server is busy. Try again in a moment."}


@pytest.mark.parametrize(
    "silence", [lambda route: route.abort(), lambda route: route.fulfill(**BUSY)], ids=["away", "busy"]
)
def test_the_last_pictures_stay_while_the_server_does_not_answer(page, silence):
    before = pixels(page)
    page.route("**/component_server/**", silence)
    page.get_by_label("Caption", exact=True).fill("nobody is listening")
    settle(page)
    assert "busy or away" in note(page)
    page.unroute("**/component_server/**")
    page.wait_for_function("document.querySelector('#t2i-draw-note').textContent === ''", timeout=10_000)
    assert not same(before, pixels(page)).any()  # it has asked again by itself


def test_every_picture_shows_its_match(page, model):
    caption = page.get_by_label("Caption", exact=True)
    caption.fill(CAPTION)
    settle(page)
    studio = t2i.load(model)
    expected = studio.match(studio.draw(CAPTION, range(1, 17)), CAPTION)
    percentages = matches(page)
    assert all(abs(100 * wanted - shown) < 1 for wanted, shown in zip(expected, percentages, strict=True))
    lines = page.eval_on_selector_all(".foot", "feet => feet.map(foot => foot.style.getPropertyValue('--match'))")
    assert all(abs(100 * float(line) - shown) <= 0.5001 for line, shown in zip(lines, percentages, strict=True))
    described = page.locator(".picture").first.get_attribute("aria-describedby").split()
    assert page.locator(f"#{described[1]}").text_content() == f"match {percentages[0]} %"
    help_text = page.locator("#t2i-draw-match-help")
    assert not help_text.is_visible()
    page.get_by_role("button", name="Sort by match").focus()
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Tab")  # :focus-visible needs the keyboard
    assert help_text.is_visible()
    caption.fill("")
    settle(page)
    assert matches(page) == percentages  # those of the last good pictures


def test_pictures_are_sorted_on_demand_and_locks_move_with_them(page, model):
    page.get_by_label("Lock seed 3", exact=True).click()
    before = pixels(page)
    matches(page)
    page.get_by_role("button", name="Sort by match").click()
    studio = t2i.load(model)
    caption = page.get_by_label("Caption", exact=True)
    scores = studio.match(studio.draw(caption.input_value(), range(1, 17)), caption.input_value())
    in_order = [scores[seed - 1] for seed in seeds(page)]
    assert sorted(seeds(page)) == list(range(1, 17)) and np.diff(in_order).max() < 0.01
    assert seeds(page) != list(range(1, 17)) and matches(page) == sorted(matches(page), reverse=True)
    after, at = pixels(page), [seed - 1 for seed in seeds(page)]
    assert same(after, before[at]).all()
    place = at.index(2)
    locks = page.eval_on_selector_all(".lock", "locks => locks.map(lock => lock.getAttribute('aria-pressed'))")
    assert [i for i, lock in enumerate(locks) if lock == "true"] == [place]
    kept = seeds(page)
    caption.fill("a blue bird")  # typing does not sort
    settle(page)
    matches(page)
    assert seeds(page) == kept
    caption.fill(page.evaluate("document.querySelector('.examples button').title"))
    assert (np.abs(pixels(page) - after).mean((1, 2, 3)) < 3).all()  # drawn in another order, and a JPEG
    page.get_by_role("button", name="Shuffle").click()
    assert [i for i, (old, new) in enumerate(zip(kept, seeds(page))) if old == new] == [place]
    page.locator(".picture").nth(place).click()
    assert page.locator(".recipe").inner_text().startswith("Seed 3 ")


def test_pictures_keep_their_seeds_if_a_later_request_fails(page):
    matches(page)
    page.get_by_label("Caption", exact=True).fill("")
    page.get_by_role("button", name="Shuffle").click()
    before = pixels(page)
    page.get_by_role("button", name="Sort by match").click()
    assert same(before, pixels(page)).all() and seeds(page)[0] != 1
    page.locator(".picture").first.click()
    assert page.locator(".recipe").inner_text().startswith("Seed 1 ")


def test_sorting_waits_for_the_matches(page):
    page.get_by_label("Caption", exact=True).fill("a blue bird")
    page.get_by_role("button", name="Sort by match").click()
    page.wait_for_function("document.querySelector('.number').textContent !== '1'")
    assert matches(page) == sorted(matches(page), reverse=True)
