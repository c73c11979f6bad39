"""Requests to the service: what it refuses, clamps, and answers while a model is loaded."""

import asyncio
import base64
import io
import math
import threading
from urllib.parse import urlencode

import numpy as np
import pytest
from PIL import Image

import t2i
from t2i import registry
from t2i.locate import Checkpoint
from t2i.registry import MODELS, comparisons
from t2i.store import MAX_NETWORK_SIZE
from t2i.studio import load_engine
from t2i.web.component import describe_models, is_offered
from t2i.web.encoding import style_length
from t2i.web.preview import LinkCards
from t2i.web.schemas import (
    PICTURES_PER_PAGE,
    read_caption,
    read_draw_request,
    read_film_kind,
    read_photo,
    read_points,
    read_scale,
    read_sheet,
)
from t2i.web.service import Service, errors_as_json
from t2i.web.tabs.about import read_card
from t2i.web.tabs.compare import _group
from tests.screen import as_uri, ask, decode, save

CAPTION = "a flower with pink petals"


@pytest.mark.parametrize(
    "function",
    ["draw", "match", "png", "compare", "blend", "film", "poster", "blend_poster", "restyle", "style", "embed_photos"],
)
@pytest.mark.parametrize(
    "garbage",
    [
        None,
        "text",
        [1, 2],
        {},
        {"caption": 5},
        {"caption": CAPTION, "seeds": "all"},
        {"caption": CAPTION, "seeds": []},
        {"caption": CAPTION, "attributes": {"0": 1}},
        {"caption": CAPTION, "at": "0.5"},
        {"caption": CAPTION, "like": "A" * 136},
        {"caption": CAPTION, "like": [0.5] * 100},
        {"caption": CAPTION, "parents": 3},
        {"caption": CAPTION, "parents": [{}]},
        {"caption": CAPTION, "parents": ["text", None]},
        {"caption": CAPTION, "parents": [{"captions": [CAPTION], "weights": [0], "z": "A" * 134}] * 2},
        {"caption": CAPTION, "parents": [{"captions": [], "weights": [1], "z": "A" * 134}] * 2},
        {"caption": CAPTION, "model": "../../etc"},
        {"caption": CAPTION, "model": ["flowers"]},
    ],
)
def test_garbage_is_refused_with_a_reason(url, function, garbage):
    answer = ask(url, function, garbage)
    assert set(answer) == {"error"} and " " in answer["error"]


@pytest.mark.parametrize("read", [read_caption, read_points, read_photo, read_scale, read_film_kind, read_sheet])
def test_each_reader_refuses_what_is_no_object(read):
    with pytest.raises(t2i.InputError, match="must be an object"):
        read([CAPTION])


def test_a_style_of_more_numbers_than_any_network_has_is_refused():
    def read(noise_size: int, is_parent: bool):
        style = "A" * style_length(noise_size)
        parents = [{"captions": [CAPTION], "weights": [1], "z": style}] * 2
        fields = {"parents": parents} if is_parent else {"like": style}
        return read_draw_request({"caption": CAPTION} | fields, MODELS)

    assert len(read(MAX_NETWORK_SIZE, False).like) == len(read(MAX_NETWORK_SIZE, True).parents[0].z) == MAX_NETWORK_SIZE
    for is_parent in (False, True):
        with pytest.raises(t2i.InputError, match="at most 4,096 numbers"):
            read(2 * MAX_NETWORK_SIZE, is_parent)


@pytest.mark.parametrize("number", [math.nan, math.inf, -1e308, 10**400, "twelve", None, [], True])
def test_every_number_is_clamped(url, number):
    many = [number] * 99
    answer = ask(url, "draw", {"caption": CAPTION, "seeds": many, "attributes": many, "at": [*many, [number] * 9]})
    assert len(answer["pictures"]) == PICTURES_PER_PAGE
    assert all(0 <= seed <= 999_999 for seed in answer["seeds"])
    answer = ask(url, "png", {"caption": "\ud800 red", "seeds": [number], "scale": number})
    assert Image.open(io.BytesIO(base64.b64decode(answer["file"].split(",")[1]))).format == "PNG"


