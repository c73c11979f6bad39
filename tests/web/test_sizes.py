"""Models of several picture sizes, in Python, on the command line and on the page."""

import io
import json
import subprocess

import deno
import numpy as np
import pytest
from PIL import Image

import t2i
from t2i import registry
from t2i.__main__ import main
from t2i.engine import Engine
from t2i.media import export
from t2i.media.photo import prepare
from t2i.web import encoding, schemas
from t2i.web.component import STATIC
from t2i.web.service import Service
from tests.generators import tiny_cbn
from tests.screen import decode, free_port, rest, served, settle, wait_for_photo
from tests.web.test_browser import use_device

RED, BLUE = "a red flower", "a blue flower with many petals"
WIDTHS = "[...document.querySelectorAll('.grid img')].map(image => image.naturalWidth)"


@pytest.fixture(scope="module", params=[32, 64, 128, 256])
def studio(request, tiny_networks):
    networks = tiny_networks | ({"generator": tiny_cbn(request.param)} if request.param != 64 else {})
    return t2i.Studio(Engine(networks, "cpu"), registry.MODELS["flowers"])


@pytest.fixture
def photo() -> Image.Image:
    return Image.effect_noise((190, 170), 80).convert("RGB")


def test_every_method_draws_at_the_models_size(studio, photo):
    side = studio.size
    pictures = [
        *studio.draw(RED, range(2)),
        *studio.draw([RED, BLUE], [1, 2], [0.5], [(0.5, 0)] * 2, studio.style(photo)),
        *studio.blend(RED, BLUE, steps=3),
        *studio.wander(RED, 1, 2, steps=3),
        *studio.restyle(photo, [RED, BLUE]),
    ]
    assert {picture.size for picture in pictures} == {(side, side)}
    assert studio.draw_array(RED).shape == studio.mix_array([RED, BLUE], [[0.5, 0.5]]).shape == (1, side, side, 3)


def test_drawn_pictures_are_encoded_at_64_pixels(studio):
    drawn = studio.draw(RED, range(3))
    small = [Image.fromarray(prepare(picture)) for picture in drawn]
    assert studio.match(drawn, RED) == studio.match(small, RED)
    assert (studio.index(drawn) == studio.index(small)).all() and (
        studio.style(drawn[0]) == studio.style(small[0])
    ).all()
    assert (
        studio.search(RED, studio.index(drawn))[0][0] in range(3) and len(studio.describe(drawn[0], [RED, BLUE])) == 2
    )


@pytest.mark.parametrize("size", [32, 64, 128, 256, 512, 600])
@pytest.mark.parametrize("ending, least", [(".gif", 256), (".webp", 512)])
def test_a_film_has_enough_pixels_or_the_models_own(size, ending, least):
    frames = np.random.default_rng(0).integers(0, 256, (3, size, size, 3), np.uint8)
    film = Image.open(io.BytesIO(export.film(frames, ending, {"captions": [RED]})))
    assert film.size == (max(size, least), max(size, least)) and film.n_frames == 4


def test_resizing_keeps_flat_colours_and_what_fits():
    flat = np.full((64, 64, 3), (250, 3, 128), np.uint8)
    assert export.resize(flat, 64) is flat
    assert (export.resize(flat, 256) == flat[0, 0]).all() and (export.resize(flat, 32) == flat[0, 0]).all()


def run(*arguments: object) -> None:
    assert main([str(one) for one in arguments]) == 0


def test_the_command_line_draws_and_restyles_at_the_models_size(model_128, photo, tmp_path):
    run("draw", RED, "--model", model_128, "--count", 4, "--out", tmp_path / "grid.png")
    assert Image.open(tmp_path / "grid.png").size == (2 * 130 + 2, 2 * 130 + 2)
    for ending, size in (("gif", (256, 256)), ("webp", (512, 512)), ("png", (262, 262))):
        run("blend", RED, BLUE, "--model", model_128, "--steps", 3, "--out", tmp_path / f"way.{ending}")
        assert Image.open(tmp_path / f"way.{ending}").size == size
    run("wander", RED, "--model", model_128, "--steps", 3, "--out", tmp_path / "walk.png")
    assert Image.open(tmp_path / "walk.png").size == (262, 262)
    photo.save(tmp_path / "photo.png")
    paths = ["--photo", tmp_path / "photo.png", "--out", tmp_path / "styles.png"]
    run("restyle", RED, BLUE, "--model", model_128, *paths)
    sheet = Image.open(tmp_path / "styles.png")
    assert sheet.size == (3 * 130 + 2, 132)
    cut = [np.asarray(sheet.crop((2 + 130 * x, 2, 130 + 130 * x, 130)), int) for x in range(3)]
    assert np.abs(cut[0] - prepare(photo, 128)).max() == 0  # at the size of the drawings
    drawn = t2i.load(model_128).restyle_array(Image.fromarray(prepare(photo, 128)), [RED, BLUE]).astype(int)
    assert np.abs(cut[1:] - drawn).max() <= 1


