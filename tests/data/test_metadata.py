"""Metadata in all forms of the Hub's imagefolder convention: which pictures, captions, classes and splits it tells."""

import csv
import json

import pyarrow
import pyarrow.parquet
import pytest
from PIL import Image

from t2i.data import imagefolder
from t2i.errors import InputError

COLOURS = ("red", "green", "blue", "white")


def write(folder, rows, kind="jsonl", pictures=True):
    """A folder with these rows in metadata.jsonl, .csv or .parquet, and a picture for each."""
    folder.mkdir(parents=True, exist_ok=True)
    for i, row in enumerate(rows):
        if pictures and "file_name" in row:
            (folder / row["file_name"]).parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (12, 12), (10 * i, 99, 99)).save(folder / row["file_name"])
    file = folder / f"metadata.{kind}"
    if kind == "jsonl":
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif kind == "parquet":
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), file)
    else:
        with open(file, "w", newline="", encoding="utf-8") as opened:
            writer = csv.DictWriter(opened, list(dict.fromkeys(field for row in rows for field in row)))
            writer.writeheader()
            writer.writerows(rows)
    return folder


def read(folder):
    return imagefolder.read(folder, 8)


@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet"])
@pytest.mark.parametrize("field", ["captions", "text", "caption"])
@pytest.mark.parametrize("as_list", [False, True])
def test_every_kind_of_metadata_gives_the_same_records(tmp_path, kind, field, as_list):
    captions = [f"a {colour} square, plain" for colour in COLOURS]
    rows = [
        {"file_name": f"{i}.png", field: [caption] if as_list else caption, "split": "test" if i == 3 else "train"}
        for i, caption in enumerate(captions)
    ]
    dataset = read(write(tmp_path / "data", [row | {"class_id": i % 2} for i, row in enumerate(rows)], kind))
    assert dataset.captions == tuple((caption,) for caption in captions)
    assert dataset.splits.tolist() == ["train"] * 3 + ["test"] and dataset.classes.tolist() == [0, 1, 0, 1]


@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet"])
def test_each_split_may_have_a_folder_with_metadata_of_its_own(tmp_path, kind):
    for split, names in (("train", ("1.png", "more/2.png")), ("validation", ("1.png",)), ("test", ("1.png",))):
        write(tmp_path / "data" / split, [{"file_name": n, "text": f"{split} {n}"} for n in names], kind)
    dataset = read(tmp_path / "data")
    splits = {caption: str(split) for (caption,), split in zip(dataset.captions, dataset.splits)}
    assert splits == {
        "train 1.png": "train",
        "train more/2.png": "train",
        "validation 1.png": "val",
        "test 1.png": "test",
    }


@pytest.mark.parametrize("prefix", ["", "data/"])
def test_metadata_at_the_top_may_name_pictures_in_the_folders_of_splits(tmp_path, prefix):
    names = [f"{prefix}{split}/{i}.png" for split in ("train", "test") for i in range(2)]
    dataset = read(write(tmp_path / "data", [{"file_name": name, "text": "a square"} for name in names]))
    assert dataset.splits.tolist() == ["train", "train", "test", "test"]


def test_metadata_in_a_folder_may_name_pictures_from_the_top_or_beside_it(tmp_path):
    for name in ("train/1.png", "images/2.png"):
        write(tmp_path / "data", [{"file_name": name, "text": "a square"}])
    (tmp_path / "data" / "metadata.jsonl").unlink()
    rows = [{"file_name": "train/1.png", "text": "one"}, {"file_name": "../images/2.png", "text": "two"}]
    rows = [row | {"split": "train"} for row in rows]
    assert len(read(write(tmp_path / "data" / "train", rows, pictures=False).parent).captions) == 2


def test_only_the_metadata_at_the_top_is_read_if_there_is_one(tmp_path):
    write(tmp_path / "data" / "old", [{"file_name": "1.png", "text": "old"}])
    assert read(write(tmp_path / "data", [{"file_name": "1.png", "text": "new"}])).captions == (("new",),)


@pytest.mark.parametrize(
    "words, expected",
    [
        (["train", "validation", "test"], ["train", "val", "test"]),
        (["Train", "VAL", "Testing"], ["train", "val", "test"]),
        (["train", "train", "validation"], ["train", "train", "test"]),
        (["train", "train", "val"], ["train", "train", "val"]),  # as ever: trainings in progress have read it so
    ],
)
def test_validation_is_measured_on_if_there_is_no_test_split(tmp_path, caplog, words, expected):
    rows = [{"file_name": f"{i}.png", "text": "a square", "split": word} for i, word in enumerate(words)]
    assert read(write(tmp_path / "data", rows)).splits.tolist() == expected
    assert any("measured on its 1 validation pictures" in note for note in caplog.messages) == (
        words[2] == "validation"
    )


