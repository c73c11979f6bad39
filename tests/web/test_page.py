"""The page as a whole in a real browser: its models, and its size on a phone."""

import copy
import gzip
import urllib.request

import numpy as np
import pytest
import torch

import t2i
from t2i import registry
from t2i.registry import MODELS
from t2i.web import LAUNCH_LOOK, create_demo
from t2i.web.app import TABS
from tests.screen import matches, note, pixels, rest, same, save, settle
from tests.weights import has_weights

CAPTION = "a flower with pink petals"

# What a finger must hit, but is less than 44 pixels high; pictures, and what lies on them, are as large as they can be.
SMALL_TARGETS = """
() => {
  const targets = '.t2i-tab :is(button, select, summary, label:has([type=radio], [type=checkbox]))'
    + ', .draws-on, .label-wrap';
  const pictures = ':is(.strip, .mosaic) button, .results label, .heart, .lock';
  return [...document.querySelectorAll(targets)]
    .filter((node) => node.offsetParent && !node.matches(pictures) && node.getBoundingClientRect().height < 44)
    .map((node) => node.className || node.textContent);
}
"""


# Pixels of a figure's text on the screen.
TEXT_SIZE = """
text => {
  const figure = text.ownerSVGElement;
  return (parseFloat(getComputedStyle(text).fontSize) * figure.clientWidth) / figure.viewBox.baseVal.width;
}
"""


# All that a page may leave in its browser.
STORED = """
async () => [localStorage.length, sessionStorage.length, document.cookie, (await indexedDB.databases()).length,
  (await caches.keys()).length, (await navigator.permissions.query({ name: 'clipboard-read' })).state]
"""
STORE = """
async () => {
  localStorage.own = sessionStorage.own = document.cookie = 'own=1';
  addEventListener('pagehide', () => (localStorage.late = 1));
  await Promise.all([caches.open('own'), new Promise((done) => (indexedDB.open('own').onsuccess = done))]);
}
"""


@pytest.mark.parametrize("visitor", range(2))
def test_a_new_page_finds_nothing_that_earlier_ones_have_stored(new_page, url, visitor):
    page = new_page(f"{url}/manifest.json")
    assert page.evaluate(STORED) == [0, 0, "", 0, 0, "prompt"]
    page.context.grant_permissions(["clipboard-read"])
    page.evaluate(STORE)
    assert page.evaluate(STORED) == [1, 1, "own=1", 1, 1, "granted"]


def test_the_menu_lists_available_models_with_the_papers_networks_last(page, compared):
    options = page.get_by_label("Model", exact=True).locator("option")
    offered = [
        spec
        for name, spec in MODELS.items()
        if name in compared or not spec.group or (not spec.objective and has_weights(name))
    ]
    assert [option.get_attribute("value") for option in options.all()] == [spec.name for spec in offered]
    assert options.all_inner_texts() == [spec.title for spec in offered]
    assert [spec.name for spec in offered[:3]] == ["flowers", "birds", "scenes"]
    grouped = page.get_by_label("Model", exact=True).locator('optgroup[label="The paper\'s networks"] option')
    assert grouped.all_inner_texts() == [spec.title for spec in offered if spec.paper]