def test_the_command_line_searches_and_describes_at_any_size(model_128, photo, tmp_path, capsys):
    photo.save(tmp_path / "photo.png")
    run("search", RED, tmp_path / "photo.png", "--model", model_128)
    run("describe", tmp_path / "photo.png", RED, BLUE, "--model", model_128)
    assert capsys.readouterr().out.count("\n") == 3


@pytest.mark.parametrize("side, whole, draft", [(32, 32, None), (64, 64, None), (128, 128, 128), (256, 256, 128)])
def test_drafts_are_small_and_small_pictures_have_none(side, whole, draft):
    noise = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 3), np.uint8)
    pixels = np.stack([export.resize(one, side) for one in noise])
    made = encoding.pictures(pixels, "JPEG", 2, 128)
    assert made.get("drafts") == (3 if draft else None)
    assert [len(decode(uri)) for uri in made["pictures"]] == [whole] * 2 + [draft or whole] * 3
    assert all(
        np.abs(decode(u).astype(int) - export.resize(p, len(decode(u)))).mean() < 8
        for u, p in zip(made["pictures"], pixels)
    )
    assert "drafts" not in encoding.pictures(pixels, "JPEG", 5, 128)
    pngs = encoding.pictures(pixels, "PNG", 0, 128)
    assert pngs.keys() == {"pictures"} and all((decode(u) == p).all() for u, p in zip(pngs["pictures"], pixels))


@pytest.fixture
def service(model, model_128, use_models):
    """A service whose model "flowers" draws 128×128 and "flowers-paper" 64×64."""
    use_models({"flowers": model_128, "flowers-paper": model})
    return Service("flowers")


def test_sixteen_drafts_take_the_bytes_of_sixteen_small_pictures(service):
    request = {"caption": RED, "seeds": [*range(16)]}
    small = service.draw(request | {"model": "flowers-paper", "full_size": 0})
    draft, whole = service.draw(request | {"full_size": 0}), service.draw(request)
    sizes = [sum(map(len, one["pictures"])) for one in (small, draft, whole)]
    assert sizes[1] < 1.3 * sizes[0] and sizes[1] < sizes[2] / 2, sizes
    assert (small["size"], draft["size"], draft["drafts"]) == (64, 128, 16) and "drafts" not in small | whole


def test_repeated_requests_are_drawn_once(service, photo, monkeypatch):
    drawn = []
    engine = service._studio("flowers").engine
    monkeypatch.setattr(engine, "render", lambda z, h, draw=engine.render: drawn.append(len(z)) or draw(z, h))
    request = {"caption": RED, "seeds": [3, 4, 5], "attributes": [0.5], "at": [[0.5, 0]] * 3}
    draft, whole = service.draw(request | {"full_size": 0}), service.draw(request)
    assert service.match(request)["matches"] and drawn == [3] and draft["ms"] == whole["ms"]
    for other in ({"seeds": [3, 4, 6]}, {"attributes": [0.4]}, {"at": [[0.4, 0]] * 3}, {"caption": BLUE}):
        service.draw(request | other)
    assert drawn == [3] * 5
    painted = {"photo": encoding._uri(encoding._encode(photo, "PNG"), "png"), "captions": [RED, BLUE]}
    one, two = service.restyle(painted | {"full_size": 0}), service.restyle(painted)
    assert drawn == [3] * 5 + [2] and one["drafts"] == 2 and len(decode(two["pictures"][0])) == 128
    monkeypatch.setattr(service._drawings, "_max_size", 3 * 128**2 * 3)  # of one drawing
    service.draw(request)
    service.draw(request | {"caption": BLUE})
    assert service._drawings._total == 3 * 128**2 * 3 and len(service._drawings._values) == 1


def test_every_file_has_the_models_size_and_a_mixed_sheet_the_larger_one(service):
    request = {"caption": RED, "seeds": [3]}
    for scale, side in ((1, 128), (4, 512), (2, 128)):
        assert decode(service.png(request | {"scale": scale})["file"]).shape == (side, side, 3)
    large = decode(service.enlarge(request)["picture"]).astype(int)
    assert np.abs(large - decode(service.png(request | {"scale": 4})["file"])).mean() < 4  # a JPEG of the same
    pictures = [request | {"model": "flowers-paper"}, request]
    sheet = decode(service.sheet({"pictures": pictures})["file"])
    assert sheet.shape == (132, 2 * 130 + 2, 3)
    small, whole = (decode(service.png(one | {"scale": 1})["file"]) for one in pictures)
    assert (sheet[2:130, 2:130] == export.resize(small, 128)).all() and (sheet[2:130, 132:260] == whole).all()


