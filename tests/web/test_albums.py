"""What the page keeps in the browser: the last pictures, and favourites that become a sheet."""

import base64
import io
import json
import math
from urllib.parse import urlencode

import numpy as np
import pytest
from PIL import Image

import t2i
from tests.screen import ask, decode, pixels, rest, route_calls, same, seeds, settle, wait_for_photo, wait_for_sample

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
    page.locator(".picture").first.press("Shift+ArrowRight")
    page.get_by_label("Style 1", exact=True).press("Home")
    before = pixels(page)
    kept(page, "recent", CAPTION)
    draw(page, "an oak")
    kept(page, "recent", "an oak")
    page.reload()
    assert not same(before, pixels(page)).any()
    page.get_by_label(f"Return to: {CAPTION}").click()
    assert same(before, pixels(page)).all()
    count = thumbnails(page, "recent").count()
    page.get_by_label(f"Forget: {CAPTION}").click()
    assert thumbnails(page, "recent").count() == count - 1
    page.reload()
    settle(page)
    assert page.get_by_label(f"Return to: {CAPTION}").count() == 0


def test_a_picture_is_kept_with_the_caption_it_was_drawn_from(page):
    draw(page, CAPTION)
    draw(page, "")  # which draws nothing
    kept(page, "recent", CAPTION)
    assert page.get_by_label("Return to: no words").count() == 0


def test_an_earlier_blend_can_be_returned_to(page):
    page.get_by_role("tab", name="Blend").click()
    page.get_by_label("Four sentences").check()
    page.get_by_label("Third sentence").fill(CAPTION)
    past = page.locator(".t2i-blend .recent .thumbnail").first
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
        page.locator(".t2i-compare .recent").get_by_label(f"Return to: {words}", exact=True).wait_for()

    past = page.locator(".t2i-compare .recent").get_by_label(f"Return to: {CAPTION}", exact=True)
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


def png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def uri(content: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(content).decode()


def noise(seed: int, *size: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (*size[::-1], 3), np.uint8))


def style_tab_content(page, count: int) -> tuple[list[str], list[np.ndarray], list[str]]:
    """On the tab "Style": the squares of the photos, the pictures beside them, and the captions."""
    tab = page.locator(".t2i-style")
    pictures = tab.locator("td img[alt]:not([alt=''])")
    page.wait_for_function(
        "count => document.querySelectorAll('.t2i-style td img:not([alt=\\'\\'])').length === count", arg=count
    )
    rest(page)
    squares = tab.locator(".photo canvas").evaluate_all("all => all.map((one) => one.toDataURL('image/png'))")
    painted = [decode(source).astype(int) for source in pictures.evaluate_all("all => all.map((one) => one.src)")]
    return squares, painted, tab.locator("th textarea").evaluate_all("all => all.map((box) => box.value)")


def test_photos_and_captions_come_back_after_a_reload(page):
    tab = page.locator(".t2i-style")
    past = tab.locator(".recent").get_by_label(f"Return to: {CAPTION} ·")
    page.get_by_role("tab", name="Style").click()
    tab.get_by_label("Caption 1", exact=True).fill(CAPTION)
    tab.get_by_label("Caption 4", exact=True).fill("")
    files = [
        {"name": f"{seed}.png", "mimeType": "image/png", "buffer": png(noise(seed, 90, 70))} for seed in range(8)
    ]  # the most allowed, of noise, which compresses badly
    tab.locator("input[type=file]").set_input_files(files)
    tab.locator(".photo").nth(7).wait_for()
    tab.get_by_label("Photo 2: choose what is seen").click()
    tab.get_by_label("Zoom").press("End")
    tab.get_by_role("button", name="Done").click()
    squares, painted, captions = style_tab_content(page, 8 * 5)
    past.wait_for()
    page.reload()
    page.get_by_role("tab", name="Style").click()
    wait_for_sample(page)
    tab.get_by_label("Caption 1", exact=True).fill("an oak")
    tab.locator("input[type=file]").set_input_files(files[:1])
    wait_for_photo(page)
    assert style_tab_content(page, 5)[0] == squares[:1]
    past.click()
    page.wait_for_function("document.querySelectorAll('.t2i-style tbody tr').length === 8")
    back = style_tab_content(page, 8 * 5)
    assert back[0] == squares and back[2] == captions
    assert np.abs(np.subtract(back[1], painted)).mean(axis=(1, 2, 3)).max() < 3  # drawn in another batch, and JPEGs
    page.wait_for_timeout(2500)
    assert past.count() == 1  # the same state is not kept twice
    page.evaluate("() => { navigator.clipboard.writeText = async () => { throw new Error('not allowed') } }")
    page.locator(".share:visible").click()
    assert "photo" not in page.get_by_label("Link", exact=True).input_value()  # photos stay with their owner
    tab.get_by_label(f"Forget: {CAPTION} ·").click()
    stored = page.evaluate("() => JSON.parse(localStorage.getItem('t2i-recent-style'))")
    assert past.count() == 0 and not any("a+blue+bird" in entry["query"] for entry in stored)


