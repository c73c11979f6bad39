"""The page draws in the visitor's own browser, on small networks of random weights, and falls back to the server."""

import gzip
import json
import urllib.error
import urllib.request
from hashlib import sha256
from urllib.parse import quote, urlsplit

import numpy as np
import pytest
from PIL import Image

import t2i
from t2i.registry import MODELS
from t2i.web.browser import RUNTIME, SEEDS_PER_BLOCK, BrowserModels, runtime_version
from t2i.web.links import read_link
from t2i.web.middleware import ISOLATION_HEADERS
from t2i.web.service import Service
from tests.screen import SAVE_DATA, SERVER_CALLS, decode, rest, settle
from tests.weights import has_weights

CAPTION = "a red flower with long petals"
SOURCES = "[...document.querySelectorAll('.t2i-draw .grid img')].map(image => image.src)"
DRAWN_HERE = "document.querySelector('.t2i-draw .grid img').src.startsWith('data:image/bmp')"
DRAWN_THERE = "document.querySelector('.t2i-draw .grid img').src.startsWith('data:image/jpeg')"
WATCH_WORKER = (
    "() => { window.Worker = class extends Worker { postMessage(m) { window.own = this; super.postMessage(m); } } }"
)
STOP_WORKER = "() => { own.postMessage = () => own.dispatchEvent(new ErrorEvent('error')); }"
PHOTO_HERE = "document.querySelector('.t2i-style td img')?.src.startsWith('data:image/bmp')"
LIVE_HERE = "document.querySelector('.live-picture')?.src.startsWith('data:image/bmp')"
STOPPED = "This device has stopped drawing. With the next change, the server draws."
OPEN_SLIDERS = "document.querySelector('.t2i-draw .fine').open = true"
MAX_DIFFERENCE = 40  # levels of 255: the server's engine may compute in bfloat16


# Notes of each request to this machine for how many points it is, in `counts`.
COUNT_POINTS = """() => {
  const { draw } = t2i.local;
  window.counts = [];
  t2i.local.draw = (...request) => (counts.push(request[2].points?.length), draw(...request));
}"""


# Drags Blend's slider for six frames, as if this machine drew fast enough to be live, or not. Returns the `counts`
# meanwhile, and how many different pictures the frames show.
DRAG_BLEND = """async (isLive) => {
  const [kept, frames] = [t2i.local.isLive, []];
  const slider = document.querySelector('#t2i-blend-across'), canvas = document.querySelector('.t2i-blend .motion');
  t2i.local.isLive = () => isLive;
  counts.length = 0;
  for (let i = 0; i < 6; i++) {
    slider.value = 0.3 + 0.07 * i;
    slider.dispatchEvent(new Event('input', { bubbles: true }));
    await new Promise(done => requestAnimationFrame(() => setTimeout(done, isLive ? 20 : 0)));
    frames.push(canvas.toDataURL());
  }
  t2i.local.isLive = kept;
  return [counts, new Set(frames).size];
}"""


# The worker says that it is slow, and what it draws in parts is noted, {caption, places}.
SLOW_WORKER = """
  window.parts = [];
  window.Worker = class extends Worker {
    captions = {};
    addEventListener(type, listen) {
      super.addEventListener(type, event => {
        const { number, answer, part } = event.data ?? {};
        for (const timed of [answer, part]) if (timed?.ms) timed.ms = 20;
        if (part) parts.push({ caption: this.captions[number], places: part.places });
        listen(event);
      });
    }
    postMessage(message) {
      window.own = this;
      this.captions[message.number] = message.captions?.[0];
      super.postMessage(message);
    }
  };
"""

# Types three captions: the second after the first part of the first, the third at once.
CHANGE_CAPTIONS = """async () => {
  const box = document.querySelector('#t2i-draw-caption');
  const type = async text => {
    box.value = text;
    box.dispatchEvent(new Event('input'));
    await null; // it is sent
  };
  await type('a white flower');
  while (!parts.length) await new Promise(done => setTimeout(done));
  await type('an oak');
  await type('a blue bird');
}"""


# Goes a tenth of a seed; whether all pictures change at once.
STEP_SHOWS_PICTURES = f"""() => {{
  const before = {SOURCES};
  const press = new KeyboardEvent('keydown', {{ key: 'ArrowRight', shiftKey: true, bubbles: true }});
  document.querySelector('.picture').dispatchEvent(press);
  return {SOURCES}.every((source, i) => source !== before[i]);
}}"""


def get(address: str) -> tuple[bytes, dict[str, str]]:
    with urllib.request.urlopen(address) as answer:
        return answer.read(), dict(answer.headers)


