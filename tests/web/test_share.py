"""Links that restore what is on the screen, in a real browser; hostile ones too."""

from urllib.parse import parse_qsl, quote, urlencode

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from t2i.web.app import TABS
from tests.screen import PICTURES_PER_PAGE, decode, link_of, note, pixels, rest, same, seeds, settle

CAPTION = "a blue bird, 100 % & more + café"
HOSTILE = "${alert(1)}<script>alert(2)</script><img src=x onerror=alert(3)>{{#each this}}`${alert(4)}`"
BLENDED = "document.querySelector('.blended')?.src.startsWith('data:image/jpeg')"


def query(url, *pairs) -> str:
    return f"{url}/?{urlencode(pairs)}"


def test_a_link_draws_the_same_pictures(page, new_page, url):
    page.get_by_label("Caption", exact=True).fill(CAPTION)
    page.get_by_label("Lock seed 3", exact=True).click()
    page.get_by_label("Seed", exact=True).fill("4711")
    for _ in range(7):
        page.get_by_label("Style 2", exact=True).press("ArrowLeft")
    page.locator(".picture").first.press("Shift+ArrowRight")
    before, numbers = pixels(page), page.locator(".number").all_inner_texts()
    assert numbers[2:4] == ["3", "4714 +"]
    new_tab = new_page(link_of(page))
    assert same(before, pixels(new_tab)).all() and new_tab.locator(".number").all_inner_texts() == numbers
    assert new_tab.get_by_label("Caption", exact=True).input_value() == CAPTION
    assert new_tab.get_by_label("Lock seed 3", exact=True).get_attribute("aria-pressed") == "true"
    assert link_of(new_tab) == link_of(page)


def kept(page, *parts: str) -> None:
    """Wait until the address contains these parts."""
    page.wait_for_function("parts => parts.every(part => location.search.includes(part))", arg=parts)


def test_a_reload_keeps_the_state(new_page, url):
    page = new_page(f"{url}/?__theme=dark")
    page.get_by_role("tab", name="Draw").click()
    settle(page)
    page.locator(".picture").first.focus()
    page.get_by_role("tab", name="Blend").click()
    page.wait_for_function(BLENDED)
    page.get_by_role("tab", name="Draw").click()
    page.wait_for_timeout(1500)
    assert page.url == f"{url}/?__theme=dark&tab=draw"  # nothing has been changed
    before = page.evaluate("history.length")
    page.get_by_label("Caption", exact=True).press_sequentially(" and blue", delay=10)
    page.locator("#t2i-draw-seed").fill("4711")
    page.locator(".picture").first.press("Shift+ArrowRight")
    settle(page)
    kept(page, "__theme=dark", "tab=draw", "and+blue", "seed=4711")
    page.get_by_label("Lock seed 4713", exact=True).click()  # sends no request
    kept(page, "lock=2")
    assert page.evaluate("history.length") == before and page.url.partition("&")[2] == link_of(page).partition("?")[2]
    drawn, numbers = pixels(page), page.locator(".number").all_inner_texts()
    caption = page.get_by_label("Caption", exact=True).input_value()
    page.get_by_label("Caption", exact=True).fill("")
    settle(page)
    page.wait_for_timeout(1500)
    page.reload()
    assert same(drawn, pixels(page)).all() and page.locator(".number").all_inner_texts() == numbers
    assert page.get_by_label("Caption", exact=True).input_value() == caption  # the last that could be drawn
    assert page.locator(".lock[aria-pressed=true]").count() == 1
    assert page.evaluate("getComputedStyle(document.querySelector('.gradio-container')).colorScheme") == "dark"
    page.goto("about:blank")
    page.go_back()
    assert same(drawn, pixels(page)).all()


def test_the_address_is_that_of_the_open_tab(page):
    page.get_by_label("Caption", exact=True).fill(CAPTION)
    kept(page, "tab=draw", "a+blue+bird")
    page.get_by_role("tab", name="Blend").click()
    page.get_by_label("First sentence").fill("an oak")
    kept(page, "tab=blend", "an+oak")
    page.reload()
    page.get_by_role("tab", name="Blend", selected=True).wait_for()
    assert page.get_by_label("First sentence").input_value() == "an oak"
    page.get_by_role("tab", name="Draw").click()
    kept(page, "tab=draw")


