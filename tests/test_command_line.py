"""The command line, hostile input included: one line on standard error, exit code 2, never a traceback."""

import errno
import json
import os
import re
import runpy
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import t2i
from t2i import device
from t2i.__main__ import main
from tests.datasets import write_dataset

ROOT = Path(__file__).parents[1]


def run(capsys, *arguments) -> tuple[int, str, str]:
    code = main([str(a) for a in arguments])
    output = capsys.readouterr()
    return code, output.out, output.err


def assert_error(capsys, words: str, *arguments, code: int = 2) -> None:
    exit_code, out, err = run(capsys, *arguments)
    assert (exit_code, out) == (code, "") and err.startswith("t2i: ") and err.count("\n") == 1 and words in err, err


def test_draw_writes_a_sheet_that_says_how_it_was_made(capsys, tiny_model, tmp_path):
    path = tmp_path / "new" / "grid.png"
    arguments = ["draw", "a réd flower", "--model", tiny_model, "--seed", 7, "--count", 5, "--out", path]
    assert run(capsys, *arguments) == (0, f"{path}\n", "")
    assert [p.name for p in path.parent.iterdir()] == ["grid.png"]
    sheet = Image.open(path)
    assert sheet.format == "PNG" and sheet.size == (3 * 66 + 2, 2 * 66 + 2)
    assert sheet.text["Description"] == "a réd flower"
    metadata = {"captions": ["a réd flower"], "seed": 7, "count": 5, "model": str(tiny_model)}
    assert json.loads(sheet.text["t2i"]) == metadata
    pixels = np.asarray(sheet).astype(int)
    expected = t2i.load(tiny_model).draw_array("a réd flower", range(7, 12))
    for i, picture in enumerate(expected):
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
    expected = t2i.load(tiny_model).draw_array("a white one", 1)[0]
    assert np.abs(np.asarray(sheet)[134:198, 68:132].astype(int) - expected).max() <= 1


@pytest.mark.parametrize(
    "words, arguments",
    [
        ("--count must be from 1", ["a red flower", "--count", "0"]),
        ("--count must be from 1", ["a red flower", "--count", "1000000"]),
        ("invalid int", ["a red flower", "--count", "many"]),
        ("seed must be from 0", ["a red flower", "--seed", "-1"]),
        ("seed must be from 0", ["a red flower", "--seed", str(2**63)]),
        ("Type a few words", [""]),
        ("Type a few words", ["a red flower", "  "]),
        ("CAPTION", []),
        ("unknown model 'roses'; known: flowers", ["a red flower", "--model", "roses"]),
        ("--out must name a file", ["a red flower", "--out", ""]),
        ("unrecognized arguments", ["a red flower", "--size", "9"]),
        ("--out must name a file that ends in .png, not 'red.jpg'", ["a red flower", "--out", "red.jpg"]),
    ],
)
def test_draw_reports_mistakes_in_one_line(capsys, monkeypatch, tiny_model, tmp_path, words, arguments, use_models):
    use_models({"flowers": tiny_model})
    monkeypatch.chdir(tmp_path)
    assert_error(capsys, words, "draw", *arguments)
    assert not list(tmp_path.glob("*.*g*"))


def test_draw_reports_an_unwritable_path(capsys, tiny_model, tmp_path):
    (tmp_path / "file").write_text("a file")
    (tmp_path / "folder").mkdir()
    draw = ["draw", "a red flower", "--model", tiny_model, "--count", 1, "--out"]
    assert_error(capsys, "file", *draw, tmp_path / "file" / "grid.png")
    assert_error(capsys, "folder", *draw, tmp_path / "folder")
    assert_error(capsys, "/proc", *draw, "/proc/grid.png")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "folder", "tiny"]


def test_draw_reports_broken_weights(capsys, tiny_model):
    (tiny_model / "generator.safetensors").write_bytes(b"broken")
    assert_error(capsys, "generator.safetensors", "draw", "a red flower", "--model", tiny_model)