def test_samples_and_failures_of_style_are_not_kept(page):
    tab = page.locator(".t2i-style")
    page.get_by_role("tab", name="Style").click()
    wait_for_sample(page)
    page.locator("#t2i-style-model").select_option("paper-gan")
    photo = {"name": "a.png", "mimeType": "image/png", "buffer": png(noise(1, 64, 64))}
    tab.locator("input[type=file]").set_input_files([photo])
    tab.locator("#t2i-style-model-note.error", has_text="no style encoder").wait_for()
    page.wait_for_timeout(2500)
    assert tab.locator(".recent").is_hidden() and page.evaluate("localStorage.getItem('t2i-recent-style')") is None


def test_hostile_photos_in_storage_are_ignored(page):
    good = uri(png(Image.new("RGB", (64, 64), "red")))
    bad = [
        "http://127.0.0.1:1/spy.png",
        "javascript:alert(1)",
        "data:image/svg+xml;base64,PHN2Zy8+",
        "data:text/html;base64,AAAA",
        good + '" onerror="alert(2)',
        uri(png(noise(3, 200, 200))),  # too long
        "data:image/png;base64,AAAA",  # not a picture
        uri(png(noise(2, 65, 64))),  # larger than a square
        uri(png(Image.new("1", (12_000, 12_000)))),  # 144 million pixels in 18 kB
    ]
    cases = [("nothing", bad), (CAPTION, bad + [good] * 20), ("too much", [good] * 3000)]
    queries = [urlencode([("caption", words), *[("photo", photo) for photo in photos]]) for words, photos in cases]
    entries = [{"query": query, "picture": PICTURE} for query in queries]
    page.evaluate("stored => localStorage.setItem('t2i-recent-style', stored)", json.dumps(entries))
    wanted = []
    page.on("request", lambda request: wanted.append(request.url))
    page.reload()
    page.get_by_role("tab", name="Style").click()
    tab = page.locator(".t2i-style")
    tab.get_by_label(f"Return to: {CAPTION}").click()
    tab.locator(".photo").nth(4).wait_for()
    squares = style_tab_content(page, 5)[0]  # of the first eight that look like photos
    assert len(squares) == 5 and all((decode(uri)[..., :3] == (255, 0, 0)).all() for uri in squares)
    tab.get_by_label("Return to: nothing").click()
    page.wait_for_function("document.querySelectorAll('.t2i-style tbody tr').length === 1")
    assert style_tab_content(page, 1)[0][0] not in squares  # the sample
    assert tab.get_by_label("Return to: too much").count() == 0
    assert not any("spy" in address for address in wanted)


def test_favourites_can_be_kept_opened_and_removed(page):
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
    page.locator(".picture").first.press("Shift+ArrowDown")
    settle(page)
    heart(page, 7).click()
    screen = pixels(page)
    with page.expect_download() as download:
        page.locator(".favourites .save-sheet").click()
    sheet = Image.open(download.value.path())
    assert sheet.size == (2 * 66 + 2, 66 + 2) and sheet.text["Description"] == f"an oak\n{CAPTION}"
    studio, recipes = t2i.load(model), json.loads(sheet.text["t2i"])["pictures"]
    assert [recipe["seed"] for recipe in recipes] == [7, 2] and recipes[0]["at"] == [[0, 0.1]]
    for place, recipe in enumerate(recipes):
        drawn = studio.draw_array(recipe["caption"], recipe["seed"], recipe["attributes"], recipe["at"])[0]
        cut = np.asarray(sheet.crop((2 + 66 * place, 2, 66 + 66 * place, 66)), int)
        assert np.abs(cut - drawn).max() <= 1
    assert np.abs(screen[6] - np.asarray(sheet.crop((2, 2, 66, 66)), int)).mean() < 8  # a JPEG of the same


