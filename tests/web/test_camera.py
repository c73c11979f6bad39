"""The camera as a live style, in the full Chromium: its headless shell has no camera."""

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe

from tests.screen import chromium, decode, photo_of, rest, wait_for_photo, wait_for_sample


@pytest.fixture(scope="module")
def browser():
    with chromium("--use-fake-device-for-media-stream") as browser:  # a generated video
        yield browser


# Keeps the streams that the page gets from the camera, to check whether they are stopped.
KEEP_STREAMS = """() => {
  window.tracks = [];
  const lend = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
  navigator.mediaDevices.getUserMedia = async (wish) => {
    const stream = await lend(wish);
    tracks.push(...stream.getTracks());
    return stream;
  };
}"""


@pytest.fixture
def camera(page):
    """The page on its tab "Style", allowed to use the browser's camera."""
    page.context.grant_permissions(["camera"])
    page.evaluate(KEEP_STREAMS)
    page.get_by_role("tab", name="Style").click()
    wait_for_sample(page)
    return page


def states(page) -> list[str]:
    return page.evaluate("tracks.map((track) => track.readyState)")


def paper(page) -> np.ndarray:
    """The pixels of the paper, which shows the painting or the camera."""
    return decode(page.evaluate("document.querySelector('.paper').toDataURL()"))[..., :3].astype(int)


def test_the_camera_is_a_live_style_while_it_is_seen(camera):
    painting, painted = paper(camera), camera.locator(".live-picture").get_attribute("src")
    camera.get_by_label("Camera", exact=True).check()
    camera.wait_for_function("old => document.querySelector('.live-picture').src !== old", arg=painted)
    assert states(camera) == ["live"]
    red, green, blue = paper(camera).reshape(-1, 3).mean(0)
    assert green > 100 > max(red, blue)  # the generated video is green
    seen = camera.evaluate("window.seen = new Set(), document.querySelector('.live-picture').src")
    camera.evaluate("""() => new MutationObserver(() => seen.add(document.querySelector('.live-picture').src))
      .observe(document.querySelector('.live-picture'), { attributes: true, attributeFilter: ['src'] })""")
    camera.wait_for_function("seen.size >= 3")  # the video moves, and the picture follows
    assert seen
    violations = Axe().run(camera, ".studio", {"resultTypes": ["violations"]}).response["violations"]
    assert not [violation["id"] for violation in violations]
    camera.get_by_role("button", name="Add to the table").click()
    wait_for_photo(camera)
    red, green, blue = decode(photo_of(camera))[..., :3].reshape(-1, 3).mean(0)
    assert green > 100 > max(red, blue)
    camera.get_by_label("Paint", exact=True).check()
    camera.wait_for_function("tracks.every((track) => track.readyState === 'ended')")
    assert (paper(camera) == painting).all()


def test_the_camera_is_off_once_another_tab_is_open(camera):
    camera.get_by_label("Camera", exact=True).check()
    camera.wait_for_function("tracks[0]?.readyState === 'live'")
    camera.get_by_role("tab", name="Draw").click()
    camera.wait_for_function("tracks.every((track) => track.readyState === 'ended')")
    camera.get_by_role("tab", name="Style").click()
    assert camera.get_by_label("Paint", exact=True).is_checked()


def test_a_camera_that_comes_too_late_is_off_at_once(camera):
    camera.evaluate("""() => {
      const lend = navigator.mediaDevices.getUserMedia;
      navigator.mediaDevices.getUserMedia = async (wish) => {
        await new Promise((resolve) => (window.allow = resolve));
        return lend(wish);
      };
    }""")
    camera.get_by_label("Camera", exact=True).check()
    camera.locator(".camera-note", has_text="Waiting for the camera …").wait_for()
    camera.get_by_label("Paint", exact=True).check()
    camera.evaluate("allow()")
    camera.wait_for_function("tracks[0]?.readyState === 'ended'")


@pytest.mark.parametrize(
    "without, note",
    [
        ("", "Your browser blocks the camera"),  # no permission
        (
            "navigator.mediaDevices.getUserMedia = async () => { throw new DOMException('', 'NotFoundError') }",
            "is no camera",
        ),
        ("Object.defineProperty(navigator, 'mediaDevices', { value: undefined })", "no access to a camera"),
    ],
)
def test_without_a_camera_an_error_is_shown(page, without, note):
    page.evaluate(f"() => {{ {without} }}")
    page.get_by_role("tab", name="Style").click()
    wait_for_sample(page)
    painting = paper(page)
    page.get_by_label("Camera", exact=True).click()
    page.locator(".camera-note.error", has_text=note).wait_for()
    rest(page)
    assert page.locator(".camera-note").inner_text()  # also after the painting is drawn again
    assert page.get_by_label("Paint", exact=True).is_checked() and (paper(page) == painting).all()
