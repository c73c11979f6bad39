"""What others show of a link to the page: its own pictures and words; and the page's icon."""

import asyncio
import io
import json
import threading
import urllib.error
import urllib.request
from html.parser import HTMLParser
from urllib.parse import urlencode

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import t2i
from t2i.media import poster
from t2i.registry import MODELS
from t2i.web import painting, preview
from t2i.web.component import STATIC
from t2i.web.links import MAX_LINK_FIELDS, MAX_LINK_LENGTH, read_link
from t2i.web.preview import LinkCards
from tests.screen import ask, decode, free_port, served
from tests.weights import has_weights

CAPTION = "a flower with pink petals"
HOSTILE = "\"><script>alert(1)</script>'&${alert(2)}"
SIDE = (poster.CARD_SIZE[1] - 3 * poster.CARD_GUTTER) // 4


class Tags(HTMLParser):
    """The page's title, and the contents of its meta tags by name."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.values: dict[str, list[str]] = {}
        self.scripts: list[dict] = []
        self.feed(page.partition("</head>")[0])

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        if tag == "meta" and (name := values.get("property") or values.get("name")):
            self.values.setdefault(name, []).append(values["content"])


def open_link(url: str, *pairs, path: str = "/", headers: dict[str, str] | None = None):
    return urllib.request.urlopen(urllib.request.Request(f"{url}{path}?{urlencode(pairs)}", headers=headers or {}))


def tags(url: str, *pairs, headers: dict[str, str] | None = None) -> dict[str, str]:
    """The page's meta tags, of which there must be one of each name."""
    values = Tags(open_link(url, *pairs, headers=headers).read().decode()).values
    assert all(len(contents) == 1 for contents in values.values()), values
    return {name: contents[0] for name, contents in values.items()}


def card_pictures(url: str, *pairs) -> np.ndarray:
    """The sixteen pictures of a link's card, (16, S, S, 3)."""
    answer = open_link(url, *pairs, path="/preview.jpg")
    assert answer.headers["Content-Type"] == "image/jpeg" and "max-age" in answer.headers["Cache-Control"]
    card = Image.open(io.BytesIO(answer.read()))
    assert card.size == poster.CARD_SIZE
    step = SIDE + poster.CARD_GUTTER
    corners = [(column * step, row * step) for row in range(4) for column in range(4)]
    return np.stack([np.asarray(card.crop((x, y, x + SIDE, y + SIDE)), int) for x, y in corners])


def reduced(pictures: np.ndarray) -> np.ndarray:
    """Pictures so small that a JPEG changes little of them, not even of noise."""
    images = [Image.fromarray(picture.astype(np.uint8)).resize((16, 16), Image.Resampling.BOX) for picture in pictures]
    return np.stack([np.asarray(image, int) for image in images])


def assert_drawn(pictures: np.ndarray, drawn: np.ndarray) -> None:
    """That each picture is the drawn one, enlarged and as a JPEG, and closer to it than to the others."""
    distances = np.abs(reduced(pictures)[:, None] - reduced(drawn)[None]).mean((2, 3, 4))
    assert distances.diagonal().max() < 3 and (distances.diagonal() < distances.min(1) + 0.2).all()
    assert np.median(distances) > 1.15 * np.median(distances.diagonal())


def test_a_links_preview_shows_the_links_own_pictures(url, model):
    pairs = [("tab", "draw"), ("model", "flowers"), ("caption", CAPTION), ("seed", 4711), ("at", "0.5,0.25")]
    pairs += [("attributes", "0,-0.5,1"), ("lock", 2), ("tile", "2,3,0,0.75"), ("tile", "15,99,0,0")]
    seeds = [*range(4711, 4727)]
    at = [(0.5, 0.25)] * 16
    seeds[2], at[2], seeds[15], at[15] = 3, (0, 0.75), 99, (0, 0)
    assert_drawn(card_pictures(url, *pairs), t2i.load(model).draw_array(CAPTION, seeds, (0, -0.5, 1), at))


