"""The page rendered on the server by Node (Gradio's `ssr_mode`), as on a Space; Node passes requests on to Python."""

import urllib.error
import urllib.request

import pytest
from gradio.utils import get_node_path

from t2i.web.app import TABS
from tests.screen import free_port, pixels, same, served, settle

CAPTION = "${alert(1)}<img src=x onerror=alert(2)> a blue bird"


@pytest.fixture(scope="module")
def rendered(model, compared):
    """The address of the page, rendered by Node."""
    node = get_node_path()
    if not node:
        pytest.skip("there is no Node here, which renders the page")
    with served({"flowers": model, **compared}, free_port(), GRADIO_SSR_MODE="True") as url:
        if "x-sveltekit-page" not in urllib.request.urlopen(url).headers:
            pytest.skip(f"Gradio cannot render with this Node: {node}")
        yield url


def test_a_server_rendered_page_draws_the_same_pictures(new_page, rendered, page):
    other, requests = new_page("about:blank"), []
    other.on("request", lambda request: requests.append(request.url))
    other.goto(rendered)
    settle(other)
    assert same(pixels(page), pixels(other)).all()
    first = pixels(other)
    other.get_by_label("Caption", exact=True).fill("a blue bird")
    assert not same(first, pixels(other)).any()
    for name in TABS:
        other.get_by_role("tab", name=name).click()
        other.locator(f".t2i-{name.lower()}").wait_for()
    assert all(url.startswith((rendered, "data:")) for url in requests)


@pytest.mark.parametrize("tab", ["draw", "compare"])
def test_a_server_rendered_page_reads_a_link_as_text(new_page, rendered, tab):
    page = new_page(f"{rendered}/?tab={tab}&seed=5&caption=" + urllib.request.quote(CAPTION))
    settle(page)
    box = page.locator("textarea:visible").first
    box.wait_for()
    assert box.input_value() == CAPTION and page.locator("img[src=x]").count() == 0
    # The page fixture checks that there were no dialogs and errors.


def test_the_request_limits_apply_behind_node(rendered):
    for route in ("/gradio_api/file=/etc/passwd", "/gradio_api/run-history"):
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(rendered + route)
        assert refused.value.code == 404