@pytest.mark.parametrize("whole", [None, "many", -1, 10**400, float("nan"), [], {}])
def test_the_number_of_full_size_pictures_is_clamped(service, whole):
    drawn = service.draw({"caption": RED, "seeds": [3, 4], "full_size": whole})
    assert drawn.get("drafts", 0) in (0, 2)
    assert 0 <= schemas.read_full_size({"full_size": whole}) <= schemas.MAX_BLEND_POINTS


@pytest.mark.parametrize("asked, side", [(64, 64), (96, 96), (4, 32), (999, 128), (None, 32), ([], 32)])
def test_drafts_are_as_small_as_a_slow_line_asks(service, asked, side):
    drawn = service.draw({"caption": RED, "seeds": [3, 4], "full_size": 1, "draft_size": asked})
    assert [len(decode(uri)) for uri in drawn["pictures"]] == [128, side] and drawn["drafts"] == 1


@pytest.fixture
def run_connection(tmp_path):
    """Runs a script with the page's `measured = createConnection()`; returns what it prints."""

    def run(script: str) -> str:
        clamp = "const clamp = (value, low, high) => Math.min(high, Math.max(low, value));"
        source = (STATIC / "drawing.js").read_text("utf-8")
        module = f"{source}{clamp} const measured = createConnection();\n{script}"
        (tmp_path / "connection.js").write_text(module, "utf-8")
        command = [deno.find_deno_bin(), "run", "--no-config", "connection.js"]
        result = subprocess.run(command, cwd=tmp_path, env={"DENO_DIR": str(tmp_path)}, capture_output=True, text=True)
        assert result.returncode == 0, result.stderr
        return result.stdout.strip()

    return run


@pytest.mark.parametrize("bytes_a_ms, size", [(10_000, 128), (250, 96), (20, 64)])
def test_a_page_on_a_slow_line_asks_for_smaller_drafts(run_connection, bytes_a_ms, size):
    script = f"""
      for (const bytes of [20_000, 90_000, 40_000, 120_000, 20_000])
        measured.note({{ server_ms: 1, pictures: ["x".repeat(bytes)] }}, 30 + bytes / {bytes_a_ms}, 1);
      console.log(measured.draftSize());
    """
    assert run_connection(script) == str(size)


@pytest.mark.parametrize("way, is_far", [(10, "false"), (400, "true")])
def test_the_servers_own_work_does_not_make_a_line_slow(run_connection, way, is_far):
    script = f"""
      for (const server_ms of [320, 640, 320])
        measured.note({{ server_ms, strip: "x" }}, {way} + server_ms, server_ms / 10);
      console.log(measured.isFar(), measured.answerTime(1), measured.answerTime(16));
    """
    assert run_connection(script) == f"{is_far} {way + 10} {way + 160}"


def test_a_comparison_of_models_of_two_sizes(service):
    request = {"caption": RED, "seeds": [3, 4], "models": ["flowers", "flowers-paper"], "full_size": 1}
    large, small = service.compare(request)["compared"]
    assert (large["size"], large["drafts"], small["size"]) == (128, 1, 64) and "drafts" not in small


@pytest.fixture(scope="module")
def address(model, model_128):
    with served({"flowers": model_128, "flowers-paper": model}, free_port()) as url:
        yield url


@pytest.fixture
def page(new_page, address):
    page = new_page(f"{address}/?tab=draw")
    settle(page)
    return page


def draws(answers: list) -> list:
    """The answers to requests of draw."""
    return [one for one in answers if '"fn_name":"draw"' in (one.request.post_data or "")]


def test_the_device_draws_a_caption_once_as_it_draws_no_drafts(page):
    use_device(page)
    page.evaluate("""() => {
      const { draw } = t2i.local;
      window.drawn = [];
      t2i.local.draw = (captions, ...more) => (drawn.push(captions[0]), draw(captions, ...more));
    }""")
    for caption in ("a red flower", "a blue flower"):
        page.get_by_label("Caption", exact=True).fill(caption)
        page.wait_for_function("document.querySelector('.grid img').src.startsWith('data:image/bmp')")
        settle(page)
        page.wait_for_timeout(400)  # longer than the rest after which drafts are replaced
    assert page.evaluate("drawn") == ["a red flower", "a blue flower"]