def is_missing(address: str) -> bool:
    try:
        get(address)
    except urllib.error.HTTPError as error:
        return error.code == 404
    return False


def use_device(page) -> None:
    page.locator(".draws-on").click()
    page.locator(".draws-on", has_text="On this device").wait_for(timeout=20_000)


def type_caption(page, caption: str) -> None:
    page.locator("#t2i-draw-caption").fill(caption)


@pytest.fixture(scope="module")
def device(browser, url):
    """The page of a visitor who has chosen to draw on their device; the tests share it."""
    page = browser.new_page(reduced_motion="reduce", viewport={"width": 1280, "height": 800})
    page.add_init_script(SAVE_DATA)
    page.goto(f"{url}/?tab=draw")
    settle(page)
    use_device(page)
    yield page
    page.close()


@pytest.fixture
def asked(device):
    """What the page sends to the server during a test."""
    sent = []

    def note(request):
        sent.append(request.post_data or "")

    device.on("request", note)
    yield sent
    device.remove_listener("request", note)


def open_tab(page, name: str) -> None:
    page.get_by_role("tab", name=name).click()


def drawn(page) -> np.ndarray:
    """The sixteen pictures, once all of them were drawn here."""
    page.wait_for_function(DRAWN_HERE)
    rest(page)
    return np.stack([decode(source) for source in page.evaluate(SOURCES)]).astype(int)


# ---- what is served


def test_the_runtime_is_served_compressed_and_kept_for_ever(url):
    for name, kind in {"ort.wasm": "application/wasm", "ort.mjs": "text/javascript"}.items():
        data, headers = get(f"{url}/browser/{runtime_version()}/{name}")
        recorded = json.loads((RUNTIME / "source.json").read_text())["files"][name]
        assert headers["content-type"].startswith(kind) and headers["content-encoding"] == "gzip"
        assert "immutable" in headers["cache-control"]
        assert sha256(gzip.decompress(data)).hexdigest() == recorded["sha256"]
    assert is_missing(f"{url}/browser/another/ort.wasm") and is_missing(
        f"{url}/browser/{runtime_version()}/source.json"
    )


def test_a_models_networks_are_served_as_its_manifest_says(url):
    data, headers = get(f"{url}/browser/models/flowers/manifest.json")
    assert headers["cache-control"] == "no-cache"
    for entry in json.loads(data)["networks"].values():
        network, headers = get(f"{url}/browser/models/flowers/{entry['file']}")
        assert sha256(network).hexdigest() == entry["sha256"] and "immutable" in headers["cache-control"]
    for path in ("models/flowers/none.onnx", "models/none/manifest.json", "models/../../app.py", ""):
        assert is_missing(f"{url}/browser/{path}")


def test_each_model_is_written_once(model, compared, use_models, monkeypatch):
    use_models({"flowers": model, **compared})
    written = []
    monkeypatch.setattr("t2i.web.browser.onnx_model", lambda checkpoint: written.append(checkpoint.folder) or object())
    models = BrowserModels(Service("flowers"))
    for name in ["flowers", *compared] * 2:
        assert models[name] is models[name]
    assert len(written) == len(set(written)) == 1 + len(compared)


def test_noise_is_that_of_the_seeds(url):
    for size in (100, 40):
        rows = np.frombuffer(get(f"{url}/browser/noise/{size}/2")[0], "<f4").reshape(SEEDS_PER_BLOCK, size)
        assert np.array_equal(rows, t2i.noise(range(2 * SEEDS_PER_BLOCK, 3 * SEEDS_PER_BLOCK), size).numpy())
    long = "000000001" + "9" * 5000
    for block in ("100/9999", "100/-1", "100/x", f"100/{long}", f"{long}/1", "0/1", "5000/1", "x/1", "²/1", "1"):
        assert is_missing(f"{url}/browser/noise/{quote(block)}")


# ---- pictures


def test_pictures_drawn_here_are_those_of_the_server(device, asked, model):
    type_caption(device, "A ＲＥＤ  flöwer’s long‑petals")
    here = drawn(device)
    there = t2i.load(model).draw_array("a red flower's long-petals", range(1, 17)).astype(int)
    assert np.abs(here - there).max() <= MAX_DIFFERENCE and np.abs(here - there).mean() < 1
    assert not any('"draw"' in data for data in asked)


