"""Back and forward of the browser, which go between tabs."""

from tests.screen import rest, settle


def wait_for_tab(page, name: str) -> None:
    page.get_by_role("tab", name=name, selected=True).wait_for()


def test_back_and_forward_go_between_tabs_and_keep_what_was_typed(new_page, url):
    page = new_page(f"{url}/?tab=draw&__theme=dark")
    settle(page)
    length = page.evaluate("history.length")
    page.get_by_role("tab", name="Blend").click()
    page.get_by_label("First sentence").fill("an oak")
    page.wait_for_function("location.search.includes('an+oak')")
    page.get_by_role("tab", name="Compare").click()
    page.wait_for_function("location.search.includes('tab=compare')")
    page.locator(".draw-sixteen").first.click()  # leads to Draw
    wait_for_tab(page, "Draw")
    page.wait_for_function("length => history.length === length", arg=length + 3)
    for name in ("Compare", "Blend", "Draw"):
        page.go_back()
        wait_for_tab(page, name)
    page.go_forward()
    wait_for_tab(page, "Blend")
    assert page.get_by_label("First sentence").input_value() == "an oak"
    assert "tab=blend" in page.url and "__theme=dark" in page.url
    assert page.evaluate("history.length") == length + 3


def test_back_after_a_reload_brings_what_was_on_the_screen(new_page, url):
    page = new_page(url)
    page.get_by_label("Your words").fill("an oak")
    page.wait_for_function("location.search.includes('tab=field') && location.search.includes('an+oak')")
    page.get_by_role("tab", name="Blend").click()
    page.get_by_label("First sentence").fill("a blue bird")
    page.wait_for_function("location.search.includes('a+blue+bird')")
    page.get_by_role("tab", name="About").click()
    page.wait_for_function("location.search.includes('tab=about')")
    page.reload()
    wait_for_tab(page, "About")
    for name, label, words in (("Blend", "First sentence", "a blue bird"), ("Field", "Your words", "an oak")):
        page.go_back()
        wait_for_tab(page, name)
        rest(page)
        assert page.get_by_label(label).input_value() == words


def test_back_closes_an_enlarged_picture(new_page, url):
    page = new_page(f"{url}/?tab=blend")
    page.locator(".t2i-blend").wait_for()
    page.get_by_role("tab", name="Draw").click()
    settle(page)
    page.wait_for_function("location.search.includes('tab=draw')")
    page.locator(".picture").first.click()
    page.keyboard.press("Alt+ArrowLeft")  # is the browser's, which here does not listen
    assert page.locator(".recipe").inner_text().startswith("Seed 1 ")
    page.go_back()
    wait_for_tab(page, "Blend")
    page.get_by_label("Four sentences").check()  # would wait for ever on an inert page


def test_back_leads_to_the_first_tab_which_has_no_name_in_the_address(new_page, url):
    page = new_page(url)
    first = page.get_by_role("tab").first
    first.click()  # it is open already
    page.evaluate("""() => {  // Compare not for long: no entry
      const open = (name) => [...document.querySelectorAll("[role=tab]")].find((tab) => tab.innerText === name).click();
      open("Compare");
      requestAnimationFrame(() => open("About"));
    }""")
    page.wait_for_function("location.search.includes('tab=about')")
    page.go_back()
    wait_for_tab(page, first.inner_text())
    assert page.url == f"{url}/"
