"""The tab "Compare" in a real browser, and the service behind it, on tiny models of the four objectives."""

import json
import shutil
from dataclasses import replace
from urllib.parse import parse_qsl

import gradio_client
import numpy as np
import pytest

import t2i
from t2i import locate
from t2i.locate import Checkpoint
from t2i.models import TextEncoder
from t2i.registry import MODELS, OBJECTIVES
from t2i.web import LAUNCH_LOOK, create_demo
from t2i.web.service import Service
from t2i.web.tabs.compare import COMPARED_METRICS, HINGE_LOSSES, figure_rows, read_figures
from tests.screen import (
    SERVER_CALLS,
    ask,
    decode,
    free_port,
    hold_requests,
    pixels,
    rest,
    route_calls,
    save,
    seeds,
    served,
    settle,
)
from tests.web.test_share import link_of, query

CAPTION = "a flower with pink petals"
NAMES = [f"paper-{objective}" for objective in OBJECTIVES]
COMPARED = [*NAMES, "flowers"]
SAID = "words => document.querySelector('.t2i-compare .live')?.textContent === words"


@pytest.fixture
def local_models(model, compared, use_models):
    """The tiny models, in this process too."""
    models = {"flowers": model, **compared}
    use_models(models)
    return models


@pytest.fixture
def compare(page):
    page.get_by_role("tab", name="Compare").click()
    page.locator(".objectives img[alt]:not([alt=''])").nth(4).wait_for()
    return page


def columns(page) -> np.ndarray:
    """The pictures on the page, (5 models, 5 seeds, 64, 64, 3)."""
    rest(page)
    lists = page.locator(".objectives li").evaluate_all(
        "items => items.map(item => [...item.querySelectorAll('img')].map(image => image.src))"
    )
    return np.stack([[decode(source) for source in sources] for sources in lists]).astype(int)


def distance(one, other) -> np.ndarray:
    """The mean difference of each two pictures, in levels of 255."""
    return np.abs(one - other).mean(axis=(-1, -2, -3))


def type_in(page, words: str, seed: int) -> None:
    page.locator("#t2i-compare-caption").fill(words)
    page.wait_for_function(SAID, arg=f"Seed {seed} by 5 models: {words}")


def test_each_column_is_drawn_by_its_model_while_typing(compare, local_models):
    type_in(compare, "a blue bird", 1)
    first = columns(compare)
    expected = [t2i.load(name).draw_array("a blue bird", range(1, 6)) for name in COMPARED]
    assert (distance(first, np.stack(expected).astype(int)) < 8).all()  # JPEGs of them
    assert all((distance(first[i], first[j]) > 8).all() for i in range(5) for j in range(i))
    assert compare.locator(".objectives h2").all_inner_texts() == [*map(str.upper, OBJECTIVES), "Flowers"]
    assert compare.locator(".objectives li > img").evaluate_all("all => all.map(i => i.alt)") == ["a blue bird"] * 5
    type_in(compare, CAPTION, 1)
    assert (distance(columns(compare), first) > 1).all()


def test_a_seed_is_typed_shuffled_or_chosen_by_its_picture(compare):
    type_in(compare, CAPTION, 1)
    first, box = columns(compare), compare.locator("#t2i-compare-seed")
    compare.get_by_label("GAN-CLS, go to seed 3", exact=True).press("Enter")
    compare.wait_for_function(SAID, arg=f"Seed 3 by 5 models: {CAPTION}")
    assert box.input_value() == "3" and (distance(columns(compare)[:, :3], first[:, 2:]) < 1).all()
    box.fill("1")
    compare.wait_for_function(SAID, arg=f"Seed 1 by 5 models: {CAPTION}")
    assert (distance(columns(compare), first) < 1).all()
    compare.locator(".shuffle:visible").click()
    compare.wait_for_function("!document.querySelector('.t2i-compare .live').textContent.startsWith('Seed 1 by')")
    assert (distance(columns(compare), first) > 1).any()
    box.fill("99999999")
    compare.wait_for_function(SAID, arg=f"Seed 999994 by 5 models: {CAPTION}")  # the last of its five seeds is 999998