def test_a_full_disk_is_reported_in_one_line(capsys, monkeypatch, tiny_model, tmp_path):
    (tmp_path / "grid.png").write_bytes(b"the old file")

    def fill_disk(path, data):
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(Path, "write_bytes", fill_disk)
    assert_error(capsys, "No space left", "draw", "red", "--model", tiny_model, "--out", tmp_path / "grid.png")
    assert (tmp_path / "grid.png").read_bytes() == b"the old file"


@pytest.fixture
def write(capsys, tiny_model, tmp_path):
    """A function that runs a command on the tiny model and returns the file that it wrote."""

    def write(command, *arguments, out):
        path = tmp_path / out
        assert run(capsys, command, *arguments, "--model", tiny_model, "--out", path) == (0, f"{path}\n", "")
        return path

    return write


@pytest.mark.parametrize(
    "command", [["blend", "a red flower", "ünd blue", "--seed", 5], ["wander", "a red flower", "--to", 9]]
)
@pytest.mark.parametrize("ending", ["gif", "webp", "GIF"])
def test_an_interpolation_becomes_a_film_forward_and_back_that_says_how_it_was_made(write, command, ending):
    film = Image.open(write(*command, "--steps", 5, out=f"film.{ending}"))
    size = 512 if ending == "webp" else 256
    assert film.size == (size, size) and film.n_frames == 8 and film.info["loop"] == 0
    metadata = json.loads(film.info["comment"] if ending != "webp" else film.getexif()[0x010E])
    assert metadata["captions"] == [text for text in command[1:3] if " " in str(text)] and metadata["steps"] == 5
    frames = []
    for i in range(film.n_frames):
        film.seek(i)
        frames.append(np.asarray(film.convert("RGB")).astype(int))
    if ending != "webp":  # WebP blurs such a small difference
        assert np.abs(frames[2] - frames[6]).mean() < np.abs(frames[0] - frames[4]).mean()  # forward and back


def test_an_interpolation_becomes_a_sheet_or_an_mp4(write):
    sheet = Image.open(write("blend", "a red flower", "a blue one", "--steps", 5, out="sheet.png"))
    assert sheet.size == (3 * 66 + 2, 2 * 66 + 2) and sheet.text["Description"] == "a red flower\na blue one"
    av = pytest.importorskip("av")
    with av.open(write("wander", "a red flower", "--steps", 4, out="film.mp4")) as film:
        frames = [frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)]
    assert len(frames) == 4 and frames[0].shape == (512, 512, 3)


def test_mp4_without_its_package_is_reported(capsys, monkeypatch, tiny_model, tmp_path):
    monkeypatch.setitem(sys.modules, "av", None)
    blend = ["blend", "a red flower", "a blue one", "--model", tiny_model, "--out", tmp_path / "film.mp4"]
    assert_error(capsys, "pip install -r requirements-video.txt", *blend)
    assert not (tmp_path / "film.mp4").exists()


def test_restyle_writes_a_row_for_each_photo(write, tmp_path, tiny_model):
    photo = Image.effect_noise((90, 70), 90).convert("RGB")
    photo.save(tmp_path / "one.png")
    Image.new("CMYK", (70, 90)).save(tmp_path / "two.jpg")
    photos = [tmp_path / "one.png", tmp_path / "two.jpg"]
    sheet = Image.open(write("restyle", "a red flower", "a blue one", "a tree", "--photo", *photos, out="s.png"))
    assert sheet.size == (4 * 66 + 2, 2 * 66 + 2)
    assert json.loads(sheet.text["t2i"])["photos"] == ["one.png", "two.jpg"]
    expected = t2i.load(tiny_model).restyle(photo, "a blue one")[0]
    assert np.abs(np.asarray(sheet)[2:66, 134:198].astype(int) - np.asarray(expected)).max() <= 1


