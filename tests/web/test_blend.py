"""The tab "Blend" in a real browser, and what the service refuses to blend."""

import json
import math

import numpy as np
import pytest
from PIL import Image

import t2i
from t2i.web.service import Service
from tests.screen import ask, decode, hold_requests, rest

CAPTION = "a flower with pink petals"
LIKE = 0.9  # the correlation of a picture with itself after drafts and smoothing; with others it is less
DRAG = """point => {
  const slider = document.querySelector('#t2i-blend-across');
  slider.value = point;
  slider.dispatchEvent(new Event('input', { bubbles: true }));
}"""


@pytest.fixture
def blend(page):
    """The page on its tab "Blend"."""
    page.get_by_role("tab", name="Blend").click()
    page.wait_for_function("document.querySelector('.blended')?.src.startsWith('data:image/jpeg')")
    return page


def picture(page) -> str:
    """The source of the blended picture, once no tab waits for an answer."""
    rest(page)
    return page.locator(".blended").get_attribute("src")


def wait_for_another_picture(page, old: str) -> None:
    page.wait_for_function("old => document.querySelector('.blended').src !== old", arg=old)


def canvas_pixels(page) -> np.ndarray:
    """The pixels of the canvas (256, 256, 3), after the next frame."""
    source = page.evaluate("""() => new Promise(done => requestAnimationFrame(() =>
      setTimeout(() => done(document.querySelector('.motion').toDataURL()))))""")
    return decode(source)[..., :3].astype(int)


def likeness(page, pixels: np.ndarray) -> float:
    """The correlation of what is seen, reduced to 64×64, with pixels (64, 64, 3)."""
    reduced = canvas_pixels(page).reshape(64, 4, 64, 4, 3).mean((1, 3))
    return float(np.corrcoef(reduced.ravel(), pixels.ravel())[0, 1])


def wait_for_all_stops(page) -> None:
    """Type other words, and wait until the stops between those of the strip have come too."""
    with page.expect_response(lambda response: is_filling(response.request, "an oak with leaves")):
        page.get_by_label("Second sentence").fill("an oak with leaves")
    rest(page)


def is_filling(request, caption: str) -> bool:
    data = json.loads(request.post_data or "{}").get("data", {})
    return caption in data.get("captions", []) and len(data["at"]) == 25


def wait_until_seen(page, pixels: np.ndarray) -> None:
    for _ in range(100):
        if likeness(page, pixels) > LIKE:
            return
        page.wait_for_timeout(50)
    raise AssertionError("the canvas shows something else")


def requests_to(page, function: str) -> list[dict]:
    """What is sent to a function of the server from now on."""
    sent = []

    def note(request):
        body = json.loads(request.post_data or "{}")
        if body.get("fn_name") == function:
            sent.append(body["data"])

    page.on("request", note)
    return sent


def test_a_dragged_point_is_mixed_in_the_page_and_drawn_where_it_rests(blend, model):
    wait_for_all_stops(blend)
    sent = requests_to(blend, "blend")
    captions = [blend.get_by_label(f"{place} sentence").input_value() for place in ("First", "Second")]
    points = [0.01, 0.5, 1.0]
    drawn = t2i.load(model).mix_array(captions, [[1 - x, x] for x in points], 1)
    for point in points:
        blend.evaluate(DRAG, point)
        is_like = [likeness(blend, pixels) for pixels in drawn]
        assert is_like[points.index(point)] == max(is_like) > LIKE
    assert [request["at"] for request in sent if len(request["at"]) > 1] == []
    blend.locator("#t2i-blend-across").press("Home")
    rest(blend)
    first = decode(picture(blend))
    assert len(sent[-1]["at"]) == 1 and sent[-1]["full_size"] == 1
    wait_until_seen(blend, first)


def test_the_stops_of_a_line_come_with_the_words_and_the_rest_of_it_once_they_rest(blend):
    sent = requests_to(blend, "blend")
    wait_for_all_stops(blend)
    sent = [request for request in sent if "an oak with leaves" in request["captions"]]
    assert [len(request["at"]) for request in sent] == [10, 25]  # the point, with 9 of 33 stops, and then the others
    assert len({tuple(point) for request in sent for point in request["at"][1:]}) == 33


def test_play_sends_nothing_until_it_is_paused(blend):
    wait_for_all_stops(blend)
    sent = requests_to(blend, "blend")
    blend.get_by_role("button", name="Play").click()
    frames = [canvas_pixels(blend) for _ in range(12)]
    assert len({frame.tobytes() for frame in frames}) > 2 and not sent
    blend.get_by_role("button", name="Pause").click()
    rest(blend)
    assert len(sent) == 1
    wait_until_seen(blend, decode(picture(blend)))