def test_a_caption_that_cannot_be_read_shows_an_error_and_keeps_the_pictures(compare):
    type_in(compare, CAPTION, 1)
    before, box = columns(compare), compare.locator("#t2i-compare-caption")
    box.fill("🌸")
    compare.locator("#t2i-compare-note.error").wait_for()
    assert box.get_attribute("aria-invalid") == "true" and (columns(compare) == before).all()
    type_in(compare, "a blue bird", 1)
    assert compare.locator("#t2i-compare-note").inner_text() == "" and box.get_attribute("aria-invalid") == "false"


def test_draw_opens_with_the_model_of_a_column(compare):
    type_in(compare, CAPTION, 1)
    compare.get_by_label("Draw sixteen with GAN-INT", exact=True).click()
    compare.locator(".t2i-draw .status", has_text="Flowers, the paper's GAN-INT ·").wait_for()
    assert compare.locator("#t2i-draw-model").input_value() == "paper-gan-int"
    assert compare.get_by_label("Caption", exact=True).input_value() == CAPTION


def test_draw_shows_the_same_pictures_and_gets_the_focus(compare):
    draw, button = compare.get_by_role("tab", name="Draw"), compare.get_by_label("Draw sixteen with GAN", exact=True)
    draw.click()
    compare.locator("#t2i-draw-model").select_option("paper-gan")
    compare.locator("#t2i-draw-attribute-1").press("End")  # Compare does not use it
    settle(compare)
    compare.get_by_role("tab", name="Compare").click()
    type_in(compare, CAPTION, 1)
    compare.locator("#t2i-compare-seed").fill("40")
    compare.wait_for_function(SAID, arg=f"Seed 40 by 5 models: {CAPTION}")
    five = columns(compare)[0]
    button.press("Enter")
    compare.locator(".grid:visible").wait_for()
    sixteen = pixels(compare)
    assert (distance(sixteen[:5], five) < 2).all() and seeds(compare) == [*range(40, 56)]
    assert compare.evaluate("document.activeElement.textContent.trim()") == "Draw"


def test_compare_and_search_begin_with_the_caption_of_draw_and_then_keep_their_own(page):
    caption, seed = page.get_by_label("Caption", exact=True), page.get_by_label("Seed", exact=True)
    caption.fill("a blue bird")
    seed.fill("40")
    page.get_by_role("tab", name="Compare").click()
    page.wait_for_function(SAID, arg="Seed 40 by 5 models: a blue bird")
    page.get_by_role("tab", name="Search").click()
    words = page.get_by_label("Search by description")
    assert words.input_value() == "a blue bird"
    page.get_by_role("tab", name="Draw").click()
    caption.fill("a red bird")
    for name, box in (("Search", words), ("Compare", page.locator("#t2i-compare-caption"))):
        page.get_by_role("tab", name=name).click()
        rest(page)
        assert box.input_value() == "a blue bird"


def test_blend_begins_with_the_caption_of_draw_and_every_tab_with_its_model(page):
    page.get_by_label("Caption", exact=True).fill("a blue bird")
    page.get_by_label("Seed", exact=True).fill("40")
    page.locator("#t2i-draw-model").select_option("paper-gan-cls")
    settle(page)
    page.get_by_role("tab", name="Blend").click()
    assert page.get_by_label("First sentence").input_value() == "a blue bird"
    assert page.get_by_label("Second sentence").input_value() == MODELS["flowers"].examples[0]
    assert page.locator("#t2i-blend-seed").input_value() == "40"
    for name in ("blend", "style", "search", "about"):
        page.get_by_role("tab", name=name.title()).click()
        assert page.locator(f"#t2i-{name}-model").input_value() == "paper-gan-cls"