def test_pictures_at_rest_have_the_models_size(page):
    answers = []
    page.on("response", lambda answered: answers.append(answered))
    assert page.evaluate(WIDTHS) == [128] * 16
    page.get_by_label("Caption", exact=True).press_sequentially(" that is red", delay=30)
    settle(page)
    drawn = [(one.request.post_data_json["data"], one.json()) for one in draws(answers)]
    assert len(drawn) > 2 and all(reply["drafts"] == 16 for _, reply in drawn[:-1])
    [*_, (last, whole)] = drawn
    assert "drafts" not in whole and last["caption"].endswith("that is red")
    drafts = drawn[-2][1]["pictures"]
    assert all(len(decode(one)) == len(decode(two)) == 128 for one, two in zip(drafts, whole["pictures"], strict=True))
    assert page.locator(".grid img").first.get_attribute("src") == whole["pictures"][0]
    page.wait_for_function("document.querySelector('.match').textContent.endsWith('%')")

    menu = page.get_by_label("Model", exact=True)
    menu.select_option("flowers-paper")
    settle(page)
    page.wait_for_function(f"{WIDTHS}.every(width => width === 64)")
    answers.clear()
    page.wait_for_timeout(600)
    assert not draws(answers)  # there were no drafts
    menu.select_option("flowers")
    settle(page)
    page.wait_for_function(f"{WIDTHS}.every(width => width === 128)")


def test_pictures_are_saved_enlarged_and_kept_in_the_models_size(page):
    for name, side in (("flowers", 128), ("flowers-paper", 64)):
        page.get_by_label("Model", exact=True).select_option(name)
        settle(page)
        page.wait_for_function(f"{WIDTHS}[0] === {side}")
        page.locator(".picture").nth(2).click()
        page.wait_for_function("side => document.querySelector('.big').naturalWidth === side", arg=4 * side)
        for pixels in (side, 4 * side):
            with page.expect_download() as download:
                page.get_by_role("button", name=f"PNG {pixels} px").click()
            saved = Image.open(download.value.path())
            assert saved.size == (pixels, pixels) and json.loads(saved.text["t2i"])["model"] == name
        page.keyboard.press("Escape")
        page.get_by_label("Favourite seed 3", exact=True).click()
    kept = page.locator(".favourites .thumbnail img")
    assert kept.evaluate_all("all => all.map(image => image.naturalWidth)") == [64, 64]
    with page.expect_download() as download:
        page.locator(".favourites .save-sheet").click()
    assert Image.open(download.value.path()).size == (2 * 130 + 2, 132)
    page.locator(".t2i-draw .recent .thumbnail").first.wait_for()
    page.reload()
    settle(page)
    assert kept.evaluate_all("all => all.map(image => image.naturalWidth)") == [64, 64]
    recent = page.locator(".t2i-draw .recent .thumbnail img").first
    assert recent.evaluate("image => image.naturalWidth") == 64


def test_the_other_tabs_show_the_models_size(page, photo, tmp_path):
    page.get_by_role("tab", name="Blend").click()
    page.wait_for_function("document.querySelector('.blended')?.naturalWidth === 128")
    page.wait_for_function("document.querySelector('.motion').width === 4 * 128")

    page.get_by_role("tab", name="Style").click()
    photo.save(tmp_path / "photo.png")
    page.locator(".t2i-style input[type=file]").set_input_files(tmp_path / "photo.png")
    wait_for_photo(page)
    rest(page)
    widths = "() => [...document.querySelectorAll('.t2i-style td img')].map(image => image.naturalWidth)"
    assert set(page.evaluate(widths)) == {128}

    page.get_by_role("tab", name="Search").click()
    page.wait_for_function("document.querySelector('.results img')?.naturalWidth === 128")
    page.locator(".captions .text", has_text="flower").first.wait_for()
    page.get_by_role("tab", name="About").click()
    page.wait_for_function("document.querySelector('.failures img')?.naturalWidth === 128")


def test_photos_wait_on_this_device_for_the_networks_of_another_model(page):
    held, sent = [], []
    page.route("**/browser/models/flowers-paper/manifest.json", lambda route: held.append(route))
    use_device(page)
    page.get_by_role("tab", name="Style").click()
    widths = "[...document.querySelectorAll('.t2i-style td img')].map(image => image.naturalWidth)"
    page.wait_for_function(f"{widths}.every(width => width === 128)")
    page.on("request", lambda request: sent.append(request.post_data or ""))
    with page.expect_request("**/browser/models/flowers-paper/manifest.json"):
        page.locator("#t2i-style-model").select_option("flowers-paper")
    assert page.locator(".privacy:visible").inner_text().startswith("Photos stay on this device")
    for manifest in held:
        manifest.continue_()
    page.wait_for_function(f"{widths}.every(width => width === 64)")
    assert not any("data:image" in data for data in sent)
