"""Photos that are dropped on the page, or pasted from the clipboard."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

import t2i
from tests.screen import decode, rest, wait_for_sample

TABS = ["Style", "Search"]
OWN_PHOTOS = ".t2i-style tr:not([data-sample]) .photo canvas"

# Drops files on a place of the page, or pastes them; returns whether the page prevented the default.
BRING = """([how, selector, files]) => {
  const data = new DataTransfer();
  for (const [name, type, content] of files) {
    if (!name) data.setData("text/plain", content);
    else data.items.add(new File([Uint8Array.from(atob(content), (c) => c.charCodeAt(0))], name, { type }));
  }
  const target = document.querySelector(selector);
  const about = { bubbles: true, cancelable: true };
  const send = (event) => !target.dispatchEvent(event);
  if (how === "paste") return send(new ClipboardEvent("paste", { ...about, clipboardData: data }));
  const over = send(new DragEvent("dragover", { ...about, dataTransfer: data }));
  return send(new DragEvent("drop", { ...about, dataTransfer: data })) && over;
}"""


def photo(seed: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (6, 9, 3), np.uint8)).resize((90, 60))


def as_file(picture: Image.Image, name: str) -> list[str]:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return [name, "image/png", base64.b64encode(buffer.getvalue()).decode()]


def text_file(name: str) -> list[str]:
    return [name, "text/plain", base64.b64encode(b"no picture").decode()]


@pytest.fixture(params=TABS)
def tab(page, request):
    """The page on a tab that takes photos, with the tab's name."""
    for name in [*TABS, request.param]:  # both have been open: the hidden one must not take photos
        page.get_by_role("tab", name=name).click()
        rest(page)
        if name == "Style":
            wait_for_sample(page)
    return page, request.param


def photo_squares(page, name: str) -> list[np.ndarray]:
    """The 64×64 squares of the photos on a tab, in the order of their arrival."""
    if name == "Style":
        uris = page.locator(OWN_PHOTOS).evaluate_all("all => all.map((one) => one.toDataURL('image/png'))")
    else:
        images = page.locator(".results li:not([hidden]) img[src^='data:image/png']")
        uris = [uri for _, uri in sorted(images.evaluate_all("all => all.map((one) => [one.alt, one.src])"))]
    return [decode(uri)[..., :3].astype(int) for uri in uris]


def bring_files(page, how: str, files: list, place: str = "body") -> bool:
    return page.evaluate(BRING, [how, place, files])


def wait_for_photos(page, name: str, count: int) -> None:
    each = {"Style": OWN_PHOTOS, "Search": ".results li:not([hidden]) img[src^='data:image/png']"}[name]
    page.wait_for_function("([each, count]) => document.querySelectorAll(each).length === count", arg=[each, count])
    rest(page)


@pytest.mark.parametrize("how", ["drop", "paste"])
def test_the_open_tab_takes_photos_dropped_anywhere_or_pasted(tab, how, model):
    page, name = tab
    photos = [photo(1), photo(2)]
    assert bring_files(page, how, [as_file(photos[0], "a.png")], ".t2i-head") == (how == "drop")
    wait_for_photos(page, name, 1)
    bring_files(page, how, [as_file(photos[1], "b.png")], f".t2i-{name.lower()} textarea")
    wait_for_photos(page, name, 2)
    for square, wanted in zip(photo_squares(page, name), photos, strict=True):
        middle = np.asarray(wanted.crop((15, 0, 75, 60)).resize((64, 64), Image.Resampling.BICUBIC), int)
        assert np.abs(square - middle).mean() < 12  # the central square, as the browser scales it
    if name == "Style":
        captions = page.locator(".t2i-style th textarea").evaluate_all("all => all.map((box) => box.value)")
        for row, square in enumerate(photo_squares(page, name)):
            painted = t2i.load(model).restyle_array(Image.fromarray(square.astype(np.uint8)), captions)
            images = page.locator(".t2i-style tbody tr").nth(row).locator("td img").all()
            pictures = [decode(image.get_attribute("src")).astype(int) for image in images]
            assert (np.abs(np.stack(pictures) - painted).mean(axis=(1, 2, 3)) < 8).all()  # JPEGs of them
    other_tab = TABS[1 - TABS.index(name)]
    page.get_by_role("tab", name=other_tab).click()
    assert photo_squares(page, other_tab) == []


def test_a_file_that_is_not_a_picture_shows_an_error_and_the_rest_is_taken(tab):
    page, name = tab
    bring_files(page, "drop", [as_file(photo(1), "a.png"), text_file("<b>notes.txt"), as_file(photo(2), "b.png")])
    wait_for_photos(page, name, 2)
    page.locator(".note.error:visible", has_text="<b>notes.txt is not a picture that your browser can read.").wait_for()
    bring_files(page, "paste", [text_file("notes.txt")])  # as a file manager would copy one
    assert not bring_files(page, "paste", [[None, None, "a blue bird"]], "textarea")  # the text box takes words itself
    assert not bring_files(page, "drop", [[None, None, "a blue bird"]], "textarea")
    page.wait_for_timeout(200)
    assert len(photo_squares(page, name)) == 2


def test_a_tab_without_photos_takes_none(tab):
    page, name = tab
    for label in ("Draw", "Blend", "Compare", "About"):
        page.get_by_role("tab", name=label).click()
        page.locator(f".t2i-{label.lower()}").wait_for()
        rest(page)
        page.wait_for_timeout(400)  # a tab may ask for more when it rests, and its answer replaces a note
        rest(page)
        bring_files(page, "paste", [as_file(photo(1), "a.png")])
        assert not bring_files(page, "drop", [[None, None, "a blue bird"]])
        assert bring_files(page, "drop", [as_file(photo(1), "a.png")], ".t2i-head")  # and stays
        page.locator(":is(.status, .note):visible", has_text="Photos go to Style or Search.").wait_for()
    page.get_by_role("tab", name=name).click()
    page.wait_for_timeout(200)
    assert photo_squares(page, name) == []