def test_hostile_photos_are_refused_with_a_reason(url):
    def uri(data: bytes, kind="png") -> str:
        return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"

    large_png = io.BytesIO()
    Image.new("L", (2000, 2000)).save(large_png, "PNG")
    gif = io.BytesIO()
    Image.new("L", (20, 20)).save(gif, "GIF")
    for photo, words in (
        (None, "must be a PNG"),
        ("file:///etc/passwd", "must be a PNG"),
        ("data:image/svg+xml;base64,AAAA", "must be a PNG"),
        ("data:image/png;base64,!!!", "cannot be read"),
        (uri(b""), "cannot be read"),
        (uri(b"\x89PNG\r\n\x1a\n" + b"\0" * 50), "cannot be read"),
        (uri(gif.getvalue()), "cannot be read"),
        (uri(large_png.getvalue()), "larger than 1024 pixels"),
        (uri(b"\0" * 2_001_000), "larger than 2000 kB"),
    ):
        for verb, request in (
            ("restyle", {"photo": photo, "captions": [CAPTION]}),
            ("embed_photos", {"photos": [photo]}),
        ):
            answer = ask(url, verb, request)
            assert words in answer["error"], answer
    small_png = io.BytesIO()
    Image.new("L", (9, 9)).save(small_png, "PNG")
    for photos in ([uri(small_png.getvalue())] * 65, [uri(b"\0" * 2_000_000)] * 4):
        assert "at most 64 photos" in ask(url, "embed_photos", {"photos": photos})["error"]


def test_a_model_without_an_image_encoder_draws_and_refuses_the_rest(tiny_networks, tmp_path, use_models):
    blind = {name: network for name, network in tiny_networks.items() if name != "image_encoder"}
    use_models({"flowers": save(blind, tmp_path / "blind", words="a flower")})
    service = Service("flowers")
    assert service.match({"caption": "a flower"}) == {"matches": []}
    assert "“stock”, “market”" in service.draw({"caption": "the stock market fell"})["hint"]
    photo = as_uri(Image.new("RGB", (9, 9)))
    for verb, request in (
        (service.gallery, {}),
        (service.embed_photos, {"photos": [photo]}),
        (service.search, {"caption": CAPTION, "photos": [photo]}),
        (service.describe, {"photo": photo}),
    ):
        with pytest.raises(t2i.InputError, match="no image encoder"):
            verb(request)


def test_a_child_is_compared_with_the_caption_of_its_nearer_parent(model, use_models):
    use_models({"flowers": model})
    service, studio = Service("flowers"), t2i.load(model)
    captions = CAPTION, "a blue bird"
    parents = service.parents({"pictures": [{"caption": caption, "seeds": [3]} for caption in captions]})["parents"]
    request = {"caption": " × ".join(captions), "parents": parents, "seeds": [*range(1, 17)], "mutation": 0}
    children = studio.breed(read_draw_request(request, MODELS).parents, request["seeds"], mutation=0)
    nearer = [child.captions[0] for child in children]
    assert set(nearer) == set(captions)
    pictures = [Image.fromarray(pixels) for pixels in studio.draw_genomes(children)]
    assert service.match(request)["matches"] == pytest.approx(studio.match(pictures, nearer), abs=0.01)


def test_a_model_of_other_sizes_is_served(model_of_other_sizes, use_models):
    use_models({"flowers": model_of_other_sizes})
    service, studio = Service("flowers"), t2i.load(model_of_other_sizes)
    photo = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8))
    like = service.style({"photo": as_uri(photo)})["like"]
    assert len(like) == style_length(40) == 54
    request = {"caption": CAPTION, "seeds": [7], "at": [[0.5, 0]], "like": like, "attributes": [0.5, 0, 0, 1]}
    [drawn] = service.draw(request, "PNG")["pictures"]
    expected = studio.draw_array(CAPTION, 7, request["attributes"], request["at"], studio.style(photo).clamp(-4, 4))
    assert np.abs(decode(drawn).astype(int) - expected[0]).mean() < 1  # the style is rounded
    parents = service.parents({"pictures": [request, request | {"caption": "an oak"}]})["parents"]
    assert service.draw({"caption": CAPTION, "parents": parents, "mutation": 0.5})["size"] == 32
    blend = {"captions": [CAPTION, "an oak"], "at": [[0.5, 0]]}
    for verb, fields in {
        "field": {"captions": [CAPTION, "an oak"], "at": 0.5, "seeds": [1, 2]},
        "match": request,
        "blend": blend,
        "film": blend | {"kind": "gif"},
        "restyle": {"photo": as_uri(photo), "captions": [CAPTION]},
        "search": {"caption": CAPTION, "photos": [as_uri(photo)]},
        "describe": {"photo": as_uri(photo)},
        "gallery": {},
        "enlarge": request,
        "png": request,
        "poster": request,
    }.items():
        assert "error" not in errors_as_json(lambda: getattr(service, verb)(fields)), verb
    for other in ({"like": "A" * style_length(100)}, {"parents": [parents[0] | {"z": "A" * style_length(100)}] * 2}):
        assert "must be 40 finite numbers" in errors_as_json(lambda: service.draw(request | other))["error"]
    [described] = [model for model in describe_models(service) if model["name"] == "flowers"]
    assert described["style_length"] == len(like)