def test_the_model_can_be_changed_without_a_reload(new_page, model, tiny_networks, tmp_path, monkeypatch, use_models):
    networks = dict(tiny_networks, generator=copy.deepcopy(tiny_networks["generator"]))
    with torch.no_grad():
        next(networks["generator"].parameters()).neg_()
    fields = {"attributes": [["Size", "small", "large"]], "words": f"the other example {CAPTION}"}
    use_models({"flowers": model, "other": save(networks, tmp_path / "other", **fields)})
    for name in ("other", "missing"):
        spec = registry.ModelSpec(name, title=name.title(), examples=(f"the {name} example",), subject=f"{name}s")
        monkeypatch.setitem(MODELS, name, spec)
    demo = create_demo()
    demo.launch(server_name="127.0.0.1", prevent_thread_lock=True, quiet=True, **LAUNCH_LOOK)
    page = new_page("about:blank")
    try:
        page.goto(f"{demo.local_url}?tab=draw")
        flowers = pixels(page)
        box, menu = page.get_by_label("Caption", exact=True), page.get_by_label("Model", exact=True)
        menu.select_option("other")
        assert not same(flowers, pixels(page)).any()
        assert box.input_value() == "the other example"  # an example goes with its model …
        assert "Other" in page.locator(".status").inner_text()
        pictures = pixels(page)
        page.get_by_text("Adjust", exact=True).click()
        assert page.locator(".attributes label").all_inner_texts() == ["Size"]  # … and so do the sliders
        page.get_by_label("Size", exact=True).press("End")
        assert not same(pictures, pixels(page)).any()
        assert page.get_by_label("Size", exact=True).get_attribute("aria-valuetext") == "1.00, large"
        page.get_by_label("Reset Size").click()
        box.fill("the stock market fell, ${alert(1)} <b>")  # … and the words that it does not know
        hinted = "document.querySelector('#t2i-draw-note').textContent.startsWith('This model knows others. ')"
        page.wait_for_function(hinted)
        assert note(page).endswith("It has hardly met “stock”, “market”, “fell”.")
        assert page.locator("#t2i-draw-note").get_attribute("class") == "note"  # a hint, not an error
        box.fill(CAPTION)
        pictures = pixels(page)
        matches(page)
        assert note(page) == ""
        menu.select_option("missing")
        assert same(pictures, pixels(page)).all()
        assert note(page).startswith("Missing is not available") and str(tmp_path) not in note(page)
        assert box.input_value() == CAPTION  # … and a person's own words stay
        page.get_by_role("tab", name="Blend").click()
        blend = page.locator(".t2i-blend")
        assert blend.get_by_label("First sentence").input_value() == CAPTION  # that of Draw
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
    boxes = [tab.get_by_label("Caption", exact=True) for tab in (page, new_page(f"{url}/?tab=draw"))]
    for length in range(1, 13):
        for box, text in zip(boxes, words):
            box.fill(text[:length])
    drawn = [t2i.load(model).draw_array(text, range(1, 17)).astype(int) for text in words]
    for number, box in enumerate(boxes):
        distances = [np.abs(pixels(box.page) - pictures).mean((1, 2, 3)) for pictures in drawn]
        assert (distances[number] < distances[1 - number]).all()  # its own differ only by JPEG


def test_nothing_on_a_phone_moves_when_an_error_is_shown(new_page, url):
    page = new_page(f"{url}/?tab=draw", viewport={"width": 360, "height": 740})
    page.wait_for_selector(".t2i-draw .grid li")
    place = page.locator(".tune").bounding_box()
    settle(page)
    page.get_by_label("Caption", exact=True).fill("")
    settle(page)
    assert page.locator(".tune").bounding_box() == place
    assert page.evaluate("document.documentElement.scrollWidth") == 360


def test_every_tab_fits_a_phone(new_page, url):
    page = new_page(f"{url}/?tab=draw", viewport={"width": 360, "height": 740})
    for name in TABS:
        page.get_by_role("tab", name=name).click()
        tab = page.locator(f".t2i-{name.lower()}")
        tab.locator(".link-error").wait_for(
            state="attached"
        )  # which its script puts there, as it asks for the first time
        rest(page)
        assert tab.is_visible() and page.evaluate("document.documentElement.scrollWidth") == 360, name
        assert page.evaluate(SMALL_TARGETS) == [], name
        if name == "Style":  # the caption is in sight with the pictures
            box = page.locator("#t2i-style-words").bounding_box()
            assert box["y"] + box["height"] < 740
    assert page.locator("figure .small").first.evaluate(TEXT_SIZE) >= 11


def test_a_tablet_leaves_room_for_sliders_and_tabs(page):
    page.get_by_text("Adjust", exact=True).click()
    last, what = page.get_by_role("tab", name="About"), page.locator(".t2i-head .what")
    for width in (1280, 1100):
        page.set_viewport_size({"width": width, "height": 780})
        end = last.bounding_box()["x"] + last.bounding_box()["width"]
        assert not what.is_visible() or what.bounding_box()["x"] > end, width
    for width in (1024, 900):
        page.set_viewport_size({"width": width, "height": 780})
        assert all(slider.bounding_box()["width"] > 80 for slider in page.locator(".attributes input").all()), width
        assert page.locator(".tune:visible").evaluate("tune => tune.scrollWidth <= tune.clientWidth"), width


def test_what_the_tabs_share_is_sent_once(url):
    config = urllib.request.urlopen(f"{url}/config").read().decode()
    for part in ("function createTab(", "function shareable(", "function createAlbum(", "@keyframes t2i-wait"):
        assert config.count(part) == 1, part


@pytest.mark.parametrize("path", ["", "/", "/config"])
def test_the_page_is_sent_compressed(url, path):
    def answer(encoding):
        return urllib.request.urlopen(urllib.request.Request(url + path, headers={"Accept-Encoding": encoding}))

    plain, compressed = answer("identity"), answer("gzip, deflate, br")
    assert plain.headers["Content-Encoding"] is None and compressed.headers["Content-Encoding"] == "gzip"
    data = compressed.read()
    assert len(gzip.decompress(data)) == len(plain.read()) > 3 * len(data)
    assert len(data) < 66_000


