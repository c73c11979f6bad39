"""Models and the Space uploaded to a small local Hub, and their cards."""

import io
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import gradio
import numpy as np
import pytest
from huggingface_hub import ModelCard, SpaceCard
from PIL import Image

import t2i
from t2i import publish, store
from t2i.__main__ import main
from t2i.locate import Checkpoint
from t2i.media import poster
from t2i.registry import MODELS, WEIGHTS
from tests.weights import has_weights

ROOT = Path(__file__).parents[1]
CARD = "---\nlicense: mit\npipeline_tag: text-to-image\ntags: [gan]\ndatasets: [flowers]\n---\n# tiny\n"
EVALUATION = {"retrieval": {"top1": 0.65281, "ap50": 0.0}, "fidelity": {"pictures": {"kid": 0.06}}}
EVALUATION["scratch"] = {"pictures": {"kid": 0.3, "class": 0.25}}


@pytest.fixture
def folder(tiny_model) -> Path:
    """A model to publish; files of its training are beside it."""
    (tiny_model / "README.md").write_text(CARD)
    (tiny_model / "evaluation.json").write_text(json.dumps(EVALUATION))
    for name in ("state.pt", "log.jsonl", ".generator.safetensors.part"):
        (tiny_model / name).write_text("must not be uploaded")
    return tiny_model


