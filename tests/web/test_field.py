"""The tab "Field", which opens the page, on small networks of random weights."""

import numpy as np
import pytest

import t2i
from t2i.web.schemas import MAX_FIELD_PICTURES
from t2i.web.service import Service
from tests.screen import decode, hold_requests, rest, seeds, settle

CAPTION = "a red flower"

# The picture of seed 1, in the middle of the field, as the page paints it: the mean of its colours.
MIDDLE = """() => {
  const canvas = document.querySelector('.t2i-field canvas');
  const [width, height] = [canvas.width, canvas.height];
  const columns = Math.ceil(Math.sqrt((112 * width) / height));
  const side = width / columns, rows = Math.ceil(height / side);
  const distance = (i) => Math.hypot((i % columns) - (columns - 1) / 2, Math.floor(i / columns) - (rows - 1) / 2);
  const [first] = [...Array(columns * rows).keys()].sort((a, b) => distance(a) - distance(b));
  const corner = [(first % columns) * side, Math.floor(first / columns) * side].map((part) => Math.ceil(part) + 1);
  const bytes = canvas.getContext('2d').getImageData(...corner, side - 3, side - 3).data;
  return [0, 1, 2].map((part) => {
    const own = bytes.filter((_, i) => i % 4 === part);
    return own.reduce((sum, byte) => sum + byte, 0) / own.length;
  });
}"""
NUM_PICTURES = "parseInt(document.querySelector('.t2i-field canvas').ariaLabel)"


@pytest.fixture
def field(new_page, url):
    page = new_page(url)
    page.locator(".t2i-field canvas[aria-label*=':']").wait_for()
    rest(page)
    return page


def expected(model, caption: str) -> np.ndarray:
    return t2i.load(model).draw_array(caption, 1)[0].mean((0, 1))


def test_over_a_hundred_pictures_open_the_page_and_follow_the_typing(field, model):
    assert field.evaluate(NUM_PICTURES) > 100
    box = field.get_by_label("Your words")
    example = box.input_value()  # motion is reduced: one still field
    assert np.abs(field.evaluate(MIDDLE) - expected(model, example)).max() < 4
    assert field.evaluate("document.activeElement.id") == "t2i-field-caption"
    box.fill(CAPTION)
    rest(field)
    field.wait_for_timeout(300)
    assert np.abs(field.evaluate(MIDDLE) - expected(model, CAPTION)).max() < 4
    assert field.locator("canvas").get_attribute("aria-label").endswith(f"pictures: {CAPTION}")
    box.fill("花")
    field.locator(".t2i-field.is-unreadable").wait_for()
    assert field.locator("#t2i-field-note").inner_text() == "This model reads English only. Try an example."


def test_a_picture_of_the_field_leads_to_its_seed_in_draw(field):
    field.get_by_label("Your words").fill(CAPTION)
    area = field.locator("canvas").bounding_box()
    field.mouse.click(area["x"] + 20, area["y"] + 20)
    settle(field)
    assert field.get_by_role("tab", name="Draw", selected=True).is_visible()
    assert field.locator("#t2i-draw-caption").input_value() == CAPTION
    assert seeds(field)[0] > 1
    field.get_by_role("tab", name="Field").click()
    field.get_by_role("button", name="See sixteen").click()
    field.wait_for_function("document.querySelector('.number').textContent === '1'")


def test_it_plays_by_itself_until_the_first_key(new_page, url):
    page = new_page(url, reduced_motion="no-preference")
    page.locator(".t2i-field.is-playing").wait_for()
    box = page.get_by_label("Your words")
    placeholder = "document.querySelector('#t2i-field-caption').placeholder"
    page.wait_for_function(f"{placeholder}.startsWith('this flower has pink')")
    page.wait_for_function(f"{placeholder}.startsWith('a flower with long')")  # the next one, by itself
    assert box.input_value() == "" and page.url == f"{url}/"  # a reload plays again
    page.keyboard.type("red")
    assert box.input_value() == "red"  # the first letter begins a caption
    assert page.evaluate(placeholder) == "Describe a flower\u00a0…"
    page.wait_for_timeout(500)
    assert page.locator(".is-playing").count() == 0 and box.input_value() == "red"


def test_a_click_stops_it_at_the_caption_that_is_shown(new_page, url):
    page = new_page(url, reduced_motion="no-preference")
    page.locator(".t2i-field.is-playing").wait_for()
    page.get_by_label("Your words").click()
    assert page.get_by_label("Your words").input_value() == "this flower has pink petals and a yellow center"


def test_the_newest_caption_wins(field):
    held = hold_requests(field, "a late caption")
    box = field.get_by_label("Your words")
    box.fill("a late caption")
    field.wait_for_function("document.querySelector('[data-waiting]')")
    box.fill(CAPTION)
    for route in held:
        route.continue_()
    rest(field)
    assert field.locator("canvas").get_attribute("aria-label").endswith(CAPTION)


def test_the_server_draws_a_bounded_strip_and_remembers_it(model, use_models, monkeypatch):
    use_models({"flowers": model})
    service = Service("flowers")
    drawn = []
    engine = service._studio("flowers").engine
    monkeypatch.setattr(engine, "render", lambda z, h, draw=engine.render: drawn.append(len(z)) or draw(z, h))
    request = {"captions": [CAPTION, "a blue flower"], "at": 0.25, "seeds": [*range(1, 1000)]}
    first, again = service.field(request), service.field(request)
    assert first == again and drawn == [MAX_FIELD_PICTURES]
    strip = decode(first["strip"]).astype(int)
    assert strip.shape == (64, 64 * MAX_FIELD_PICTURES, 3)
    expected = service._studio("flowers").mix_array([CAPTION, "a blue flower"], [[0.75, 0.25]], 3)[0]
    assert np.abs(strip[:, 128:192].mean((0, 1)) - expected.mean((0, 1))).max() < 4  # a JPEG
    for odd in ({"at": "x"}, {"at": float("nan")}, {"seeds": [None, 10**400, -1]}, {"captions": [CAPTION]}):
        assert service.field(request | odd)["strip"]
    for wrong in ({"captions": []}, {"captions": ""}, {"captions": [3]}, {"seeds": []}, {"model": "none"}):
        with pytest.raises(t2i.InputError):
            service.field(request | wrong)