def test_a_hostile_description_of_a_model_is_shown_as_text(new_page, model, monkeypatch, use_models):
    hostile = "</script><script>alert(1)</script><img src=x onerror=alert(2)>${alert(3)}"
    use_models({"flowers": model, "other": model})
    spec = registry.ModelSpec("other", title=hostile, placeholder=hostile, examples=(hostile,))
    monkeypatch.setitem(MODELS, "other", spec)
    demo = create_demo("other")
    demo.launch(server_name="127.0.0.1", prevent_thread_lock=True, quiet=True, **LAUNCH_LOOK)
    page = new_page("about:blank")
    try:
        page.goto(f"{demo.local_url}?tab=draw")
        settle(page)
        assert page.locator(".t2i-head .what").inner_text().startswith(hostile)
        assert page.get_by_label("Model", exact=True).locator("option").first.inner_text() == hostile
        assert page.get_by_label("Caption", exact=True).input_value() == hostile
        assert page.locator("img[src=x]").count() == 0
    finally:  # the page fixture checks that there were no dialogs and errors
        page.close()
        demo.close()


FOCUSED = "id => document.activeElement.id === id"
OPEN_BY_ITSELF = "tab => (document.activeElement.blur(), tab.click())"  # as the page opens the tab of a link


def test_a_tab_that_opens_is_ready_to_type_in_but_takes_no_focus_away(new_page, url):
    page = new_page(url)
    page.wait_for_function(FOCUSED, arg="t2i-field-caption")
    boxes = {"Blend": "t2i-blend-1", "Style": "t2i-style-words", "Compare": "t2i-compare-caption"}
    for name, box in boxes.items():
        page.get_by_role("tab", name=name).evaluate(OPEN_BY_ITSELF)
        page.wait_for_function(FOCUSED, arg=box)
    page.get_by_role("tab", name="Draw").click()
    page.wait_for_function(FOCUSED, arg="t2i-draw-caption")
    page.keyboard.press("Escape")
    page.get_by_role("tab", name="Search").press("Enter")  # with the keyboard, it stays on the tab
    page.locator("#t2i-search-caption").wait_for()
    rest(page)
    assert page.evaluate("document.activeElement.textContent.trim()") == "Search"


def test_pictures_take_most_of_a_desktop_screen_and_begin_high_on_a_phone(new_page, url):
    page = new_page(f"{url}/?tab=draw", viewport={"width": 1440, "height": 900})
    settle(page)
    grid, tab = page.locator(".grid").bounding_box(), page.locator(".t2i-draw").bounding_box()
    assert grid["width"] > 0.599 * tab["width"] and grid["y"] + grid["height"] <= 900
    share = page.get_by_role("button", name="Share").bounding_box()
    assert share["y"] + share["height"] <= 900
    assert page.evaluate("document.activeElement.id") == "t2i-draw-caption"
    assert not page.locator(".attributes").is_visible()
    phone = new_page(f"{url}/?tab=draw", viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    settle(phone)
    assert phone.evaluate("document.activeElement === document.body")  # no keyboard covers them
    phone.get_by_text("Adjust", exact=True).click()
    assert phone.locator(".grid").bounding_box()["y"] < 844 / 3  # above a keyboard
    assert phone.evaluate("document.documentElement.scrollWidth") == 390
    targets = phone.locator(".t2i-draw :is(button, input, select, summary):visible:not(.heart, .lock)").all()
    assert len(targets) > 30 and all(target.bounding_box()["height"] >= 44 for target in targets)
    for heart in phone.locator(".heart").all()[:9]:
        heart.evaluate("heart => heart.click()")
    assert phone.locator(".albums:visible").evaluate("albums => albums.scrollWidth <= albums.clientWidth")
    targets = phone.locator(".favourites li button").all()
    assert len(targets) == 18 and all(target.bounding_box()["height"] >= 44 for target in targets)
    one, other = (target.bounding_box() for target in targets[:2])
    assert other["y"] >= one["y"] + one["height"]  # a finger does not forget what it opens
    phone.locator(".picture").nth(2).tap()
    phone.locator("dialog").get_by_role("button", name="Lock").tap()
    buttons = phone.locator("dialog button:visible").all()
    assert all(min(button.bounding_box()["height"], button.bounding_box()["width"]) >= 44 for button in buttons)
    phone.locator("dialog").get_by_role("button", name="Close").tap()
    assert phone.locator(".lock[aria-pressed=true]").count() == 1