def test_search_and_describe_print_the_best_first(capsys, tiny_model, tmp_path):
    (tmp_path / "photos" / "more").mkdir(parents=True)
    for name, colour in (("a.png", "red"), ("more/b.JPG", "blue"), ("c.webp", "white")):
        Image.new("RGB", (70, 70), colour).save(tmp_path / "photos" / name)
    (tmp_path / "photos" / "notes.txt").write_text("no picture")
    code, out, err = run(capsys, "search", "a red flower", tmp_path / "photos", "--model", tiny_model, "--count", 2)
    lines = [line.split("  ", 1) for line in out.splitlines()]
    assert (code, err, len(lines)) == (0, "", 2) and float(lines[0][0]) >= float(lines[1][0])
    photo = tmp_path / "photos" / "a.png"
    code, out, err = run(capsys, "describe", photo, "a red flower", "a blue one", "--model", tiny_model)
    assert (code, err) == (0, "") and {line.split("  ", 1)[1] for line in out.splitlines()} == {
        "a red flower",
        "a blue one",
    }
    scores = [float(line.split()[0]) for line in out.splitlines()]
    assert scores == sorted(scores, reverse=True)


@pytest.mark.parametrize(
    "words, arguments",
    [
        ("contains no pictures: give a picture, or a folder", ["search", "a red flower", "empty"]),
        ("text.jpg: is not a readable picture", ["search", "a red flower", "text.jpg"]),
        ("--count must be from 1", ["search", "a red flower", "text.jpg", "--count", "0"]),
        ("gone.png: no such file", ["describe", "gone.png", "a red flower"]),
        ("CAPTION", ["describe", "gone.png"]),
        ("steps must be a whole number from 2 to 256, not 1", ["wander", "a red flower", "--steps", "1"]),
        (
            "must end in .png, .gif, .webp, .mp4, not '.bmp'",
            ["blend", "a red flower", "a blue one", "--out", "film.bmp"],
        ),
        ("not 'nothing'", ["blend", "a red flower", "a blue one", "--out", "film"]),
        ("CAPTION", ["blend", "a red flower"]),
        ("seed must be from 0", ["wander", "a red flower", "--to", "-1"]),
        ("reads English only", ["blend", "a red flower", "🌸"]),
        ("--photo", ["restyle", "a red flower"]),
        ("gone.jpg: no such file", ["restyle", "a red flower", "--photo", "gone.jpg"]),
        ("text.jpg: is not a readable picture", ["restyle", "a red flower", "--photo", "text.jpg"]),
        ("--out must name a file", ["wander", "a red flower", "--out", ""]),
        ("ends in .png, not 's.gif'", ["restyle", "a red flower", "--photo", "text.jpg", "--out", "s.gif"]),
    ],
)
def test_the_other_commands_report_mistakes_in_one_line(
    capsys, monkeypatch, tiny_model, tmp_path, words, arguments, use_models
):
    use_models({"flowers": tiny_model})
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.jpg").write_text("no picture")
    (tmp_path / "empty").mkdir()
    assert_error(capsys, words, *arguments)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["empty", "text.jpg", "tiny"]


def test_search_skips_unreadable_files_of_a_folder_with_a_message(capsys, tiny_model, tmp_path):
    (tmp_path / "photos").mkdir()
    Image.new("RGB", (70, 70), "red").save(tmp_path / "photos" / "a.png")
    (tmp_path / "photos" / "b.png").write_bytes((tmp_path / "photos" / "a.png").read_bytes()[:60])
    code, out, err = run(capsys, "search", "a red flower", tmp_path / "photos", "--model", tiny_model)
    assert code == 0 and out.count("\n") == 1 and "a.png" in out
    assert err.startswith("skipped: ") and "b.png" in err and err.count("\n") == 1
    (tmp_path / "photos" / "a.png").unlink()
    code, out, err = run(capsys, "search", "a red flower", tmp_path / "photos", "--model", tiny_model)
    assert code == 2 and "none of these pictures can be read: save them anew" in err


