"""What can be saved to be passed on: posters and films, in a real browser."""

import io
import json

import numpy as np
import pytest
from PIL import Image

import t2i
from t2i.media import poster
from t2i.web import encoding
from tests.screen import pixels, rest, settle

CAPTION = "a flower with pink petals"


def save(page, button) -> tuple[str, bytes]:
    """Press a button; returns the name and the bytes of the file that it saves."""
    with page.expect_download() as download:
        button.click()
    return download.value.suggested_filename, download.value.path().read_bytes()


@pytest.fixture
def blend(page):
    page.get_by_role("tab", name="Blend").click()
    page.wait_for_function("document.querySelector('.blended')?.src.startsWith('data:image/jpeg')")
    page.get_by_label("First sentence").fill("a red flower")
    page.get_by_label("Second sentence").fill("a blue bird")
    rest(page)
    return page.locator(".t2i-blend")


def test_sixteen_pictures_become_a_poster(page, model):
    page.get_by_label("Caption", exact=True).fill(CAPTION)
    page.get_by_label("Seed", exact=True).locator("visible=true").fill("7")
    pixels(page)
    name, data = save(page, page.locator(".t2i-draw .poster"))
    saved = Image.open(io.BytesIO(data))
    recipe = json.loads(saved.text["t2i"])
    assert saved.text["Description"] == CAPTION and recipe["seeds"] == [*range(7, 23)]
    drawn = t2i.load(model).draw_array(CAPTION, recipe["seeds"], recipe["attributes"], recipe["at"])
    wanted = poster.poster(drawn, [CAPTION], "Flowers · seeds 7 to 22")
    assert np.abs(np.asarray(saved, int) - wanted).mean() < 1
    assert name.startswith("flowers-a-flower-with-pink-petals-") and name.endswith(".png")
    page.get_by_role("button", name="Shuffle").locator("visible=true").first.click()
    settle(page)
    assert save(page, page.locator(".t2i-draw .poster"))[0] != name


def test_a_blend_becomes_a_poster(blend, model):
    name, data = save(blend.page, blend.get_by_role("button", name="Poster"))
    saved = Image.open(io.BytesIO(data))
    assert saved.width == poster.POSTER_WIDTH and saved.text["Description"] == "a red flower\na blue bird"
    seed = json.loads(saved.text["t2i"])["seed"]
    weights = [[1 - step, step] for step in np.linspace(0, 1, 25)]
    frames = t2i.load(model).mix_array(["a red flower", "a blue bird"], weights, seed)
    wanted = poster.poster(frames, ["“a red flower” to “a blue bird”"], f"Flowers · seed {seed}")
    assert np.abs(np.asarray(saved, int) - wanted).mean() < 1
    assert "a-red-flower-a-blue-bird" in name


def test_the_name_of_a_file_ends_with_a_whole_word():
    captions = "a flower with long white petals", "Ein “Café”, blue & round"
    assert encoding.file_name("flowers", *captions) == "flowers-a-flower-with-long-white-ein-caf-blue-round"
    assert encoding.file_name("flowers", "🌸") == "flowers"


def test_a_film_has_its_sentences_if_wanted(blend):
    plain_name, plain = save(blend.page, blend.get_by_role("button", name="WebP"))
    blend.get_by_label("Sentences on the film").check()
    name, written = save(blend.page, blend.get_by_role("button", name="WebP"))
    assert name != plain_name
    films = [Image.open(io.BytesIO(data)) for data in (plain, written)]
    assert all(film.size == (512, 512) and film.n_frames > 16 for film in films)
    first, with_words = (np.asarray(film.convert("RGB"), int) for film in films)
    assert np.abs(first[:256] - with_words[:256]).mean() < 8  # WebP
    assert (with_words[384:] > 230).all(-1).sum() > 100 + (first[384:] > 230).all(-1).sum()


def test_a_film_becomes_an_mp4_where_the_server_can(blend):
    av = pytest.importorskip("av")
    name, data = save(blend.page, blend.get_by_role("button", name="MP4"))
    with av.open(io.BytesIO(data)) as film:
        frames = [frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)]
    assert name.endswith(".mp4") and len(frames) == 33 and frames[0].shape == (512, 512, 3)
