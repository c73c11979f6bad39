"""The models of this project, as their `model.json` describes them."""

import json
import os
import re
import subprocess
import sys
from itertools import groupby
from pathlib import Path

import pytest

from t2i import registry
from t2i.errors import InputError
from t2i.registry import MODELS, OBJECTIVES, ModelSpec, comparisons, read_spec
from t2i.web.component import is_offered
from t2i.web.service import Service

ROOT = Path(__file__).parents[1]


def describe(folder: Path, **fields: object) -> Path:
    """The folder, with these fields as its `model.json`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.json").write_text(json.dumps(fields))
    return folder


def test_registered_models_can_stand_in_a_menu():
    for name, spec in MODELS.items():
        assert name == spec.name and re.fullmatch(r"[a-z]+(-[a-z]+)*", name)
        assert spec.title and spec.placeholder and spec.examples and spec.subject
        assert (spec.hub_id is None) == (spec.revision is None)


def test_the_models_to_compare_are_one_for_each_objective():
    prefixes = {"projected": "flowers", "paper": "paper"}
    groups = comparisons(MODELS)
    assert "paper" in groups
    for group, specs in groups.items():
        assert [spec.name for spec in specs] == [f"{prefixes[group]}-{objective}" for objective in OBJECTIVES]


def test_the_main_models_come_first_and_the_papers_own_networks_last():
    groups = [group for group, _ in groupby(MODELS.values(), lambda spec: spec.group)]
    assert groups == [group for group in ("", "For comparison", "The paper's networks") if group in groups]
    assert list(MODELS)[:3] == ["flowers", "birds", "scenes"]


def test_the_menu_leaves_out_the_papers_networks_if_their_weights_are_missing(tiny_model, use_models):
    def offered() -> list[str]:
        service = Service(str(tiny_model))
        return [name for name, spec in service.models.items() if is_offered(service, spec)]

    missing = dict.fromkeys(MODELS)
    use_models(missing)
    assert offered() == ["tiny", "flowers", "birds", "scenes"]
    use_models(missing | {"flowers-paper": tiny_model})
    assert offered() == ["tiny", "flowers", "birds", "scenes", "flowers-paper"]


def test_models_are_sorted_by_their_order(tmp_path):
    for name, order in (("b", 2), ("c", 1), ("a", 10)):
        describe(tmp_path / name, order=order, title=name.upper())
    describe(tmp_path / "0", title="Trained here")
    (tmp_path / "no-model").mkdir()
    models = registry.read_models(tmp_path)
    assert [(name, spec.name, spec.title) for name, spec in models.items()] == [
        ("c", "c", "C"),
        ("b", "b", "B"),
        ("a", "a", "A"),
        ("0", "0", "Trained here"),
    ]


def test_what_a_description_leaves_out_has_defaults(tmp_path):
    assert read_spec(tmp_path) == ModelSpec(tmp_path.name, tmp_path.name)
    folder = describe(tmp_path / "tiny", title="Tiny", examples=["a", "b"], failures=[["c", "d"]])
    spec = read_spec(folder, name="other", title="Other", subject="dots")
    assert spec == ModelSpec("other", "Tiny", subject="dots", examples=("a", "b"), failures=(("c", "d"),))


FIELDS = (
    "title, hub_id, revision, placeholder, examples, short_examples, subject, gallery_captions, failures, paper, "
    "objective, order"
)


@pytest.mark.parametrize(
    "fields, words",
    [
        ({"name": "roses"}, f"has the unknown field 'name'; known: {FIELDS}$"),
        ({"x" * 100: 1}, f"has the unknown field '{'x' * 40}'; known: "),
        ({"title": 3}, "title must be text$"),
        ({"title": None}, "title must be text$"),
        ({"hub_id": ["owner/name"]}, "hub_id must be text or null$"),
        ({"paper": "yes"}, "paper must be true or false$"),
        ({"paper": 1}, "paper must be true or false$"),
        ({"objective": "wgan"}, "unknown objective 'wgan'; allowed: gan, gan-cls, gan-int, gan-int-cls$"),
        ({"examples": "a red flower"}, "examples must be a list of texts$"),
        ({"examples": ["a red flower", 3]}, "examples must be a list of texts$"),
        ({"examples": {"a": "b"}}, "examples must be a list of texts$"),
        ({"gallery_captions": [["a red flower"]]}, "gallery_captions must be a list of texts$"),
        ({"failures": ["a black flower"]}, "failures must be a list of pairs of texts$"),
        ({"failures": [["a black flower"]]}, "failures must be a list of pairs of texts$"),
        ({"failures": [["a", "b", "c"]]}, "failures must be a list of pairs of texts$"),
        ({"failures": [["a", None]]}, "failures must be a list of pairs of texts$"),
    ],
)
def test_a_wrong_field_is_an_input_error_that_names_the_file(tmp_path, fields, words):
    with pytest.raises(InputError, match=f"{tmp_path.name}/model.json: {words}"):
        read_spec(describe(tmp_path, **fields))


@pytest.mark.parametrize(
    "text, words",
    [
        (b"", "is not readable JSON"),
        (b'{"order": 1', "is not readable JSON"),
        (b"\xff\xfe", "is not readable JSON"),
        (b"[" * 100_000, "is not readable JSON"),
        (b"[]", "must be a JSON object"),
        (b"3", "must be a JSON object"),
        (b'{"order": "1"}', "order must be a whole number"),
        (b'{"order": true}', "order must be a whole number"),
        (b'{"order": null}', "order must be a whole number"),
        (b'{"order": 1, "examples": "a rose"}', "examples must be a list of texts"),
    ],
)
def test_a_malformed_file_among_the_models_is_an_input_error_that_names_it(tmp_path, text, words):
    describe(tmp_path / "flowers", order=1)
    (describe(tmp_path / "roses") / "model.json").write_bytes(text)
    with pytest.raises(InputError, match=f"roses/model.json: {words}"):
        registry.read_models(tmp_path)


def run(weights: Path, *command: str) -> subprocess.CompletedProcess:
    """A program whose models are in this folder."""
    environment = os.environ | {"T2I_WEIGHTS": str(weights)}
    return subprocess.run([sys.executable, *command], cwd=ROOT, env=environment, capture_output=True, text=True)


@pytest.mark.parametrize("command", [["-m", "t2i", "draw", "a red flower"], ["app.py"]], ids=" ".join)
def test_the_programs_report_a_malformed_file_in_one_line(tmp_path, command):
    describe(tmp_path / "flowers", order="first")
    done = run(tmp_path, *command)
    assert done.returncode and done.stdout == "" and done.stderr.count("\n") == 1, done.stderr
    assert re.match(r"t2i: \S*/flowers/model.json: order must be a whole number", done.stderr)


def test_a_malformed_file_does_not_break_the_import_of_the_library(tmp_path):
    describe(tmp_path / "flowers", order="first")
    done = run(tmp_path, "-c", "import t2i, t2i.web.app")
    assert done.returncode == 0, done.stderr


def test_a_variable_names_another_folder_of_models(tmp_path, tiny_model):
    describe(tiny_model, order=1, title="Tiny")
    program = "import t2i; from t2i.registry import MODELS; print(*MODELS, t2i.load('tiny').spec.title)"
    done = run(tiny_model.parent, "-c", program)
    assert done.stdout == "tiny Tiny\n", done.stderr
