"""The tab "Style" in a real browser."""

import base64
import io
import json

import numpy as np
import pytest
from PIL import Image

import t2i
from t2i.registry import MODELS
from t2i.web.schemas import PICTURES_PER_PAGE
from tests.screen import decode, matches, note, photo_of, pixels, rest, same, settle, wait_for_photo, wait_for_sample

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
        styles.get_by_role("button", name="Save as PNG sheet").click()
    assert Image.open(download.value.path()).size == (6 * 132, 2 * 132)


def test_a_ninth_photo_is_refused(styles, tmp_path):
    styles.locator(".t2i-style input[type=file]").set_input_files([tmp_path / "photo.png"] * 8)
    styles.locator(".t2i-style .note.error", has_text="At most 8 photos. Remove one first.").wait_for()
    assert styles.locator(".photo").count() == 8


def test_a_photo_can_be_cropped_and_removed(styles):
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
def test_crop_sliders_without_room_are_disabled(styles, tmp_path, size, dead):
    Image.effect_noise(size, 90).convert("RGB").save(tmp_path / "other.png")
    styles.locator(".t2i-style input[type=file]").set_input_files(tmp_path / "other.png")
    styles.get_by_label("Photo 2: choose what is seen").click()
    sliders = {name: styles.locator(f"#t2i-style-crop-{name}") for name in ("x", "y", "zoom")}
    names = {"x": "Across", "y": "Down", "zoom": "Closer"}
    first = next(name for name in names if names[name] not in dead)
    assert {names[name] for name, slider in sliders.items() if slider.is_disabled()} == dead
    assert styles.evaluate("document.activeElement.id") == f"t2i-style-crop-{first}"
    sliders["zoom"].press("ArrowRight")
    assert all(slider.is_enabled() for slider in sliders.values())
    sliders["zoom"].press("Home")
    assert {names[name] for name, slider in sliders.items() if slider.is_disabled()} == dead


def test_a_photo_with_keyboard_focus_has_a_ring(styles):
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
    assert styles.locator(".recipe").inner_text() == "Seed 6 · in the style of a photo · Flowers"
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
        styles.locator(".favourites .sheet").click()
    assert json.loads(Image.open(download.value.path()).text["t2i"])["pictures"][0]["like"] == recipe["like"]
    recent = styles.locator(".recent .thumbnail").and_(styles.get_by_label(f"Return to: {CAPTION}", exact=True))
    recent.wait_for()

    styles.get_by_role("button", name="Remove photo style").click()
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
    page.locator("#t2i-style-model").select_option("flowers-gan")
    page.wait_for_selector(".samples button:enabled")
    assert page.locator(".samples img").first.get_attribute("src") != offered[0]
    page.locator(".t2i-style .note.error", has_text="no style encoder").wait_for()


def test_another_model_draws_without_the_style_of_a_photo(styles):
    styles.get_by_label("Use in Draw: the style of photo 1").click()
    styles.locator(".photo-style").wait_for()
    settle(styles)
    styles.locator("#t2i-draw-model").select_option("flowers-gan")
    assert (
        styles.locator(".photo-style").is_hidden() and len(pixels(styles)) == PICTURES_PER_PAGE and note(styles) == ""
    )
    styles.get_by_role("tab", name="Style").click()
    styles.get_by_label("Use in Draw: the style of photo 1").click()
    styles.locator(".photo-style").wait_for()
    settle(styles)
    assert styles.locator("#t2i-draw-model").input_value() == "flowers"


def test_a_style_that_the_server_does_not_send_shows_an_error(styles):
    styles.route("**/component_server/**", lambda route: route.abort())
    styles.get_by_label("Use in Draw: the style of photo 1").click()
    styles.locator(".t2i-style .note.error", has_text="busy or away").wait_for()
    assert styles.locator(".t2i-style").is_visible()


def test_a_file_that_is_not_a_picture_shows_an_error(styles, tmp_path):
    (tmp_path / "<b>text.jpg").write_text("no picture")
    styles.locator(".t2i-style input[type=file]").set_input_files(tmp_path / "<b>text.jpg")
    styles.wait_for_function("document.querySelector('.t2i-style .note').textContent.includes('<b>text.jpg is not')")


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
