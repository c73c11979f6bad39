"""The API events, called by a program."""

import gradio_client
import numpy as np
import pytest
from PIL import Image

import t2i
from t2i.registry import MODELS
from tests.screen import as_uri, decode

CAPTION = "a flower with pink petals"


@pytest.fixture(scope="module")
def client(url):
    return gradio_client.Client(url, verbose=False)


def test_there_are_six_api_events(client):
    events = client.view_api(return_format="dict")["named_endpoints"]
    assert list(events) == ["/draw", "/blend", "/restyle", "/compare", "/search", "/describe"]
    for event, arguments in (
        ("/draw", ["", [1]]),
        ("/blend", [["one"], [[0.5]]]),
        ("/restyle", ["no photo", [CAPTION]]),
        ("/compare", [CAPTION, [1], ["roses"]]),
        ("/search", [CAPTION, []]),
        ("/describe", ["no photo"]),
    ):
        assert " " in client.predict(*arguments, api_name=event)["error"]


def test_the_event_draw_returns_the_studios_pictures(client, model):
    at = [[0.5, 0.25], [0, 1]]
    answer = client.predict(CAPTION, [7, 8], [0.5, 0, 0, 0], "flowers", at, api_name="/draw")
    studio = t2i.load(model)
    drawn = studio.draw_array(CAPTION, [7, 8], [0.5, 0, 0, 0], at)
    expected = studio.match([Image.fromarray(picture) for picture in drawn], CAPTION)
    assert answer["matches"] == pytest.approx(expected, abs=0.02)
    for data, wanted in zip(answer["pictures"], drawn, strict=True):
        assert np.abs(decode(data).astype(int) - wanted).max() <= 1


def test_the_event_blend_returns_the_studios_pictures(client, model):
    answer = client.predict([CAPTION, "a blue bird"], [[0, 0], [1, 0]], 7, api_name="/blend")
    drawn = t2i.load(model).draw_array([CAPTION, "a blue bird"], 7)
    for data, wanted in zip(answer["pictures"], drawn, strict=True):
        assert np.abs(decode(data).astype(int) - wanted).max() <= 1


def test_the_event_restyle_returns_the_studios_pictures(client, model):
    photo = Image.effect_noise((90, 70), 80).convert("RGB")
    answer = client.predict(as_uri(photo), [CAPTION, "a blue bird"], api_name="/restyle")
    painted = t2i.load(model).restyle_array(photo, [CAPTION, "a blue bird"])
    for data, wanted in zip(answer["pictures"], painted, strict=True):
        assert np.abs(decode(data).astype(int) - wanted).max() <= 1


def test_the_style_that_restyle_returns_is_accepted_by_draw(client, model):
    photo = Image.effect_noise((90, 70), 80).convert("RGB")
    like = client.predict(as_uri(photo), [CAPTION], api_name="/restyle")["like"]
    answer = client.predict("a blue bird", [7, 8], like=like, api_name="/draw")
    studio = t2i.load(model)
    drawn = studio.draw_array("a blue bird", [7, 8], like=studio.style(photo).clamp(-4, 4))
    for data, wanted in zip(answer["pictures"], drawn, strict=True):
        assert np.abs(decode(data).astype(int) - wanted).mean() < 2  # 8 bits a number


def test_the_events_search_and_describe_rank_as_the_studio_does(client, model):
    studio = t2i.load(model)
    photos = [Image.effect_noise((90, 70), sigma).convert("RGB") for sigma in (5, 40, 90)]
    expected = studio.match(photos, CAPTION)
    answer = client.predict(CAPTION, [as_uri(photo) for photo in photos], api_name="/search")
    matches = [hit["match"] for hit in answer["found"]]
    assert matches == sorted(matches, reverse=True)
    assert {hit["photo"]: hit["match"] for hit in answer["found"]} == pytest.approx(dict(enumerate(expected)), abs=0.02)

    captions = [CAPTION, "a blue bird", "an oak"]
    answer = client.predict(as_uri(photos[0]), captions, api_name="/describe")
    order = [caption for caption, _ in studio.describe(photos[0], captions)]
    assert [hit["caption"] for hit in answer["found"]] == order
    assert {hit["caption"]: hit["match"] for hit in answer["found"]}[CAPTION] == pytest.approx(expected[0], abs=0.02)
    ranked = client.predict(as_uri(photos[0]), api_name="/describe")["found"]
    assert {hit["caption"] for hit in ranked} == {*MODELS["flowers"].examples, *MODELS["flowers"].gallery_captions}
