"""What the page keeps in the browser: the last pictures, and favourites that become a sheet."""

import base64
import io
import json
import math

import numpy as np
import pytest
from PIL import Image

import t2i
from tests.screen import ask, decode, pixels, rest, same, seeds, settle

CAPTION = "a blue bird"
PICTURE = "data:image/jpeg;base64,AAAA"
NO_STORAGE = "Object.defineProperty(window, 'localStorage', { get() { throw new Error('forbidden') } })"
FULL_STORAGE = "Storage.prototype.setItem = () => { throw new DOMException('', 'QuotaExceededError') }"


def draw(page, caption):
    page.get_by_label("Caption", exact=True).fill(caption)
    settle(page)


def thumbnails(page, kind):
    return page.locator(f".t2i-draw .{kind} .thumbnail")


def kept(page, kind, words):
    thumbnails(page, kind).and_(page.get_by_label(f"Return to: {words}", exact=True)).first.wait_for()


def heart(page, seed):
    return page.get_by_label(f"Favourite seed {seed}", exact=True)


def test_the_last_pictures_come_back_after_a_reload(page):
    draw(page, CAPTION)
    page.get_by_label("Plane", exact=True).press("ArrowRight")
    page.get_by_label("Style 1", exact=True).press("Home")
    before = pixels(page)
    kept(page, "lately", CAPTION)
    draw(page, "an oak")
    kept(page, "lately", "an oak")
    page.reload()
    assert not same(before, pixels(page)).any()
    page.get_by_label(f"Return to: {CAPTION}").click()
    assert same(before, pixels(page)).all()
    count = thumbnails(page, "lately").count()
    page.get_by_label(f"Forget: {CAPTION}").click()
    assert thumbnails(page, "lately").count() == count - 1
    page.reload()
    settle(page)
    assert page.get_by_label(f"Return to: {CAPTION}").count() == 0


def test_a_picture_is_kept_with_its_own_words(page):
    draw(page, CAPTION)
    draw(page, "")  # which draws nothing
    kept(page, "lately", CAPTION)
    assert page.get_by_label("Return to: no words").count() == 0


def test_a_blend_comes_back_too(page):
    page.get_by_role("tab", name="Blend").click()
    page.get_by_label("Four sentences").check()
    page.get_by_label("Third sentence").fill(CAPTION)
    past = page.locator(".t2i-blend .lately .thumbnail").first
    past.wait_for()
    page.get_by_label("Two sentences").check()
    past.click()
    assert page.get_by_label("Third sentence").input_value() == CAPTION
    assert page.get_by_label("Four sentences").is_checked()


def test_a_comparison_comes_back_after_a_reload(page):
    def go(words):
        page.get_by_role("tab", name="Compare").click()
        page.locator("#t2i-compare-caption").fill(words)
        page.wait_for_function("words => document.querySelector('.objectives > li > img').alt === words", arg=words)
        page.locator(".t2i-compare .lately").get_by_label(f"Return to: {words}", exact=True).wait_for()

    past = page.locator(".t2i-compare .lately").get_by_label(f"Return to: {CAPTION}", exact=True)
    go(CAPTION)
    page.get_by_label("GAN-CLS, go to seed 3", exact=True).click()
    images = page.locator(".objectives img")
    page.get_by_label("GAN-CLS, go to seed 4", exact=True).wait_for()
    rest(page)
    before = [decode(image.get_attribute("src")).astype(int) for image in images.all()]
    past.nth(1).wait_for()
    page.reload()
    go("an oak")
    past.first.click()
    page.get_by_label("GAN-CLS, go to seed 4", exact=True).wait_for()
    rest(page)
    after = [decode(image.get_attribute("src")).astype(int) for image in images.all()]
    assert np.abs(np.subtract(before, after)).mean(axis=(1, 2, 3)).max() < 1  # drawn in another batch
    assert page.locator("#t2i-compare-caption").input_value() == CAPTION


def test_favourites_are_kept_returned_to_and_removed(page):
    draw(page, CAPTION)
    before = pixels(page)
    page.locator(".picture").first.focus()
    for key in ("ArrowRight", "ArrowDown", "Tab", "Enter"):  # to the sixth picture's heart
        page.keyboard.press(key)
    assert heart(page, 6).get_attribute("aria-pressed") == "true"
    draw(page, "an oak")
    assert heart(page, 6).get_attribute("aria-pressed") == "false"  # another picture
    page.reload()
    settle(page)
    assert thumbnails(page, "favourites").count() == 1
    page.get_by_label(f"Return to: {CAPTION}").first.click()
    assert seeds(page)[0] == 6 and same(before[5:], pixels(page)[:11]).all()
    heart(page, 6).click()
    assert page.locator(".favourites").is_hidden() and heart(page, 6).get_attribute("aria-pressed") == "false"