def test_compare_begins_with_its_own_example_if_draw_has_another_models_or_none(new_page, url):
    for words in (MODELS["birds"].examples[0], " "):
        page = new_page(f"{url}/?tab=draw")
        settle(page)
        page.get_by_label("Caption", exact=True).fill(words)
        page.get_by_label("Seed", exact=True).fill("40")
        page.get_by_role("tab", name="Compare").click()
        page.wait_for_function(SAID, arg=f"Seed 1 by 5 models: {MODELS['flowers'].examples[0]}")


@pytest.fixture(scope="module")
def two_groups(model, compared, tmp_path_factory):
    """The address of a page whose own networks come with the four objectives, too: the paper's in reverse order."""
    own = {}
    for objective, name in zip(OBJECTIVES, reversed(NAMES), strict=True):
        folder = shutil.copytree(compared[name], tmp_path_factory.mktemp("own") / objective)
        description = {"title": f"Own {objective}", "objective": objective, "subject": "flowers", "order": 4}
        (folder / "model.json").write_text(json.dumps(description | {"examples": ["a flower"]}))
        own[f"flowers-{objective}"] = folder
    with served({"flowers": model, **compared, **own}, free_port()) as address:
        yield address


def test_the_objectives_are_compared_by_either_networks(new_page, two_groups):
    page = new_page(f"{two_groups}/?tab=compare&caption=a+flower")
    page.wait_for_function(SAID, arg="Seed 1 by 5 models: a flower")
    own, words = columns(page), page.locator(".objectives .words")
    tell_hinge = f"all => all.map(words => words.title.includes({json.dumps(HINGE_LOSSES)}))"
    assert words.evaluate_all(tell_hinge) == [True] * 4 + [False]
    page.get_by_label("The paper’s networks").check()
    page.locator(".objectives img[alt='a flower']").nth(4).wait_for()
    papers = columns(page)
    assert words.evaluate_all(tell_hinge) == [False] * 5
    assert (distance(papers, own[[3, 2, 1, 0, 4]]) < 2).all() and (distance(papers, own)[0] > 8).all()
    assert page.locator(".figures tbody th").all_text_contents() == ["GAN-CLS"]
    link = link_of(page)
    assert ("networks", "paper") in parse_qsl(link.partition("?")[2])
    other = new_page(link)
    other.wait_for_function(SAID, arg="Seed 1 by 5 models: a flower")
    assert (distance(columns(other), papers) < 2).all()
    page.get_by_label("This page’s networks").check()
    rest(page)
    assert "networks" not in link_of(page) and (distance(columns(page), own) < 2).all()
    page.get_by_role("tab", name="Draw").click()
    menu = page.locator("#t2i-draw-model optgroup")
    assert menu.evaluate_all("all => all.map(one => [one.label, one.children.length])") == [
        ["For comparison", 4],
        ["The paper's networks", 5],
    ]


def test_draw_sixteen_needs_a_caption(compare):
    button = compare.get_by_label("Draw sixteen with GAN", exact=True)
    compare.locator("#t2i-compare-caption").fill("  ")
    assert button.is_disabled()
    type_in(compare, CAPTION, 1)
    assert button.is_enabled()


def test_a_link_opens_compare_where_it_was(compare, new_page):
    compare.locator("#t2i-compare-seed").fill("12")
    compare.locator("#t2i-compare-caption").fill("a blue bird, 100 % & more")
    compare.wait_for_function(SAID, arg="Seed 12 by 5 models: a blue bird, 100 % & more")
    other = new_page(link_of(compare))
    other.wait_for_function(SAID, arg="Seed 12 by 5 models: a blue bird, 100 % & more")
    assert (distance(columns(compare), columns(other)) < 1).all()  # drawn in another batch
    assert link_of(other) == link_of(compare)


@pytest.mark.parametrize("number", ["NaN", "-Infinity", "9" * 400])
def test_the_seed_of_a_link_is_clamped(new_page, url, number):
    page = new_page(query(url, ("tab", "compare"), ("seed", number), ("caption", CAPTION)))
    page.wait_for_function("document.querySelector('.t2i-compare .live')?.textContent.startsWith('Seed ')")
    assert 0 <= int(page.locator("#t2i-compare-seed").input_value()) <= 999_999


