"""A server that goes away under the hand, and comes back."""

from tests.screen import free_port, rest, served, settle


def test_a_drag_outlives_its_server(new_page, model):
    port = free_port()
    with served(model, port) as url:
        page = new_page(url)
        settle(page)
        page.get_by_role("tab", name="Blend").click()
        page.wait_for_function("document.querySelector('.blended')?.src.startsWith('data:image/jpeg')")
        rest(page)
    way, note = page.get_by_label("Way", exact=True), page.locator("#t2i-blend-note")
    last = page.locator(".blended").get_attribute("src")
    for _ in range(20):
        way.press("ArrowRight")
    page.wait_for_function("document.querySelector('#t2i-blend-note').textContent.includes('busy or away')")
    assert note.get_attribute("class") == "note error"
    assert page.locator(".blended").get_attribute("src") == last  # the last good picture stays
    with served(model, port):
        page.wait_for_function("document.querySelector('#t2i-blend-note').textContent === ''")
        page.wait_for_function("last => document.querySelector('.blended').src !== last", arg=last)
        assert way.input_value() == "0.35"  # the page asked again by itself, from where the hand is