def without_split(folder, count):
    return write(folder, [{"file_name": f"{i}.png", "text": f"square number {i}"} for i in range(count)])


def held_out(dataset):
    return {dataset.captions[i][0] for i in dataset.rows("test")}


@pytest.mark.parametrize("folder", ["train", "data/train"])
def test_train_as_the_only_folder_is_no_split(tmp_path, caplog, folder):
    without_split(tmp_path / "data" / folder, 20)
    assert len(read(tmp_path / "data").rows("test")) == 2 and "2 of 20 pictures, a tenth" in caplog.text


def test_train_as_the_only_word_in_metadata_is_a_split(tmp_path):
    rows = [{"file_name": f"{i}.png", "text": "a square", "split": "train"} for i in range(20)]
    assert len(read(write(tmp_path / "data", rows)).rows("train")) == 20


def test_few_pictures_are_all_trained_on_and_the_note_says_so(tmp_path, caplog):
    assert len(read(without_split(tmp_path / "data", 4)).rows("train")) == 4
    assert caplog.messages == [f"{tmp_path}/data: names no split: all of its 4 pictures, which are few, are trained on"]


@pytest.mark.parametrize("count, tenth", [(8, 1), (20, 2), (104, 10)])
def test_without_any_split_a_stated_tenth_is_held_out(tmp_path, caplog, count, tenth):
    dataset = read(without_split(tmp_path / "data", count))
    assert len(dataset.rows("test")) == tenth and len(dataset.rows("train")) == count - tenth
    assert sum(f"{tenth} of {count} pictures, a tenth by seed 0, are held out" in note for note in caplog.messages) == 1
    assert held_out(imagefolder.read(tmp_path / "data", 12)) == held_out(dataset), "whatever the size"


def test_what_is_held_out_hardly_changes_when_pictures_are_added(tmp_path):
    before = held_out(read(without_split(tmp_path / "data", 100)))
    after = held_out(read(without_split(tmp_path / "data", 110)))
    assert len(before) == 10 and len(after) == 11 and len(before & after) >= 9


def test_a_picture_without_a_split_among_others_raises_an_error(tmp_path):
    rows = [{"file_name": "1.png", "text": "a square", "split": "train"}, {"file_name": "2.png", "text": "a square"}]
    with pytest.raises(
        InputError, match="line 2: has no split, and other pictures have one; allowed: train, val, test"
    ):
        read(write(tmp_path / "data", rows))


@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet"])
def test_a_picture_may_have_a_line_for_each_caption(tmp_path, kind):
    rows = [{"file_name": f"{i // 2}.png", "text": f"caption {i}"} for i in range(6)]
    assert read(write(tmp_path / "data", rows, kind)).captions == tuple(
        (f"caption {i}", f"caption {i + 1}") for i in (0, 2, 4)
    )


@pytest.mark.parametrize("start", ["", "train/"])
def test_pictures_in_folders_of_classes_have_their_names_as_captions(tmp_path, start):
    for i, name in enumerate(
        ("pink_primrose/1.png", "pink_primrose/2.png", "sun-flower/1.png", "test/sun-flower/9.png")
    ):
        file = tmp_path / "data" / (name if name.startswith("test") else start + name)
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (9, 9), (50 * i, 0, 0)).save(file)
    if not start:
        (tmp_path / "data" / "test" / "sun-flower" / "9.png").unlink()
    dataset = read(tmp_path / "data")
    rows = sorted(zip(dataset.captions, dataset.classes.tolist(), dataset.splits.tolist()))
    expected = [(("pink primrose",), 0, "train")] * 2 + [(("sun flower",), 1, "train")]
    assert rows == sorted([*expected, *([(("sun flower",), 1, "test")] if start else [])])


@pytest.mark.parametrize("names", [[], ["1.png"], ["train/1.png", "train/2.png"], ["roses/1.png", "2.png"]])
def test_pictures_without_captions_are_refused_with_an_example(tmp_path, names):
    (tmp_path / "data").mkdir()
    for name in names:
        (tmp_path / "data" / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (9, 9)).save(tmp_path / "data" / name)
    with pytest.raises(InputError, match=r"has no metadata.jsonl, metadata.csv.* a line such as {\"file_name\""):
        read(tmp_path / "data")


@pytest.mark.parametrize("names", [["rose/1.png", "rose/2.png"], ["all/rose/1.png", "all/rose/2.png"]])
def test_a_single_folder_of_a_class_is_refused_with_the_remedy(tmp_path, names):
    for name in names:
        (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (9, 9)).save(tmp_path / "data" / name)
    with pytest.raises(InputError, match=r"of one class, rose: bring folders of two classes .* such as {\"file_name\""):
        read(tmp_path / "data")