def test_figures_are_shown_and_explained_below_their_model(browser, local_models, use_models):
    use_models(local_models | {"flowers-paper": None, "paper-gan": None})
    demo = create_demo()
    demo.launch(server_name="127.0.0.1", prevent_thread_lock=True, quiet=True, **LAUNCH_LOOK)
    page = browser.new_page()
    try:
        page.goto(f"{demo.local_url}?tab=compare&model=paper-gan&caption=a+red+flower")
        page.wait_for_function(SAID, arg="Seed 1 by 4 models: a red flower")
        figures = page.locator(".figures")
        assert not figures.is_visible()
        page.locator("summary").click()
        heads = figures.locator("thead th").all_text_contents()
        assert heads[:2] == ["Distance from photos\u00a0↓, lower is better", "Caption found\u00a0↑, higher is better"]
        # And with one model nothing is the best.
        assert figures.locator("tbody tr").all_text_contents() == ["GAN-CLS6214%"]
        assert page.locator(".meanings dt").count() == 4
        assert "0 at best" in page.locator(".meanings dd").first.inner_text()
        page.set_viewport_size({"width": 390, "height": 844})  # the names in one line, and all figures in sight
        assert figures.locator("tbody th").bounding_box()["height"] < 40
        assert figures.evaluate("figures => figures.scrollWidth <= figures.clientWidth")
        page.set_viewport_size({"width": 1280, "height": 720})
        # One of the four is missing: its column says so, the others are drawn, and it is not in the menu.
        assert "weights/paper-gan, are not here" in page.locator(".objectives li").first.inner_text()
        assert page.locator(".objectives li").first.locator("img, button").count() == 0
        assert "model is not here. This is Flowers." in page.locator(".link-error:visible").inner_text()
        page.get_by_role("tab", name="Draw").click()
        grouped = page.locator("#t2i-draw-model optgroup option")
        assert grouped.evaluate_all("all => all.map(one => one.value)") == NAMES[1:]
    finally:
        page.close()
        demo.close()


def test_the_best_figure_is_marked_for_eye_and_ear(browser, local_models, tmp_path, use_models):
    models = {"flowers": local_models["flowers"]}
    kids, precisions = (0.17, 0.2, 0.1699, 0.3), (0.05, 0.09, 0.08, 0.07)
    for objective, kid, precision in zip(OBJECTIVES, kids, precisions, strict=True):
        measured = {"fidelity": {"pictures": {"kid": kid}}, "agreement": {"pictures": {"r_precision": precision}}}
        folder = shutil.copytree(locate.resolve(f"paper-{objective}"), tmp_path / objective)
        (folder / "evaluation.json").write_text(json.dumps(measured | {"style": {"background": {"roc": 0.5}}}))
        models[f"paper-{objective}"] = folder
    use_models(models)
    demo = create_demo()
    demo.launch(server_name="127.0.0.1", prevent_thread_lock=True, quiet=True, **LAUNCH_LOOK)
    page = browser.new_page()
    try:
        page.goto(f"{demo.local_url}?tab=compare")
        page.locator(".figures tbody tr").nth(3).wait_for(state="attached")
        rows = page.locator(".figures tbody tr").all()
        marked = [row.locator("td:has(b)").all_text_contents() for row in rows]
        assert marked == [["170, the best"], ["9%, the best"], ["170, the best"], []]  # equals are equally good
        bold, plain = (
            page.locator(".figures tbody td")
            .nth(i)
            .evaluate("cell => getComputedStyle(cell.firstElementChild ?? cell).fontWeight")
            for i in (0, 1)
        )
        assert int(bold) >= 600 > int(plain)
    finally:
        page.close()
        demo.close()


