"""The tab "Search" in a real browser."""

import io

import numpy as np
import pytest
from PIL import Image

import t2i
from t2i.registry import MODELS
from tests.screen import SERVER_CALLS, ask, route_calls

CAPTION = "a flower with pink petals"


@pytest.fixture
def search(page):
    """The page on its tab "Search", with the pictures that the model draws."""
    page.get_by_role("tab", name="Search").click()
    page.wait_for_function("document.querySelector('.results .meter')?.textContent.endsWith('%')")
    page.wait_for_function("document.querySelector('.captions .text')?.textContent")
    return page


def search_for(page, words: str) -> list[str]:
    """Search for words; returns the names of the results, the best first."""
    page.get_by_label("Search by description").fill(words)
    announced = "words => document.querySelector('.t2i-search .live').textContent.startsWith(`The best for ${words}:`)"
    page.wait_for_function(announced, arg=words)
    return result_names(page)


def result_names(page) -> list[str]:
    return page.locator(".results li:not([hidden]) img").evaluate_all("images => images.map(image => image.alt)")


def shown_captions(page) -> list[tuple[str, int]]:
    """The captions of the chosen picture, with their percentages."""
    texts, shares = (page.locator(f".captions {part}").all_inner_texts() for part in (".text", ".meter"))
    return [(text, int(share.removesuffix("%"))) for text, share in zip(texts, shares, strict=True)]


def test_a_caption_finds_the_drawn_pictures_that_match_it_best(search, model):
    studio = t2i.load(model)
    captions = [*MODELS["flowers"].examples, *MODELS["flowers"].gallery_captions]
    drawn = [(caption, picture) for caption in captions for picture in studio.draw(caption, range(1, 4))]
    orders = []
    for words in (captions[0], "a blue bird"):
        names, shares = search_for(search, words), search.locator(".results .meter").all_inner_texts()
        scores = sorted(studio.match([picture for _, picture in drawn], words), reverse=True)[: len(names)]
        assert len(names) == 20 and all(name.startswith("drawn by the model from “") for name in names)
        assert [int(share.removesuffix("%")) for share in shares] == pytest.approx([100 * s for s in scores], abs=2)
        orders.append(names)
    assert orders[0] != orders[1]
    assert "60 pictures drawn by the model" in search.locator(".t2i-search .status").inner_text()
    search.get_by_label("Search by description").fill("🌸")
    search.wait_for_function("document.querySelector('#t2i-search-note').classList.contains('error')")
    assert result_names(search) == orders[1]  # the last good results
    assert search.locator(".results li").first.evaluate("item => getComputedStyle(item).opacity") == "0.15"


def test_the_chosen_picture_is_described_and_a_caption_goes_to_draw(search, model):
    best = shown_captions(search)
    choices = search.locator(".results input")
    assert choices.first.is_checked()
    with search.expect_response(SERVER_CALLS):
        search.get_by_label("Your own captions").fill("a blue bird\n\n<img src=x onerror=alert(1)>\n${alert(2)}")
    choices.first.press("ArrowRight")
    search.wait_for_timeout(200)
    assert choices.nth(1).is_checked()
    captions = ["a blue bird", "<img src=x onerror=alert(1)>", "${alert(2)}"]
    captions += [*MODELS["flowers"].examples, *MODELS["flowers"].gallery_captions]
    name = search.locator(".results img").nth(1).get_attribute("alt")
    studio, caption = t2i.load(model), name.removeprefix("drawn by the model from “").removesuffix("”")
    assert search.locator(".picture-name").inner_text() == name

    def percents(seed: int) -> list[float]:
        picture = studio.draw(caption, seed)
        return sorted((100 * share for share in studio.match(picture, captions)), reverse=True)[: len(best)]

    ranked = shown_captions(search)
    assert any([share for _, share in ranked] == pytest.approx(percents(seed), abs=2) for seed in (1, 2, 3))
    assert len(ranked) == 5 and {text for text, _ in ranked} <= set(captions)
    wanted = ranked[2][0]
    search.get_by_label(f"Draw “{wanted}”").click()
    assert search.locator(".grid").is_visible() and not search.locator(".results").is_visible()
    search.wait_for_function("words => document.querySelector('.grid img').alt === words", arg=wanted)
    assert search.get_by_label("Caption", exact=True).input_value() == wanted
    assert search.evaluate("document.activeElement.textContent.trim()") == "Draw"
    search.get_by_role("tab", name="Search").click()
    search.get_by_label("Search by description").fill(" ")
    assert search.get_by_role("button", name="Draw this", exact=True).is_disabled()
    search.get_by_label("Search by description").fill("a caption to draw")
    search.get_by_role("button", name="Draw this", exact=True).click()
    search.wait_for_function("document.querySelector('.grid img').alt === 'a caption to draw'")