def test_variety_attributes_and_offsets_count_here_too(device, model):
    type_caption(device, CAPTION)
    device.evaluate(OPEN_SLIDERS)
    device.locator("#t2i-draw-variety").fill("0.5")
    device.locator("#t2i-draw-attribute-2").fill("-0.75")
    device.locator(".picture").first.press("Shift+ArrowRight")
    device.locator(".picture").first.press("Shift+ArrowDown")
    here = drawn(device)
    at = [[0.1, 0.1]] * 16
    there = t2i.load(model).draw_array(CAPTION, range(1, 17), [0, -0.75], at, variety=0.5).astype(int)
    assert np.abs(here - there).max() <= MAX_DIFFERENCE and np.abs(here - there).mean() < 1


def test_the_server_is_asked_only_for_matches_that_somebody_looks_at(device, asked):
    type_caption(device, "a flower")
    first = drawn(device)[0]
    device.locator(".picture").first.click()
    big = "document.querySelector('.t2i-draw .big')"
    device.wait_for_function(f"{big}.naturalWidth === 256 && {big}.src.startsWith('data:image/jpeg')")
    alike = np.asarray(Image.fromarray(decode(device.evaluate(f"{big}.src"))).resize((64, 64), Image.Resampling.BOX))
    assert np.corrcoef(alike.ravel(), first.ravel())[0, 1] > 0.9
    device.keyboard.press("Escape")
    device.mouse.move(0, 0)
    device.locator("#t2i-draw-caption").focus()
    asked.clear()
    type_caption(device, CAPTION)
    drawn(device)
    device.wait_for_timeout(350)  # it rests
    assert not any('"match"' in data for data in asked) and not any('"enlarge"' in data for data in asked)
    with device.expect_request(lambda request: '"match"' in (request.post_data or "")):
        device.locator(".picture").first.hover()


def test_pictures_around_the_view_are_drawn_here_ahead_of_travel(device, asked):
    type_caption(device, CAPTION)
    drawn(device)
    device.evaluate("t2i.local.quick = t2i.local.drawTime, t2i.local.drawTime = (_, count) => 20 * count")
    device.wait_for_function(STEP_SHOWS_PICTURES, polling=200)
    device.evaluate("t2i.local.drawTime = t2i.local.quick")
    drawn(device)
    assert not any('"draw"' in data for data in asked)
    device.get_by_label("Seed", exact=True).fill("1")


def test_children_of_two_favourites_are_drawn_here(device, asked, model):
    for caption, number in ((CAPTION, 3), ("a blue bird", 5)):
        type_caption(device, caption)
        drawn(device)
        device.locator(".heart").nth(number).click()
    device.get_by_role("button", name="Breed two").click()
    for i in range(2):
        device.locator(".favourites .thumbnail").nth(i).click()
    device.wait_for_function("document.querySelector('.grid img').alt.includes('×')")
    device.evaluate(OPEN_SLIDERS)
    device.locator("#t2i-draw-mutation").fill("0.3")
    device.locator("#t2i-draw-attribute-1").fill("-0.5")
    device.wait_for_function("location.search.includes('mutation=0.3') && location.search.includes('attributes=-0.5')")
    here = drawn(device)
    studio = t2i.load(model)
    [request] = read_link(urlsplit(device.url).query, MODELS, has_weights).requests
    children = studio.breed(request.parents, request.seeds, request.at, request.mutation)
    there = studio.draw_genomes(children, request.attributes[:2]).astype(int)
    assert [len(child.captions) for child in children] == [2] * 16
    assert np.abs(here - there).max() <= MAX_DIFFERENCE and np.abs(here - there).mean() < 1
    assert not any('"draw"' in data for data in asked)
    device.get_by_role("button", name="Stop breeding").click()


def test_a_blend_is_drawn_here_at_each_point(device, asked, model):
    open_tab(device, "Blend")
    source = "document.querySelector('.t2i-blend img.blended').src"
    device.wait_for_function(f"{source}.startsWith('data:image/bmp')")
    rest(device)
    before = device.evaluate(source)
    device.locator("#t2i-blend-across").press("ArrowRight")
    device.wait_for_function(f"before => {source} !== before", arg=before)
    rest(device)
    sentences = [device.locator(f"#t2i-blend-{number}").input_value() for number in (1, 2)]
    share, seed = (float(device.locator(f"#t2i-blend-{name}").input_value()) for name in ("across", "seed"))
    there = t2i.load(model).mix_array(sentences, [[1 - share, share]], int(seed))[0].astype(int)
    assert np.abs(decode(device.evaluate(source)) - there).max() <= MAX_DIFFERENCE
    assert not any("blend" in data for data in asked)