@pytest.mark.parametrize("kind", ["zip", "tar", "gztar", "parquet"])
def test_search_looks_into_a_packed_data_set(capsys, tiny_model, tmp_path, kind):
    (tmp_path / "photos" / "more").mkdir(parents=True)
    names = ["a.png", "more/b.avif"]
    for name in names:
        Image.new("RGB", (70, 70), "red").save(tmp_path / "photos" / name)
    if kind == "parquet":
        pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
        pictures = [(tmp_path / "photos" / name).read_bytes() for name in names]
        packed, names = tmp_path / "x.parquet", ["x.parquet, row 1", "x.parquet, row 2"]
        parquet.write_table(pyarrow.table({"image": pictures}), packed)
    else:
        packed = Path(shutil.make_archive(str(tmp_path / "x"), kind, tmp_path / "photos"))
    code, out, err = run(capsys, "search", "a red flower", packed, "--model", tiny_model)
    assert (code, err) == (0, "")
    prefix = tmp_path if kind == "parquet" else packed
    assert {line.split("  ", 1)[1] for line in out.splitlines()} == {f"{prefix}/{name}" for name in names}


def test_search_knows_archives_as_trainings_do(capsys, tiny_model, tmp_path):
    (tmp_path / "photos.bin").write_bytes(b"7z\xbc\xaf\x27\x1c" + bytes(99))
    words = "photos.bin: is packed with 7z, which is not read: unpack it and give the folder"
    assert_error(capsys, words, "search", "a red flower", tmp_path / "photos.bin", "--model", tiny_model)


def test_search_leaves_heic_out_by_name(capsys, tiny_model, tmp_path):
    Image.new("RGB", (70, 70), "red").save(tmp_path / "a.avif")
    (tmp_path / "b.HEIC").write_bytes(b"\0\0\0\x18ftypheic" + bytes(99))
    program = [sys.executable, "-m", "t2i", "search", "a red flower", tmp_path, "--model", tiny_model]
    done = subprocess.run(program, capture_output=True, text=True)
    assert done.returncode == 0 and "a.avif" in done.stdout and "b.HEIC" not in done.stdout
    assert done.stderr == f"{tmp_path}: left out b.HEIC: HEIC needs `pip install pillow-heif`\n"


@pytest.mark.parametrize("arguments", [[], ["sing"], ["train"], ["train", "birds"], ["train", "text"]])
def test_an_incomplete_command_is_reported(capsys, arguments):
    pytest.importorskip("efficientnet_lite_pytorch")
    assert_error(capsys, "--help)", *arguments)


def test_a_dry_run_prints_the_configuration(capsys):
    pytest.importorskip("efficientnet_lite_pytorch")
    from t2i.training.paper import GanTraining
    from t2i.training.text import TextTraining

    text = ["--data", "d.zip", "--out", "o", "--epochs", 2, "--lr", 5e-4]
    code, out, err = run(capsys, "train", "text", *text, "--dry-run")
    assert (code, err, json.loads(out)) == (0, "", asdict(TextTraining("d.zip", "o", epochs=2, lr=5e-4)))
    gan = ["--data", "d", "--text", "t", "--out", "o", "--objective", "gan", "--lr-halve-every", 5]
    code, out, err = run(capsys, "train", "gan", *gan, "--dry-run")
    expected = asdict(GanTraining("d", "t", "o", objective="gan", lr_halve_every=5))
    assert (code, err, json.loads(out)) == (0, "", expected)


def test_a_dry_run_reports_mistakes_too(capsys):
    pytest.importorskip("efficientnet_lite_pytorch")
    gan = ["--data", "d", "--text", "t", "--out", "o", "--objective", "wgan", "--dry-run"]
    assert_error(capsys, "unknown objective 'wgan'; allowed: gan, gan-cls", "train", "gan", *gan)


@pytest.mark.parametrize(
    "words, arguments",
    [
        ("no such zip or folder", []),
        ("--epochs: must be from 1 to 2147483647, not 0", ["--epochs", "0"]),
        ("--seed: must be from 0 to 2147483647, not -1", ["--seed", "-1"]),
        ("--seed: must be from 0 to 2147483647, not 1000000000000000", ["--seed", str(10**15)]),
        ("--batch: must be from 4 to", ["--batch", "3"]),
        ("--lr: must be from 0 to 1, not nan", ["--lr", "nan"]),
        ("--batch: invalid int", ["--batch", "1.5"]),
    ],
)
def test_train_reports_mistakes_in_one_line(capsys, tmp_path, words, arguments):
    pytest.importorskip("efficientnet_lite_pytorch")
    assert_error(capsys, words, "train", "text", "--data", tmp_path / "gone.zip", "--out", tmp_path / "out", *arguments)