def test_a_metric_without_a_better_direction_has_no_best_figure(monkeypatch):
    metrics = [
        replace(COMPARED_METRICS[0], compare_label="A", better=""),
        replace(COMPARED_METRICS[0], compare_label="B", better="lower"),
    ]
    monkeypatch.setattr("t2i.web.tabs.compare.COMPARED_METRICS", metrics)
    rows = figure_rows([{"A": 0.1, "B": 0.2}, {"A": 0.2}, {"A": 0.3, "B": 0.1}])
    assert [[one["best"] for one in row] for row in rows] == [[False, False], [False], [False, True]]


def test_the_status_says_that_models_are_being_loaded(page):
    held = hold_requests(page, '"compare"')
    page.get_by_role("tab", name="Compare").click()
    status = page.locator(".t2i-compare .status")
    page.wait_for_function("document.querySelector('.t2i-compare .status')?.textContent === 'Loading five models …'")
    page.wait_for_function(SAID, arg="Loading five models …")
    held[0].continue_()
    page.unroute(SERVER_CALLS)
    page.wait_for_function("document.querySelector('.t2i-compare .status').textContent.endsWith('ms per picture')")
    page.locator("#t2i-compare-caption").fill("🌸")
    page.locator("#t2i-compare-note.error").wait_for()
    assert status.inner_text().endswith("ms per picture")


def test_without_any_of_the_four_models_the_pages_own_draws_alone(browser, model, use_models):
    use_models({"flowers": model} | dict.fromkeys(["flowers-paper", *NAMES]))
    demo = create_demo()
    demo.launch(server_name="127.0.0.1", prevent_thread_lock=True, quiet=True, **LAUNCH_LOOK)
    page = browser.new_page()
    try:
        page.goto(f"{demo.local_url}?tab=compare")
        page.locator(".objectives .empty").nth(3).wait_for()
        rest(page)
        requests = []
        page.on("request", lambda request: requests.append(request.post_data))
        page.locator("#t2i-compare-caption").fill("a red flower")
        page.wait_for_function(SAID, arg="Seed 1 by 1 models: a red flower")
        assert all('"models":["flowers"]' in data for data in requests if "compare" in data)
        page.set_viewport_size({"width": 390, "height": 844})  # the best model comes first, above the four
        flagship, first = (page.locator(f".objectives li{which}").first for which in (".flagship", ""))
        assert flagship.bounding_box()["y"] < first.bounding_box()["y"]
        assert flagship.bounding_box()["width"] > 2 * first.bounding_box()["width"]
        page.get_by_role("tab", name="Draw").click()
        assert page.locator("#t2i-draw-model optgroup").count() == 0
    finally:
        page.close()
        demo.close()


def test_a_caption_is_embedded_once_for_all_that_share_a_text_encoder(local_models, monkeypatch):
    service, embedded = Service("flowers"), []
    forward = TextEncoder.forward
    monkeypatch.setattr(TextEncoder, "forward", lambda self, x, *how: embedded.append(len(x)) or forward(self, x, *how))
    answer = service.compare({"caption": CAPTION, "seeds": [7]}, kind="PNG")
    assert embedded == [1]
    for row, name in zip(answer["compared"], NAMES, strict=True):
        drawn = t2i.load(name).draw_array(CAPTION, 7)[0]
        assert np.abs(decode(row["pictures"][0]).astype(int) - drawn).max() <= 1


def test_models_of_other_text_encoders_embed_for_themselves(local_models, use_models, tmp_path, tiny_networks):
    other = locate.resolve("paper-gan")
    encoder = TextEncoder(tiny_networks["text_encoder"].config).eval()
    folder = tmp_path / "own"
    networks = {"text_encoder": encoder, **Checkpoint(other).read("generator")}
    use_models(local_models | {"paper-gan": save(networks, folder)})
    answer = Service("flowers").compare({"caption": CAPTION, "seeds": [7], "models": ["flowers", "paper-gan"]}, "PNG")
    drawn = t2i.load(folder).draw_array(CAPTION, 7)[0]
    assert np.abs(decode(answer["compared"][1]["pictures"][0]).astype(int) - drawn).max() <= 1


