"""Parquet files with pictures inside, as the Hub stores image data sets."""

import io
import shutil
import sys

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from PIL import Image

from t2i.data import imagefolder
from t2i.errors import InputError


def encoded(colour):
    file = io.BytesIO()
    Image.new("RGB", (20, 20), colour).save(file, "PNG")
    return file.getvalue()


def write_shard(file, rows, **options):
    file.parent.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), file, **options)
    return file


def rows(count, start=0):
    """Pictures whose red tells their number."""
    return [
        {"image": {"bytes": encoded((i, 9, 9)), "path": f"{i}.png"}, "text": f"number {i}", "label": i % 3 - 1}
        for i in range(start, start + count)
    ]


@pytest.fixture
def folder(tmp_path):
    """A repository of the Hub with two training shards, of 100 and 7 pictures, and a test shard."""
    data = tmp_path / "repository" / "data"
    write_shard(data / "train-00000-of-00002.parquet", rows(100), row_group_size=30)
    write_shard(data / "train-00001-of-00002.parquet", rows(7, 100))
    write_shard(data / "test-00000-of-00001.parquet", rows(5, 200))
    (data.parent / "README.md").write_text("about")
    return data.parent


def check(dataset):
    numbers = [int(caption.split()[1]) for (caption,) in dataset.captions]
    assert sorted(numbers) == [*range(107), *range(200, 205)]
    assert dataset.images[:, 4, 4, 0].tolist() == numbers, "each picture has its own caption"
    assert [split == "test" for split in dataset.splits] == [number >= 200 for number in numbers]
    classes = [number % 3 - 1 for number in numbers]
    assert [c for c in dataset.classes if c >= 0] == [c for c in classes if c >= 0]  # -1 stands for no label
    assert len(set(dataset.classes)) == 2 + classes.count(-1)


def test_shards_of_the_hub_are_read_with_their_splits(folder):
    check(imagefolder.read(folder, 8))


def test_a_tenth_is_held_out_if_the_hub_has_no_other_split_than_train(tmp_path):
    write_shard(tmp_path / "data" / "train-00000-of-00001.parquet", rows(30))
    assert len(imagefolder.read(tmp_path, 8).rows("test")) == 3


@pytest.mark.parametrize("kind", ["zip", "tar", "gztar"])
def test_packed_shards_are_read_too(folder, tmp_path, kind):
    check(imagefolder.read(shutil.make_archive(str(tmp_path / "packed"), kind, folder), 8))


def test_shards_are_read_through_the_links_of_a_snapshot(folder, tmp_path):
    (tmp_path / "snapshot").mkdir()
    for file in (folder / "data").iterdir():
        (tmp_path / "snapshot" / file.name).symlink_to(file)
    check(imagefolder.read(tmp_path / "snapshot", 8))


@pytest.mark.parametrize("name", ["flowers.parquet", "0a1b2c"])  # a link of a snapshot leads to a hash
def test_one_file_is_a_data_set(tmp_path, name):
    file = write_shard(tmp_path / name, [{"image": encoded("red"), "text": ["red", "a red one"]}] * 3)
    dataset = imagefolder.read(file, 8)
    assert dataset.captions == (("red", "a red one"),) * 3 and dataset.splits.tolist() == ["train"] * 3


def test_the_column_image_is_the_picture_among_several(tmp_path):
    row = {"conditioning": encoded("blue"), "image": {"bytes": encoded("red"), "path": None}, "text": "a red square"}
    file = write_shard(tmp_path / "x.parquet", [row])
    assert imagefolder.read(file, 8).images[0, 4, 4].tolist() == [255, 0, 0]


@pytest.mark.parametrize("kind", [pyarrow.binary(), pyarrow.large_binary(), pyarrow.binary_view()])
def test_bytes_of_every_type_of_arrow_are_pictures(tmp_path, kind):
    columns = {"image": pyarrow.array([encoded("red")], kind), "text": ["a red square"]}
    pyarrow.parquet.write_table(pyarrow.table(columns), tmp_path / "x.parquet")
    assert imagefolder.read(tmp_path / "x.parquet", 8).images[0, 4, 4].tolist() == [255, 0, 0]


def test_a_picture_may_be_a_file_that_the_row_names(tmp_path):
    row = {"image": {"bytes": None, "path": "images/1.png"}, "text": "a red square"}
    shard = write_shard(
        tmp_path / "data" / "train.parquet", [row, row | {"image": {"bytes": encoded("blue"), "path": ""}}]
    )
    (shard.parent / "images").mkdir()
    (shard.parent / "images" / "1.png").write_bytes(encoded("red"))
    assert imagefolder.read(shard.parent, 8).images[:, 4, 4].tolist() == [[255, 0, 0], [0, 0, 255]]
    (shard.parent / "images" / "1.png").unlink()
    with pytest.raises(InputError, match="train.parquet, row 1: images/1.png is missing: bring it"):
        imagefolder.read(shard.parent, 12)


@pytest.mark.parametrize(
    "row, words",
    [
        ({"image": encoded("red"), "prompt": "red"}, "row 1: needs captions or text, .*; its fields: prompt"),
        ({"image": encoded("red"), "text": " "}, "row 1: has an empty caption: write a sentence"),
        ({"text": "red", "url": "x"}, "has no column of pictures: bring one .*; its columns: text, url"),
        ({"image": {"bytes": None, "path": None, "x": 1}, "text": "red"}, "row 1: has no picture: bring it"),
        ({"image": b"no picture", "text": "red"}, "row 1: is not a readable picture: save it anew"),
    ],
)
def test_an_error_names_the_bad_row(tmp_path, row, words):
    schema = pyarrow.Table.from_pylist([row]).schema
    if isinstance(row.get("image"), dict):
        picture = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
        schema = pyarrow.schema([("image", picture), ("text", pyarrow.string())])
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist([row], schema), tmp_path / "x.parquet")
    with pytest.raises(InputError, match=f"x.parquet.*{words}"):
        imagefolder.read(tmp_path / "x.parquet", 8)


@pytest.mark.parametrize("name", ["train-00000-of-00002.parquet", "metadata.parquet"])
def test_a_damaged_file_raises_an_error(folder, name):
    content = (folder / "data" / "train-00000-of-00002.parquet").read_bytes()
    for damaged in (content[:3000], content[:2000] + b"\xff" * 2000 + content[4000:]):
        (folder / "data" / name).write_bytes(damaged)
        with pytest.raises(InputError, match=f"{name}: is damaged.*: fetch or write it anew"):
            imagefolder.read(folder, 8)


def test_a_pointer_of_git_lfs_is_named(folder):
    (folder / "data" / "test-00000-of-00001.parquet").write_text("version https://git-lfs.github.com/spec/v1\noid 0\n")
    with pytest.raises(InputError, match="test-00000-of-00001.parquet is a pointer of Git LFS"):
        imagefolder.read(folder, 8)


def test_the_missing_package_is_named_and_others_need_it_not(folder, dataset, monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "pyarrow"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(InputError, match="test-00000-of-00001.parquet: to read Parquet files, pip install pyarrow"):
        imagefolder.read(folder, 8)
    assert len(imagefolder.read(dataset, 8).images) == 32


def test_a_changed_shard_is_decoded_again(folder):
    first = imagefolder.read(folder, 8).images.copy()
    shard = [row | {"image": {"bytes": encoded("white"), "path": None}} for row in rows(5, 200)]
    write_shard(folder / "data" / "test-00000-of-00001.parquet", shard)
    assert not np.array_equal(imagefolder.read(folder, 8).images, first)