@pytest.mark.parametrize("network", ["text", "projected", "gan", "style"])
def test_captions_in_another_alphabet_are_reported_before_training(capsys, monkeypatch, tiny_model, tmp_path, network):
    pytest.importorskip("efficientnet_lite_pytorch")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    data = write_dataset(tmp_path / "squares")
    metadata = (data / "metadata.jsonl").read_text()
    (data / "metadata.jsonl").write_text(re.sub(r'"captions": \[.*?\]', '"captions": ["빨간 꽃"]', metadata))
    options = {"text": [], "style": ["--model", tiny_model]}.get(network, ["--text", tiny_model])
    code, out, err = run(capsys, "train", network, "--data", data, "--out", tmp_path / "out", *options)
    assert (code, out) == (2, "") and not (tmp_path / "out").exists()
    assert err.splitlines()[-1].startswith(f"t2i: {data}: only 0% of the training captions are in the letters")


def test_a_network_too_narrow_to_be_built_is_refused_at_once(capsys):
    pytest.importorskip("efficientnet_lite_pytorch")
    image = ["--data", "d", "--text", "t", "--out", "o", "--width", "1"]
    assert_error(capsys, "--width: must be from 2 to", "train", "image", *image)


def test_train_runs_the_training_and_reports_ctrl_c_in_one_line(capsys, monkeypatch):
    pytest.importorskip("efficientnet_lite_pytorch")
    from t2i.training import paper

    arguments = ["train", "gan", "--data", "d", "--text", "t", "--out", "o", "--width", 8]
    monkeypatch.setattr(paper, "train", lambda config: f"{config.out}, width {config.width}")
    assert run(capsys, *arguments) == (0, "o, width 8\n", "")

    def stopped(config):
        raise KeyboardInterrupt

    monkeypatch.setattr(paper, "train", stopped)
    assert_error(capsys, "stopped", *arguments, code=130)


def test_sigterm_ends_a_training_with_its_state_saved(tmp_path):
    pytest.importorskip("efficientnet_lite_pytorch")
    data, out = write_dataset(tmp_path / "squares"), tmp_path / "out"
    command = [sys.executable, "-m", "t2i", "train", "text", "--data", data, "--out", out, "--batch", "4"]
    environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    with subprocess.Popen([str(part) for part in command], stderr=subprocess.PIPE, text=True, env=environment) as train:
        while not (out / "log.jsonl").exists():
            assert train.poll() is None
            time.sleep(0.05)
        train.terminate()
        err = train.communicate(timeout=60)[1]
    assert train.returncode == 128 + signal.SIGTERM and "Traceback" not in err
    assert err.splitlines()[-1] == "t2i: stopped; a training resumes when its command is repeated"
    assert not list(tmp_path.rglob("*.part"))
    assert torch.load(out / "state.pt", weights_only=True)["step"] >= 6


def test_sigterm_removes_a_file_that_is_being_written(tmp_path):
    program = (
        "import signal, sys\nfrom pathlib import Path\nfrom t2i import __main__, store\n"
        "def write(options):\n"
        "    store.write(Path(sys.argv[1]), lambda partial: [partial.touch(), signal.raise_signal(signal.SIGTERM)])\n"
        "__main__._publish = write\nsys.exit(__main__.main(['publish', 'there', 'owner/name']))"
    )
    done = subprocess.run([sys.executable, "-c", program, tmp_path / "file"], capture_output=True, text=True)
    assert done.returncode == 143 and done.stderr.startswith("t2i: stopped") and not list(tmp_path.iterdir())


