"""The tab "Style" in a real browser."""

import base64
import io
import json
from urllib.parse import parse_qs, quote

import numpy as np
import pytest
from PIL import Image

import t2i
from t2i.registry import MODELS
from t2i.web import painting
from t2i.web.schemas import PICTURES_PER_PAGE
from tests.screen import (
    decode,
    link_of,
    matches,
    note,
    photo_of,
    pixels,
    rest,
    route_calls,
    same,
    settle,
    wait_for_photo,
    wait_for_sample,
)

CAPTION = "a flower with pink petals"


@pytest.fixture
def styles(page, tmp_path):
    """The page on its tab "Style", with one photo."""
    page.get_by_role("tab", name="Style").click()
    wait_for_sample(page)
    Image.effect_noise((120, 80), 90).convert("RGB").save(tmp_path / "photo.png")
    page.locator(".t2i-style input[type=file]").set_input_files(tmp_path / "photo.png")
    wait_for_photo(page)
    return page


def paper(page) -> np.ndarray:
    """The pixels of the painting."""
    return decode(page.evaluate("document.querySelector('.paper').toDataURL()"))[..., :3].astype(int)


def live(page) -> str:
    """The source of the live picture, once no tab waits for an answer."""
    rest(page)
    return page.locator(".live-picture").get_attribute("src")


def painted(page) -> list[str]:
    """The sources of the pictures beside the photos, once no tab waits for an answer."""
    rest(page)
    return page.eval_on_selector_all(".t2i-style td img", "images => images.map(image => image.src)")


def test_every_caption_is_drawn_in_the_style_of_a_photo(styles):
    before = painted(styles)
    assert len(before) == 6 and all(source.startswith("data:image/jpeg") for source in before)
    styles.get_by_label("Caption 2").fill("a blue bird")
    styles.get_by_label("Caption 5").fill("")
    styles.wait_for_function("old => document.querySelectorAll('.t2i-style td img')[1].src !== old", arg=before[1])
    styles.wait_for_function("document.querySelectorAll('.t2i-style td img')[4].src.startsWith('data:image/gif')")
    after = painted(styles)
    for i in (0, 2, 3, 5):  # drawn in another batch, and a JPEG
        assert np.abs(decode(before[i]).astype(int) - decode(after[i])).mean() < 3
    styles.locator(".samples button").first.click()
    styles.wait_for_function("document.querySelectorAll('.t2i-style tbody tr').length === 2")
    with styles.expect_download() as download:
        styles.get_by_role("button", name="Save sheet").click()
    sheet = np.asarray(Image.open(download.value.path()).convert("RGB"))
    assert sheet.shape[1] == 6 * 264 + 8 and 2 * 264 + 32 <= len(sheet) < 3 * 264
    heads = sheet[: len(sheet) - 2 * 264]
    inked = [(heads[:, 8 + 264 * x : 264 * (x + 1)] < 128).any() for x in range(6)]
    assert inked == [False, True, True, True, True, True]  # no caption above the photos
    assert download.value.suggested_filename.startswith("flowers-styles-2")


def test_without_captions_nothing_is_drawn(styles):
    for i in range(1, 7):
        styles.get_by_label(f"Caption {i}").fill("")
    assert all(source.startswith("data:image/gif") for source in painted(styles))
    assert styles.locator("#t2i-style-note").inner_text() == ""
    styles.get_by_label("Caption 2").fill("a blue bird")
    assert [source[:15] for source in painted(styles)[:2]] == ["data:image/gif;", "data:image/jpeg"]


@pytest.fixture
def studio(page):
    """The page on its tab "Style", with the first painting."""
    page.get_by_role("tab", name="Style").click()
    wait_for_sample(page)
    page.locator(".live-picture[src^='data:image/jpeg']").wait_for()
    return page


def stroke(page, colour: str, *points: tuple[float, float]) -> None:
    """Paint a stroke through points of the paper, from 0 to 1, as a hand would."""
    page.get_by_label(colour, exact=True).check()
    box = page.locator(".paper").bounding_box()
    places = [(box["x"] + across * box["width"], box["y"] + down * box["height"]) for across, down in points]
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*place, steps=6)
    page.mouse.up()