def test_others_can_draw_while_a_model_is_loaded(model, monkeypatch, use_models):
    use_models({"flowers": model, "other": model})
    monkeypatch.setitem(MODELS, "other", registry.ModelSpec("other", title="Other"))
    service, gate, answers, loaded = Service("flowers"), threading.Event(), [], []
    load = load_engine

    def load_slowly(checkpoint):
        gate.wait()
        loaded.append(checkpoint)
        return load(checkpoint)

    monkeypatch.setattr("t2i.web.service.load_engine", load_slowly)
    request = {"caption": CAPTION, "seeds": [7], "model": "other"}
    people = [threading.Thread(target=lambda: answers.append(service.draw(request))) for _ in range(2)]
    for person in people:
        person.start()
    assert service.draw({"caption": CAPTION, "seeds": [7]})["pictures"] and not answers
    gate.set()
    for person in people:
        person.join()
    assert [answer["model"] for answer in answers] == ["Other", "Other"] and len(loaded) == 1


def test_the_configuration_of_a_model_is_read_once(model, compared, use_models):
    use_models({"flowers": model, **compared, "birds": None})
    service = Service("flowers")
    for name in ("flowers", "paper-gan"):
        assert service.checkpoint(name) is service.checkpoint(name)
    with pytest.raises(t2i.InputError):
        service.checkpoint("birds")


def test_a_model_of_ones_own_is_available_and_others_are_looked_up_once(model, compared, use_models, monkeypatch):
    use_models({"flowers": model, **compared, "paper-gan": None})
    service, looked_up = Service(str(compared["paper-gan-cls"])), []
    assert service.default not in MODELS and is_offered(service, service.models[service.default])
    monkeypatch.setattr("t2i.web.service.Checkpoint", lambda name: looked_up.append(name) or Checkpoint(name))
    for _ in range(2):
        columns = _group(service, "paper", comparisons(service.models)["paper"])["columns"]
        available = {column["name"]: column["isAvailable"] for column in columns}
        assert available[service.default] and available["paper-gan-int"] and not available["paper-gan"]
        drawn = [request.model for request in LinkCards(service).read("tab=compare&caption=red").requests]
        assert drawn == [name for name, is_available in available.items() if is_available]
    assert looked_up.count("paper-gan-int") == 1


def test_the_card_of_a_registered_model_is_here_without_its_weights(model, compared, use_models):
    use_models({"flowers": model, "birds": None})
    (registry.WEIGHTS / "birds" / "README.md").write_text("# Birds")
    own = compared["paper-gan-cls"]
    service = Service(str(own))
    assert read_card(service.documents("birds")) == "# Birds" and service.documents(service.default) == own


def test_no_caption_and_no_photo_is_kept_with_what_was_drawn_from_them(model, use_models):
    use_models({"flowers": model})
    service, photo = Service("flowers"), as_uri(Image.effect_noise((64, 64), 80).convert("RGB"))
    cards, query = LinkCards(service), urlencode({"caption": CAPTION})
    for _ in range(2):
        service.draw({"caption": CAPTION})
        service.field({"captions": [CAPTION], "seeds": [1]})
        service.restyle({"captions": [CAPTION], "photo": photo})
        assert asyncio.run(cards.answer(query)).status_code == 200
    # The first drawing is the service's own; the card has the pictures of the second.
    for cache, count in ((service._drawings, 3), (service._strips, 1), (cards._cards, 1)):
        assert len(cache._values) == count and {len(key) for key in cache._values} == {32}