def test_the_visitors_photos_are_searched(search, model, tmp_path):
    studio, photos = t2i.load(model), {}
    for seed in range(19):  # more than fit into one request
        pixels = np.random.default_rng(seed).integers(0, 256, (64, 64, 3), np.uint8)
        photos[f"{seed}.png"] = Image.fromarray(pixels)
        photos[f"{seed}.png"].save(tmp_path / f"{seed}.png")
    (tmp_path / "<b>text.jpg").write_text("no picture")
    search.get_by_label("Your photos").check()
    assert search.locator(".t2i-search .empty").is_visible() and result_names(search) == []
    search.get_by_label("Pictures drawn by the model").check()
    chooser = search.locator(".t2i-search input[type=file]")
    chooser.set_input_files([*(tmp_path / name for name in photos), tmp_path / "<b>text.jpg"])
    search.wait_for_function("document.querySelectorAll('.results li:not([hidden])').length === 19")
    assert search.get_by_label("Your photos").is_checked() and not search.locator("progress").is_visible()
    assert "<b>text.jpg is not a picture" in search.locator(".photo-note").inner_text()
    assert search.locator(".t2i-search .status").inner_text() == "19 of your photos, the best first"
    scores, names = dict(zip(photos, studio.match(list(photos.values()), CAPTION))), search_for(search, CAPTION)
    assert set(names) == set(photos) and np.diff([scores[name] for name in names]).max() < 0.01
    assert int(search.locator(".results .meter").first.inner_text().removesuffix("%")) == pytest.approx(
        100 * max(scores.values()), abs=1.1
    )


def test_the_visitors_photos_can_be_removed(search, tmp_path):
    for seed in range(3):
        pixels = np.random.default_rng(seed).integers(0, 256, (64, 64, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{seed}.png")
    remove = search.get_by_role("button", name="Remove photo")
    assert remove.is_hidden()  # the model's pictures cannot be removed
    search.locator(".t2i-search input[type=file]").set_input_files([tmp_path / f"{seed}.png" for seed in range(3)])
    search.wait_for_function("document.querySelectorAll('.results li:not([hidden])').length === 3")
    first, second, third = result_names(search)
    search.locator(".results input").nth(1).check()
    on = "document.activeElement.closest('li')?.querySelector('img').alt ?? document.activeElement.textContent.trim()"
    for name, left, focused in ((second, [first, third], third), (third, [first], first), (first, [], "Add photos")):
        assert search.locator(".picture-name").inner_text() == name
        remove.press("Enter")
        assert result_names(search) == left and search.evaluate(on) == focused
    assert remove.is_hidden() and search.locator(".t2i-search .empty").is_visible()
    assert search.locator(".captions .text").first.is_hidden()
    search.get_by_label("Pictures drawn by the model").check()
    assert len(result_names(search)) == 20 and remove.is_hidden()


def test_the_ring_around_the_chosen_picture_does_not_cover_its_match(search):
    choice, meter = (search.locator(".results li").nth(2).locator(part) for part in ("input", ".meter"))

    def line() -> np.ndarray:
        box = meter.bounding_box()
        under = {"x": box["x"], "y": box["y"] + 3, "width": box["width"], "height": 3}
        return np.asarray(Image.open(io.BytesIO(search.screenshot(clip=under))).convert("RGB"), int)

    before = line()
    assert before.std() > 0  # a part of it is dark
    search.locator(".results label").nth(2).click()
    assert choice.is_checked() and np.abs(line() - before).max() < 8
    choice.press("ArrowLeft")
    search.keyboard.press("ArrowRight")
    assert choice.is_checked() and choice.evaluate("one => one.matches(':focus-visible')")
    assert np.abs(line() - before).max() < 8


def test_photos_wait_for_a_server_that_does_not_answer(search, tmp_path):
    Image.effect_noise((90, 70), 80).convert("RGB").save(tmp_path / "photo.png")
    route_calls(search, lambda route: route.abort())
    search.locator(".t2i-search input[type=file]").set_input_files(tmp_path / "photo.png")
    search.wait_for_function("document.querySelector('.photo-note').textContent.includes('busy or away')")
    search.unroute(SERVER_CALLS)
    search.wait_for_function("document.querySelector('.results img')?.alt === 'photo.png'")
    search.wait_for_function("document.querySelector('.photo-note').textContent === ''")


@pytest.mark.parametrize("captions", ["text", [], [5], [""], ["🌸"], [CAPTION] * 65, [[CAPTION]]])
def test_captions_that_cannot_be_ranked_are_refused_with_a_reason(url, captions):
    answer = ask(url, "embed_captions", {"captions": captions})
    assert set(answer) == {"error"} and " " in answer["error"]