def test_the_address_is_written_seldom_and_never_too_long(page):
    page.evaluate("""() => {
      window.written = 0;
      const write = history.replaceState.bind(history);
      history.replaceState = (...all) => (window.written++, write(...all));
    }""")
    page.get_by_label("Caption", exact=True).press_sequentially("w" * 40, delay=20)
    page.get_by_role("tab", name="Blend").click()
    for number in ("First", "Second"):
        page.get_by_label(f"{number} sentence").fill("wé" * 2500)
    kept(page, "tab=blend", "%C3%A9")
    assert page.evaluate("written") <= 10 and page.evaluate("location.search.length") <= 6001


@pytest.mark.parametrize("count", [2, 4])
def test_a_link_opens_blend_where_it_was(page, new_page, count):
    page.get_by_role("tab", name="Blend").click()
    page.get_by_label({2: "Two sentences", 4: "Four sentences"}[count]).check()
    page.get_by_label("Second sentence").fill(CAPTION)
    page.locator("#t2i-blend-seed").fill("12")
    page.locator("#t2i-blend-across").press("PageUp")
    page.wait_for_function(BLENDED)
    rest(page)
    before = decode(page.locator(".blended").get_attribute("src")).astype(int)
    new_tab = new_page(link_of(page))
    new_tab.wait_for_function(BLENDED)
    rest(new_tab)
    after = decode(new_tab.locator(".blended").get_attribute("src"))
    assert np.abs(after - before).mean() < 1  # drawn in another batch
    assert new_tab.locator(".sentences li:visible").count() == count
    assert link_of(new_tab) == link_of(page)


def test_a_link_to_style_brings_its_captions(new_page, url):
    page = new_page(query(url, ("tab", "style"), ("caption", CAPTION), ("caption", ""), ("caption", "an oak")))
    boxes = page.locator(".t2i-style th textarea")
    boxes.first.wait_for()
    assert boxes.evaluate_all("boxes => boxes.map(box => box.value)") == [CAPTION, "", "an oak", "", "", ""]
    assert [value for name, value in parse_qsl(link_of(page).partition("?")[2]) if name == "caption"][0] == CAPTION


def test_a_link_keeps_the_order_by_match(page, new_page):
    before = pixels(page)
    page.get_by_role("button", name="Sort by match").click()
    page.wait_for_function("document.querySelector('.t2i-draw .live').textContent.startsWith('Sorted by match')")
    page.get_by_label("Lock seed 5", exact=True).click()
    sorted_pictures = pixels(page)
    assert not same(before, sorted_pictures).all()
    new_tab = new_page(link_of(page))
    assert same(sorted_pictures, pixels(new_tab)).all() and seeds(new_tab) == seeds(page)
    assert new_tab.get_by_label("Lock seed 5", exact=True).get_attribute("aria-pressed") == "true"


def test_a_link_to_search_brings_its_caption(new_page, url):
    page = new_page(query(url, ("tab", "search"), ("caption", CAPTION)))
    words = page.get_by_label("Search by description")
    words.wait_for()
    assert words.input_value() == CAPTION
    assert ("caption", CAPTION) in parse_qsl(link_of(page).partition("?")[2])


def described(page) -> list[str]:
    """What Search says of the chosen picture: its name, and its captions, the best first."""
    rest(page)
    page.locator(".captions .text").first.wait_for()
    return page.locator(".picture-name, .captions .text").all_inner_texts()


def test_a_link_to_search_brings_the_visitors_captions_and_choice(new_page, url):
    page = new_page(query(url, ("tab", "search"), ("caption", CAPTION)))
    page.locator(".results img").nth(3).wait_for()
    best = described(page)
    page.get_by_label("Your own captions").fill(f"an oak\n\n{HOSTILE}\na bird & more")
    page.locator(".results input").first.press("ArrowRight")
    page.locator(".results input").nth(1).and_(page.locator(":checked")).wait_for()
    new_tab = new_page(link_of(page))
    new_tab.locator(".results img").nth(3).wait_for()
    assert described(new_tab) == described(page) != best
    assert new_tab.locator(".results input").nth(1).is_checked()
    assert new_tab.get_by_label("Your own captions").input_value() == f"an oak\n{HOSTILE}\na bird & more"
    assert link_of(new_tab) == link_of(page) and page.locator(".t2i-search .link-note").inner_text() == ""