def test_the_picture_follows_the_painting(studio, model):
    before, first = paper(studio), live(studio)
    assert tuple(before[256, 256]) == (242, 195, 60) and tuple(before[20, 20]) == (47, 93, 52)
    seen = "old => document.querySelector('.live-picture').src !== old"
    studio.get_by_label("Blue", exact=True).check()
    box = studio.locator(".paper").bounding_box()
    studio.mouse.move(box["x"] + 0.1 * box["width"], box["y"] + 0.9 * box["height"])
    studio.mouse.down()
    studio.wait_for_function(seen, arg=first)  # while one paints
    dotted = live(studio)
    studio.mouse.move(box["x"] + 0.9 * box["width"], box["y"] + 0.9 * box["height"], steps=8)
    studio.wait_for_function(seen, arg=dotted)
    studio.mouse.up()
    after = paper(studio)
    for column in (51, 256, 460):
        assert tuple(after[460, column]) == (58, 99, 200)
    assert (after[:300] == before[:300]).all()
    source = live(studio)
    square = Image.open(io.BytesIO(base64.b64decode(square_of(studio).split(",")[1])))
    wanted = t2i.load(model).restyle_array(square, [MODELS["flowers"].examples[0]])[0]
    assert np.abs(decode(source).astype(int) - wanted).mean() < 8  # a JPEG of it
    studio.locator("#t2i-style-words").fill(CAPTION)
    studio.wait_for_function(seen, arg=source)
    studio.get_by_role("button", name="Undo").click()
    assert (paper(studio) == before).all()


def square_of(page) -> str:
    """What the style encoder sees of the painting."""
    page.get_by_role("button", name="Add to the table").click()
    wait_for_photo(page)
    return photo_of(page)


