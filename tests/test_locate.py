"""From a name to a folder, and from a folder to its networks, some of which another model shares with it."""

import json

import numpy as np
import pytest
import torch

import t2i
import t2i.hub
from t2i import locate, registry, store
from t2i.errors import InputError
from t2i.locate import Checkpoint
from t2i.registry import MODELS, ModelSpec
from tests.screen import save


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A Hub that returns `tmp_path` for everything; the list has what it was asked for."""
    requests = []

    def fetch(hub_id, revision):
        requests.append((hub_id, revision))
        return tmp_path

    monkeypatch.setattr(t2i.hub, "fetch", fetch)
    return requests


def test_a_registered_name_means_the_folder_in_weights(tiny_model, use_models):
    use_models({"flowers": tiny_model})
    assert locate.resolve("flowers").samefile(tiny_model)


def test_a_registered_model_that_is_not_in_weights_is_downloaded_at_its_revision(
    tiny_model, use_models, monkeypatch, tmp_path, hub
):
    spec = ModelSpec("flowers", "Flowers", hub_id="owner/flowers", revision="abc123")
    monkeypatch.setitem(MODELS, "flowers", spec)
    use_models({"flowers": None})
    assert locate.resolve("flowers") == tmp_path
    assert hub == [("owner/flowers", "abc123")]
    use_models({"flowers": tiny_model})
    assert locate.resolve("flowers").samefile(tiny_model)
    assert len(hub) == 1


def test_a_registered_model_that_is_neither_in_weights_nor_on_the_hub_is_an_input_error(use_models, hub):
    use_models({"flowers": None})
    with pytest.raises(InputError, match="flowers/config.json: is missing"):
        locate.resolve("flowers")
    assert not hub


def test_a_folder_is_its_own_name_but_does_not_hide_a_registered_name(monkeypatch, tiny_model, tmp_path, use_models):
    use_models({"flowers": tiny_model})
    monkeypatch.chdir(tmp_path)
    (tmp_path / "flowers").mkdir()
    assert locate.resolve(tmp_path / "flowers") == tmp_path / "flowers"
    assert locate.resolve("./flowers").samefile(tmp_path / "flowers")
    assert locate.resolve("flowers").samefile(tiny_model)


@pytest.mark.parametrize(
    "name, request_", [("owner/repo", ("owner/repo", None)), ("o-w.n/r_1@v1.0", ("o-w.n/r_1", "v1.0"))]
)
def test_any_hub_id_is_downloaded_at_its_revision(name, request_, hub, tmp_path):
    assert locate.resolve(name) == tmp_path
    assert hub == [request_]


@pytest.mark.parametrize("name", ["roses", "", "..x", "/no/such/folder", "owner/repo@", "a b/c", "a\0b", "x" * 5000])
def test_the_error_for_an_unknown_name_lists_the_known_ones(name, hub):
    with pytest.raises(InputError, match="known: flowers, birds, .*, a folder, or a Hub id"):
        locate.resolve(name)
    assert not hub


@pytest.fixture
def variant(tiny_networks, tmp_path):
    """A checkpoint of a generator that shares the text encoder of "flowers"; its hash is not recorded."""
    return save({"generator": tiny_networks["generator"]}, tmp_path / "variant", text_encoder="flowers")


def test_a_text_encoder_is_shared_by_a_registered_name(tiny_model, variant, use_models):
    use_models({"flowers": tiny_model})
    checkpoint = Checkpoint(variant)
    assert checkpoint.owner("text_encoder").folder.samefile(tiny_model)
    assert checkpoint.owner("generator") is checkpoint and checkpoint.folder == variant
    shared, original = (Checkpoint(f).read("text_encoder")["text_encoder"].state_dict() for f in (variant, tiny_model))
    assert all(torch.equal(shared[key], original[key]) for key in original)
    drawn = [t2i.load(folder).draw_array("a red flower") for folder in (variant, tiny_model)]
    assert np.array_equal(*drawn)


def test_the_vocabulary_is_that_of_the_shared_text_encoder(tiny_networks, tmp_path, variant, use_models):
    use_models({"flowers": save(tiny_networks, tmp_path / "learned", words="a red flower")})
    assert Checkpoint(variant).words == {"a", "red", "flower"}


@pytest.mark.parametrize("name", ["roses", "../tiny", "/etc", "owner/repo"])
def test_a_text_encoder_is_shared_by_registered_models_only(tiny_networks, tmp_path, name, hub):
    folder = save({"generator": tiny_networks["generator"]}, tmp_path / "variant", text_encoder=name)
    with pytest.raises(InputError, match=f"must be described, or be one of flowers, .*; not '{name}'; restore it"):
        Checkpoint(folder).read("text_encoder")
    assert not hub


def test_the_image_encoder_is_shared_with_the_text_encoder_unless_the_checkpoint_has_its_own(
    tiny_model, tiny_networks, variant, use_models
):
    use_models({"flowers": tiny_model})
    assert Checkpoint(variant).owner("image_encoder").folder.samefile(tiny_model)
    assert t2i.load(variant).has_image_encoder
    assert not Checkpoint(variant).has("style_encoder")  # it belongs to a generator, not to a text encoder
    store.save(variant, {"image_encoder": tiny_networks["image_encoder"]}, {})
    assert Checkpoint(variant).owner("image_encoder").folder == variant


def test_a_shared_text_encoder_must_be_the_one_of_the_training(tiny_model, tiny_networks, tmp_path, use_models):
    use_models({"flowers": tiny_model})
    shared = locate.shared_text_encoder("flowers")
    variant = save({"generator": tiny_networks["generator"]}, tmp_path / "variant", **shared)
    assert Checkpoint(variant).read("text_encoder")
    text_encoder = type(tiny_networks["text_encoder"])(tiny_networks["text_encoder"].config)
    store.save(tiny_model, {"text_encoder": text_encoder}, {})
    with pytest.raises(InputError, match="was trained with another text encoder than that of 'flowers' here"):
        Checkpoint(variant).read("text_encoder")


def test_a_shared_text_encoder_is_shared_on_under_the_name_of_its_owner(tiny_model, variant, use_models):
    use_models({"flowers": tiny_model, "paper-gan": variant})
    shared = locate.shared_text_encoder("paper-gan")
    assert shared == locate.shared_text_encoder("flowers") and shared["text_encoder"] == "flowers"
    assert shared["sha256"] == {"text_encoder": store.read_config(tiny_model)["sha256"]["text_encoder"]}


def test_sharing_from_a_model_that_shares_is_refused(tiny_model, tiny_networks, tmp_path, variant, use_models):
    use_models({"flowers": tiny_model, "paper-gan": variant})
    chained = save({"generator": tiny_networks["generator"]}, tmp_path / "chained", text_encoder="paper-gan")
    with pytest.raises(InputError, match="shares the text encoder of 'paper-gan', which has none of its own"):
        Checkpoint(chained).read("text_encoder")


def test_a_model_that_shares_with_itself_is_refused(variant, use_models):
    use_models({"flowers": variant})
    with pytest.raises(InputError, match="shares the text encoder of 'flowers', which has none of its own"):
        Checkpoint("flowers").read("text_encoder")


@pytest.mark.parametrize("role", ["generator", "image_encoder", "style_encoder"])
def test_only_the_text_encoder_is_shared_by_name(tiny_model, use_models, role):
    use_models({"flowers": tiny_model})
    config = json.loads((tiny_model / "config.json").read_text())
    (tiny_model / "config.json").write_text(json.dumps(config | {role: "flowers"}))
    with pytest.raises(InputError, match=f"{role} must be described, not named 'flowers'"):
        Checkpoint(tiny_model).read(role)


def test_weights_lie_beside_the_package():
    assert registry.WEIGHTS.name == "weights" and (registry.WEIGHTS.parent / "t2i" / "locate.py").is_file()