def test_characters_that_the_output_lacks_are_escaped(tiny_model, tmp_path):
    names = ["blüte.png", os.fsdecode(b"\xff.png")]
    for name in names:
        Image.new("RGB", (70, 70), "red").save(tmp_path / name)
    program = [sys.executable, "-m", "t2i", "search", "a rosé flower", *names, "--model", tiny_model]
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    done = subprocess.run(program, capture_output=True, cwd=tmp_path, env=environment | {"PYTHONPATH": str(ROOT)})
    assert (done.returncode, done.stderr) == (0, b"")
    assert {line.split(b"  ")[1] for line in done.stdout.splitlines()} == {rb"bl\xfcte.png", rb"\udcff.png"}


@pytest.mark.parametrize("command", ["evaluate", "bench"])
def test_measurements_are_written_before_they_are_printed(capsys, monkeypatch, tmp_path, command):
    pytest.importorskip("efficientnet_lite_pytorch")
    from t2i.bench import engine
    from t2i.evaluation import report
    from t2i.evaluation import run as evaluation

    def fill_disk(measurements):
        raise OSError(errno.ENOSPC, "No space left on device", "the output")

    monkeypatch.setattr(evaluation, "evaluate", lambda config: {"kid": 0.1})
    monkeypatch.setattr(engine, "run", lambda model: {"kid": 0.1})
    monkeypatch.setattr(report, "lines", fill_disk)
    monkeypatch.setattr(engine, "table", fill_disk)
    arguments = {"evaluate": ["tiny", "--data", "d"], "bench": ["engine"]}[command]
    assert run(capsys, command, *arguments, "--json", tmp_path / "a.json")[0] == 2
    assert json.loads((tmp_path / "a.json").read_text()) == {"kid": 0.1}


def test_missing_training_packages_are_reported(capsys, monkeypatch):
    for name in [m for m in sys.modules if m.startswith(("t2i.training", "t2i.data"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr(t2i, "training", raising=False)
    monkeypatch.setitem(sys.modules, "efficientnet_lite_pytorch", None)
    assert_error(capsys, "pip install -r requirements-train.txt", "train", "text", "--data", "d", "--out", "o")


def test_every_command_sets_the_threads_and_importing_sets_none():
    program = (
        "import sys, torch\ntorch.set_num_threads(5)\nfrom t2i import __main__, device\n"
        "device.usable_cores = lambda: 3\nprint(torch.get_num_threads())\n"
        "__main__._publish = lambda options: print(torch.get_num_threads())\n"
        "sys.exit(__main__.main(['publish', 'there', 'owner/name']))"
    )
    for variable, output in (({}, "5\n3\n"), ({"OMP_NUM_THREADS": "1"}, "5\n5\n")):
        others = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=others | variable)
        assert done.stdout.startswith(output), done


def test_the_module_runs_as_a_program(tiny_model, tmp_path):
    command = [sys.executable, "-m", "t2i", "draw", "a red flower", "--model", tiny_model, "--out", tmp_path / "a.png"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{tmp_path / 'a.png'}\n", "")
    done = subprocess.run([*command, "--count", "0"], capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.startswith("t2i: --count") and done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "variable, value, words",
    [
        ("PORT", "abc", "PORT must be a number from 1 to 65535, not 'abc'"),
        ("PORT", "70000", "PORT must be a number from 1 to 65535, not '70000'"),
        ("MODEL", "no/such/folder", "unknown model 'no/such/folder'; known: flowers, "),
    ],
)
def test_the_app_reports_wrong_settings_in_one_line(monkeypatch, variable, value, words):
    monkeypatch.setattr(device, "use_cores", lambda: None)
    monkeypatch.setenv(variable, value)
    with pytest.raises(SystemExit, match=f"^t2i: {words}") as exit_:
        runpy.run_path(str(ROOT / "app.py"))
    assert "\n" not in str(exit_.value)


def test_export_writes_onnx_files_and_prints_their_paths(capsys, tiny_model, tmp_path):
    code, out, _ = run(capsys, "export", tiny_model, "--onnx", tmp_path / "onnx")
    paths = [Path(line) for line in out.splitlines()]
    assert code == 0 and len(paths) == 4 and paths[-1] == tmp_path / "onnx" / "manifest.json"
    assert all(path.stat().st_size for path in paths)