@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet"])
def test_the_column_may_be_called_image_file_name(tmp_path, kind):
    folder = write(tmp_path / "data", [{"file_name": "1.png", "text": "a square"}])
    (folder / "metadata.jsonl").unlink()
    assert read(write(folder, [{"image_file_name": "1.png", "text": "red"}], kind)).captions == (("red",),)


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
@pytest.mark.parametrize("field", [{"input_file_name": "1.png"}, {"file_names": ["1.png"]}, {"file_name": 1}])
def test_a_row_without_a_file_name_is_refused_with_its_fields_and_an_example(tmp_path, kind, field):
    [name] = field
    words = r'row 1: needs a file_name, as in {"file_name": "0001.png", "text": "a pink flower"}; its fields: '
    with pytest.raises(InputError, match=words.replace("row", "(row|line)") + f"{name}, text$"):
        read(write(tmp_path / "data", [field | {"text": "red"}], kind, pictures=False))


def write_csv(folder, text, encoding="utf-8"):
    write(folder, [{"file_name": "1.png", "text": "-"}])
    (folder / "metadata.jsonl").unlink()
    (folder / "metadata.csv").write_bytes(text.encode(encoding))
    return folder


@pytest.mark.parametrize(
    "text, captions",
    [
        ("file_name,text\n1.png,a square\n", ["a square"]),
        ("\ufefffile_name,text\r\n1.png,a square\r\n", ["a square"]),  # Excel: a mark before, Windows's line ends
        ("file_name;text\n1.png;a square, red\n", ["a square, red"]),  # Excel where the comma is in numbers
        ("file_name\ttext\n1.png\ta square\n", ["a square"]),
        ("file_name, text\n1.png,a square\n", ["a square"]),
        ('file_name,text\n1.png,"a ""red""\nsquare, plain"\n', ['a "red"\nsquare, plain']),
        ('file_name,text\n1.png,"[""a square"", ""red""]"\n', ["a square", "red"]),  # JSON
        ("file_name,text\n1.png,\"['a square', 'it''s']\"\n".replace("''", "\\'"), ["a square", "it's"]),  # pandas
        ("file_name,text\n1.png,[a square]\n", ["[a square]"]),
        ("file_name,text,class_id\n1.png,a square,3.0\n", ["a square"]),  # pandas, if other numbers are missing
        ("file_name,text,class_id,split\n1.png,a square,,\n", ["a square"]),
    ],
)
def test_csv_is_read_as_spreadsheets_and_pandas_write_it(tmp_path, text, captions):
    assert read(write_csv(tmp_path / "data", text)).captions == (tuple(captions),)


@pytest.mark.parametrize(
    "text, encoding, words",
    [
        ("file_name,text\n1.png,a red, plain square\n", "utf-8", "line 2: has more cells than the first line"),
        ("file_name,text\n1.png,café\n", "cp1252", r"metadata.csv: is not UTF-8 \(byte 24\): save it as UTF-8"),
        ("file_name,text\n1.png,a square\n", "utf-16", "is not UTF-8"),
        ("file_name,text\n", "utf-8", "metadata.csv: is empty"),
        ("", "utf-8", "metadata.csv: is empty: write a row for each picture"),
        ("file_name,text\n1.png,\n", "utf-8", "line 2: needs captions or text, .*; its fields: file_name"),
        ("file_name,prompt\n1.png,red\n", "utf-8", "needs captions or text, .*; its fields: file_name, prompt"),
        ("name,text\n1.png,red\n", "utf-8", "needs a file_name, .*; its fields: name, text"),
        ("file_name,text,class_id\n1.png,red,rose\n", "utf-8", "class_id must be a whole number .* not 'rose'"),
        ("file_name,text\n1.png,%s\n" % ("x" * 200_000), "utf-8", "is not CSV .*: save it anew as CSV"),
        ("file_name,text\n9.png,red\n", "utf-8", "line 2: 9.png is missing: bring it, or leave its row out"),
    ],
)
def test_an_error_names_the_bad_line_of_csv(tmp_path, text, encoding, words):
    with pytest.raises(InputError, match=words):
        read(write_csv(tmp_path / "data", text, encoding))


def test_boxes_and_parts_are_read_from_csv_and_parquet(tmp_path):
    row = {"file_name": "1.png", "text": "a square", "box": [0.0, 0.1, 1.0, 0.9], "parts": {"beak": [0.5, 0.25]}}
    next_row = {"file_name": "2.png", "text": "a square", "box": [0.0, 0.1, 1.0, 0.9], "parts": {"eye": [0.5, 0.5]}}
    for kind in ("csv", "parquet"):
        dataset = read(write(tmp_path / kind, [row, next_row], kind))
        assert dataset.boxes == ((0, 0.1, 1, 0.9),) * 2 and dataset.parts == (row["parts"], next_row["parts"])
