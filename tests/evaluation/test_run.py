"""The whole evaluation on generated data, with a small stand-in for the feature network and a small classifier."""

import json
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from t2i import registry, store
from t2i.__main__ import main
from t2i.data import features, imagefolder
from t2i.errors import InputError
from t2i.evaluation import classifier, report, run, sheet
from t2i.evaluation.run import Evaluation, evaluate
from t2i.metrics.table import METRICS
from t2i.models import CBNGenerator, CBNGeneratorConfig, ImageProjection, TextEncoder, describe
from t2i.models.image_projection import ImageProjectionConfig
from t2i.studio import load


@pytest.fixture
def data(tmp_path, monkeypatch):
    """Thirty test squares of three colours, and six of a fourth to train on."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder, random, lines = tmp_path / "squares", np.random.default_rng(0), []
    folder.mkdir()
    for number, name in enumerate(("red", "green", "blue", "white")):
        for i in range(10 if number < 3 else 6):
            pixels = random.integers(0, 60, (24, 24, 3)) + 180 * np.eye(4)[number, :3]
            Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{name}{i}.png")
            record = {"file_name": f"{name}{i}.png", "captions": [f"a {name} square {i}", f"it is {name}"]}
            lines.append(record | {"class_id": number, "split": "test" if number < 3 else "train"})
    (folder / "metadata.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return folder


@pytest.fixture
def small_features(monkeypatch):
    """Features that are the colours of sixteen places; few seeds, and a small classifier that is trained briefly."""

    def stand_in(images, view=None):
        x = torch.from_numpy(images.astype(np.float32)).permute(0, 3, 1, 2) / 255
        colours = torch.nn.functional.adaptive_avg_pool2d(x, 4).flatten(1)
        return torch.nn.functional.pad(colours, (0, ImageProjectionConfig.features - colours.shape[1]))

    monkeypatch.setattr(features, "features", stand_in)
    monkeypatch.setattr(run, "DIVERSITY_CAPTIONS", 4)
    monkeypatch.setattr(run, "DIVERSITY_SEEDS", 4)
    monkeypatch.setattr(run, "HALFWAY_PAIRS", 10)
    monkeypatch.setattr(classifier, "CHANNELS", (4, 6, 8, 10))
    monkeypatch.setattr(classifier, "EPOCHS", 2)


def save_judge(folder, seed: int):
    torch.manual_seed(seed)
    text, projection = TextEncoder(), ImageProjection()
    store.save(
        folder,
        {"text_encoder": text, "image_projection": projection},
        {"training": {"text_encoder": {"seed": seed}}},
    )
    return folder


FIRST_RUN = {"data": "other.zip", "epochs_done": 9}
SECOND_RUN = {"data": "squares.zip", "epochs_done": 7, "before": FIRST_RUN}
THIRD_RUN = {"objective": "gan-cls", "width": 8, "data": "squares.zip", "epochs_done": 5, "before": SECOND_RUN}


@pytest.fixture
def model(tiny_model):
    training = {"text_encoder": {"seed": 0}, "gan": THIRD_RUN}
    store.save(tiny_model, {"image_projection": ImageProjection()}, {"training": training})
    return tiny_model


def remove_networks(model, *names: str) -> None:
    config = store.read_config(model)
    (model / "config.json").write_text(json.dumps({k: v for k, v in config.items() if k not in names}))


def numbers(value) -> list:
    """All values in nested dicts and lists."""
    if isinstance(value, dict):
        return [n for v in value.values() for n in numbers(v)]
    return [n for v in value for n in numbers(v)] if isinstance(value, list) else [value]


def test_every_metric_is_measured_and_repeats_exactly(model, data, small_features):
    save_judge(model / "judge", 1)
    figures = evaluate(Evaluation(str(model), str(data)))
    assert figures["left_out"] == {} and figures["objective"] == "gan-cls"
    assert figures["epochs"] == 12 and figures["epochs_before"] == {"other.zip": 9}
    assert figures["pictures"] == 30 and figures["model"] == "tiny"
    assert all(math.isfinite(n) for n in numbers(figures) if isinstance(n, (int, float)))
    fidelity = figures["fidelity"]
    assert fidelity["photos"]["kid"] < fidelity["pictures"]["kid"]  # photos resemble photos more
    for name in ("r_precision", "r_precision_within_class"):
        assert 0 <= figures["agreement"]["shuffled"][name] <= 1
    assert figures["diversity"]["seeds_of_a_caption"]["pixels"] > 0
    areas = [
        figures["match"][kind][name] for kind in ("pictures", "photos") for name in ("discriminator", "image_encoder")
    ]
    assert all(0 < area < 1 for area in areas) and len({*areas}) == 4
    scratch, halfway = figures["scratch"], figures["halfway"]
    assert fidelity["floor"]["kid"] > fidelity["photos"]["kid"]  # white squares differ from the test split
    assert min(fidelity["floor"]["frechet"], scratch["pictures"]["kid"], scratch["floor"]["kid"]) > 0
    assert "at_size" not in fidelity  # which is 64
    shares = (scratch["accuracy"], scratch["pictures"]["class"], scratch["photos"]["class"])
    assert all(0 <= share <= 1 for share in (*shares, halfway["captions"]["alike"], halfway["halfway"]["alike"]))
    assert 0 < halfway["pairs"] <= 10 and halfway["halfway"]["seeds"] > 0 and halfway["halfway"]["kid"] > 0
    assert "plain" not in halfway  # without a mean caption, it would be the same
    reconstruction = figures["style"]["redrawn"]
    assert reconstruction["share"] == reconstruction["features"] / reconstruction["seeds"] > 0
    assert 0.5 < figures["style"]["cycle_error"] and 0 <= figures["style"]["background"]["roc"] <= 1
    again = evaluate(Evaluation(str(model), str(data)))
    for key in figures.keys() - {"seconds"}:
        assert figures[key] == again[key], key


def test_a_128_pixel_model_without_a_discriminator_is_measured_at_64_and_at_128(
    model, data, small_features, monkeypatch
):
    sizes, features_of = set(), features.features
    monkeypatch.setattr(features, "features", lambda x, *view: sizes.add(x.shape[1]) or features_of(x, *view))
    generator = CBNGenerator(CBNGeneratorConfig(channels=(4,) * 6)).eval()
    remove_networks(model, "discriminator")
    gan = {"trainer": "projected", "objective": "gan-int-cls", "data": "squares.zip", "steps_done": 1200}
    more = {"training": {"gan": gan}, "caption_mean": store.vector_to_text(torch.zeros(1024))}
    store.save(model, {"generator": generator}, describe({"generator": generator}) | more)
    figures = evaluate(Evaluation(str(model), str(data)))
    assert figures["left_out"].keys() == {"agreement"} and figures["size"] == 128 and sizes >= {64, 128}
    at_size = figures["fidelity"]["at_size"]
    assert at_size["size"] == 128 and {"pictures", "photos", "floor"} < at_size.keys()
    assert figures["match"]["pictures"].keys() == {"image_encoder"}
    assert figures["halfway"]["plain"]["kid"] != figures["halfway"]["halfway"]["kid"]
    lines = report.lines(figures)
    assert "objective: gan-int-cls, 128 pixels" in lines and "epochs: 1,200 steps" in lines
    for metric in METRICS:
        if metric.path.startswith(("fidelity", "scratch", "halfway")):
            assert metric.label in lines


def test_larger_pictures_are_reduced_to_the_means_of_their_pixels():
    pictures = np.random.default_rng(0).integers(0, 256, (3, 128, 128, 3)).astype(np.uint8)
    means = pictures.reshape(3, 64, 2, 64, 2, 3).mean((2, 4))
    assert np.abs(run._at_view_size(pictures) - means).max() <= 0.5
    assert run._at_view_size(pictures[:, :64, :64]) is not None and run._at_view_size(pictures).dtype == np.uint8


def test_an_evaluation_without_newer_metrics_is_still_printed():
    old = {"model": "a", "data": "d", "objective": "gan", "width": 8, "epochs": 3, "left_out": {}}
    old["fidelity"] = {key: {"kid": 0.06, "kid_deviation": 0.001} for key in ("pictures", "photos", "mean_picture")}
    lines = report.lines(old)
    assert "KID × 1000 (photos; mean picture): 60.0 ± 1.0 (60.0; 60.0)" in lines and "epochs: 3" in lines
    assert not [word for word in ("training classes", "scratch", "halfway", "reconstruction") if word in lines]


def test_pictures_without_classes_are_not_classified(model, data, small_features):
    lines = [json.loads(line) for line in (data / "metadata.jsonl").read_text().splitlines()]
    for line in lines:
        del line["class_id"]
    (data / "metadata.jsonl").write_text("\n".join(map(json.dumps, lines)))
    figures = evaluate(Evaluation(str(model), str(data)))
    assert "photos with classes" in figures["left_out"]["scratch"] and figures["halfway"]["halfway"]["seeds"] > 0
    assert "floor" in figures["fidelity"]


def test_what_cannot_be_measured_is_left_out_with_the_reason(model, data, small_features):
    remove_networks(model, "image_projection", "style_encoder", "image_encoder", "discriminator")
    figures = evaluate(Evaluation(str(model), str(data)))
    assert figures["left_out"].keys() == {"retrieval", "agreement", "match", "style"}
    assert "judge" in figures["left_out"]["agreement"]
    assert "left out: style (the model has no style encoder)" in report.lines(figures)


def test_a_damaged_projection_is_an_error_and_not_left_out(model, data, small_features):
    (model / "image_projection.safetensors").write_bytes(b"torn")
    with pytest.raises(InputError, match="image_projection.safetensors: is not the file"):
        evaluate(Evaluation(str(model), str(data)))


@pytest.mark.parametrize("trained, size", [({"seed": 0}, 144), ({"seed": 0, "size": 24}, 24), (None, 144)])
def test_retrieval_reads_photos_at_the_size_of_the_text_encoders_training(
    model, data, small_features, monkeypatch, trained, size
):
    sizes, read = [], imagefolder.read
    monkeypatch.setattr(imagefolder, "read", lambda path, size: sizes.append(size) or read(path, size))
    store.save(model, {}, {"training": {"text_encoder": trained}})
    figures = evaluate(Evaluation(str(model), str(data)))
    assert set(sizes) == {64, classifier.PHOTO_SIZE, size} and figures["precision"] in ("bfloat16", "float32")


def test_a_photo_size_that_is_not_a_number_is_an_error(model, data, small_features):
    store.save(model, {}, {"training": {"text_encoder": {"size": "large"}}})
    with pytest.raises(InputError, match="config.json: training.text_encoder.size must be .* not large"):
        evaluate(Evaluation(str(model), str(data)))


@pytest.mark.parametrize(
    "content",
    [
        b'{"model": "a", "da',
        b"\xff",
        b"[]",
        b"3",
        b"[" * 100_000,
        b'{"retrieval": {"top1": 0.5}}',
        b'{"model": "a", "data": 3}',
        b'{"model": "a", "data": "d", "retrieval": [1]}',
        b'{"model": "a", "data": "d", "retrieval": {"top1": "high", "ap50": 1}}',
        b'{"model": "a", "data": "d", "retrieval": {"top1": 1' + b"0" * 400 + b"}}",
    ],
)
def test_a_damaged_or_foreign_evaluation_is_an_error(tmp_path, content):
    path, document = tmp_path / "weights" / "a" / "evaluation.json", tmp_path / "README.md"
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    document.write_text("<!-- figures -->\n<!-- /figures -->\n")
    with pytest.raises(InputError, match="a/evaluation.json: is not"):
        report.write(document, tmp_path / "weights")


def test_a_judge_of_the_models_own_seed_is_refused(model, data, small_features, tmp_path):
    with pytest.raises(InputError, match="own seed, 0"):
        evaluate(Evaluation(str(model), str(data), judge=str(save_judge(tmp_path / "judge", 0))))


def test_the_command_writes_the_evaluation_and_the_tables(model, data, small_features, tmp_path, capsys):
    weights, document = tmp_path / "weights", tmp_path / "README.md"
    path = weights / "a" / "evaluation.json"
    assert main(["evaluate", str(model), "--data", str(data), "--json", str(path)]) == 0
    assert "cycle error of the style encoder" in capsys.readouterr().out
    figures = json.loads(path.read_text())
    (weights / "b").mkdir()
    for name in ("a", "b"):
        (weights / name / "evaluation.json").write_text(json.dumps(figures | {"model": name}))
    document.write_text("before\n<!-- figures -->\nold\n<!-- /figures -->\nafter\n")
    for _ in range(2):
        report.write(document, weights)
    text = document.read_text()
    assert text.startswith("before\n<!-- figures -->") and text.endswith("<!-- /figures -->\nafter\n")
    assert "old" not in text and "|  | a | b | published |" in text
    assert "| epochs | 12, after 9 on other.zip | 12, after 9 on other.zip |" in text
    document.write_text("no marks")
    with pytest.raises(InputError, match="must have the line"):
        report.write(document, weights)
    with pytest.raises(InputError, match="holds no evaluation.json"):
        report.write(document, tmp_path / "nothing")


def test_the_tables_in_the_repository_are_those_of_the_committed_evaluations(tmp_path):
    if not list(registry.WEIGHTS.glob("*/evaluation.json")):
        pytest.skip("nothing was measured")
    of_models = [path for name in ("README.md", "*.json") for path in registry.WEIGHTS.glob(f"*/{name}")]
    for path in [report.DOCUMENT, report.DOCUMENT.parent / report.STUDY, *of_models]:
        copy = tmp_path / path.relative_to(registry.WEIGHTS.parent)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(path.read_text("utf-8"), "utf-8")
    for page in report.write(tmp_path / "docs" / "evaluation.md", tmp_path / "weights"):
        committed = registry.WEIGHTS.parent / page.relative_to(tmp_path)
        assert page.read_text("utf-8") == committed.read_text("utf-8"), committed


def test_a_card_with_the_marks_gets_the_table_of_its_model(tmp_path):
    weights, document = tmp_path / "weights", tmp_path / "README.md"
    figures = {"data": "d.zip", "objective": "gan", "width": 8, "epochs": 3, "pictures": 9, "seconds": 4}
    figures |= {"hardware": "a core", "precision": "float32"}
    trained = {"trained": {"hardware": "a GPU; a core", "seconds": 9000}}
    for name, more, marks in (("a", trained, "<!-- figures -->old<!-- /figures -->"), ("b", {}, "no marks")):
        (weights / name).mkdir(parents=True)
        (weights / name / "evaluation.json").write_text(json.dumps({"model": name} | figures | more))
        (weights / name / "README.md").write_text(f"# {name}\n{marks}\nend\n")
    (weights / "c").mkdir()
    (weights / "c" / "evaluation.json").write_text(json.dumps({"model": "c"} | figures))  # no card at all
    document.write_text("<!-- figures -->\n<!-- /figures -->\n")
    assert set(report.write(document, weights)) == {document, weights / "a" / "README.md"}
    rows = (weights / "a" / "README.md").read_text().splitlines()
    assert rows[:3] == ["# a", "<!-- figures -->", ""] and rows[-3:] == ["", "<!-- /figures -->", "end"]
    assert rows[3:-3] == [
        "|  | a | published |",
        "| --- | --- | --- |",
        "| objective | gan, n = 8 |  |",
        "| epochs | 3 |  |",
        "| trained on | a GPU; a core, 2.5 h |  |",
        "| measured on | 9 test pictures, a core (float32), 4 s |  |",
    ]
    assert "| trained on | a GPU; a core, 2.5 h | – | – |  |" in document.read_text().splitlines()
    assert (weights / "b" / "README.md").read_text() == "# b\nno marks\nend\n"
    (weights / "b" / "README.md").write_text("<!-- figures --> and no end")
    before = document.read_text()
    with pytest.raises(InputError, match="b/README.md: must have the line"):
        report.write(document, weights)
    assert document.read_text() == before


def test_the_time_of_training_is_reported_if_all_runs_recorded_it(model, data, small_features):
    assert "trained" not in evaluate(Evaluation(str(model), str(data)))
    long, short = {"seconds": 50, "hardware": "one core"}, {"seconds": 7, "hardware": "a GPU"}
    before = SECOND_RUN | short | {"before": FIRST_RUN | long}
    store.save(model, {}, {"training": {"gan": THIRD_RUN | long | {"before": before}}})
    figures = evaluate(Evaluation(str(model), str(data)))["trained"]
    assert figures == {"seconds": 107, "hardware": "one core; a GPU"}


def test_the_sheet_shows_photos_beside_the_models(model, data, tmp_path):
    path = tmp_path / "sheet.png"
    assert main(["evaluate", str(model), str(model), "--data", str(data), "--sheet", str(path)]) == 0
    image, left = Image.open(path), sheet.CAPTION_WIDTH
    assert image.size == (left + 3 * (128 + 8) + 8, 16 + 8 + 8 * (128 + 8) + 8)
    pixels = np.asarray(image)
    a, b = (pixels[24:152, left + 136 * i : left + 136 * i + 128] for i in (1, 2))
    assert (a == b).all() and a.std() > 5 and "a red square 0" in image.text["Description"]


def test_the_sheet_shows_interpolations_by_each_model(model, tmp_path):
    path, studio = tmp_path / "sheet.png", load(model)
    assert main(["evaluate", str(model), "--sheet", str(path), "--between", "a", "b", "--seed", "3"]) == 0
    image, step = Image.open(path), sheet.PICTURE_SIZE + sheet.MARGIN
    assert image.size == (sheet.CAPTION_WIDTH + 8 * step + 8, 24 + 2 * step + 8)
    ways = [studio.blend("a", "b", 8, 3), studio.wander("a", 3, 4, 8)]
    for row, way in enumerate(ways):
        for column in (0, 4, 7):
            left, top = sheet.CAPTION_WIDTH + column * step, 24 + row * step
            shown = image.crop((left, top, left + 128, top + 128))
            drawn = way[column].resize((128, 128), Image.Resampling.LANCZOS)
            assert np.array_equal(np.asarray(shown), np.asarray(drawn)), (row, column)


@pytest.mark.parametrize(
    "words, arguments",
    [
        ("--between needs a MODEL and --sheet", ["flowers", "--between", "a", "b"]),
        ("and no --data", ["flowers", "--between", "a", "b", "--sheet", "x.png", "--data", "gone.zip"]),
        ("Type a few words", ["flowers", "--between", "", "b", "--sheet", "x.png"]),
        ("needs a MODEL and --data", []),
        ("needs a MODEL and --data", ["flowers"]),
        ("no such zip or folder", ["flowers", "--data", "gone.zip"]),
        ("unknown model 'roses'", ["roses", "--data", "gone.zip"]),
        ("not of 2", ["flowers", "flowers", "--data", "gone.zip", "--json", "x.json"]),
    ],
)
def test_mistakes_are_reported_in_one_line(capsys, model, words, arguments, use_models):
    use_models({"flowers": model})
    assert main(["evaluate", *arguments]) == 2
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1


def test_a_data_set_without_a_test_split_is_an_error(model, data, small_features):
    lines = (data / "metadata.jsonl").read_text().replace('"test"', '"train"')
    (data / "metadata.jsonl").write_text(lines)
    with pytest.raises(InputError, match="has 0 test pictures"):
        evaluate(Evaluation(str(model), str(data)))


def test_a_last_batch_of_one_picture_is_matched_too(model, data, small_features):
    images = np.zeros((257, 64, 64, 3), np.uint8)
    inputs = SimpleNamespace(
        networks={"image_encoder": lambda x: x.mean((2, 3)).repeat(1, 4)},
        photos=images, pictures=images, h=torch.rand(257, 12), classes=torch.arange(257), rows=range(257),
    )  # fmt: skip
    assert 0 <= run._match(inputs)["photos"]["image_encoder"] <= 1
