"""The page in a real browser, and the service behind it, on small networks of random weights."""

import base64
import copy
import io
import json
import math
import threading

import gradio_client
import numpy as np
import pytest
import torch
from PIL import Image

import t2i
from t2i import registry
from t2i.registry import MODELS
from t2i.studio import load_engine
from t2i.web import LAUNCH_LOOK, create_demo
from t2i.web.app import TABS
from t2i.web.component import is_offered
from t2i.web.schemas import PICTURES_PER_PAGE
from t2i.web.service import Service
from tests.screen import (
    ask,
    begun,
    decode,
    hold,
    note,
    photo_of,
    photo_painted,
    pixels,
    rest,
    same,
    save,
    seeds,
    settle,
)

CAPTION = "a flower with pink petals"


def test_pictures_follow_the_typing(page):
    first = pixels(page)
    box = page.get_by_label("Caption", exact=True)
    box.fill("")
    box.press_sequentially("a blue bird", delay=20)
    page.wait_for_function("[...document.querySelectorAll('.grid img')].every(i => i.alt === 'a blue bird')")
    second = pixels(page)
    assert not same(first, second).any()
    box.fill(page.evaluate("document.querySelector('.chips button').title"))
    assert same(first, pixels(page)).all()  # the same caption and seeds: the same pictures
    page.wait_for_function("document.querySelector('.live').textContent.startsWith('Sixteen pictures')")


def test_what_cannot_be_read_is_answered_in_words_and_the_pictures_stay(page):
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


def test_hostile_text_stays_text(page):
    for text in (
        "${alert(1)}<script>alert(2)</script>",
        "<img src=x onerror=alert(3)>",
        "{{#each this}}`${alert(4)}`",
    ):
        page.get_by_label("Caption", exact=True).fill(text)
        settle(page)
        page.locator(".picture").first.click()
        page.wait_for_timeout(200)
        assert page.locator("#t2i-big-caption").inner_text() == text
        assert page.locator(".t2i-draw script, .t2i-draw img[src=x]").count() == 0
        page.keyboard.press("Escape")
    # The page fixture looks for dialogs and errors.


def test_a_caption_of_5000_characters_is_cut_and_the_page_says_so(page):
    box = page.get_by_label("Caption", exact=True)
    box.fill("red " * 1250)
    long = pixels(page)
    assert "201" in note(page)
    box.fill(("red " * 1250)[:201])
    assert same(long, pixels(page)).all()


def test_shuffle_changes_and_lock_keeps(page):
    before, numbers = pixels(page), seeds(page)
    page.get_by_label("Lock seed 3", exact=True).click()
    page.get_by_role("button", name="Shuffle").click()
    after = pixels(page)
    assert same(before, after).tolist() == [i == 2 for i in range(PICTURES_PER_PAGE)]
    assert [i for i in range(PICTURES_PER_PAGE) if seeds(page)[i] == numbers[i]] == [2]
    page.get_by_label("Seed", exact=True).fill("1")
    assert same(before, pixels(page)).all()  # a seed is its picture


def test_style_by_arrow_key_and_reset(page):
    before = pixels(page)
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


def test_the_plane_of_seeds_is_dragged_snapped_and_reset(page):
    before, box = pixels(page), page.get_by_label("Seed", exact=True)
    page.get_by_label("Lock seed 1", exact=True).click()
    plane = page.get_by_label("Plane", exact=True)
    area = plane.bounding_box()
    page.mouse.move(area["x"] + 100, area["y"] + 60)
    page.mouse.down()
    page.mouse.move(area["x"] + 72, area["y"] + 44, steps=8)  # against the window: it goes across and down
    page.mouse.up()
    assert same(before, pixels(page)).tolist() == [True] + [False] * 15  # the locked one stays
    assert plane.get_attribute("aria-valuetext") == "Seed 1, 0.44 across and 0.25 down"
    page.locator(".picture").nth(5).click()
    assert page.locator(".made").inner_text().startswith("Seed 6, 0.44 across and 0.25 down")
    with page.expect_download() as download:
        page.get_by_role("button", name="PNG 64 px").click()
    page.keyboard.press("Escape")
    picture = Image.open(download.value.path())
    assert json.loads(picture.text["t2i"])["at"] == [pytest.approx([28 / 64, 16 / 64], abs=0.01)]
    assert np.abs(pixels(page)[5] - np.asarray(picture, int)).mean() < 8  # a JPEG of the same
    page.get_by_label("Lock seed 1", exact=True).click()
    page.get_by_role("button", name="Snap").click()
    assert same(before, pixels(page)).all() and page.get_by_role("button", name="Snap").is_disabled()
    for _ in range(10):
        plane.press("ArrowDown")
    down = pixels(page)
    assert box.input_value() == "5" and same(before[4:], down[:12]).all()  # ten tenths down: the next row of four
    page.get_by_role("button", name="Reset", exact=True).click()
    assert same(before, pixels(page)).all() and box.input_value() == "1"
    plane.press("ArrowUp")
    assert same(before, pixels(page)).all() and box.input_value() == "1"  # the plane begins here