def test_a_published_model_is_loaded_from_the_hub_and_draws_the_same(hub, folder, tiny_networks, capsys):
    assert main(["publish", str(folder), "owner/tiny"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith(f"{hub.url}/owner/tiny/commit/")
    assert set(hub.files("owner/tiny")) == {
        "README.md",
        "config.json",
        "evaluation.json",
        *(f"{role}.safetensors" for role in tiny_networks),
    }
    remote, local = t2i.load("owner/tiny"), t2i.load(folder)
    assert np.array_equal(remote.draw_array("a red flower", [1, 2]), local.draw_array("a red flower", [1, 2]))


def test_the_card_has_the_measured_metrics(hub, folder):
    publish.upload(publish.model_files(folder), "owner/tiny")
    text = hub.files("owner/tiny")["README.md"].decode()
    data = ModelCard(text).data
    assert text.endswith("# tiny\n") and (data.license, data.tags, data.model_name) == ("mit", ["gan"], "tiny")
    metrics = {result.metric_type: result.metric_value for result in data.eval_results}
    from_scratch = {"kid-from-scratch": 0.3, "class-accuracy": 0.25}
    assert metrics == {"accuracy": 0.6528, "ap50": 0.0, "kid": 0.06} | from_scratch  # and none that was not measured


def test_a_published_card_links_only_to_the_web_and_to_its_own_files(folder):
    links = "[one](../flowers/README.md), [two](https://arxiv.org/abs/1605.05396), [three](config.json)"
    (folder / "README.md").write_text(CARD.replace("[flowers]", "squares") + links)
    text = publish.model_card(folder).decode()
    assert "one, [two](https://arxiv.org/abs/1605.05396), [three](config.json)" in text
    assert ModelCard(text).data.eval_results[0].dataset_name == "squares"  # a name alone will do, too


@pytest.mark.parametrize("content", ['{"retrieval": {"to', "[]", '{"retrieval": 3}', '{"retrieval": {"top1": "high"}}'])
def test_a_broken_evaluation_is_an_input_error(folder, capsys, content):
    (folder / "evaluation.json").write_text(content)
    assert main(["publish", str(folder), "owner/tiny", "--dry-run"]) == 2
    assert "evaluation.json: is not what `evaluate --json` writes" in capsys.readouterr().err


def test_publishing_again_uploads_only_what_changed(hub, folder):
    publish.upload(publish.model_files(folder), "owner/tiny")
    config = store.read_config(folder)
    store.save(folder, {}, config | {"attributes": [["Size", "small", "large"]]})
    hub.requests.clear()
    publish.upload(publish.model_files(folder), "owner/tiny")
    assert Checkpoint("owner/tiny").attributes[0].name == "Size"
    assert not [line for line in hub.requests if line.startswith("PUT")]  # the weights have not changed


def test_a_dry_run_lists_the_sizes_and_uploads_nothing(hub, folder, capsys):
    assert main(["publish", str(folder), "owner/tiny", "--dry-run"]) == 0
    sizes = dict(reversed(line.split(maxsplit=1)) for line in capsys.readouterr().out.splitlines())
    assert sizes["generator.safetensors"] == f"{(folder / 'generator.safetensors').stat().st_size:,}"
    assert "state.pt" not in sizes and not hub.requests


@pytest.mark.parametrize(
    "damage, words",
    [
        (lambda folder: shutil.rmtree(folder), "no such folder"),
        (lambda folder: (folder / "README.md").unlink(), "README.md: is missing.*license, tags, datasets"),
        (lambda folder: (folder / "README.md").write_text("# no front matter"), "must have license, tags, datasets"),
        (lambda folder: (folder / "README.md").write_text(CARD.replace("license: mit\n", "")), "must have license$"),
        (lambda folder: (folder / "README.md").write_text("---\n[\n---\n"), "cannot be read"),
        (lambda folder: (folder / "config.json").unlink(), "config.json: is missing"),
        (lambda folder: (folder / "generator.safetensors").write_bytes(b"?"), "generator.safetensors: is not the file"),
        (
            lambda folder: (folder / "more.safetensors").write_bytes(b"?"),
            "records no SHA-256 of more.safetensors; restore it",
        ),
    ],
)
def test_a_model_that_cannot_be_published_is_refused(hub, folder, capsys, damage, words):
    damage(folder)
    assert main(["publish", str(folder), "owner/tiny"]) == 2
    assert re.search(words, capsys.readouterr().err.strip()) and not hub.requests


@pytest.mark.parametrize(
    "arguments",
    [
        "owner/tiny",
        "{folder} tiny",
        "{folder} o/n@main",
        "{folder} --space o/n",
        "{folder} o/n --pip-index https://example.org",
    ],
)
def test_a_wrong_command_is_refused_in_one_line(folder, capsys, arguments):
    assert main(["publish", *arguments.format(folder=folder).split(), "--dry-run"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("status, words", [(403, "refuses access"), (500, "status 500"), (429, "too many requests")])
def test_an_error_status_of_the_hub_is_an_input_error(hub, folder, status, words):
    hub.faults["/api/repos/create"] = [status] * 9
    with pytest.raises(t2i.InputError, match=words):
        publish.upload(publish.model_files(folder), "owner/tiny")


def space_files():
    return publish.space_files("owner/page").items()


def test_the_spaces_thumbnail_has_an_address(hub):
    assert main(["publish", "--space", "owner/page"]) == 0
    files = hub.files("owner/page", "spaces")
    thumbnail = SpaceCard(files["README.md"].decode()).data.thumbnail
    name = thumbnail.removeprefix("https://huggingface.co/spaces/owner/page/resolve/main/")
    assert Image.open(io.BytesIO(files[name])).size == poster.CARD_SIZE
    assert SpaceCard.load(ROOT / "README.md").data.thumbnail == name


PIP_INDEX = "https://example.org/packages/cpu"


def test_a_space_with_an_index_of_its_own_installs_torch_without_cuda(hub, capsys):
    assert main(["publish", "--space", "owner/page", "--pip-index", PIP_INDEX]) == 0
    assert "CUDA" not in capsys.readouterr().err
    first, torch, *rest = hub.files("owner/page", "spaces")["requirements.txt"].decode().splitlines()
    expected_torch, *expected_rest = (ROOT / "requirements.txt").read_text().splitlines()
    assert first == f"--extra-index-url {PIP_INDEX}"
    assert torch == f"{expected_torch}+cpu" and expected_torch.startswith("torch==") and rest == expected_rest


def test_a_space_without_a_gpu_is_told_that_it_installs_cuda(capsys):
    assert main(["publish", "--space", "owner/page", "--dry-run"]) == 0
    note = capsys.readouterr().err
    assert note.count("\n") == 1 and all(word in note for word in ("owner/page", "CUDA", "--pip-index", "pytorch.org"))
    files = dict(space_files())
    assert files["requirements.txt"].read_bytes() == (ROOT / "requirements.txt").read_bytes()
    assert not publish.is_without_gpu({"README.md": files["README.md"].replace(b"cpu-basic", b"t4-small")})


@pytest.mark.parametrize(
    "address",
    ["", "http://example.org/cpu", "example.org", "https://", "https://me:secret@example.org", f"{PIP_INDEX}\n--pre"],
)
def test_only_an_https_address_is_a_package_index(address, capsys):
    assert main(["publish", "--space", "owner/page", "--dry-run", "--pip-index", address]) == 2
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1 and "--pip-index must be" in captured.err and not captured.out


def test_the_space_gets_the_app_and_its_models_and_nothing_else(hub, capsys):
    assert main(["publish", "--space", "owner/page"]) == 0
    files = hub.files("owner/page", "spaces")
    assert files == {name: data if isinstance(data, bytes) else data.read_bytes() for name, data in space_files()}
    assert {"app.py", "README.md", "requirements.txt", "t2i/web/static/page.css"} < set(files)
    assert "t2i/models/image_projection.py" in files  # every network's code, because the registry of types imports it
    assert {f"weights/flowers/{name}" for name in ("config.json", "evaluation.json", "README.md")} < set(files)
    unneeded = r"^(tests|runs|t2i/training|t2i/evaluation)/|/judge/|(discriminator|image_projection)\.s|\.pyc$|(^|/)\."
    assert not [name for name in files if re.search(unneeded, name)]
    assert sum(map(len, files.values())) < 20_000_000 * len(MODELS)


def test_the_space_gets_the_card_and_figures_of_a_model_whose_weights_are_on_the_hub(monkeypatch):
    monkeypatch.setitem(MODELS, "flowers", replace(MODELS["flowers"], hub_id="owner/flowers"))
    names = {name for name, _ in space_files() if name.startswith("weights/flowers/") and not name.endswith(".webp")}
    assert names == {f"weights/flowers/{name}" for name in ("model.json", "evaluation.json", "README.md")}


def test_a_dry_run_lists_exactly_the_files_of_the_space(capsys):
    assert main(["publish", "--space", "owner/page", "--dry-run"]) == 0
    lines = [line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines()]
    sizes = {name: len(f) if isinstance(f, bytes) else f.stat().st_size for name, f in space_files()}
    assert {name: int(size.replace(",", "")) for size, name in lines if name in sizes} == sizes
    assert len(lines) == len(sizes) + 1  # a line for the total


def test_the_cards_of_this_repository_can_be_published():
    for name in filter(has_weights, MODELS):
        data = ModelCard(publish.model_card(WEIGHTS / name).decode()).data
        assert data.eval_results and data.license == "mit" and data.pipeline_tag in data.tags


def test_the_readme_is_a_whole_space_card():
    data = SpaceCard.load(ROOT / "README.md").data
    pins = dict(line.split("==") for line in (ROOT / "requirements.txt").read_text().split())
    assert data.sdk == "gradio" and data.sdk_version == pins["gradio"] == gradio.__version__
    assert (ROOT / data.app_file).is_file() and str(data.python_version) == "3.11"
    assert {data.colorFrom, data.colorTo} <= {"red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray"}
    assert data.title and data.emoji and data.license == "mit" and data.tags and data.suggested_hardware == "cpu-basic"
    assert 0 < len(data.short_description) <= 60
    assert set(data.models or []) == {spec.hub_id for spec in MODELS.values() if spec.hub_id}


def test_the_lock_and_the_licences_cover_every_requirement():
    pins = dict(line.split("==") for line in (ROOT / "requirements.txt").read_text().split())
    line = r"^([\w-]+)==(\S+) --hash=sha256:[0-9a-f]{64}$"
    locked = dict(re.findall(line, (ROOT / "requirements.lock").read_text(), re.M))
    licensed = dict(re.findall(r"^\| ([\w-]+) \| (\S+) \| \S", (ROOT / "LICENSES.md").read_text(), re.M))
    locked, licensed = ({n.lower().replace("_", "-"): v for n, v in table.items()} for table in (locked, licensed))
    torch = {"torch": pins.pop("torch")}  # of many builds: not locked
    assert pins.items() <= locked.items() and locked | torch == {n: v for n, v in licensed.items() if n != "package"}
