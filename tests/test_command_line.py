"""The command line, hostile input included: one line on standard error, exit code 2, never a traceback."""

import json
import subprocess
import sys
from dataclasses import asdict

import numpy as np
import pytest
from PIL import Image

import t2i
from t2i.__main__ import main


def run(capsys, *arguments) -> tuple[int, str, str]:
    code = main([str(a) for a in arguments])
    told = capsys.readouterr()
    return code, told.out, told.err


def assert_told(capsys, words: str, *arguments, code: int = 2) -> None:
    found, out, err = run(capsys, *arguments)
    assert (found, out) == (code, "") and err.startswith("t2i: ") and err.count("\n") == 1 and words in err, err


def test_draw_writes_a_sheet_that_says_how_it_was_made(capsys, tiny_model, tmp_path):
    path = tmp_path / "new" / "grid.png"
    arguments = ["draw", "a réd flower", "--model", tiny_model, "--seed", 7, "--count", 5, "--out", path]
    assert run(capsys, *arguments) == (0, f"{path}\n", "")
    assert [p.name for p in path.parent.iterdir()] == ["grid.png"]
    sheet = Image.open(path)
    assert sheet.format == "PNG" and sheet.size == (3 * 66 + 2, 2 * 66 + 2)
    assert sheet.text["Description"] == "a réd flower"
    made = {"captions": ["a réd flower"], "seed": 7, "count": 5, "model": str(tiny_model)}
    assert json.loads(sheet.text["t2i"]) == made
    pixels = np.asarray(sheet).astype(int)
    wanted = t2i.load(tiny_model).draw_array("a réd flower", range(7, 12))
    for i, picture in enumerate(wanted):
        y, x = 66 * (i // 3) + 2, 66 * (i % 3) + 2
        assert np.abs(pixels[y : y + 64, x : x + 64] - picture).max() <= 1
    gutters = np.ones(pixels.shape[:2], bool)
    for i in range(5):
        y, x = 66 * (i // 3) + 2, 66 * (i % 3) + 2
        gutters[y : y + 64, x : x + 64] = False
    assert (pixels[gutters] == 255).all()


def test_draw_gives_each_of_several_captions_a_row(capsys, tiny_model, tmp_path):
    path = tmp_path / "grid.png"
    captions = ["a red flower", "a blue flower", "a white one"]
    assert run(capsys, "draw", *captions, "--model", tiny_model, "--count", 2, "--out", path)[0] == 0
    sheet = Image.open(path)
    assert sheet.size == (2 * 66 + 2, 3 * 66 + 2) and sheet.text["Description"].split("\n") == captions
    wanted = t2i.load(tiny_model).draw_array("a white one", 1)[0]
    assert np.abs(np.asarray(sheet)[134:198, 68:132].astype(int) - wanted).max() <= 1


@pytest.mark.parametrize(
    "words, arguments",
    [
        ("--count must be from 1", ["a red flower", "--count", "0"]),
        ("--count must be from 1", ["a red flower", "--count", "1000000"]),
        ("invalid int", ["a red flower", "--count", "many"]),
        ("seed must be from 0", ["a red flower", "--seed", "-1"]),
        ("seed must be from 0", ["a red flower", "--seed", str(2**63)]),
        ("Type a caption", [""]),
        ("Type a caption", ["a red flower", "  "]),
        ("CAPTION", []),
        ("unknown model 'roses'; known: flowers", ["a red flower", "--model", "roses"]),
        ("--out must name a file", ["a red flower", "--out", ""]),
        ("unrecognized arguments", ["a red flower", "--size", "9"]),
    ],
)
def test_draw_tells_mistakes_in_one_line(capsys, monkeypatch, tiny_model, tmp_path, words, arguments):
    monkeypatch.setenv("T2I_FLOWERS", str(tiny_model))
    monkeypatch.chdir(tmp_path)
    assert_told(capsys, words, "draw", *arguments)
    assert not list(tmp_path.glob("*.png*"))


def test_draw_tells_an_unwritable_path(capsys, tiny_model, tmp_path):
    (tmp_path / "file").write_text("kept")
    (tmp_path / "folder").mkdir()
    draw = ["draw", "a red flower", "--model", tiny_model, "--count", 1, "--out"]
    assert_told(capsys, "file", *draw, tmp_path / "file" / "grid.png")
    assert_told(capsys, "folder", *draw, tmp_path / "folder")
    assert_told(capsys, "/proc", *draw, "/proc/grid.png")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "folder", "tiny"]


def test_draw_tells_broken_weights(capsys, tiny_model):
    (tiny_model / "generator.safetensors").write_bytes(b"broken")
    assert_told(capsys, "generator.safetensors", "draw", "a red flower", "--model", tiny_model)


@pytest.mark.parametrize("arguments", [[], ["sing"], ["train"], ["train", "birds"], ["train", "text"]])
def test_an_incomplete_command_is_told(capsys, arguments):
    pytest.importorskip("efficientnet_lite_pytorch")
    assert_told(capsys, "--help tells more", *arguments)


def test_a_dry_run_prints_the_configuration(capsys):
    pytest.importorskip("efficientnet_lite_pytorch")
    from t2i.training.gan import GanTraining
    from t2i.training.text_encoder import TextTraining

    text = ["--data", "d.zip", "--out", "o", "--epochs", 2, "--rate", 5e-4]
    code, out, err = run(capsys, "train", "text", *text, "--dry-run")
    assert (code, err, json.loads(out)) == (0, "", asdict(TextTraining("d.zip", "o", epochs=2, rate=5e-4)))
    gan = ["--data", "d", "--text", "t", "--out", "o", "--objective", "gan"]
    code, out, err = run(capsys, "train", "gan", *gan, "--dry-run")
    assert (code, err, json.loads(out)) == (0, "", asdict(GanTraining("d", "t", "o", objective="gan")))


@pytest.mark.parametrize(
    "words, arguments",
    [
        ("no such zip or folder", []),
        ("--epochs: must be from 1, not 0", ["--epochs", "0"]),
        ("--seed: must be from 0, not -1", ["--seed", "-1"]),
        ("--rate: must be from 0 to 1, not nan", ["--rate", "nan"]),
        ("--batch: invalid int", ["--batch", "1.5"]),
    ],
)
def test_train_tells_mistakes_in_one_line(capsys, tmp_path, words, arguments):
    pytest.importorskip("efficientnet_lite_pytorch")
    assert_told(capsys, words, "train", "text", "--data", tmp_path / "gone.zip", "--out", tmp_path / "out", *arguments)


def test_train_runs_the_training_and_ctrl_c_is_told_in_one_line(capsys, monkeypatch):
    pytest.importorskip("efficientnet_lite_pytorch")
    from t2i.training import gan

    arguments = ["train", "gan", "--data", "d", "--text", "t", "--out", "o", "--width", 8]
    monkeypatch.setattr(gan, "train", lambda config: f"{config.out}, width {config.width}")
    assert run(capsys, *arguments) == (0, "o, width 8\n", "")

    def stopped(config):
        raise KeyboardInterrupt

    monkeypatch.setattr(gan, "train", stopped)
    assert_told(capsys, "stopped", *arguments, code=130)


def test_missing_training_packages_are_told(capsys, monkeypatch):
    for name in [m for m in sys.modules if m.startswith("t2i.training")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr(t2i, "training", raising=False)
    monkeypatch.setitem(sys.modules, "efficientnet_lite_pytorch", None)
    assert_told(capsys, "pip install -r requirements-train.txt", "train", "text", "--data", "d", "--out", "o")


def test_the_module_is_a_program(tiny_model, tmp_path):
    command = [sys.executable, "-m", "t2i", "draw", "a red flower", "--model", tiny_model, "--out", tmp_path / "a.png"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{tmp_path / 'a.png'}\n", "")
    done = subprocess.run([*command, "--count", "0"], capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.startswith("t2i: --count") and done.stderr.count("\n") == 1