def test_the_share_button_says_what_a_link_leaves_out(new_page, url, tmp_path):
    page = new_page(query(url, ("tab", "search"), ("where", "own"), ("caption", CAPTION)))
    page.locator(".t2i-search .empty").wait_for()
    Image.effect_noise((90, 70), 90).convert("RGB").save(tmp_path / "photo.png")
    page.locator(".t2i-search input[type=file]").set_input_files(tmp_path / "photo.png")
    page.locator(".results img[alt='photo.png']").wait_for()
    new_tab = new_page(link_of(page))
    assert page.locator(".t2i-search .link-note").inner_text() == "Your photos stay here: the link brings the words."
    new_tab.locator(".t2i-search .empty").wait_for()
    assert new_tab.get_by_label("Your photos").is_checked() and new_tab.locator(".results li:visible").count() == 0
    page.get_by_label("Your own captions").fill("\n".join(f"{i} {'é' * 199}" for i in range(60)))
    assert len(link_of(page)) < len(url) + 20_002
    assert "more than a link holds" in page.locator(".t2i-search .link-note").inner_text()
    new_tab = new_page(link_of(page))
    captions = new_tab.get_by_label("Your own captions")
    captions.wait_for()
    assert captions.input_value().split("\n")[:10] == [f"{i} {'é' * 199}" for i in range(10)]


@pytest.mark.parametrize("choice", ["-1", "60", HOSTILE])  # the places are from 0 to 59
def test_an_invalid_choice_is_ignored(new_page, url, choice):
    pairs = [("chosen", choice), ("where", choice), *[("own", "red " * 30)] * 99]
    page = new_page(query(url, ("tab", "search"), ("caption", CAPTION), *pairs))
    page.locator(".results img").nth(3).wait_for()
    rest(page)
    assert (
        page.locator(".results input").first.is_checked()
        and page.get_by_label("Pictures drawn by the model").is_checked()
    )
    assert "drawn by the model" in page.locator(".picture-name").inner_text()


def test_a_link_to_about_opens_it_with_the_model(page, new_page):
    page.get_by_role("tab", name="About").click()
    page.locator("#t2i-about-model").select_option("paper-gan")
    link = link_of(page)
    new_tab = new_page(link)
    new_tab.get_by_role("tab", name="About", selected=True).wait_for()
    missing = "What Flowers, the paper's GAN fails on has not been written down."
    new_tab.locator(".t2i-about .note", has_text=missing).wait_for()
    assert new_tab.locator("#t2i-about-model").input_value() == "paper-gan" and link_of(new_tab) == link
    assert parse_qsl(link.partition("?")[2]) == [("tab", "about"), ("model", "paper-gan")]


def test_without_a_clipboard_the_link_is_shown(page):
    page.evaluate("() => { navigator.clipboard.writeText = async () => { throw new Error('not allowed') } }")
    page.locator(".share:visible").click()
    link = page.get_by_label("Link", exact=True)
    assert link.input_value().startswith(page.url.partition("?")[0] + "?tab=draw&model=flowers&caption=")
    assert page.evaluate("document.activeElement.selectionEnd") == len(link.input_value())


@pytest.mark.parametrize("tab", ["draw", "blend", "style", "compare", "search"])
def test_hostile_links_execute_nothing(new_page, url, tab):
    names = ("model", "caption", "caption", "caption", "seed", "lock", "tile", "attributes", "at", "like", HOSTILE)
    page = new_page(query(url, ("tab", tab), *((name, HOSTILE) for name in names)))
    amiss = page.locator(".link-error:visible", has_text="model is not here. This is Flowers.")
    amiss.wait_for()
    assert amiss.bounding_box()["y"] < 200  # visible without scrolling
    rest(page)
    assert page.locator("textarea:visible").first.input_value() == HOSTILE
    assert page.locator(".t2i-tab script, .t2i-style script, .t2i-compare script, img[src=x]").count() == 0
    # The page fixture checks that there were no dialogs and errors.