@pytest.mark.parametrize("first, outward, along", [(1, -1, -1), (999_983, 1, 1)])
def test_at_its_edge_the_plane_stops_in_one_direction_alone(page, first, outward, along):
    """From its first row up, and from its last row down; across goes on."""
    box, plane = page.get_by_label("Seed", exact=True), page.get_by_label("Plane", exact=True)
    box.fill(str(first))
    before = pixels(page)
    for _ in range(12):
        plane.press("ArrowUp" if outward < 0 else "ArrowDown")
    edge = "" if outward < 0 else ", 0.00 across and 1.00 down"
    assert plane.get_attribute("aria-valuetext") == f"Seed {first}{edge}"
    plane.press("ArrowRight" if along < 0 else "ArrowLeft")
    assert f", {'0.10' if along < 0 else '0.90'} across" in plane.get_attribute("aria-valuetext")
    assert not same(before, pixels(page)).any()
    box.fill(str(first))
    area = plane.bounding_box()
    x, y = area["x"] + area["width"] / 2, area["y"] + area["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 32 * along, y - 30 * outward, steps=4)
    page.mouse.up()
    at = f"Seed {first if along < 0 else first - 1}, 0.50 across and "
    assert plane.get_attribute("aria-valuetext").startswith(at)


def test_enlarge_by_keyboard_and_download_the_same_picture(page, model):
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
    assert distance.argmin() == 5 and distance[5] < 8  # a JPEG apart from the sixth on the screen
    with page.expect_download() as download:
        page.get_by_role("button", name="PNG 256 px").click()
    assert Image.open(download.value.path()).size == (256, 256)
    page.keyboard.press("Escape")
    assert not page.locator("dialog").is_visible()
    assert page.evaluate("document.activeElement.getAttribute('aria-describedby')").startswith("t2i-seed-5 ")


def test_the_enlarged_picture_turns_to_the_next_and_the_one_before(page):
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
        assert page.locator(".made").inner_text().startswith(f"Seed {seed} ")
        page.wait_for_function("document.querySelector('.big').naturalWidth === 256")  # the larger one
        distance = np.abs(screen - decode(page.evaluate(big))[..., :3]).mean(axis=(1, 2, 3))
        assert distance.argmin() == seed - 1
    page.keyboard.press("ArrowLeft")
    page.get_by_role("button", name="Previous picture").click()
    assert page.locator(".made").inner_text().startswith("Seed 1 ")
    with page.expect_download() as download:
        page.get_by_role("button", name="PNG 64 px").click()
    assert json.loads(Image.open(download.value.path()).text["t2i"])["seed"] == 1
    page.set_viewport_size({"width": 360, "height": 740})
    assert len({button.bounding_box()["y"] for button in page.locator("dialog .actions button").all()}) == 1
    page.keyboard.press("Escape")
    focused = "document.activeElement.getAttribute('aria-describedby')?.startsWith('t2i-seed-0 ')"
    page.wait_for_function(focused)


def test_the_menu_lists_the_registry_the_papers_networks_last_and_none_that_is_missing(page):
    options = page.get_by_label("Model", exact=True).locator("option")
    offered = [spec for spec in MODELS.values() if spec.objective or is_offered(spec)]
    assert [option.get_attribute("value") for option in options.all()] == [spec.name for spec in offered]
    assert options.all_inner_texts() == [spec.title for spec in offered]
    assert [spec.name for spec in offered[:3]] == ["flowers", "birds", "scenes"]
    grouped = page.get_by_label("Model", exact=True).locator('optgroup[label="The paper\'s networks"] option')
    assert grouped.all_inner_texts() == [spec.title for spec in offered if spec.paper]


def test_models_switch_without_a_reload(new_page, model, tiny_networks, tmp_path, monkeypatch, use_models):
    other = dict(tiny_networks, generator=copy.deepcopy(tiny_networks["generator"]))
    with torch.no_grad():
        next(other["generator"].parameters()).neg_()
    told = {"attributes": [["Size", "small", "large"]], "words": f"the other example {CAPTION}"}
    use_models({"flowers": model, "other": save(other, tmp_path / "other", **told)})
    for name in ("other", "missing"):
        spec = registry.ModelSpec(name, title=name.title(), examples=(f"the {name} example",), subject=f"{name}s")
        monkeypatch.setitem(MODELS, name, spec)
    demo = create_demo()
    demo.launch(server_name="127.0.0.1", prevent_thread_lock=True, quiet=True, **LAUNCH_LOOK)
    page = new_page("about:blank")
    try:
        page.goto(demo.local_url)
        flowers = pixels(page)
        box, menu = page.get_by_label("Caption", exact=True), page.get_by_label("Model", exact=True)
        menu.select_option("other")
        assert not same(flowers, pixels(page)).any()
        assert box.input_value() == "the other example"  # an example goes with its model …
        assert "Other" in page.locator(".status").inner_text()
        others = pixels(page)
        assert page.locator(".attributes label").all_inner_texts() == ["Size"]  # … and so do the sliders
        page.get_by_label("Size", exact=True).press("End")
        assert not same(others, pixels(page)).any()
        assert page.get_by_label("Size", exact=True).get_attribute("aria-valuetext") == "1.00, large"
        page.get_by_label("Reset Size").click()
        box.fill("the stock market fell, ${alert(1)} <b>")  # … and what is strange to it
        hinted = "document.querySelector('#t2i-note').textContent.startsWith('This model knows others. ')"
        page.wait_for_function(hinted)
        assert note(page).endswith("It has hardly met “stock”, “market”, “fell”.")
        assert page.locator("#t2i-note").get_attribute("class") == "note"  # a hint, no error
        box.fill(CAPTION)
        others = pixels(page)
        matches(page)
        assert note(page) == ""
        menu.select_option("missing")
        assert same(others, pixels(page)).all()
        assert note(page).startswith("Missing is not available") and str(tmp_path) not in note(page)
        assert box.input_value() == CAPTION  # … and a person's own words stay
        page.get_by_role("tab", name="Blend").click()
        blend = page.locator(".t2i-blend")
        assert blend.get_by_label("First sentence").input_value() == CAPTION  # Draw's, to begin with
        blend.get_by_label("First sentence").fill(MODELS["flowers"].examples[0])
        blend.get_by_label("Second sentence").fill(CAPTION)
        blend.get_by_label("Model", exact=True).select_option("other")
        assert blend.get_by_label("First sentence").input_value() == "the other example"
        assert blend.get_by_label("Second sentence").input_value() == CAPTION
    finally:
        page.close()
        demo.close()


def test_two_pages_at_once_do_not_mix(page, new_page, url, model):
    words = ("a red flower", "a blue bird")
    boxes = [one.get_by_label("Caption", exact=True) for one in (page, new_page(url))]
    for length in range(1, 13):
        for box, text in zip(boxes, words):
            box.fill(text[:length])
    drawn = [t2i.load(model).draw_array(text, range(1, 17)).astype(int) for text in words]
    for own, box in enumerate(boxes):
        distances = [np.abs(pixels(box.page) - pictures).mean((1, 2, 3)) for pictures in drawn]
        assert (distances[own] < distances[1 - own]).all()  # its own are but a JPEG apart


def test_a_late_answer_is_dropped(page):
    held = hold(page, "a late caption")
    box = page.get_by_label("Caption", exact=True)
    box.fill("a late caption")
    box.fill("a prompt caption")
    settle(page)  # the page stops waiting for the held answer
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
def test_a_silent_server_leaves_the_last_pictures(page, silence):
    before = pixels(page)
    page.route("**/component_server/**", silence)
    page.get_by_label("Caption", exact=True).fill("nobody is listening")
    settle(page)
    assert "busy or away" in note(page)
    page.unroute("**/component_server/**")
    page.wait_for_function("document.querySelector('#t2i-note').textContent === ''", timeout=10_000)
    assert not same(before, pixels(page)).any()  # it asked again by itself


def matches(page) -> list[int]:
    """The percentages on the screen, once they are there."""
    page.wait_for_function("[...document.querySelectorAll('.match')].every(match => match.textContent)")
    return [int(text.removeprefix("match ").removesuffix(" %")) for text in page.locator(".match").all_text_contents()]


def test_every_picture_says_how_well_it_matches(page, model):
    caption = page.get_by_label("Caption", exact=True)
    caption.fill(CAPTION)
    settle(page)
    studio = t2i.load(model)
    expected = studio.match(studio.draw(CAPTION, range(1, 17)), CAPTION)
    found = matches(page)
    assert all(abs(100 * wanted - shown) < 1 for wanted, shown in zip(expected, found, strict=True))
    lines = page.eval_on_selector_all(".foot", "feet => feet.map(foot => foot.style.getPropertyValue('--match'))")
    assert all(abs(100 * float(line) - shown) <= 0.5001 for line, shown in zip(lines, found, strict=True))
    described = page.locator(".picture").first.get_attribute("aria-describedby").split()
    assert page.locator(f"#{described[1]}").text_content() == f"match {found[0]} %"
    told = page.locator("#t2i-match-told")
    assert not told.is_visible()
    page.get_by_role("button", name="Sort by match").focus()
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Tab")  # :focus-visible wants the keyboard
    assert told.is_visible()
    caption.fill("")
    settle(page)
    assert matches(page) == found  # the last good pictures keep what is known of them


def test_sorting_is_on_demand_and_locked_seeds_keep_their_pictures(page, model):
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
    caption.fill("a blue bird")  # typing sorts nothing
    settle(page)
    matches(page)
    assert seeds(page) == kept
    caption.fill(page.evaluate("document.querySelector('.chips button').title"))
    assert (np.abs(pixels(page) - after).mean((1, 2, 3)) < 3).all()  # drawn in another order, and a JPEG
    page.get_by_role("button", name="Shuffle").click()
    assert [i for i, (old, new) in enumerate(zip(kept, seeds(page))) if old == new] == [place]
    page.locator(".picture").nth(place).click()
    assert page.locator(".made").inner_text().startswith("Seed 3 ")


def test_pictures_keep_their_seeds_where_what_was_asked_since_has_failed(page):
    matches(page)
    page.get_by_label("Caption", exact=True).fill("")
    page.get_by_role("button", name="Shuffle").click()
    before = pixels(page)
    page.get_by_role("button", name="Sort by match").click()
    assert same(before, pixels(page)).all() and seeds(page)[0] != 1
    page.locator(".picture").first.click()
    assert page.locator(".made").inner_text().startswith("Seed 1 ")


def test_sorting_waits_for_the_matches(page):
    page.get_by_label("Caption", exact=True).fill("a blue bird")
    page.get_by_role("button", name="Sort by match").click()
    page.wait_for_function("document.querySelector('.number').textContent !== '1'")
    assert matches(page) == sorted(matches(page), reverse=True)


@pytest.fixture
def blend(page):
    """The page on its tab "Blend"."""
    page.get_by_role("tab", name="Blend").click()
    page.wait_for_function("document.querySelector('.blended')?.src.startsWith('data:image/jpeg')")
    return page


def picture(page) -> str:
    """The source of the blended picture, once nothing is under way."""
    rest(page)
    return page.locator(".blended").get_attribute("src")


def becomes_another(page, old: str) -> None:
    page.wait_for_function("old => document.querySelector('.blended').src !== old", arg=old)


def test_blend_follows_the_words_the_keys_and_the_stops(blend):
    first = picture(blend)
    blend.get_by_label("Second sentence").fill("a blue bird")
    becomes_another(blend, first)
    middle = picture(blend)
    way = blend.get_by_label("Blend", exact=True)
    way.press("End")
    becomes_another(blend, middle)
    end = picture(blend)
    assert way.evaluate("slider => slider.nextSibling.textContent") == "100 %"
    last = decode(blend.locator(".strip img").last.get_attribute("src")).astype(int)
    assert np.abs(last - decode(end)).mean() < 3  # the last stop is the second sentence
    blend.get_by_label("Go to 25 %").click()
    becomes_another(blend, end)
    one, other = (decode(uri).astype(int) for uri in (picture(blend), middle))
    assert np.abs(one - other).mean() < 3  # drawn in another batch, and a JPEG


def test_blend_among_four_by_dragging(blend):
    before = picture(blend)
    blend.get_by_label("Four sentences").check()
    becomes_another(blend, before)
    assert len(set(blend.eval_on_selector_all(".mosaic img", "images => images.map(i => i.src)"))) > 40
    middle, pad = picture(blend), blend.locator(".pad").bounding_box()
    blend.mouse.move(pad["x"] + 5, pad["y"] + 5)
    blend.mouse.down()
    blend.mouse.move(pad["x"] + pad["width"] + 50, pad["y"] + pad["height"] / 4)
    blend.mouse.up()
    becomes_another(blend, middle)
    assert [blend.get_by_label(name, exact=True).input_value() for name in ("Across", "Down")] == ["1", "0.25"]


def test_play_moves_until_paused_or_taken_in_hand(blend):
    still = picture(blend)
    blend.get_by_role("button", name="Play").click()
    becomes_another(blend, still)
    blend.get_by_role("button", name="Pause").click()
    way = blend.get_by_label("Blend", exact=True)
    blend.wait_for_timeout(300)
    place = way.input_value()
    blend.wait_for_timeout(300)
    assert way.input_value() == place
    still = picture(blend)
    blend.get_by_role("button", name="Play").click()
    becomes_another(blend, still)
    way.press("ArrowRight")
    place = way.input_value()
    assert blend.locator(".play").text_content() == "Play"
    blend.wait_for_timeout(300)
    assert way.input_value() == place


def test_blend_says_what_is_wrong_and_keeps_the_picture(blend):
    before, note = picture(blend), blend.locator("#t2i-blend-note")
    for text in ("", "🌸🌸🌸"):
        blend.get_by_label("First sentence").fill(text)
        blend.wait_for_function("document.querySelector('#t2i-blend-note').textContent !== ''")
        assert note.get_attribute("class") == "note error" and picture(blend) == before
    for text in ("${alert(1)}<script>alert(2)</script>", "<img src=x onerror=alert(3)>"):
        blend.get_by_label("First sentence").fill(text)
        becomes_another(blend, before)
        before = picture(blend)
        assert blend.locator(".t2i-blend script, .t2i-blend img[src=x]").count() == 0


def test_the_ends_of_a_blend_are_the_sentences_own_pictures(model, use_models):
    use_models({"flowers": model})
    service, corners = Service("flowers"), ["a red flower", "a blue bird", "an oak", "a house of stone"]
    places = [[0, 0], [1, 0], [0, 1], [1, 1]]
    for captions in (corners[:2], corners):
        answer = service.blend({"captions": captions, "at": places[: len(captions)], "seed": 7}, kind="PNG")
        drawn = service._studio("flowers").draw_array(captions, 7)
        for uri, expected in zip(answer["pictures"], drawn, strict=True):
            assert np.abs(decode(uri).astype(int) - expected).max() <= 1


@pytest.mark.parametrize("captions", ["text", [], ["one"], ["a", "b", "c"], ["a", 5], ["a", ""]])
def test_a_blend_of_anything_but_two_or_four_sentences_is_refused(url, captions):
    answer = ask(url, "blend", {"captions": captions})
    assert set(answer) == {"error"} and " " in answer["error"]


@pytest.mark.parametrize("number", [math.nan, math.inf, -1e308, 10**400, "twelve", None, [], {}])
def test_every_number_of_a_blend_is_clamped(url, number):
    request = {"captions": [CAPTION, "a blue bird"], "at": [number, [number], [number] * 9] * 99, "seed": number}
    answer = ask(url, "blend", request)
    assert len(answer.get("pictures", [])) == 64, answer


def test_a_blend_is_saved_as_a_film(blend):
    for kind, button in {"gif": "GIF", "webp": "Animated WebP", "png": "PNG sheet"}.items():
        with blend.expect_download() as download:
            blend.get_by_role("button", name=button).click()
        film = Image.open(download.value.path())
        assert film.format.lower() == kind and download.value.suggested_filename.endswith(f".{kind}")
        frames = getattr(film, "n_frames", 1)  # 33 there, 31 back; WebP joins those that look the same
        assert frames == {"gif": 64, "png": 1}.get(kind, frames) and (kind != "webp" or 16 < frames <= 64), kind


@pytest.mark.parametrize("kind", [None, "exe", ["gif"], "mp4"])
def test_a_film_of_another_kind_is_refused(url, kind):
    answer = ask(url, "film", {"captions": [CAPTION, "a blue bird"], "kind": kind})
    assert set(answer) == {"error"} and "gif" in answer["error"]


@pytest.fixture
def styles(page, tmp_path):
    """The page on its tab "Style", with one photo."""
    page.get_by_role("tab", name="Style").click()
    begun(page)
    Image.effect_noise((120, 80), 90).convert("RGB").save(tmp_path / "photo.png")
    page.locator(".t2i-style input[type=file]").set_input_files(tmp_path / "photo.png")
    photo_painted(page)
    return page


def painted(page) -> list[str]:
    """The sources of the pictures beside the photos, once nothing is under way."""
    rest(page)
    return page.eval_on_selector_all(".t2i-style td img", "images => images.map(image => image.src)")


def test_a_photo_is_painted_under_every_caption(styles):
    before = painted(styles)
    assert len(before) == 6 and all(source.startswith("data:image/jpeg") for source in before)
    styles.get_by_label("Caption 2").fill("a blue bird")
    styles.get_by_label("Caption 5").fill("")
    styles.wait_for_function("old => document.querySelectorAll('.t2i-style td img')[1].src !== old", arg=before[1])
    styles.wait_for_function("document.querySelectorAll('.t2i-style td img')[4].src.startsWith('data:image/gif')")
    after = painted(styles)
    for i in (0, 2, 3, 5):  # drawn in another batch, and a JPEG
        assert np.abs(decode(before[i]).astype(int) - decode(after[i])).mean() < 3
    styles.locator(".offered button").first.click()
    styles.wait_for_function("document.querySelectorAll('.t2i-style tbody tr').length === 2")
    with styles.expect_download() as download:
        styles.get_by_role("button", name="Save as PNG sheet").click()
    assert Image.open(download.value.path()).size == (6 * 132, 2 * 132)


def test_a_ninth_photo_is_refused_in_words(styles, tmp_path):
    styles.locator(".t2i-style input[type=file]").set_input_files([tmp_path / "photo.png"] * 8)
    styles.locator(".t2i-style .note.error", has_text="At most 8 photos. Remove one first.").wait_for()
    assert styles.locator(".photo").count() == 8


def test_the_crop_is_chosen_and_a_photo_removed(styles):
    before = painted(styles)
    styles.get_by_label("Photo 1: choose what is seen").click()
    styles.get_by_label("Closer").press("End")
    styles.wait_for_function("old => document.querySelector('.t2i-style td img').src !== old", arg=before[0])
    zoomed = painted(styles)
    box = styles.locator(".crop").bounding_box()
    styles.mouse.move(box["x"] + 100, box["y"] + 100)
    styles.mouse.down()
    styles.mouse.move(box["x"] + 20, box["y"] + 100, steps=4)
    styles.mouse.up()
    styles.wait_for_function("old => document.querySelector('.t2i-style td img').src !== old", arg=zoomed[0])
    assert float(styles.get_by_label("Across", exact=True).locator("visible=true").input_value()) > 0.5
    styles.get_by_role("button", name="Remove photo").click()
    assert painted(styles) == [] and styles.locator(".empty").is_visible()


@pytest.mark.parametrize("size, dead", [((120, 80), {"Down"}), ((80, 120), {"Across"}), ((80, 80), {"Across", "Down"})])
def test_a_square_that_has_nowhere_to_go_is_not_offered_to_be_moved(styles, tmp_path, size, dead):
    Image.effect_noise(size, 90).convert("RGB").save(tmp_path / "other.png")
    styles.locator(".t2i-style input[type=file]").set_input_files(tmp_path / "other.png")
    styles.get_by_label("Photo 2: choose what is seen").click()
    sliders = {name: styles.locator(f"#t2i-crop-{name}") for name in ("x", "y", "zoom")}
    names = {"x": "Across", "y": "Down", "zoom": "Closer"}
    first = next(name for name in names if names[name] not in dead)
    assert {names[name] for name, slider in sliders.items() if slider.is_disabled()} == dead
    assert styles.evaluate("document.activeElement.id") == f"t2i-crop-{first}"
    sliders["zoom"].press("ArrowRight")
    assert all(slider.is_enabled() for slider in sliders.values())
    sliders["zoom"].press("Home")
    assert {names[name] for name, slider in sliders.items() if slider.is_disabled()} == dead


def test_a_photo_shows_that_the_keyboard_is_on_it(styles):
    box = styles.locator(".photo").bounding_box()
    around = {"x": box["x"] - 4, "y": box["y"] - 4, "width": box["width"] + 8, "height": box["height"] + 8}

    def seen() -> np.ndarray:
        painted(styles)
        return np.asarray(Image.open(io.BytesIO(styles.screenshot(clip=around))).convert("RGB"), int)

    plain, accent = seen(), [176, 34, 95]
    styles.get_by_label("Caption 6").press("Tab")
    assert styles.evaluate("document.activeElement.className") == "photo"
    focused = seen()
    ring = (focused == accent).all(-1)
    assert ring.sum() > 4 * box["width"] and not (plain == accent).all(-1).any()
    assert (np.abs(focused - plain).sum(-1) > 100)[ring].all()


def test_the_style_of_a_photo_is_drawn_with(styles, new_page, model):
    """In the tab Draw, with whatever is typed there; link, PNG, favourites and history say so."""
    plain = pixels(styles)
    styles.get_by_label("Use in Draw: the style of photo 1").click()
    styles.locator(".like").wait_for()
    assert styles.evaluate("document.activeElement.textContent.trim()") == "Draw"
    painted = pixels(styles)
    assert not same(plain, painted).any()
    assert styles.locator(".like img").get_attribute("src").startswith("data:image/png")
    styles.get_by_label("Caption", exact=True).fill(CAPTION)
    painted = pixels(styles)

    styles.get_by_label("Favourite seed 6", exact=True).click()
    styles.locator(".picture").nth(5).click()
    assert styles.locator(".made").inner_text() == "Seed 6 · in the style of a photo · Flowers"
    with styles.expect_download() as download:
        styles.get_by_role("button", name="PNG 64 px").click()
    styles.keyboard.press("Escape")
    picture = Image.open(download.value.path())
    made = json.loads(picture.text["t2i"])
    studio, photo = t2i.load(model), Image.open(io.BytesIO(base64.b64decode(photo_of(styles).split(",")[1])))
    assert np.abs(np.array(made["like"]) - studio.style(photo).clamp(-4, 3.97).numpy()).max() <= 1 / 64 + 1e-4
    drawn = studio.draw_array(made["captions"], made["seed"], made["attributes"], made["at"], made["like"])[0]
    assert np.abs(np.asarray(picture, int) - drawn).max() <= 1
    assert np.abs(painted[5] - np.asarray(picture, int)).mean() < 8  # a JPEG of the same
    expected = studio.match(studio.draw(CAPTION, range(1, 17), like=made["like"]), CAPTION)
    assert matches(styles) == pytest.approx([100 * match for match in expected], abs=1)

    with styles.expect_download() as download:
        styles.locator(".favourites .sheet").click()
    assert json.loads(Image.open(download.value.path()).text["t2i"])["pictures"][0]["like"] == made["like"]
    recent = styles.locator(".recent .thumbnail").and_(styles.get_by_label(f"Return to: {CAPTION}", exact=True))
    recent.wait_for()

    styles.get_by_role("button", name="Remove photo style").click()
    assert not same(painted, pixels(styles)).any() and styles.locator(".like").is_hidden()
    assert styles.evaluate("document.activeElement.textContent") == "Shuffle"
    heart = styles.get_by_label("Favourite seed 6", exact=True)
    assert heart.get_attribute("aria-pressed") == "false"  # another picture
    recent.click()
    assert same(painted, pixels(styles)).all() and heart.get_attribute("aria-pressed") == "true"
    assert styles.locator(".like img").is_visible()

    styles.evaluate("() => { navigator.clipboard.writeText = async () => { throw new Error('not allowed') } }")
    styles.locator(".share:visible").click()
    other = new_page(styles.get_by_label("Link", exact=True).input_value())
    assert same(painted, pixels(other)).all() and other.locator(".like").is_visible()
    assert other.locator(".like img").is_hidden()  # the photo stays with its owner


def test_what_the_model_draws_is_offered_once_the_tab_is_open(page, model):
    asked = []
    page.on("request", lambda request: asked.append(request.post_data or ""))
    page.get_by_label("Caption", exact=True).fill(CAPTION)
    settle(page)
    matches(page)
    assert asked and not any('"seeds":[6]' in data for data in asked)  # the sixth example's
    page.get_by_role("tab", name="Style").click()
    page.locator(".offered button:enabled").nth(5).wait_for()
    assert any('"seeds":[6]' in data for data in asked)
    offered = page.locator(".offered img").evaluate_all("images => images.map(image => image.src)")
    begun(page)
    assert np.abs(decode(photo_of(page))[..., :3].astype(int) - decode(offered[0])).max() <= 1  # the first is there
    examples = MODELS["flowers"].examples
    drawn = t2i.load(model).draw_array(examples, range(1, len(examples) + 1))
    for uri, wanted in zip(offered, drawn, strict=True):
        assert np.abs(decode(uri).astype(int) - wanted).mean() < 8  # a JPEG of it
    page.get_by_label(f"Add what is drawn of: {examples[3]}").click()
    photo_painted(page)
    assert np.abs(decode(photo_of(page))[..., :3].astype(int) - decode(offered[3])).max() <= 1
    page.locator("#t2i-style-model").select_option("flowers-gan")
    page.wait_for_selector(".offered button:enabled")
    assert page.locator(".offered img").first.get_attribute("src") != offered[0]
    page.locator(".t2i-style .note.error", has_text="no style encoder").wait_for()


def test_another_model_draws_with_plain_seeds(styles):
    styles.get_by_label("Use in Draw: the style of photo 1").click()
    styles.locator(".like").wait_for()
    settle(styles)
    styles.locator("#t2i-model").select_option("flowers-gan")
    assert styles.locator(".like").is_hidden() and len(pixels(styles)) == PICTURES_PER_PAGE and note(styles) == ""
    styles.get_by_role("tab", name="Style").click()
    styles.get_by_label("Use in Draw: the style of photo 1").click()
    styles.locator(".like").wait_for()
    settle(styles)
    assert styles.locator("#t2i-model").input_value() == "flowers"


def test_a_style_that_cannot_be_read_is_told(styles):
    styles.route("**/component_server/**", lambda route: route.abort())
    styles.get_by_label("Use in Draw: the style of photo 1").click()
    styles.locator(".t2i-style .note.error", has_text="busy or away").wait_for()
    assert styles.locator(".t2i-style").is_visible()


def test_a_file_that_is_no_picture_is_told(styles, tmp_path):
    (tmp_path / "<b>text.jpg").write_text("no picture")
    styles.locator(".t2i-style input[type=file]").set_input_files(tmp_path / "<b>text.jpg")
    styles.wait_for_function("document.querySelector('.t2i-style .note').textContent.includes('<b>text.jpg is not')")


@pytest.fixture
def search(page):
    """The page on its tab "Search", with the pictures that the model draws."""
    page.get_by_role("tab", name="Search").click()
    page.wait_for_function("document.querySelector('.found .meter')?.textContent.endsWith('%')")
    page.wait_for_function("document.querySelector('.captions .text')?.textContent")
    return page


def seek(page, words: str) -> list[str]:
    """Search for words: the names of the pictures found, the best first."""
    page.get_by_label("Words to find pictures by").fill(words)
    said = "words => document.querySelector('.t2i-search .live').textContent.startsWith(`The best for ${words}:`)"
    page.wait_for_function(said, arg=words)
    return found(page)


def found(page) -> list[str]:
    return page.locator(".found li:not([hidden]) img").evaluate_all("images => images.map(image => image.alt)")


def told(page) -> list[tuple[str, int]]:
    """The captions of the chosen picture, with their percentages."""
    texts, shares = (page.locator(f".captions {part}").all_inner_texts() for part in (".text", ".meter"))
    return [(text, int(share.removesuffix(" %"))) for text, share in zip(texts, shares, strict=True)]


def test_words_find_the_pictures_that_the_model_drew_of_such_words(search, model):
    studio = t2i.load(model)
    own = [*MODELS["flowers"].examples, *MODELS["flowers"].gallery_captions]
    drawn = [(caption, picture) for caption in own for picture in studio.draw(caption, range(1, 4))]
    orders = []
    for words in (own[0], "a blue bird"):
        names, shares = seek(search, words), search.locator(".found .meter").all_inner_texts()
        scores = sorted(studio.match([picture for _, picture in drawn], words), reverse=True)[: len(names)]
        assert len(names) == 20 and all(name.startswith("drawn by the model from “") for name in names)
        assert [int(share.removesuffix(" %")) for share in shares] == pytest.approx([100 * s for s in scores], abs=2)
        orders.append(names)
    assert orders[0] != orders[1]
    assert "60 pictures drawn by the model" in search.locator(".t2i-search .status").inner_text()
    search.get_by_label("Words to find pictures by").fill("🌸")
    search.wait_for_function("document.querySelector('#t2i-words-note').classList.contains('error')")
    assert found(search) == orders[1]  # the last good ones


def test_a_chosen_picture_is_described_and_a_caption_taken_to_draw(search, model):
    best = told(search)
    choices = search.locator(".found input")
    assert choices.first.is_checked()
    with search.expect_response("**/component_server/**"):
        search.get_by_label("Your own captions").fill("a blue bird\n\n<img src=x onerror=alert(1)>\n${alert(2)}")
    choices.first.press("ArrowRight")
    search.wait_for_timeout(200)
    assert choices.nth(1).is_checked()
    captions = ["a blue bird", "<img src=x onerror=alert(1)>", "${alert(2)}"]
    captions += [*MODELS["flowers"].examples, *MODELS["flowers"].gallery_captions]
    name = search.locator(".found img").nth(1).get_attribute("alt")
    studio, caption = t2i.load(model), name.removeprefix("drawn by the model from “").removesuffix("”")
    assert search.locator(".which").inner_text() == name

    def percents(seed: int) -> list[float]:
        picture = studio.draw(caption, seed)
        return sorted((100 * share for share in studio.match(picture, captions)), reverse=True)[: len(best)]

    shown = told(search)
    assert any([share for _, share in shown] == pytest.approx(percents(seed), abs=2) for seed in (1, 2, 3))
    assert len(shown) == 5 and {text for text, _ in shown} <= set(captions)
    wanted = shown[2][0]
    search.get_by_label(f"Draw “{wanted}”").click()
    assert search.locator(".grid").is_visible() and not search.locator(".found").is_visible()
    search.wait_for_function("words => document.querySelector('.grid img').alt === words", arg=wanted)
    assert search.get_by_label("Caption", exact=True).input_value() == wanted
    assert search.evaluate("document.activeElement.textContent.trim()") == "Draw"
    search.get_by_role("tab", name="Search").click()
    search.get_by_label("Words to find pictures by").fill(" ")
    assert search.get_by_role("button", name="Draw this caption").is_disabled()
    search.get_by_label("Words to find pictures by").fill("a caption to draw")
    search.get_by_role("button", name="Draw this caption").click()
    search.wait_for_function("document.querySelector('.grid img').alt === 'a caption to draw'")


def test_ones_own_photos_are_searched(search, model, tmp_path):
    studio, photos = t2i.load(model), {}
    for seed in range(19):  # more than one request takes
        pixels = np.random.default_rng(seed).integers(0, 256, (64, 64, 3), np.uint8)
        photos[f"{seed}.png"] = Image.fromarray(pixels)
        photos[f"{seed}.png"].save(tmp_path / f"{seed}.png")
    (tmp_path / "<b>text.jpg").write_text("no picture")
    search.get_by_label("Your photos").check()
    assert search.locator(".t2i-search .empty").is_visible() and found(search) == []
    search.get_by_label("Pictures drawn by the model").check()
    chooser = search.locator(".t2i-search input[type=file]")
    chooser.set_input_files([*(tmp_path / name for name in photos), tmp_path / "<b>text.jpg"])
    search.wait_for_function("document.querySelectorAll('.found li:not([hidden])').length === 19")
    assert search.get_by_label("Your photos").is_checked() and not search.locator("progress").is_visible()
    assert "<b>text.jpg is not a picture" in search.locator(".hint").inner_text()
    assert search.locator(".t2i-search .status").inner_text() == "19 of your photos, the best first"
    scores, names = dict(zip(photos, studio.match(list(photos.values()), CAPTION))), seek(search, CAPTION)
    assert set(names) == set(photos) and np.diff([scores[name] for name in names]).max() < 0.01
    assert int(search.locator(".found .meter").first.inner_text().removesuffix(" %")) == pytest.approx(
        100 * max(scores.values()), abs=1.1
    )


def test_ones_own_photos_are_removed_again(search, tmp_path):
    for seed in range(3):
        pixels = np.random.default_rng(seed).integers(0, 256, (64, 64, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{seed}.png")
    remove = search.get_by_role("button", name="Remove photo")
    assert remove.is_hidden()  # the model's pictures stay
    search.locator(".t2i-search input[type=file]").set_input_files([tmp_path / f"{seed}.png" for seed in range(3)])
    search.wait_for_function("document.querySelectorAll('.found li:not([hidden])').length === 3")
    first, second, third = found(search)
    search.locator(".found input").nth(1).check()
    on = "document.activeElement.closest('li')?.querySelector('img').alt ?? document.activeElement.textContent.trim()"
    for name, left, focused in ((second, [first, third], third), (third, [first], first), (first, [], "Add photos")):
        assert search.locator(".which").inner_text() == name
        remove.press("Enter")
        assert found(search) == left and search.evaluate(on) == focused
    assert remove.is_hidden() and search.locator(".t2i-search .empty").is_visible()
    assert search.locator(".captions .text").first.is_hidden()
    search.get_by_label("Pictures drawn by the model").check()
    assert len(found(search)) == 20 and remove.is_hidden()


def test_the_ring_of_the_chosen_picture_leaves_its_match_to_be_seen(search):
    choice, meter = (search.locator(".found li").nth(2).locator(part) for part in ("input", ".meter"))

    def line() -> np.ndarray:
        box = meter.bounding_box()
        under = {"x": box["x"], "y": box["y"] + 3, "width": box["width"], "height": 3}
        return np.asarray(Image.open(io.BytesIO(search.screenshot(clip=under))).convert("RGB"), int)

    before = line()
    assert before.std() > 0  # a part of it is dark
    search.locator(".found label").nth(2).click()
    assert choice.is_checked() and (line() == before).all()
    choice.press("ArrowLeft")
    search.keyboard.press("ArrowRight")
    assert choice.is_checked() and choice.evaluate("one => one.matches(':focus-visible')") and (line() == before).all()


def test_photos_wait_for_a_silent_server(search, tmp_path):
    Image.effect_noise((90, 70), 80).convert("RGB").save(tmp_path / "photo.png")
    search.route("**/component_server/**", lambda route: route.abort())
    search.locator(".t2i-search input[type=file]").set_input_files(tmp_path / "photo.png")
    search.wait_for_function("document.querySelector('.hint').textContent.includes('busy or away')")
    search.unroute("**/component_server/**")
    search.wait_for_function("document.querySelector('.found img')?.alt === 'photo.png'")
    search.wait_for_function("document.querySelector('.hint').textContent === ''")


def test_hostile_words_and_file_names_stay_text_beside_photos(styles, tmp_path):
    hostile = '"><img src=x onerror=alert(1)>${alert(2)}'
    photo = tmp_path / f"{hostile}.png"
    Image.new("RGB", (70, 70), "red").save(photo)
    styles.locator(".t2i-style input[type=file]").set_input_files(photo)
    styles.wait_for_function("document.querySelectorAll('.t2i-style tbody tr').length === 2")
    styles.get_by_label("Caption 1").fill(hostile)
    before = painted(styles)
    styles.wait_for_timeout(300)
    assert len(before) == 12 and styles.get_by_label("Caption 1").input_value() == hostile
    assert styles.locator(".t2i-style script, .t2i-style img[src=x]").count() == 0
    # The page fixture looks for dialogs and errors.


def test_hostile_photos_are_refused_in_words(url):
    def uri(data: bytes, kind="png") -> str:
        return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"

    big = io.BytesIO()
    Image.new("L", (2000, 2000)).save(big, "PNG")
    gif = io.BytesIO()
    Image.new("L", (20, 20)).save(gif, "GIF")
    for photo, words in (
        (None, "must be a PNG"),
        ("file:///etc/passwd", "must be a PNG"),
        ("data:image/svg+xml;base64,AAAA", "must be a PNG"),
        ("data:image/png;base64,!!!", "cannot be read"),
        (uri(b""), "cannot be read"),
        (uri(b"\x89PNG\r\n\x1a\n" + b"\0" * 50), "cannot be read"),
        (uri(gif.getvalue()), "cannot be read"),
        (uri(big.getvalue()), "larger than 1024 pixels"),
        (uri(b"\0" * 2_001_000), "larger than 2000 kB"),
    ):
        for verb, request in (
            ("restyle", {"photo": photo, "captions": [CAPTION]}),
            ("embed_photos", {"photos": [photo]}),
        ):
            answer = ask(url, verb, request)
            assert words in answer["error"], answer
    small = io.BytesIO()
    Image.new("L", (9, 9)).save(small, "PNG")
    for photos in ([uri(small.getvalue())] * 65, [uri(b"\0" * 2_000_000)] * 4):
        assert "at most 64 photos" in ask(url, "embed_photos", {"photos": photos})["error"]


def test_a_model_that_cannot_see_draws_and_says_so_of_the_rest(tiny_networks, tmp_path, use_models):
    blind = {name: network for name, network in tiny_networks.items() if name != "image_encoder"}
    use_models({"flowers": save(blind, tmp_path / "blind", words="a flower")})
    service = Service("flowers")
    assert service.match({"caption": "a flower"}) == {"matches": []}
    assert "“stock”, “market”" in service.draw({"caption": "the stock market fell"})["hint"]
    photo = as_uri(Image.new("RGB", (9, 9)))
    for verb, request in (
        (service.gallery, {}),
        (service.embed_photos, {"photos": [photo]}),
        (service.search, {"caption": CAPTION, "photos": [photo]}),
        (service.describe, {"photo": photo}),
    ):
        with pytest.raises(t2i.InputError, match="no image encoder"):
            verb(request)


@pytest.mark.parametrize("captions", ["text", [], [5], [""], ["🌸"], [CAPTION] * 65, [[CAPTION]]])
def test_captions_that_cannot_be_ranked_are_refused_in_words(url, captions):
    answer = ask(url, "embed_captions", {"captions": captions})
    assert set(answer) == {"error"} and " " in answer["error"]


def test_a_phone_shows_all_of_it_and_nothing_jumps(new_page, url):
    page = new_page(url, viewport={"width": 360, "height": 740})
    page.wait_for_selector(".t2i-draw .grid li")
    place = page.locator(".tune").bounding_box()
    settle(page)
    page.get_by_label("Caption", exact=True).fill("")
    settle(page)
    assert page.locator(".tune").bounding_box() == place
    assert page.evaluate("document.documentElement.scrollWidth") == 360


def test_every_tab_fits_a_phone(new_page, url):
    page = new_page(url, viewport={"width": 360, "height": 740})
    for name in TABS:
        page.get_by_role("tab", name=name).click()
        tab = page.locator(f".t2i-{name.lower()}")
        tab.locator(".amiss").wait_for(state="attached")  # which its script puts there, as it asks for the first time
        rest(page)
        assert tab.is_visible() and page.evaluate("document.documentElement.scrollWidth") == 360, name


@pytest.mark.parametrize(
    "function", ["draw", "match", "png", "compare", "blend", "film", "restyle", "style", "embed_photos"]
)
@pytest.mark.parametrize(
    "garbage",
    [
        None,
        "text",
        [1, 2],
        {},
        {"caption": 5},
        {"caption": CAPTION, "seeds": "all"},
        {"caption": CAPTION, "seeds": []},
        {"caption": CAPTION, "attributes": {"0": 1}},
        {"caption": CAPTION, "at": "0.5"},
        {"caption": CAPTION, "like": "A" * 136},
        {"caption": CAPTION, "like": [0.5] * 100},
        {"caption": CAPTION, "model": "../../etc"},
        {"caption": CAPTION, "model": ["flowers"]},
    ],
)
def test_garbage_is_answered_in_words(url, function, garbage):
    answer = ask(url, function, garbage)
    assert set(answer) == {"error"} and " " in answer["error"]


@pytest.mark.parametrize("number", [math.nan, math.inf, -1e308, 10**400, "twelve", None, [], True])
def test_every_number_is_clamped(url, number):
    many = [number] * 99
    answer = ask(url, "draw", {"caption": CAPTION, "seeds": many, "attributes": many, "at": [*many, [number] * 9]})
    assert len(answer["pictures"]) == PICTURES_PER_PAGE
    assert all(0 <= seed <= 999_999 for seed in answer["seeds"])
    answer = ask(url, "png", {"caption": "\ud800 red", "seeds": [number], "scale": number})
    assert Image.open(io.BytesIO(base64.b64decode(answer["file"].split(",")[1]))).format == "PNG"


@pytest.fixture(scope="module")
def client(url):
    return gradio_client.Client(url, verbose=False)


def as_uri(picture: Image.Image) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def test_the_api_events_are_the_six_verbs(client):
    events = client.view_api(return_format="dict")["named_endpoints"]
    assert list(events) == ["/draw", "/blend", "/restyle", "/compare", "/search", "/describe"]
    for event, arguments in (
        ("/draw", ["", [1]]),
        ("/blend", [["one"], [[0.5]]]),
        ("/restyle", ["no photo", [CAPTION]]),
        ("/compare", [CAPTION, [1], ["roses"]]),
        ("/search", [CAPTION, []]),
        ("/describe", ["no photo"]),
    ):
        assert " " in client.predict(*arguments, api_name=event)["error"]


def test_the_event_draw(client, model):
    at = [[0.5, 0.25], [0, 1]]
    answer = client.predict(CAPTION, [7, 8], [0.5, 0, 0, 0], "flowers", at, api_name="/draw")
    studio = t2i.load(model)
    drawn = studio.draw_array(CAPTION, [7, 8], [0.5, 0, 0, 0], at)
    expected = studio.match([Image.fromarray(picture) for picture in drawn], CAPTION)
    assert answer["matches"] == pytest.approx(expected, abs=0.02)
    for data, wanted in zip(answer["pictures"], drawn, strict=True):
        assert np.abs(decode(data).astype(int) - wanted).max() <= 1


def test_the_event_blend(client, model):
    answer = client.predict([CAPTION, "a blue bird"], [[0, 0], [1, 0]], 7, api_name="/blend")
    drawn = t2i.load(model).draw_array([CAPTION, "a blue bird"], 7)
    for data, wanted in zip(answer["pictures"], drawn, strict=True):
        assert np.abs(decode(data).astype(int) - wanted).max() <= 1


def test_the_event_restyle(client, model):
    photo = Image.effect_noise((90, 70), 80).convert("RGB")
    answer = client.predict(as_uri(photo), [CAPTION, "a blue bird"], api_name="/restyle")
    painted = t2i.load(model).restyle_array(photo, [CAPTION, "a blue bird"])
    for data, wanted in zip(answer["pictures"], painted, strict=True):
        assert np.abs(decode(data).astype(int) - wanted).max() <= 1


def test_a_photos_style_goes_from_restyle_to_draw(client, model):
    photo = Image.effect_noise((90, 70), 80).convert("RGB")
    like = client.predict(as_uri(photo), [CAPTION], api_name="/restyle")["like"]
    answer = client.predict("a blue bird", [7, 8], like=like, api_name="/draw")
    studio = t2i.load(model)
    drawn = studio.draw_array("a blue bird", [7, 8], like=studio.style(photo).clamp(-4, 4))
    for data, wanted in zip(answer["pictures"], drawn, strict=True):
        assert np.abs(decode(data).astype(int) - wanted).mean() < 2  # 8 bits a number


def test_the_events_search_and_describe(client, model):
    studio = t2i.load(model)
    photos = [Image.effect_noise((90, 70), sigma).convert("RGB") for sigma in (5, 40, 90)]
    expected = studio.match(photos, CAPTION)
    answer = client.predict(CAPTION, [as_uri(photo) for photo in photos], api_name="/search")
    matches = [one["match"] for one in answer["found"]]
    assert matches == sorted(matches, reverse=True)
    assert {one["photo"]: one["match"] for one in answer["found"]} == pytest.approx(dict(enumerate(expected)), abs=0.02)

    captions = [CAPTION, "a blue bird", "an oak"]
    answer = client.predict(as_uri(photos[0]), captions, api_name="/describe")
    order = [caption for caption, _ in studio.describe(photos[0], captions)]
    assert [one["caption"] for one in answer["found"]] == order
    assert {one["caption"]: one["match"] for one in answer["found"]}[CAPTION] == pytest.approx(expected[0], abs=0.02)
    own = client.predict(as_uri(photos[0]), api_name="/describe")["found"]
    assert {one["caption"] for one in own} == {*MODELS["flowers"].examples, *MODELS["flowers"].gallery_captions}


def test_people_draw_on_while_somebody_waits_for_another_model(model, monkeypatch, use_models):
    use_models({"flowers": model, "other": model})
    monkeypatch.setitem(MODELS, "other", registry.ModelSpec("other", title="Other"))
    service, gate, answers, loaded = Service("flowers"), threading.Event(), [], []
    load = load_engine

    def load_slowly(checkpoint):
        gate.wait()
        loaded.append(checkpoint)
        return load(checkpoint)

    monkeypatch.setattr("t2i.web.service.load_engine", load_slowly)
    other = {"caption": CAPTION, "seeds": [7], "model": "other"}
    people = [threading.Thread(target=lambda: answers.append(service.draw(other))) for _ in range(2)]
    for person in people:
        person.start()
    assert service.draw({"caption": CAPTION, "seeds": [7]})["pictures"] and not answers
    gate.set()
    for person in people:
        person.join()
    assert [answer["model"] for answer in answers] == ["Other", "Other"] and len(loaded) == 1
