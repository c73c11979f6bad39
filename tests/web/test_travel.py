"""Travel over the plane of seeds where answers are slow: the page draws ahead. On small networks of random weights."""

import numpy as np
import pytest

import t2i
from tests.screen import SAVE_DATA, pixels, settle

# Each answer of the server comes 200 ms later; `asked` has the seeds of each request for pictures, `answered` of those
# that are there.
SLOW_LINE = """
  window.asked = [], window.answered = [];
  const real = window.fetch;
  window.fetch = async (address, options) => {
    const answer = await real(address, options);
    if (!String(address).includes('component_server')) return answer;
    const { fn_name, data } = JSON.parse(options.body);
    if (fn_name === 'draw') asked.push(data.seeds);
    await new Promise(done => setTimeout(done, 200));
    if (fn_name === 'draw') setTimeout(() => answered.push(data.seeds), 30); // once it is shown
    return answer;
  };
"""
SOURCES = "[...document.querySelectorAll('.grid img')].map(image => image.src)"
STEP = f"""key => {{
  const before = {SOURCES}, count = asked.length;
  const press = new KeyboardEvent('keydown', {{ key, shiftKey: true, bubbles: true }});
  document.querySelector('.picture').dispatchEvent(press);
  const after = {SOURCES};
  return [after.filter((source, i) => source !== before[i]).length, asked.length - count];
}}"""


def step(page, key: str = "ArrowRight") -> list[int]:
    """Go a tenth of a seed; returns how many pictures change at once, and how many requests are sent at once."""
    return page.evaluate(STEP, key)


def wait_for_answers(page, count: int) -> None:
    """Wait until so many requests have been answered, and no other is under way."""
    page.wait_for_function("count => answered.length === count && asked.length === count", arg=count)
    settle(page)


def exact(model, across: float) -> np.ndarray:
    return t2i.load(model).draw_array("a flower", range(1, 17), at=[[across, 0]] * 16).astype(int)


@pytest.fixture(scope="module")
def far(browser, url):
    """A page on a slow line, before the first step; the tests share it."""
    page = browser.new_page(reduced_motion="reduce", viewport={"width": 1280, "height": 800})
    page.add_init_script(SAVE_DATA.replace("true", "false", 1))
    page.add_init_script("localStorage.setItem('t2i-draws-on', 'server')")
    page.add_init_script(SLOW_LINE)
    page.goto(f"{url}/?tab=draw&caption=a+flower")
    settle(page)
    yield page
    page.close()


def test_after_the_first_step_the_next_ones_show_pictures_without_an_answer(far, model):
    assert far.evaluate("asked") == [[*range(1, 17)]]  # nothing ahead before the first step
    assert step(far)[0] == 0
    wait_for_answers(far, 3)
    ahead = [seeds for seeds in far.evaluate("asked.slice(1)") if 17 in seeds]
    assert [sorted(seeds) for seeds in ahead] == [[0, *range(17, 27)]]  # one step around, but for those on the page
    assert step(far) == [16, 0]
    assert np.abs(pixels(far) - exact(model, 0.2)).mean() < 6  # then the exact ones, as a JPEG


def test_older_answers_do_not_replace_newer_pictures(far, model):
    far.get_by_label("Seed", exact=True).fill("1")
    far.evaluate("""() => {
      window.shown = [];
      const image = document.querySelector('.grid img');
      new MutationObserver(() => shown.push(image.src)).observe(image, { attributeFilter: ['src'] });
    }""")
    settle(far)
    far.evaluate("shown.length = asked.length = answered.length = 0")
    assert step(far)[0] == 16
    far.wait_for_function("asked.length === 1")  # the exact pictures of this step
    assert step(far)[0] == 16
    wait_for_answers(far, 2)
    assert far.evaluate("shown.length") == 3  # two steps, and the second one's exact picture
    assert np.abs(pixels(far) - exact(model, 0.2)).mean() < 6


def test_nothing_is_drawn_ahead_for_who_saves_data(far):
    far.evaluate(SAVE_DATA)
    far.get_by_label("Caption", exact=True).fill("a tree")
    settle(far)
    far.evaluate("asked.length = answered.length = 0")
    for count in (1, 2):
        assert step(far)[0] == 0
        wait_for_answers(far, count)
