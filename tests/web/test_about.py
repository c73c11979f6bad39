"""The tab "About" in a real browser: the drawn failures of a model, and its card, which may be a stranger's."""

import time

import numpy as np
import pytest

import t2i
from t2i import locate
from t2i.registry import MODELS
from t2i.web.tabs.about import read_card
from tests.screen import decode, free_port, hold_requests, rest, served

HOSTILE = """---
license: mit
---
# A stranger's card

<script>alert(1)</script><img src=x onerror=alert(2)> ![pixel](https://example.invalid/a.png) ![other][pixel]
[near](../../README.md) [script](javascript:alert(3)) [far](https://example.org/far) ${alert(4)} {{#each this}}

| a | table |
|---|---|
| `code <b>` | **bold** |

<!-- a mark for programs -->
[pixel]: https://example.invalid/b.png
"""


@pytest.fixture
def about(page, compared):
    """The page on its tab "About"; the model "paper-gan" has a stranger's card."""
    described = compared["paper-gan"] / "README.md"
    described.write_text(HOSTILE)
    page.get_by_role("tab", name="About").click()
    yield page
    described.unlink()


def test_the_failures_of_a_model_are_drawn_when_the_tab_is_opened(about, model):
    about.locator(".failures img:not([alt=''])").nth(3).wait_for()
    failures, studio = MODELS["flowers"].failures, t2i.load(model)
    assert about.locator(".failures li").count() == len(failures) >= 3
    for i, (caption, words) in enumerate(failures):
        item = about.locator(".failures li").nth(i)
        assert item.inner_text().split("\n")[-1].startswith(f"“{caption}”") and words in item.inner_text()
        pictures = [decode(source) for source in item.locator("img").evaluate_all("all => all.map(one => one.src)")]
        drawn = studio.draw_array(caption, [1, 2, 3, 4])
        assert (np.abs(np.stack(pictures).astype(int) - drawn).mean(axis=(1, 2, 3)) < 8).all()  # JPEGs of them


@pytest.fixture(scope="module")
def two_sizes(model_of_other_sizes, model_128):
    """The address of a page with models of two sizes; it outlives the pages, which are still fetching their parts."""
    with served({"flowers": model_128, "birds": model_of_other_sizes}, free_port()) as address:
        yield address


def test_the_figure_shows_the_networks_of_the_chosen_model(new_page, two_sizes, url):
    page = new_page(f"{two_sizes}/?tab=about")
    page.locator("svg .sides", has_text="4 → 8 → 16 → 32 → 64 → 128").wait_for()
    assert page.locator("svg .size").inner_html() == "128×128"
    assert page.locator("svg :is(.noise-size, .embedding-size)").all_text_contents() == ["1,024 numbers", "100 numbers"]
    assert page.locator("svg .everywhere").evaluate_all("all => all.every(part => part.getBoundingClientRect().width)")
    page.locator("#t2i-about-model").select_option("birds")
    page.locator("svg .sides", has_text="4 → 8 → 16 → 32").wait_for()
    assert page.locator("svg .size").inner_html() == "32×32"
    assert page.locator("svg :is(.noise-size, .embedding-size)").all_text_contents() == ["96 numbers", "40 numbers"]
    page.goto(f"{url}/?tab=about")
    page.locator("svg .size", has_text="64×64").wait_for()
    assert not page.locator("svg .everywhere").evaluate_all(
        "all => all.some(part => part.getBoundingClientRect().width)"
    )
    assert "Figure 2 of the paper, as it is built here." in page.locator("figcaption").inner_text()


def test_the_card_follows_the_model_and_a_strangers_card_is_made_safe(about):
    requests = []
    about.on("request", lambda request: requests.append(request.url))
    about.get_by_role("button", name="The model card").click()
    about.locator(".t2i-card", has_text="This model has no card here.").wait_for()
    about.locator("#t2i-about-model").select_option("paper-gan")
    about.locator(".t2i-card h1", has_text="A stranger's card").wait_for()
    assert "has not been written down" in about.locator(".failure-note").inner_text()
    assert about.locator(".failures li").count() == 0
    text = about.locator(".t2i-card").inner_text()
    assert "<script>alert(1)</script>" in text and "license: mit" not in text and "${alert(4)}" in text
    assert "a mark for programs" not in text and "Picture, not shown here: pixel" in text
    assert about.locator(".t2i-card :is(script, img, iframe, style, form)").count() == 0
    links = about.locator(".t2i-card a").evaluate_all("all => all.map(one => one.href)")
    assert "https://example.org/far" in links and all(link.startswith("https://") for link in links)
    assert about.locator(".t2i-card td").count() == 2
    assert not [url for url in requests if "example" in url]
    # The page fixture checks that there were no dialogs and errors.


def test_a_late_answer_does_not_change_the_note_on_the_next_model(page):
    held = hold_requests(page, "[1,2,3,4]")
    page.get_by_role("tab", name="About").click()
    page.wait_for_selector(".t2i-about[data-waiting]")
    page.locator("#t2i-about-model").select_option("paper-gan")
    note = page.locator(".failure-note")
    assert "has not been written down" in note.inner_text()
    held[0].continue_()
    rest(page)
    assert "has not been written down" in note.inner_text()


def test_our_own_cards_are_shown_without_pictures_and_marks():
    text = read_card(locate.resolve("flowers"))
    assert text.lstrip().startswith("# flowers") and "## Limits" in text
    assert "*Picture, not shown here: Eight captions of unseen classes by eight seeds*" in text
    for name in MODELS:
        text = read_card(locate.resolve(name))
        assert not [part for part in ("![", "](samples", "samples.", "<", "&lt;!--", "figures --") if part in text]


def test_a_long_card_is_cut_and_a_hostile_one_takes_no_time(tmp_path):
    start = time.process_time()
    for text in ("![](" * 100_000, "[" * 400_000, "![" * 200_000, "[]" * 200_000, "---\n" * 100_000, "<!--" * 100_000):
        (tmp_path / "README.md").write_text(text)
        assert len(read_card(tmp_path)) <= 400_000
    assert time.process_time() - start < 5  # seconds of computing, not of waiting
    (tmp_path / "README.md").write_bytes(b"\xff\xfe")
    assert read_card(tmp_path) == "This model has no card here."


def test_every_main_model_describes_its_failures():
    for spec in MODELS.values():
        assert spec.objective or (spec.failures and all(caption and words for caption, words in spec.failures))
