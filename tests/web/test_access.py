"""The page for everybody: axe-core on every tab, dark, narrow, and with motion reduced."""

import re

import pytest
from axe_playwright_python.sync_playwright import Axe

from t2i.web.app import TABS
from tests.screen import hold_requests, settle

AXE_OPTIONS = {"resultTypes": ["violations"]}
# A theme changes nothing but colours.
OPTIONS_OF_THEMES = {"light": AXE_OPTIONS, "dark": AXE_OPTIONS | {"runOnly": ["color-contrast"]}}


def fill(page, name: str) -> None:
    """Open a tab and make it show all that it can."""
    page.get_by_role("tab", name=name).click()
    if name == "Draw":
        page.get_by_label("Favourite seed 3", exact=True).click()
        page.locator(".favourites .thumbnail").wait_for()
    if name == "Blend":
        page.get_by_label("Four sentences").check()
    if name == "Compare":
        page.locator(".objectives img[alt]:not([alt=''])").nth(3).wait_for()
        page.locator(".t2i-compare summary").click()
    if name == "About":
        page.locator(".failures img:not([alt=''])").nth(3).wait_for()
        page.get_by_role("button", name="The model card").click()
    if name == "Style":
        page.locator(".samples button").first.click()
        page.locator(".photo").wait_for()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_serious_on_any_tab(new_page, url, theme):
    page = new_page(f"{url}/?tab=draw&__theme={theme}")
    settle(page)
    for name in TABS:
        fill(page, name)
        violations = Axe().run(page, options=OPTIONS_OF_THEMES[theme]).response["violations"]
        serious = [violation for violation in violations if violation["impact"] in ("serious", "critical")]
        assert not [(violation["id"], violation["nodes"][0]["target"]) for violation in serious], name
    page.get_by_role("tab", name="Draw").click()
    page.locator(".picture").first.click()
    assert not [rule["id"] for rule in Axe().run(page, "dialog", OPTIONS_OF_THEMES[theme]).response["violations"]]


def test_axe_finds_a_missing_label(page):
    page.evaluate("() => document.querySelector('#t2i-draw-seed').labels[0].remove()")
    assert [rule["id"] for rule in Axe().run(page, ".t2i-draw", AXE_OPTIONS).response["violations"]] == ["label"]


def test_the_dark_theme_is_dark(new_page, url):
    def brightness(theme: str) -> tuple[float, float]:
        page = new_page(f"{url}/?tab=draw&__theme={theme}")
        settle(page)
        look = "getComputedStyle(document.querySelector('.gradio-container'))"
        colours = page.evaluate(f"[{look}.backgroundColor, {look}.color]")
        return tuple(sum(map(int, re.findall(r"\d+", colour)[:3])) / 3 for colour in colours)

    (paper, ink), (dark_paper, dark_ink) = brightness("light"), brightness("dark")
    assert paper > 230 > 60 > ink and dark_ink > 230 > 60 > dark_paper


@pytest.mark.parametrize("wish, moves", [("reduce", False), ("no-preference", True)])
def test_nothing_moves_if_motion_is_reduced(new_page, url, wish, moves):
    page = new_page(f"{url}/?tab=draw", reduced_motion=wish)
    settle(page)
    # Counted when they begin: they last 0.15 s only.
    page.evaluate("""() => {
      window.moved = 0;
      document.addEventListener("transitionrun", ({ target }) => (moved += target.closest(".t2i-tab") ? 1 : 0));
    }""")
    page.locator(".picture").first.hover()
    if moves:
        page.wait_for_function("moved > 0")
    else:
        page.wait_for_timeout(300)  # long enough for one to begin
        assert page.evaluate("moved") == 0


def test_a_bar_is_shown_if_an_answer_takes_over_a_second(page):
    bar = "getComputedStyle(document.querySelector('.t2i-draw'), '::before')"
    held = hold_requests(page, '"draw"')
    page.get_by_label("Seed", exact=True).fill("5")
    page.wait_for_selector(".t2i-draw[data-waiting]")
    assert page.evaluate(f"{bar}.animationDelay") == "1s"
    page.wait_for_function(f"{bar}.opacity === '1'")
    held[0].continue_()
    settle(page)
    assert page.locator(".t2i-draw[data-waiting]").count() == 0 and page.evaluate(f"{bar}.content") == "none"


def test_full_albums_and_a_long_link_fit_a_phone(new_page, url):
    page = new_page(f"{url}/?tab=draw&caption={'w' * 300}", viewport={"width": 360, "height": 740})
    settle(page)
    for seed in range(1, 13):
        page.get_by_label(f"Favourite seed {seed}", exact=True).click()
    page.evaluate("() => { navigator.clipboard.writeText = async () => { throw new Error('not allowed') } }")
    page.locator(".share:visible").click()
    page.get_by_label("Link", exact=True).wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") == 360