def test_while_a_blend_moves_only_a_fast_machine_draws_each_point(device):
    device.evaluate(COUNT_POINTS)
    device.locator("#t2i-blend-1").fill(CAPTION)
    device.wait_for_function("counts.includes(25)")  # the words have rested: the last stops are asked for
    device.wait_for_function(f"async () => (await ({DRAG_BLEND})(true))[0].at(-1) === 1")  # and are there
    rest(device)
    numbers, num_frames = device.evaluate(DRAG_BLEND, False)
    assert len(numbers) <= 1 and num_frames == 6  # mixed from stops; a frame may take longer than a rest
    rest(device)
    numbers, num_frames = device.evaluate(DRAG_BLEND, True)
    assert len(numbers) > 1 and set(numbers) == {1} and num_frames > 1
    rest(device)


def test_a_field_is_drawn_here(device, asked):
    open_tab(device, "Field")
    rest(device)
    device.locator("#t2i-field-caption").fill(CAPTION)
    rest(device)
    assert device.locator(".t2i-field canvas").get_attribute("aria-label").endswith(CAPTION)
    assert not any('"field"' in data for data in asked)


def test_a_photo_stays_here_and_the_page_says_so(device, asked):
    open_tab(device, "Style")
    device.wait_for_function(LIVE_HERE)
    assert device.locator(".privacy:visible").inner_text() == "Photos stay on this device, which draws by itself."
    device.locator("#t2i-style-words").fill("花")
    device.locator("#t2i-style-words-note", has_text="This model reads English only.").wait_for()
    device.locator(".use-live").click()
    device.locator(".photo-style").wait_for()  # in the tab "Draw"
    assert not any("data:image" in data for data in asked)
    device.locator(".remove-style").click()


def test_without_captions_photos_are_not_drawn_and_this_device_goes_on(device, asked):
    open_tab(device, "Style")
    device.wait_for_function(PHOTO_HERE)
    captions = device.locator(".t2i-style th textarea")
    first = captions.first.input_value()
    for box in captions.all():
        box.fill("")
    device.wait_for_function(
        "[...document.querySelectorAll('.t2i-style td img')].every(image => image.src.startsWith('data:image/gif'))"
    )
    captions.first.fill(first)
    device.wait_for_function(PHOTO_HERE)
    rest(device)
    assert device.locator(".draws-on").inner_text() == "On this device"
    assert device.locator("#t2i-style-note").inner_text() == "" and not any("data:image" in data for data in asked)


def test_the_server_says_what_is_wrong_with_a_caption(device):
    open_tab(device, "Draw")
    type_caption(device, "花")
    device.locator(".is-unreadable").wait_for()
    assert device.locator("#t2i-draw-note").inner_text() == "This model reads English only. Try an example."
    type_caption(device, CAPTION)
    device.wait_for_function("!document.querySelector('.is-unreadable')")


# ---- the visitor decides, and faults


def test_the_switch_goes_back_to_the_server_and_is_remembered(device):
    open_tab(device, "Draw")
    device.locator(".draws-on").click()
    assert device.locator(".draws-on").inner_text() == "On the server"
    type_caption(device, "a blue flower")
    device.wait_for_function(DRAWN_THERE)
    assert device.evaluate("localStorage['t2i-draws-on']") == "server"
    device.evaluate("localStorage['t2i-draws-on'] = 'device'")
    device.reload()
    device.locator(".draws-on", has_text="On this device").wait_for()


@pytest.mark.parametrize("file", ["ort.wasm", "generator-*.onnx"])
def test_a_damaged_file_is_not_used(page, file):
    page.route(f"**/browser/**/{file}", lambda route: route.fulfill(body=b"\0" * 1000))
    page.locator(".draws-on").click()
    page.locator(".why", has_text="a file is damaged. The server draws.").wait_for()
    assert page.locator(".draws-on").inner_text() == "On the server"
    type_caption(page, CAPTION)
    page.wait_for_function(DRAWN_THERE)


def test_networks_that_cannot_be_fetched_are_tried_again_when_the_visitor_wants_it(page):
    page.route("**/browser/models/**", lambda route: route.abort())
    page.locator(".draws-on").click()
    page.locator(".why", has_text="networks cannot be fetched. The server draws.").wait_for()
    type_caption(page, CAPTION)
    page.wait_for_function(DRAWN_THERE)
    assert page.locator(".draws-on").inner_text() == "On the server"
    page.unroute("**/browser/models/**")
    use_device(page)