def test_a_preview_of_a_blend_leads_from_sentence_to_sentence(url, model):
    two, four = ["a red flower", "a blue bird"], ["a red flower", "a blue bird", "an oak", "the sea"]
    studio = t2i.load(model)
    steps = np.linspace(0, 1, 16)
    pictures = card_pictures(url, ("tab", "blend"), *[("caption", caption) for caption in two], ("seed", 5))
    drawn = studio.mix_array(two, [[1 - step, step] for step in steps], 5)
    assert np.abs(reduced(pictures) - reduced(drawn)).mean((1, 2, 3)).max() < 3
    pictures = card_pictures(url, ("tab", "blend"), *[("caption", caption) for caption in four], ("seed", 5))
    for place, caption in zip((0, 3, 12, 15), four):
        corner = studio.draw_array(caption, [5])
        assert np.abs(reduced(pictures[[place]]) - reduced(corner)).mean() < 3


def test_previews_of_the_other_tabs_show_their_captions(url, model):
    studio = t2i.load(model)
    assert_drawn(card_pictures(url, ("tab", "search"), ("caption", CAPTION)), studio.draw_array(CAPTION, range(1, 17)))
    examples = [*MODELS["flowers"].examples, *MODELS["flowers"].gallery_captions][:16]
    assert_drawn(card_pictures(url), studio.draw_array(examples, [1] * 16))
    style = card_pictures(url, ("tab", "style"), ("caption", CAPTION), ("caption", ""), ("caption", "an oak"))
    assert_drawn(style, studio.draw_array([CAPTION] * 8 + ["an oak"] * 8, [*range(1, 9)] * 2))
    code = "DA.IEgEA.JC"  # an orange blob on light blue, and a stroke without a point
    painted = card_pictures(url, ("tab", "style"), ("words", CAPTION), ("paint", code), ("caption", "an oak"))
    like = studio.style(painting.paint(code))
    assert_drawn(painted, studio.draw_array(CAPTION, range(1, 17), like=like))
    answer = ask(url, "compare", {"caption": CAPTION, "seeds": [7, 8, 9, 10]})
    drawn = np.stack([decode(picture) for column in answer["compared"] for picture in column["pictures"]])
    assert_drawn(card_pictures(url, ("tab", "compare"), ("caption", CAPTION), ("seed", 7)), drawn)


def test_a_link_is_described_in_its_own_words(url):
    pairs = ("tab", "draw"), ("caption", HOSTILE), ("seed", 7)
    values = tags(url, *pairs)
    assert values["og:title"] == values["twitter:title"] == f"“{HOSTILE}”"
    assert values["twitter:card"] == "summary_large_image" and "Flowers" in values["og:description"]
    assert values["og:image"] == values["twitter:image"] == f"{url}/preview.jpg?{urlencode(pairs)}"
    assert urllib.request.urlopen(values["og:image"]).headers["Content-Type"] == "image/jpeg"
    way = tags(url, ("tab", "blend"), ("caption", "a red flower"), ("caption", "an oak"))
    assert way["og:title"] == "“a red flower” to “an oak”"
    assert "gradio" not in json.dumps(values).lower()


def test_a_preview_has_the_address_that_visitors_use(url):
    headers = {"X-Forwarded-Host": "flowers.example", "X-Forwarded-Proto": "https"}
    assert tags(url, headers=headers)["og:image"] == "https://flowers.example/preview.jpg"


@pytest.mark.parametrize(
    "pairs, words",
    [
        ([("model", "nothing"), ("caption", CAPTION)], "No such model"),
        ([("caption", "w" * MAX_LINK_LENGTH)], "characters"),
        ([("caption", CAPTION)] * (MAX_LINK_FIELDS + 1), "fields"),
    ],
)
def test_a_malformed_link_is_refused_and_opens_the_page(url, pairs, words):
    with pytest.raises(urllib.error.HTTPError) as refused:
        open_link(url, *pairs, path="/preview.jpg")
    assert refused.value.code == 400 and words in refused.value.read().decode()
    values = tags(url, *pairs)
    assert values["og:title"] == preview.TITLE and values["og:image"] == f"{url}/preview.jpg"


def test_a_caption_that_cannot_be_drawn_has_no_preview(url):
    with pytest.raises(urllib.error.HTTPError) as refused:
        open_link(url, ("caption", "日本"), path="/preview.jpg")
    assert refused.value.code == 400 and "reads English only" in refused.value.read().decode()


@pytest.mark.parametrize("number", ["-5", "1e99", "nan", "inf", "", "x", "999999"])
def test_numbers_in_a_link_are_clamped(number):
    pairs = [("caption", CAPTION), ("seed", number), ("at", f"{number},{number}"), ("attributes", f"{number},9")]
    pairs += [("tile", f"0,{number},{number}"), ("tile", f"{number},1")]
    (request,) = read_link(urlencode(pairs), MODELS, has_weights).requests
    assert len(request.seeds) == 16 and all(0 <= seed <= 999_999 for seed in request.seeds)
    assert all(-1 <= value <= 1 for value in request.attributes)
    assert all(0 <= part <= 1 for point in request.at for part in point)