def test_only_the_first_finger_paints(new_page, url):
    page = new_page(f"{url}/?tab=style", viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    page.locator(".live-picture[src^='data:image/jpeg']").wait_for()
    box, devtools = page.locator(".paper").bounding_box(), page.context.new_cdp_session(page)

    def touch(kind: str, *points: tuple[float, float]) -> None:
        places = [(box["x"] + across * box["width"], box["y"] + down * box["height"]) for across, down in points]
        fingers = [{"x": x, "y": y, "id": i} for i, (x, y) in enumerate(places)]
        devtools.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": fingers})

    before = paper(page)
    page.get_by_label("Blue", exact=True).check()
    touch("touchStart", (0.1, 0.9))
    touch("touchStart", (0.1, 0.9), (0.9, 0.1))
    touch("touchMove", (0.2, 0.9), (0.8, 0.1))
    touch("touchMove", (0.3, 0.9), (0.7, 0.1))
    touch("touchEnd")
    after = paper(page)
    assert tuple(after[460, 128]) == (58, 99, 200) and (after[:300] == before[:300]).all()


def test_fill_covers_all_and_undo_brings_it_back(studio):
    before = paper(studio)
    studio.get_by_label("Sky blue", exact=True).check()
    studio.get_by_role("button", name="Fill", exact=True).click()
    assert (paper(studio) == (168, 200, 232)).all()
    studio.get_by_role("button", name="Undo").click()
    assert (paper(studio) == before).all()
    studio.get_by_role("button", name="Surprise me").click()
    assert not (paper(studio) == before).all()


def test_the_keyboard_paints(studio):
    before = paper(studio)
    studio.get_by_label("Red", exact=True).check()
    studio.locator("#t2i-style-brush").focus()
    studio.keyboard.press("Home")
    assert studio.locator(".cursor").is_hidden()
    studio.locator(".paper").focus()
    studio.keyboard.press("ArrowUp")
    assert studio.locator(".cursor").is_visible()
    for _ in range(8):
        studio.keyboard.press("ArrowUp")
    studio.keyboard.press("Space")
    after = paper(studio)
    assert tuple(after[256 - 9 * 24, 256]) == (201, 52, 52)
    assert 400 < (after != before).any(-1).sum() < 800  # a blob of the smallest brush


def test_a_link_brings_the_painting(studio, new_page):
    stroke(studio, "Orange", (0.2, 0.2), (0.8, 0.3), (0.5, 0.9))
    stroke(studio, "White", (0.5, 0.5))
    studio.locator("#t2i-style-words").fill(CAPTION)
    picture = live(studio)
    other = new_page(link_of(studio))
    other.locator(".live-picture[src^='data:image/jpeg']").wait_for()
    (code,) = parse_qs(link_of(studio).partition("?")[2])["paint"]
    assert np.abs(np.asarray(painting.paint(code), int) - paper(studio)).mean() < 1  # as the link's preview has it
    assert (paper(other) == paper(studio)).all() and other.locator("#t2i-style-words").input_value() == CAPTION
    assert live(other) == picture and link_of(other) == link_of(studio)
    is_recent = "([code, i]) => JSON.parse(localStorage['t2i-recent-style'] ?? '[]')[i]?.query.includes(code)"
    studio.wait_for_function(is_recent, arg=[code, 0])
    kept = paper(studio)
    studio.get_by_role("button", name="Surprise me").click()
    assert not (paper(studio) == kept).all()
    studio.wait_for_function(is_recent, arg=[code, 1])  # behind the surprise
    studio.locator(".t2i-style .recent .thumbnail").nth(1).click()
    rest(studio)
    assert (paper(studio) == kept).all()


@pytest.mark.parametrize(
    "code", ["zz", "GH", "GHgE", "GH<b>", "~~~.A", "GZgEA", "${alert(1)}", "." * 9000, "GHgEA." * 3000]
)
def test_a_hostile_painting_is_read_as_far_as_it_is_one(new_page, url, code):
    page = new_page(f"{url}/?tab=style&paint={quote(code)}")
    page.locator(".live-picture[src^='data:image/jpeg']").wait_for(timeout=20_000)
    assert tuple(paper(page)[5, 5]) == (255, 255, 255)


def test_a_painting_goes_to_draw(studio):
    stroke(studio, "White", (0.5, 0.5))
    studio.locator(".use-live").click()
    studio.locator(".photo-style").wait_for()
    assert studio.locator(".photo-style img").get_attribute("src").startswith("data:image/png")


def test_a_ninth_photo_is_refused(styles, tmp_path):
    styles.locator(".t2i-style input[type=file]").set_input_files([tmp_path / "photo.png"] * 8)
    styles.locator(".t2i-style .note.error", has_text="At most 8 photos. Remove one first.").wait_for()
    assert styles.locator(".photo").count() == 8


def test_a_photo_can_be_cropped_and_removed(styles):
    before = painted(styles)
    styles.get_by_label("Photo 1: choose what is seen").click()
    styles.get_by_label("Zoom").press("End")
    styles.wait_for_function("old => document.querySelector('.t2i-style td img').src !== old", arg=before[0])
    zoomed = painted(styles)
    box = styles.locator(".crop").bounding_box()
    styles.mouse.move(box["x"] + 100, box["y"] + 100)
    styles.mouse.down()
    styles.mouse.move(box["x"] + 20, box["y"] + 100, steps=4)
    styles.mouse.up()
    styles.wait_for_function("old => document.querySelector('.t2i-style td img').src !== old", arg=zoomed[0])
    assert float(styles.get_by_label("Position across", exact=True).locator("visible=true").input_value()) > 0.5
    styles.get_by_role("button", name="Remove photo").click()
    assert painted(styles) == [] and styles.locator(".empty").is_visible()


@pytest.mark.parametrize(
    "size, dead",
    [
        ((120, 80), {"Position down"}),
        ((80, 120), {"Position across"}),
        ((80, 80), {"Position across", "Position down"}),
    ],
)
def test_crop_sliders_without_room_are_disabled(styles, tmp_path, size, dead):
    Image.effect_noise(size, 90).convert("RGB").save(tmp_path / "other.png")
    styles.locator(".t2i-style input[type=file]").set_input_files(tmp_path / "other.png")
    styles.get_by_label("Photo 2: choose what is seen").click()
    sliders = {name: styles.locator(f"#t2i-style-crop-{name}") for name in ("x", "y", "zoom")}
    names = {"x": "Position across", "y": "Position down", "zoom": "Zoom"}
    first = next(name for name in names if names[name] not in dead)
    assert {names[name] for name, slider in sliders.items() if slider.is_disabled()} == dead
    assert styles.evaluate("document.activeElement.id") == f"t2i-style-crop-{first}"
    sliders["zoom"].press("ArrowRight")
    assert all(slider.is_enabled() for slider in sliders.values())
    sliders["zoom"].press("Home")
    assert {names[name] for name, slider in sliders.items() if slider.is_disabled()} == dead


def test_a_photo_with_keyboard_focus_has_a_ring(styles):
    styles.locator(".photo").scroll_into_view_if_needed()
    box = styles.locator(".photo").bounding_box()
    around = {"x": box["x"] - 4, "y": box["y"] - 4, "width": box["width"] + 8, "height": box["height"] + 8}

    def screenshot() -> np.ndarray:
        painted(styles)
        return np.asarray(Image.open(io.BytesIO(styles.screenshot(clip=around))).convert("RGB"), int)

    plain, accent = screenshot(), [176, 34, 95]
    styles.get_by_label("Caption 6").press("Tab")
    assert styles.evaluate("document.activeElement.className") == "photo"
    focused = screenshot()
    ring = (focused == accent).all(-1)
    assert ring.sum() > 4 * box["width"] and not (plain == accent).all(-1).any()
    assert (np.abs(focused - plain).sum(-1) > 100)[ring].all()


def test_draw_uses_the_style_of_a_photo(styles, new_page, model):
    """Also after another caption is typed; link, PNG, favourites and Recent keep the style."""
    plain = pixels(styles)
    styles.get_by_label("Use in Draw: the style of photo 1").click()
    styles.locator(".photo-style").wait_for()
    assert styles.evaluate("document.activeElement.textContent.trim()") == "Draw"
    painted = pixels(styles)
    assert not same(plain, painted).any()
    assert styles.locator(".photo-style img").get_attribute("src").startswith("data:image/png")
    styles.get_by_label("Caption", exact=True).fill(CAPTION)
    painted = pixels(styles)

    styles.get_by_label("Favourite seed 6", exact=True).click()
    styles.locator(".picture").nth(5).click()
    recipe = styles.locator(".recipe").inner_text()  # with the match, once it is known
    assert recipe.startswith("Seed 6 · ") and recipe.endswith("in the style of a photo · Flowers")
    with styles.expect_download() as download:
        styles.get_by_role("button", name="PNG 64 px").click()
    styles.keyboard.press("Escape")
    picture = Image.open(download.value.path())
    recipe = json.loads(picture.text["t2i"])
    studio, photo = t2i.load(model), Image.open(io.BytesIO(base64.b64decode(photo_of(styles).split(",")[1])))
    assert np.abs(np.array(recipe["like"]) - studio.style(photo).clamp(-4, 3.97).numpy()).max() <= 1 / 64 + 1e-4
    drawn = studio.draw_array(recipe["captions"], recipe["seed"], recipe["attributes"], recipe["at"], recipe["like"])[0]
    assert np.abs(np.asarray(picture, int) - drawn).max() <= 1
    assert np.abs(painted[5] - np.asarray(picture, int)).mean() < 8  # a JPEG of the same
    expected = studio.match(studio.draw(CAPTION, range(1, 17), like=recipe["like"]), CAPTION)
    assert matches(styles) == pytest.approx([100 * match for match in expected], abs=1)

    with styles.expect_download() as download:
        styles.locator(".favourites .save-sheet").click()
    assert json.loads(Image.open(download.value.path()).text["t2i"])["pictures"][0]["like"] == recipe["like"]
    recent = styles.locator(".recent .thumbnail").and_(styles.get_by_label(f"Return to: {CAPTION}", exact=True))
    recent.wait_for()

    styles.locator(".remove-style").click()
    assert not same(painted, pixels(styles)).any() and styles.locator(".photo-style").is_hidden()
    assert styles.evaluate("document.activeElement.textContent") == "Shuffle"
    heart = styles.get_by_label("Favourite seed 6", exact=True)
    assert heart.get_attribute("aria-pressed") == "false"  # another picture
    recent.click()
    assert same(painted, pixels(styles)).all() and heart.get_attribute("aria-pressed") == "true"
    assert styles.locator(".photo-style img").is_visible()

    styles.evaluate("() => { navigator.clipboard.writeText = async () => { throw new Error('not allowed') } }")
    styles.locator(".share:visible").click()
    new_tab = new_page(styles.get_by_label("Link", exact=True).input_value())
    assert same(painted, pixels(new_tab)).all() and new_tab.locator(".photo-style").is_visible()
    assert new_tab.locator(".photo-style img").is_hidden()  # the photo stays with its owner


def test_samples_are_drawn_when_the_tab_is_opened(page, model):
    requests = []
    page.on("request", lambda request: requests.append(request.post_data or ""))
    page.get_by_label("Caption", exact=True).fill(CAPTION)
    settle(page)
    matches(page)
    assert requests and not any('"seeds":[6]' in data for data in requests)  # the sixth example's
    page.get_by_role("tab", name="Style").click()
    page.locator(".samples button:enabled").nth(5).wait_for()
    assert any('"seeds":[6]' in data for data in requests)
    offered = page.locator(".samples img").evaluate_all("images => images.map(image => image.src)")
    wait_for_sample(page)
    assert np.abs(decode(photo_of(page))[..., :3].astype(int) - decode(offered[0])).max() <= 1  # the sample
    examples = MODELS["flowers"].examples
    drawn = t2i.load(model).draw_array(examples, range(1, len(examples) + 1))
    for uri, wanted in zip(offered, drawn, strict=True):
        assert np.abs(decode(uri).astype(int) - wanted).mean() < 8  # a JPEG of it
    page.get_by_label(f"Add what is drawn of: {examples[3]}").click()
    wait_for_photo(page)
    assert np.abs(decode(photo_of(page))[..., :3].astype(int) - decode(offered[3])).max() <= 1
    page.locator("#t2i-style-model").select_option("paper-gan")
    page.wait_for_selector(".samples button:enabled")
    assert page.locator(".samples img").first.get_attribute("src") != offered[0]
    page.locator("#t2i-style-model-note.error", has_text="no style encoder").wait_for()


def test_another_model_draws_without_the_style_of_a_photo(styles):
    styles.get_by_label("Use in Draw: the style of photo 1").click()
    styles.locator(".photo-style").wait_for()
    settle(styles)
    styles.locator("#t2i-draw-model").select_option("paper-gan")
    assert (
        styles.locator(".photo-style").is_hidden() and len(pixels(styles)) == PICTURES_PER_PAGE and note(styles) == ""
    )
    styles.get_by_role("tab", name="Style").click()
    styles.get_by_label("Use in Draw: the style of photo 1").click()
    styles.locator(".photo-style").wait_for()
    settle(styles)
    assert styles.locator("#t2i-draw-model").input_value() == "flowers"


def test_a_style_that_the_server_does_not_send_shows_an_error(styles):
    route_calls(styles, lambda route: route.abort())
    styles.get_by_label("Use in Draw: the style of photo 1").click()
    styles.locator(".t2i-style .note.error", has_text="busy or away").wait_for()
    assert styles.locator(".t2i-style").is_visible()


def test_a_file_that_is_not_a_picture_shows_an_error(styles, tmp_path):
    (tmp_path / "<b>text.jpg").write_text("no picture")
    styles.locator(".t2i-style input[type=file]").set_input_files(tmp_path / "<b>text.jpg")
    styles.wait_for_function("document.querySelector('.photo-note').textContent.includes('<b>text.jpg is not')")


def test_hostile_captions_and_file_names_are_shown_as_text(styles, tmp_path):
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
    # The page fixture checks that there were no dialogs and errors.