def test_if_the_worker_stops_the_server_draws_what_was_asked(page):
    page.evaluate(WATCH_WORKER)
    use_device(page)
    page.evaluate(STOP_WORKER)
    type_caption(page, CAPTION)
    page.locator(".why", has_text="its worker stopped").wait_for()
    settle(page)
    assert page.evaluate(DRAWN_THERE) and page.locator("#t2i-draw-note").inner_text() == ""


def test_a_photo_stays_here_if_the_worker_stops_on_its_way_to_draw(page):
    page.evaluate(WATCH_WORKER)
    use_device(page)
    open_tab(page, "Style")
    page.wait_for_function(PHOTO_HERE)
    rest(page)
    sent = []
    page.on("request", lambda request: sent.append(request.post_data or ""))
    page.evaluate(STOP_WORKER)
    page.locator(".use-live").click()
    page.locator(".photo-note", has_text=STOPPED).wait_for()
    assert not any("data:image" in data for data in sent)


def test_without_webassembly_there_is_no_switch(new_page, url):
    page = new_page("about:blank")
    page.add_init_script("delete window.WebAssembly")
    page.goto(f"{url}/?tab=draw")
    settle(page)
    assert page.locator(".draws-on").is_hidden()


def test_a_slow_device_draws_in_parts_and_leaves_what_is_no_longer_wanted(new_page, url, model):
    page = new_page("about:blank")
    page.add_init_script(SLOW_WORKER)
    page.goto(f"{url}/?tab=draw")
    settle(page)
    use_device(page)
    type_caption(page, CAPTION)
    here = drawn(page)
    there = t2i.load(model).draw_array(CAPTION, range(1, 17)).astype(int)
    assert np.abs(here - there).max() <= MAX_DIFFERENCE
    assert [part["places"] for part in page.evaluate("parts.splice(0)")] == [[i, i + 1] for i in range(0, 16, 2)]
    page.evaluate(CHANGE_CAPTIONS)
    settle(page)
    parts = page.evaluate("parts")
    places = [place for part in parts for place in part["places"]]
    assert places == [i % 16 for i in range(len(places))]  # each request begins where the one before was cut
    last = [place for part in parts if part["caption"] == "a blue bird" for place in part["places"]]
    assert sorted(last) == [*range(16)] and len(parts) < 3 * 8
    there = t2i.load(model).draw_array("a blue bird", range(1, 17)).astype(int)
    assert np.abs(drawn(page) - there).max() <= MAX_DIFFERENCE

    page.evaluate("own.postMessage = message => numLost++, window.numLost = 0")
    for caption in ("a red flower", "a yellow flower"):
        type_caption(page, caption)
    page.wait_for_function("numLost === 2")
    with page.expect_request(lambda request: '"draw"' in (request.post_data or "")) as request:
        page.evaluate("own.dispatchEvent(new ErrorEvent('error'))")
    assert "a yellow flower" in request.value.post_data  # the server is not asked for what is no longer wanted
    page.wait_for_function(DRAWN_THERE)


def test_an_isolated_page_draws_with_threads(new_page, url):
    page = new_page("about:blank")
    page.add_init_script("Object.defineProperty(navigator, 'hardwareConcurrency', { value: 4 })")

    def isolate(route):
        answer = route.fetch()
        route.fulfill(response=answer, headers=answer.headers | ISOLATION_HEADERS)

    page.route(f"{url}/?tab=draw", isolate)
    page.goto(f"{url}/?tab=draw")
    settle(page)
    assert page.evaluate("crossOriginIsolated")
    use_device(page)
    assert len(page.workers) == 2  # one of them is the runtime's second thread
    type_caption(page, CAPTION)
    page.wait_for_function(DRAWN_HERE)


@pytest.mark.parametrize("saves_data, is_server_slow", [(True, False), (False, False), (False, True)])
def test_on_a_slow_line_it_begins_by_itself_unless_data_are_saved(new_page, url, saves_data, is_server_slow):
    page = new_page("about:blank")
    fetched = []
    page.on("request", lambda request: "/browser/" in request.url and fetched.append(request.url))

    def answer_late(route):
        answer = route.fetch().json()
        page.wait_for_timeout(80)
        if is_server_slow and "server_ms" in answer:
            answer["server_ms"] += 10_000  # the test's own delays are long on a busy machine
        route.fulfill(json=answer)

    page.route(SERVER_CALLS, answer_late)
    page.add_init_script(SAVE_DATA.replace("true", str(saves_data).lower(), 1))
    page.goto(f"{url}/?tab=draw")
    for caption in ("a red flower", "a blue flower", "an oak"):
        settle(page)
        type_caption(page, caption)
    settle(page)
    rest(page)
    assert bool(fetched) == (not saves_data and not is_server_slow)