def test_an_answer_to_older_words_is_not_shown(blend):
    before = picture(blend)
    held = hold_requests(blend, "a red oak")
    box = blend.get_by_label("Second sentence")
    box.fill("a red oak")
    blend.wait_for_timeout(4500)  # then a newer request is sent without the answer
    box.fill("a blue bird")
    wait_for_another_picture(blend, before)
    newest = blend.locator(".blended").get_attribute("alt")
    assert newest.endswith("a blue bird")
    held[0].continue_()
    rest(blend)
    assert blend.locator(".blended").get_attribute("alt") == newest


def test_sentences_keys_and_the_strip_change_the_blend(blend):
    first = picture(blend)
    blend.get_by_label("Second sentence").fill("a blue bird")
    wait_for_another_picture(blend, first)
    middle = picture(blend)
    way = blend.get_by_label("Blend", exact=True)
    way.press("End")
    wait_for_another_picture(blend, middle)
    end = picture(blend)
    assert way.evaluate("slider => slider.nextSibling.textContent") == "100%"
    last = decode(blend.locator(".strip img").last.get_attribute("src")).astype(int)
    assert np.abs(last - decode(end)).mean() < 3  # the last of the strip is the second sentence
    blend.get_by_label("Go to 25%").click()
    wait_for_another_picture(blend, end)
    shown_pixels, expected = (decode(uri).astype(int) for uri in (picture(blend), middle))
    assert np.abs(shown_pixels - expected).mean() < 3  # drawn in another batch, and a JPEG
    blend.wait_for_function("document.querySelector('.t2i-blend .live').textContent === 'At 25%'")


def test_dragging_blends_four_sentences(blend):
    before = picture(blend)
    blend.get_by_label("Four sentences").check()
    wait_for_another_picture(blend, before)
    assert len(set(blend.eval_on_selector_all(".mosaic img", "images => images.map(i => i.src)"))) > 40
    middle, pad = picture(blend), blend.locator(".pad").bounding_box()
    blend.mouse.move(pad["x"] + 5, pad["y"] + 5)
    blend.mouse.down()
    blend.mouse.move(pad["x"] + pad["width"] + 50, pad["y"] + pad["height"] / 4)
    blend.mouse.up()
    wait_for_another_picture(blend, middle)
    assert [blend.get_by_label(name, exact=True).input_value() for name in ("Across", "Down")] == ["1", "0.25"]
    blend.wait_for_function("document.querySelector('.t2i-blend .live').textContent === 'At 100% and 25%'")


def test_play_moves_until_it_is_paused_or_the_slider_is_used(blend):
    way, play = blend.get_by_label("Blend", exact=True), blend.locator(".play")

    def moves() -> bool:
        place = way.input_value()
        blend.wait_for_timeout(300)
        return way.input_value() != place

    still = canvas_pixels(blend)
    play.click()
    assert moves() and (canvas_pixels(blend) != still).any() and play.text_content() == "Pause"
    play.click()
    assert not moves() and play.text_content() == "Play"
    play.click()
    assert moves()
    way.press("ArrowRight")
    assert not moves() and play.text_content() == "Play"


def test_a_blend_that_fails_shows_an_error_and_keeps_the_picture(blend):
    before, note = picture(blend), blend.locator("#t2i-blend-note")
    for text in ("", "🌸🌸🌸"):
        blend.get_by_label("First sentence").fill(text)
        blend.wait_for_function("document.querySelector('#t2i-blend-note').textContent !== ''")
        assert note.get_attribute("class") == "note error" and picture(blend) == before
    for text in ("${alert(1)}<script>alert(2)</script>", "<img src=x onerror=alert(3)>"):
        blend.get_by_label("First sentence").fill(text)
        wait_for_another_picture(blend, before)
        before = picture(blend)
        assert blend.locator(".t2i-blend script, .t2i-blend img[src=x]").count() == 0


def test_the_corners_of_a_blend_are_drawings_of_the_sentences(model, use_models):
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
    for kind, button in {"gif": "GIF", "webp": "WebP"}.items():
        with blend.expect_download() as download:
            blend.get_by_role("button", name=button).click()
        film = Image.open(download.value.path())
        assert film.format.lower() == kind and download.value.suggested_filename.endswith(f".{kind}")
        frames = getattr(film, "n_frames", 1)  # 33 there, 31 back; WebP joins those that look the same
        assert frames == {"gif": 64, "png": 1}.get(kind, frames) and (kind != "webp" or 16 < frames <= 64), kind


@pytest.mark.parametrize("kind", [None, "exe", ["gif"], "png"])
def test_a_film_of_another_kind_is_refused(url, kind):
    answer = ask(url, "film", {"captions": [CAPTION, "a blue bird"], "kind": kind})
    assert set(answer) == {"error"} and "gif" in answer["error"]