def test_an_invalid_style_in_a_link_is_ignored(page, url):
    plain = pixels(page)
    caption = page.get_by_label("Caption", exact=True).input_value()
    for like in (HOSTILE, "A" * 133, "A" * 135, "=" * 134, "é" * 134, "A" * 133 + "\n"):
        page.goto(query(url, ("tab", "draw"), ("model", "flowers"), ("caption", caption), ("like", like)))
        assert same(plain, pixels(page)).all() and note(page) == "" and page.locator(".photo-style").is_hidden(), like


def test_a_link_sets_the_sliders(new_page, url):
    page = new_page(query(url, ("tab", "draw"), ("caption", CAPTION), ("attributes", "0.5,-0.25")))
    settle(page)
    sliders = page.locator(".attributes input").evaluate_all("all => all.map(slider => slider.value)")
    assert sliders[:3] == ["0.5", "-0.25", "0"]
    assert "attributes=0.5%2C-0.25%2C0" in link_of(page)


@pytest.mark.parametrize("number", ["NaN", "-Infinity", "9" * 400])
def test_every_number_of_a_link_is_clamped(new_page, url, number):
    many = ",".join([number, "1e308", "length", ""] * 20)
    tiles = [("tile", tile) for tile in (f"{number},{number}", f"2,{number}", "length,5", many)]
    pairs = [("seed", number), ("attributes", many), ("at", many), ("lock", number), *tiles]
    page = new_page(query(url, ("tab", "draw"), ("caption", "a red flower"), *pairs))
    assert len(pixels(page)) == PICTURES_PER_PAGE and note(page) == ""
    assert all(0 <= seed <= 999_999 for seed in seeds(page)) and len(seeds(page)) == PICTURES_PER_PAGE
    assert page.locator(".attributes input").evaluate_all("all => all.every(s => Math.abs(s.value) <= 1)")
    page = new_page(query(url, ("tab", "blend"), ("seed", number), ("at", many)))
    page.wait_for_function(BLENDED)


def test_links_of_any_length_and_kind_are_read(new_page, url):
    long = new_page(f"{url}/?tab=draw&seed=5&caption={'red%20' * 5000}")
    assert np.ptp(pixels(long)) > 0 and "201" in note(long) and seeds(long)[0] == 5
    crowd = new_page(f"{url}/?tab=draw&seed=8&caption=red{'&lock=1&tile=1,2' * 10_000}"[:60_000])
    assert len(pixels(crowd)) == PICTURES_PER_PAGE and seeds(crowd)[:3] == [8, 2, 10]
    for tail in ("tab=nowhere", "%", quote("tab=draw&seed=3")):
        odd = new_page(f"{url}/?{tail}")
        odd.locator(".t2i-field canvas").wait_for()
        odd.get_by_role("tab", name="Draw").click()
        assert len(pixels(odd)) == PICTURES_PER_PAGE and seeds(odd)[0] == 1


names = st.sampled_from(
    ["model", "caption", "seed", "lock", "tile", "attributes", "style", "at", "like", "own", "where", "chosen"]
)
numbers = st.one_of(st.integers(), st.floats(), st.integers(0, 16))
values = st.one_of(
    st.text(),
    st.lists(numbers, max_size=20).map(lambda some: ",".join(map(str, some))),
    st.sampled_from([HOSTILE, "flowers", "paper-gan", "true", "length", "__proto__", "4", "A" * 134, "red " * 300]),
)
pairs = st.lists(st.tuples(st.one_of(names, names, st.text(max_size=9)), values), max_size=20)
queries = st.one_of(pairs.map(urlencode), st.text(st.characters(exclude_categories=["Cs", "Cc"])))


@settings(max_examples=settings.default.max_examples // 10)
@given(tab=st.sampled_from(list(TABS)), query=queries)
def test_any_link_opens_its_tab(page, url, tab, query):
    """Any link opens its tab, with sixteen pictures, numbers in range and none of its markup."""
    page.goto(f"{url}/?tab={tab.lower()}&{query}")
    page.get_by_role("tab", name=tab, selected=True).wait_for()
    rest(page)
    page.get_by_role("tab", name="Draw").click()
    assert all(0 <= seed <= 999_999 for seed in seeds(page)) and len(pixels(page)) == PICTURES_PER_PAGE
    sliders = "all => all.every(one => +one.min <= +one.value && +one.value <= +one.max)"
    assert page.locator("input[type=range]").evaluate_all(sliders)
    assert page.locator(".gradio-container script, img[src=x]").count() == 0