def test_favourites_are_saved_as_a_sheet_that_says_how_they_were_made(page, model):
    draw(page, CAPTION)
    page.get_by_label("Style 3", exact=True).press("End")
    settle(page)
    heart(page, 2).click()
    draw(page, "an oak")
    page.get_by_label("Plane", exact=True).press("ArrowDown")
    settle(page)
    heart(page, 7).click()
    screen = pixels(page)
    with page.expect_download() as download:
        page.locator(".favourites .sheet").click()
    sheet = Image.open(download.value.path())
    assert sheet.size == (2 * 66 + 2, 66 + 2) and sheet.text["Description"] == f"an oak\n{CAPTION}"
    studio, recipes = t2i.load(model), json.loads(sheet.text["t2i"])["pictures"]
    assert [recipe["seed"] for recipe in recipes] == [7, 2] and recipes[0]["at"] == [[0, 0.1]]
    for place, recipe in enumerate(recipes):
        drawn = studio.draw_array(recipe["caption"], recipe["seed"], recipe["style"], recipe["at"])[0]
        cut = np.asarray(sheet.crop((2 + 66 * place, 2, 66 + 66 * place, 66)), int)
        assert np.abs(cut - drawn).max() <= 1
    assert np.abs(screen[6] - np.asarray(sheet.crop((2, 2, 66, 66)), int)).mean() < 8  # a JPEG of the same


@pytest.mark.parametrize("script", [NO_STORAGE, FULL_STORAGE], ids=["forbidden", "full"])
def test_without_storage_they_last_as_long_as_the_page(new_page, url, script):
    page = new_page("about:blank")
    page.add_init_script(script)
    page.goto(url)
    settle(page)
    heart(page, 3).click()
    assert heart(page, 3).get_attribute("aria-pressed") == "true" and thumbnails(page, "favourites").count() == 1
    heart(page, 4).click()
    heart(page, 3).click()
    assert thumbnails(page, "favourites").count() == 1
    page.goto(url)
    settle(page)
    assert thumbnails(page, "favourites").count() == 0


def test_storage_is_read_as_anybodys_words(page):
    hostile = "tab=draw&seed=NaN&style=Infinity&lock=length,5&model=<b>&caption=<img src=x onerror=alert(1)>${alert(2)}"
    entries = [
        {"query": hostile, "picture": PICTURE},
        {"query": hostile + "1", "picture": "javascript:alert(3)"},
        {"query": hostile + "2", "picture": PICTURE + '" onerror="alert(4)'},
        {"query": "x" * 30_000, "picture": PICTURE},
        {"query": 5, "picture": PICTURE},
        {"picture": PICTURE},
        None,
        7,
    ]
    for stored in (json.dumps(entries), "{", "null", "5", '{"length": 3}', json.dumps(entries[:3] * 100)):
        page.evaluate("stored => localStorage.setItem('t2i-favourites', stored)", stored)
        page.reload()
        settle(page)
    assert thumbnails(page, "favourites").count() == 48  # the most
    thumbnails(page, "favourites").first.click()
    settle(page)
    assert page.get_by_label("Caption", exact=True).input_value() == "<img src=x onerror=alert(1)>${alert(2)}"
    assert page.locator("img[src=x]").count() == 0 and len(pixels(page)) == 16


def test_a_sheet_leaves_out_what_cannot_be_drawn_and_waits_for_a_busy_server(page):
    heart(page, 2).click()
    queries = [
        "model=gone&caption=a+bird&seed=1&at=0,0&style=0",
        "model=flowers&caption=%F0%9F%8C%B8&seed=1&at=0,0&style=0",
    ]
    entries = [{"query": query, "picture": PICTURE} for query in queries]
    page.evaluate(
        "more => localStorage.setItem('t2i-favourites',"
        " JSON.stringify([...more, ...JSON.parse(localStorage.getItem('t2i-favourites'))]))",
        entries,
    )
    page.reload()
    drawn = pixels(page)[1]
    busy = []

    def refuse_the_first(route):
        if busy or '"sheet"' not in route.request.post_data:
            return route.continue_()
        busy.append(route.request.url)
        route.fulfill(status=503, body="The server is busy. Try again in a moment.")

    page.route("**/component_server/**", refuse_the_first)
    said = page.locator(".t2i-draw .said")
    with page.expect_download() as download:
        page.locator(".favourites .sheet").click()
        page.locator(".t2i-draw .said.error", has_text="busy").wait_for()
    sheet = Image.open(download.value.path())
    assert sheet.size == (66 + 2, 66 + 2) and len(json.loads(sheet.text["t2i"])["pictures"]) == 1 == len(busy)
    assert np.abs(drawn - np.asarray(sheet.crop((2, 2, 66, 66)), int)).mean() < 8  # a JPEG of the same
    assert said.inner_text().startswith("2 pictures are left out. No such model. There are: flowers")
    assert "one letter" in said.inner_text() and said.get_attribute("class") == "note said"


@pytest.mark.parametrize("pictures", [None, [], "all", {}, [None], [{}], [{"caption": "red", "model": "../"}]])
def test_a_sheet_of_garbage_is_refused_in_words(url, pictures):
    answer = ask(url, "sheet", {"pictures": pictures})
    assert set(answer) == {"error"} and " " in answer["error"]


def test_a_sheet_is_bounded_and_its_numbers_clamped(url):
    odd = {"caption": CAPTION * 100, "seeds": [math.nan], "style": [math.inf] * 99, "at": [[1e308, "x"]]}
    answer = ask(url, "sheet", {"pictures": [odd] * 99})
    sheet = Image.open(io.BytesIO(base64.b64decode(answer["file"].split(",")[1])))
    made = json.loads(sheet.text["t2i"])["pictures"]
    assert len(made) == 48 and made[0]["seed"] == 0 and len(made[0]["caption"]) == 201
