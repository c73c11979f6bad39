"""A server that stops while the page is used, and comes back."""

import pytest

from tests.screen import SERVER_CALLS, free_port, rest, route_calls, served, settle


def test_a_drag_continues_when_the_server_is_back(new_page, model):
    port = free_port()
    with served({"flowers": model}, port) as url:
        page = new_page(f"{url}/?tab=draw")
        settle(page)
        page.get_by_role("tab", name="Blend").click()
        page.wait_for_function("document.querySelector('.blended')?.src.startsWith('data:image/jpeg')")
        rest(page)
    way, note = page.get_by_label("Blend", exact=True), page.locator("#t2i-blend-note")
    last = page.locator(".blended").get_attribute("src")
    for _ in range(20):
        way.press("ArrowRight")
    page.wait_for_function("document.querySelector('#t2i-blend-note').textContent.includes('busy or away')")
    assert note.get_attribute("class") == "note error"
    assert page.locator(".blended").get_attribute("src") == last  # the last good picture stays
    with served({"flowers": model}, port):
        page.wait_for_function("document.querySelector('#t2i-blend-note').textContent === ''")
        page.wait_for_function("last => document.querySelector('.blended').src !== last", arg=last)
        assert way.input_value() == "0.35"  # the page has asked again by itself, for the present position


@pytest.mark.parametrize("tab, button", [("Draw", "PNG 256 px"), ("Blend", "GIF")])
def test_saving_repeatedly_while_the_server_is_away_makes_one_file(page, tab, button):
    page.get_by_role("tab", name=tab).click()
    rest(page)
    if button == "PNG 256 px":
        page.locator(".picture").first.click()
        rest(page)
    saving, files = page.get_by_role("button", name=button), []
    saving.focus()
    place, opacity = saving.bounding_box(), "button => Number(getComputedStyle(button).opacity)"
    assert saving.evaluate(opacity) == 1
    page.on("download", lambda download: files.append(download))
    route_calls(page, lambda route: route.abort())
    for _ in range(4):
        page.keyboard.press("Enter")
        page.wait_for_timeout(300)  # altogether longer than RETRY_DELAY
    page.locator(".note.error:visible", has_text="busy or away").last.wait_for()
    assert saving.is_disabled() and saving.evaluate(opacity) < 1 and saving.bounding_box() == place
    page.unroute(SERVER_CALLS)
    page.wait_for_function("button => !button.ariaDisabled", arg=saving.element_handle())
    page.wait_for_timeout(1500)  # long enough for others
    assert len(files) == 1 and saving.evaluate("button => button === document.activeElement")
    with page.expect_download():
        page.keyboard.press("Enter")