@pytest.mark.parametrize("script", [NO_STORAGE, FULL_STORAGE], ids=["forbidden", "full"])
def test_without_storage_favourites_last_as_long_as_the_page(new_page, url, script):
    page = new_page("about:blank")
    page.add_init_script(script)
    page.goto(f"{url}/?tab=draw")
    settle(page)
    heart(page, 3).click()
    assert heart(page, 3).get_attribute("aria-pressed") == "true" and thumbnails(page, "favourites").count() == 1
    heart(page, 4).click()
    heart(page, 3).click()
    assert thumbnails(page, "favourites").count() == 1
    page.goto(f"{url}/?tab=draw")
    settle(page)
    assert thumbnails(page, "favourites").count() == 0


def test_a_favourite_too_many_is_refused(page):
    entries = [{"query": f"tab=draw&caption=oak+{i}", "picture": PICTURE} for i in range(48)]
    page.evaluate("stored => localStorage.setItem('t2i-favourites', stored)", json.dumps(entries))
    page.reload()
    settle(page)
    heart(page, 3).click()
    refused = page.locator(".note.error:visible", has_text="At most 48 favourites. Forget one first.")
    refused.wait_for()
    assert heart(page, 3).get_attribute("aria-pressed") == "false"
    page.get_by_label("Forget: oak 47").click()
    heart(page, 3).click()
    assert heart(page, 3).get_attribute("aria-pressed") == "true" and not refused.is_visible()
    assert thumbnails(page, "favourites").count() == 48


def test_hostile_storage_is_read_safely(page):
    hostile = (
        "tab=draw&seed=NaN&attributes=Infinity&lock=length,5&model=<b>&caption=<img src=x onerror=alert(1)>${alert(2)}"
    )
    entries = [
        {"query": hostile, "picture": PICTURE},
        {"query": hostile + "1", "picture": "javascript:alert(3)"},
        {"query": hostile + "2", "picture": PICTURE + '" onerror="alert(4)'},
        {"query": "x" * 300_000, "picture": PICTURE},
        {"query": 5, "picture": PICTURE},
        {"picture": PICTURE},
        None,
        7,
    ]
    for stored in (json.dumps(entries), "{", "null", "5", '{"length": 3}', json.dumps(entries[:3] * 100)):
        page.evaluate("stored => localStorage.setItem('t2i-favourites', stored)", stored)
        page.reload()
        settle(page)
    assert thumbnails(page, "favourites").count() == 48  # the most allowed
    thumbnails(page, "favourites").first.click()
    settle(page)
    assert page.get_by_label("Caption", exact=True).input_value() == "<img src=x onerror=alert(1)>${alert(2)}"
    assert page.locator("img[src=x]").count() == 0 and len(pixels(page)) == 16


def test_a_sheet_leaves_out_what_cannot_be_drawn_and_waits_for_a_busy_server(page):
    heart(page, 2).click()
    queries = [
        "model=gone&caption=a+bird&seed=1&at=0,0&attributes=0",
        "model=flowers&caption=%F0%9F%8C%B8&seed=1&at=0,0&attributes=0",
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

    route_calls(page, refuse_the_first)
    note_on_link = page.locator(".t2i-draw .link-note")
    with page.expect_download() as download:
        page.locator(".favourites .save-sheet").click()
        page.locator(".t2i-draw .link-note.error", has_text="busy").wait_for()
    sheet = Image.open(download.value.path())
    assert sheet.size == (66 + 2, 66 + 2) and len(json.loads(sheet.text["t2i"])["pictures"]) == 1 == len(busy)
    assert np.abs(drawn - np.asarray(sheet.crop((2, 2, 66, 66)), int)).mean() < 8  # a JPEG of the same
    assert note_on_link.inner_text().startswith("2 pictures are left out. No such model. There are: flowers")
    assert "reads English" in note_on_link.inner_text() and note_on_link.get_attribute("class") == "note link-note"


@pytest.mark.parametrize("pictures", [None, [], "all", {}, [None], [{}], [{"caption": "red", "model": "../"}]])
def test_a_sheet_of_garbage_is_refused_with_a_reason(url, pictures):
    answer = ask(url, "sheet", {"pictures": pictures})
    assert set(answer) == {"error"} and " " in answer["error"]


def test_a_sheet_is_bounded_and_its_numbers_clamped(url):
    odd = {"caption": CAPTION * 100, "seeds": [math.nan], "attributes": [math.inf] * 99, "at": [[1e308, "x"]]}
    answer = ask(url, "sheet", {"pictures": [odd] * 99})
    sheet = Image.open(io.BytesIO(base64.b64decode(answer["file"].split(",")[1])))
    recipes = json.loads(sheet.text["t2i"])["pictures"]
    assert len(recipes) == 48 and recipes[0]["seed"] == 0 and len(recipes[0]["caption"]) == 201