def test_a_picture_whose_place_has_too_many_digits_is_left_out():
    (request,) = read_link(f"caption=red&tile={'9' * 4301},7&tile=2,7", MODELS, has_weights).requests
    assert request.seeds == [1, 2, 7, *range(4, 17)]


@pytest.mark.parametrize("code", ["", "A", "zz", "GH<b>", "~~~.A", "GZgEA", "." * 20_000, "AA." * 9000, "GIgEA" * 9000])
def test_a_hostile_painting_is_painted_as_far_as_it_is_one(code):
    assert painting.paint(code).size == (512, 512)


FIELDS = ["tab", "model", "caption", "seed", "at", "attributes", "tile", "like", "variety", "parent", "words", "paint"]
TABS = ["draw", "blend", "style", "compare", "search", "field", "flowers"]


@given(st.lists(st.tuples(st.sampled_from(FIELDS), st.one_of(st.text(), st.sampled_from(TABS)))))
def test_any_link_is_read_or_refused(pairs):
    try:
        link = read_link(urlencode(pairs), MODELS, has_weights)
    except t2i.InputError:
        return
    assert len(link.points) == 16 or sum(len(request.seeds) for request in link.requests) == 16


class Pictures:
    """A service that draws grey, counts, and waits if it is told to."""

    models = MODELS
    is_available = staticmethod(has_weights)

    def __init__(self) -> None:
        self.count = 0
        self.may_draw = threading.Event()
        self.may_draw.set()

    def link_pictures(self, link) -> np.ndarray:
        self.may_draw.wait()
        self.count += 1
        return np.full((16, 8, 8, 3), 128, np.uint8)


def test_the_last_cards_are_kept(monkeypatch):
    monkeypatch.setattr(preview, "MAX_CACHED_CARDS", 2)
    cards = LinkCards(Pictures())

    def ask(query: str) -> int:
        assert asyncio.run(cards.answer(query)).status_code == 200
        return cards.service.count

    assert ask("caption=red&seed=1") == ask("seed=1&caption=red&utm_source=x") == 1  # the same pictures
    assert ask("caption=red&seed=2") == 2 and ask("caption=red&seed=3") == 3
    assert ask("caption=red&seed=3") == 3 and ask("caption=red&seed=1") == 4


def test_too_many_previews_at_once_are_refused(monkeypatch):
    monkeypatch.setattr(preview, "MAX_WAITING_CARDS", 3)
    cards = LinkCards(Pictures())
    cards.service.may_draw.clear()

    async def ask() -> list[int]:
        waiting = [asyncio.create_task(cards.answer(f"caption=red&seed={seed}")) for seed in range(4)]
        done, _ = await asyncio.wait(waiting, return_when="FIRST_COMPLETED")
        assert [task.result().status_code for task in done] == [503]
        cards.service.may_draw.set()
        await asyncio.gather(*waiting)
        return (await cards.answer("caption=red&seed=9")).status_code

    assert asyncio.run(ask()) == 200


def test_a_failing_preview_is_logged_and_reported_without_details(monkeypatch, caplog):
    cards = LinkCards(Pictures())
    monkeypatch.setattr(cards.service, "link_pictures", lambda link: 1 / 0)
    answer = asyncio.run(cards.answer("caption=red"))
    assert answer.status_code == 500 and b"zero" not in answer.body and "ZeroDivisionError" in caplog.text


def test_the_page_has_its_own_icon(url):
    icon = urllib.request.urlopen(f"{url}/favicon.ico").read()
    assert icon == (STATIC / "icon.png").read_bytes()
    (small, large) = json.load(urllib.request.urlopen(f"{url}/manifest.json"))["icons"]
    data = urllib.request.urlopen(f"{url}{small['src']}").read()
    assert Image.open(io.BytesIO(data)).size == (192, 192) and large["sizes"] == "512x512"


def test_a_space_that_renders_with_node_has_previews_too(model):
    with served({"flowers": model}, free_port(), GRADIO_SSR_MODE="True") as address:
        assert tags(address, ("caption", CAPTION))["og:title"] == f"“{CAPTION}”"