def test_a_hint_holds_for_all_the_compared_models(tiny_networks, tmp_path, use_models):
    models = {}
    for name, words in (("flowers", "a flower fell"), ("birds", "a market bird"), ("scenes", "")):
        learned = {"words": words} if words else {}
        models[name] = save(tiny_networks, tmp_path / name, **learned)
    use_models(models)

    def hint(*models: str) -> str:
        return Service("flowers").compare({"caption": "the stock market fell", "models": models})["hint"]

    assert hint("flowers") == "This model knows flowers. It has hardly met “the”, “stock”, “market”."
    assert hint("flowers", "birds") == "These models know flowers and birds. They have hardly met “the”, “stock”."
    assert hint("birds", "birds") == "These models know birds. They have hardly met “the”, “stock”, “fell”."
    assert hint("flowers", "scenes") == ""  # the vocabulary of "scenes" is not recorded
    for models, other in ((["flowers"], "birds"), (["flowers", "flowers"], "birds"), (["flowers", "birds"], "")):
        assert Service("flowers").compare({"caption": "a market bird", "models": models})["elsewhere"] == other


def test_a_caption_of_another_models_subject_is_offered_to_that_model_in_draw(compare):
    def answer_with_offer(route):
        answer = route.fetch().json()
        offer = {"hint": "These models know flowers.", "elsewhere": "birds"} if "compared" in answer else {}
        route.fulfill(json=answer | offer)

    route_calls(compare, answer_with_offer)
    offer = compare.get_by_role("button", name="Draw this with Birds →")
    assert not offer.is_visible()
    compare.locator("#t2i-compare-caption").fill("a blue bird with wings")
    offer.press("Enter")
    compare.locator(".grid:visible").wait_for()
    assert compare.locator("#t2i-draw-model").input_value() == "birds"
    assert compare.get_by_label("Caption", exact=True).input_value() == "a blue bird with wings"
    assert compare.evaluate("document.activeElement.textContent.trim()") == "Draw"


@pytest.mark.parametrize("models", [[], "flowers", ["roses"], [None], [["flowers"]], {"flowers": 1}])
def test_models_that_cannot_be_compared_are_refused_with_a_reason(url, models):
    answer = ask(url, "compare", {"caption": CAPTION, "models": models})
    assert set(answer) == {"error"} and " " in answer["error"]


def test_at_most_five_models_draw_at_once(url):
    answer = ask(url, "compare", {"caption": CAPTION, "seeds": [7], "models": ["flowers"] * 9})
    assert [row["model"] for row in answer["compared"]] == ["Flowers"] * 5


def test_the_event_compare_returns_the_studios_pictures(url, local_models):
    client = gradio_client.Client(url, verbose=False)
    answer = client.predict(CAPTION, [7, 8], api_name="/compare")
    assert [row["model"] for row in answer["compared"]] == [MODELS[name].title for name in NAMES]
    for row, name in zip(answer["compared"], NAMES, strict=True):
        for data, wanted in zip(row["pictures"], t2i.load(name).draw_array(CAPTION, [7, 8]), strict=True):
            assert np.abs(decode(data).astype(int) - wanted).max() <= 1


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[1]",
        "{",
        "[" * 100_000,
        '{"fidelity": 3, "agreement": {"pictures": [1]}, "style": null}',
        '{"fidelity": {"pictures": {"kid": "<b>"}}, "style": {"background": {"roc": true}}}',
        '{"fidelity": {"pictures": {"kid": NaN}}, "style": {"background": {"roc": Infinity}}}',
        '{"fidelity": {"pictures": {"kid": 1' + "0" * 400 + "}}}",
    ],
)
def test_invalid_figures_are_left_out(tmp_path, text):
    (tmp_path / "evaluation.json").write_text(text)
    assert read_figures(tmp_path) == {}
