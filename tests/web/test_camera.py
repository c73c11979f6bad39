"""A photo from the camera, in the full Chromium: its headless shell has no camera."""

import pytest
from axe_playwright_python.sync_playwright import Axe

from tests.screen import chromium, decode, photo_of, wait_for_photo, wait_for_sample


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


def test_the_camera_takes_a_photo_and_is_then_off(camera):
    camera.get_by_role("button", name="Take a photo").click()
    camera.wait_for_function("document.activeElement.textContent === 'Take the photo'")
    assert states(camera) == ["live"]
    video, note = camera.locator("video").bounding_box(), camera.locator(".camera .note").bounding_box()
    shoot = camera.get_by_role("button", name="Take the photo").bounding_box()
    assert video["y"] + video["height"] <= note["y"] and note["y"] + note["height"] <= shoot["y"]
    violations = Axe().run(camera, ".camera", {"resultTypes": ["violations"]}).response["violations"]
    assert not [one["id"] for one in violations]
    camera.keyboard.press("Enter")
    wait_for_photo(camera)
    assert states(camera) == ["ended"] and camera.locator(".camera").is_hidden()
    red, green, blue = decode(photo_of(camera))[..., :3].reshape(-1, 3).mean(0)
    assert green > 100 > max(red, blue)  # the generated video is green
    camera.get_by_role("button", name="Take a photo").click()
    camera.wait_for_function("document.activeElement.textContent === 'Take the photo'")
    camera.keyboard.press("Escape")
    camera.wait_for_function("tracks.every((track) => track.readyState === 'ended')")
    assert len(states(camera)) == 2 and camera.locator(".t2i-style .photo").count() == 1


def test_a_camera_that_comes_too_late_is_off_at_once(camera):
    camera.evaluate("""() => {
      const lend = navigator.mediaDevices.getUserMedia;
      navigator.mediaDevices.getUserMedia = async (wish) => {
        await new Promise((resolve) => (window.allow = resolve));
        return lend(wish);
      };
    }""")
    camera.get_by_role("button", name="Take a photo").click()
    assert camera.locator(".camera .note").inner_text() == "Waiting for the camera …"
    assert camera.get_by_role("button", name="Take the photo").is_disabled()
    camera.get_by_role("button", name="Cancel").click()
    camera.evaluate("allow()")
    camera.wait_for_function("tracks[0]?.readyState === 'ended'")


@pytest.mark.parametrize(
    "without, note",
    [
        ("", "does not let this page use the camera"),  # no permission
        (
            "navigator.mediaDevices.getUserMedia = async () => { throw new DOMException('', 'NotFoundError') }",
            "is no camera",
        ),
        ("Object.defineProperty(navigator, 'mediaDevices', { value: undefined })", "lends this page no camera"),
    ],
)
def test_without_a_camera_an_error_is_shown(page, without, note):
    page.evaluate(f"() => {{ {without} }}")
    page.get_by_role("tab", name="Style").click()
    page.get_by_role("button", name="Take a photo").click()
    page.locator(".camera .note.error", has_text=note).wait_for()
    assert page.get_by_role("button", name="Take the photo").is_disabled()
    page.get_by_role("button", name="Cancel").click()
    assert page.locator(".camera").is_hidden()
