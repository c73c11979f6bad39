import json
import shutil
import subprocess
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from t2i.data import imagefolder
from t2i.data.cache import cache_dir
from t2i.errors import InputError


def edit(dataset, line: int, **changes):
    """Change fields of one line of metadata.jsonl; None removes a field."""
    file = dataset / "metadata.jsonl"
    lines = file.read_text().splitlines()
    record = json.loads(lines[line - 1]) | changes
    lines[line - 1] = json.dumps({k: v for k, v in record.items() if v is not None})
    file.write_text("\n".join(lines))


def test_pictures_captions_classes_and_splits_are_read(dataset):
    squares = imagefolder.read(dataset, 12)
    assert squares.images.shape == (32, 12, 12, 3) and squares.images.dtype == np.uint8
    assert squares.captions[0] == ("a red square", "this is red, all of it")
    assert len(squares.rows("train")) == 24 and len(squares.rows("test")) == 8
    assert np.abs(squares.images[0].mean((0, 1)) - (220, 30, 30)).max() < 15


def test_the_digest_depends_on_captions_classes_and_splits_but_not_on_path_or_size(dataset, tmp_path):
    first = imagefolder.read(dataset, 12).digest()
    assert imagefolder.read(shutil.copytree(dataset, tmp_path / "moved"), 16).digest() == first
    for change in ({"captions": ["another"]}, {"class_id": 9}, {"split": "val"}):
        edit(dataset, 1, **change)
        before, first = first, imagefolder.read(dataset, 12).digest()
        assert first != before


def test_too_few_training_pictures_raise_an_error(dataset):
    squares = imagefolder.read(dataset, 12)
    assert len(squares.training_rows(batch=24)) == 24
    with pytest.raises(InputError, match="squares: has 24 training pictures, fewer than --batch 25: .*lower --batch"):
        squares.training_rows(batch=25)
    for line in range(2, 33):
        edit(dataset, line, split="test")
    with pytest.raises(InputError, match="squares: has 1 training pictures, and 2 are the fewest: bring more, or mark"):
        imagefolder.read(dataset, 12).training_rows()


def test_a_zip_reads_like_its_folder(dataset, tmp_path):
    archive = shutil.make_archive(str(tmp_path / "squares"), "zip", dataset)
    from_folder, from_zip = imagefolder.read(dataset, 12), imagefolder.read(archive, 12)
    assert np.array_equal(from_folder.images, from_zip.images) and from_folder.captions == from_zip.captions


def test_pictures_are_decoded_once(dataset, monkeypatch):
    first = imagefolder.read(dataset, 12).images
    monkeypatch.setattr(imagefolder, "_decode", lambda *_: pytest.fail("decoded again"))
    assert np.array_equal(imagefolder.read(dataset, 12).images, first)


def test_a_changed_picture_is_decoded_again(dataset):
    before = np.array(imagefolder.read(dataset, 12).images[0])
    Image.new("RGB", (30, 30), "black").save(dataset / "red-0.png")
    assert not np.array_equal(imagefolder.read(dataset, 12).images[0], before)


def test_without_classes_every_picture_is_a_class_of_its_own(dataset):
    for line in range(1, 33):
        edit(dataset, line, class_id=None, class_name=None)
    assert len(set(imagefolder.read(dataset, 12).classes)) == 32


def test_a_picture_without_a_class_shares_no_other_class(dataset):
    edit(dataset, 2, class_id=None)
    edit(dataset, 3, class_id=1)
    alone, *shared = imagefolder.read(dataset, 12).classes[[1, 0, *range(2, 32)]]
    assert alone not in shared


def test_pictures_are_turned_by_their_exif_orientation(dataset):
    pixels = np.zeros((24, 24, 3), dtype=np.uint8)
    pixels[:12] = 255
    exif = Image.Exif()
    exif[0x0112] = 3  # half a turn
    Image.fromarray(pixels).save(dataset / "red-0.png", exif=exif)
    picture = imagefolder.read(dataset, 24).images[0]
    assert picture[:10].max() < 50 and picture[14:].min() > 200


@pytest.mark.parametrize("mode", ["L", "P", "CMYK", "RGBA", "1"])
def test_pictures_of_other_modes_are_read(dataset, mode):
    name = "red-0.tif" if mode == "CMYK" else "red-0.png"
    Image.new("RGB", (24, 24), "white").convert(mode).save(dataset / name)
    edit(dataset, 1, file_name=name)
    assert imagefolder.read(dataset, 12).images[0].min() > 250


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"captions": []}, "needs captions"),
        ({"captions": None}, "needs captions"),
        ({"captions": ["a square", "  "]}, "empty caption"),
        ({"captions": [7]}, "empty caption"),
        ({"split": "holdout"}, "unknown split 'holdout'; allowed: train, val, test"),
        ({"split": None}, "has no split, and other pictures have one; allowed: train, val, test"),
        ({"file_name": None}, "needs a file_name"),
        ({"file_name": "nowhere.png"}, "nowhere.png is missing"),
        ({"file_name": "../outside.png"}, "../outside.png is missing"),
        ({"class_id": "seven"}, "class_id must be a whole number"),
        ({"box": [0, 0, 1]}, "box must be four numbers"),
        ({"parts": {"beak": "left"}}, "parts must name points of two numbers"),
        ({"parts": [0.5, 0.5]}, "parts must name points of two numbers"),
        ({"box": [0, 0, 1, float("nan")]}, "box must be four numbers"),
        ({"box": [0, 0, 1, 10**400]}, "box must be four numbers"),
        ({"parts": {"beak": [0.5, float("inf")]}}, "parts must name points of two numbers"),
        ({"file_name": "red\0.png"}, "red\0.png is missing"),
        ({"file_name": "red\ud800.png"}, "is missing"),
    ],
)
def test_an_error_names_the_bad_line(dataset, changes, message):
    Image.new("RGB", (8, 8)).save(dataset.parent / "outside.png")
    edit(dataset, 3, **changes)
    with pytest.raises(InputError, match="line 3: ") as error:
        imagefolder.read(dataset, 12)
    assert message in str(error.value)


@pytest.mark.parametrize("content", [b"", b"no picture", b"\x89PNG\r\n\x1a\n broken"])
def test_an_error_names_the_broken_picture_and_nothing_is_cached(dataset, tmp_path, content):
    (dataset / "red-2.png").write_bytes(content)
    with pytest.raises(InputError, match="line 3: red-2.png: "):
        imagefolder.read(dataset, 12)
    assert not [file for file in tmp_path.rglob("*") if ".npy" in file.name]


def test_a_line_without_fields_is_refused_with_an_example(dataset):
    with open(dataset / "metadata.jsonl", "a") as file:
        file.write('"red-0.png"\n')
    with pytest.raises(InputError, match="line 33: has no fields: a line must be such as {"):
        imagefolder.read(dataset, 12)


@pytest.mark.parametrize("line", ["{oops", "[" * 100_000, '{"class_id": ' + "9" * 5_000 + "}"])
def test_an_error_names_the_line_that_is_not_json(dataset, line):
    with open(dataset / "metadata.jsonl", "a") as file:
        file.write(f"{line}\n")
    with pytest.raises(InputError, match="line 33: is not JSON .*: a line must be such as {"):
        imagefolder.read(dataset, 12)


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
@pytest.mark.parametrize("damaged", ["metadata.jsonl", "red-2.png"])
def test_an_error_names_the_damaged_file_of_a_zip(dataset, tmp_path, compression, damaged):
    packed = tmp_path / "squares.zip"
    with zipfile.ZipFile(packed, "w", compression) as archive:
        for file in sorted(dataset.iterdir()):
            archive.write(file, file.name)
        entry = archive.getinfo(damaged)
    content = bytearray(packed.read_bytes())
    start = entry.header_offset + 30 + len(damaged)
    content[start + 10 : start + entry.compress_size - 10] = b"?" * (entry.compress_size - 20)
    packed.write_bytes(content)
    with pytest.raises(InputError, match=f"{damaged} is damaged in the zip, or locked"):
        imagefolder.read(packed, 12)


@pytest.mark.parametrize("size", [(1, 1), (1, 4000)])
def test_pictures_of_odd_sizes_are_read(dataset, size):
    Image.new("RGB", size, "white").save(dataset / "red-0.png")
    assert imagefolder.read(dataset, 12).images[0].min() > 250


def test_the_first_frame_of_an_animation_is_read(dataset):
    frames = [Image.new("RGB", (24, 24), colour) for colour in ("white", "black")]
    frames[0].save(dataset / "red-0.webp", save_all=True, append_images=frames[1:])
    edit(dataset, 1, file_name="red-0.webp")
    assert imagefolder.read(dataset, 12).images[0].min() > 250


@pytest.mark.parametrize("side", [8_000, 10_000, 60_000])
def test_a_picture_of_100_megapixels_is_refused_before_it_is_decoded(dataset, side):
    Image.new("1", (side, 1)).save(dataset / "red-2.png")
    content = bytearray((dataset / "red-2.png").read_bytes())
    content[20:24] = side.to_bytes(4, "big")  # its height, and the checksum of its header
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    (dataset / "red-2.png").write_bytes(content)
    with pytest.raises(InputError, match="line 3: red-2.png: .*million"):
        imagefolder.read(dataset, 12)


def test_boxes_and_parts_are_read(dataset):
    edit(dataset, 1, box=[0, 0.1, 1, 0.9], parts={"beak": [0.5, 0.25]})
    squares = imagefolder.read(dataset, 12)
    assert squares.boxes[:2] == ((0, 0.1, 1, 0.9), None) and squares.parts[:2] == ({"beak": [0.5, 0.25]}, None)


def write_coco(folder, **changes):
    """Two training pictures and a test picture in MS-COCO's own layout."""
    (folder / "annotations").mkdir(parents=True)
    for part, numbers in (("train2014", (7, 9)), ("val2014", (8,))):
        (folder / part).mkdir()
        for number in numbers:
            Image.new("RGB", (20 + number, 30), (10 * number, 0, 0)).save(folder / part / f"COCO_{number}.jpg")
        content = {
            "info": {},
            "images": [{"id": n, "file_name": f"COCO_{n}.jpg", "license": 1} for n in numbers],
            "annotations": [
                {"id": 10 * n + i, "image_id": n, "caption": f"A {n},\nsaid {i}. "} for i in range(5) for n in numbers
            ],
        }
        (folder / "annotations" / f"captions_{part}.json").write_text(json.dumps(content | changes))
    return folder


@pytest.mark.parametrize("zipped", [False, True])
def test_ms_coco_is_read(tmp_path, zipped):
    path = write_coco(tmp_path / "coco")
    if zipped:
        path = shutil.make_archive(str(path), "zip", path)
    coco = imagefolder.read(path, 12)
    assert coco.splits.tolist() == ["train", "train", "test"] and coco.images.shape == (3, 12, 12, 3)
    assert [len(c) for c in coco.captions] == [5, 5, 5] and coco.captions[1][0] == "A 9, said 0."
    assert len(set(coco.classes)) == 3 and abs(int(coco.images[1, 6, 6, 0]) - 90) < 4


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"annotations": []}, "captions_train2014.json, image 7: has no caption: write one"),
        ({"annotations": [{"image_id": 7}]}, "captions_train2014.json: is not what .*: fetch it anew"),
        ({"annotations": [{"image_id": 5, "caption": "no such"}]}, "captions_train2014.json: is not what"),
        ({"images": "none"}, "captions_train2014.json: is not what"),
        ({"images": [{"id": 7, "file_name": "../../up.jpg"}]}, "captions_train2014.json"),
    ],
)
def test_malformed_annotations_of_ms_coco_raise_an_error(tmp_path, changes, message):
    with pytest.raises(InputError, match=message):
        imagefolder.read(write_coco(tmp_path / "coco", **changes), 12)


@pytest.mark.parametrize("zipped", [False, True])
def test_ms_coco_without_its_test_pictures_is_all_for_training(tmp_path, zipped):
    path = write_coco(tmp_path / "coco")
    shutil.rmtree(path / "val2014")
    if zipped:
        path = shutil.make_archive(str(path), "zip", path)
    assert imagefolder.read(path, 12).splits.tolist() == ["train", "train"]


def test_two_years_of_ms_coco_raise_an_error(tmp_path):
    folder = write_coco(tmp_path / "coco")
    shutil.copytree(folder / "val2014", folder / "val2017")
    with pytest.raises(InputError, match="the years share pictures"):
        imagefolder.read(folder, 12)


def test_an_error_names_the_missing_picture_of_ms_coco(tmp_path):
    folder = write_coco(tmp_path / "coco")
    (folder / "train2014" / "COCO_9.jpg").unlink()
    with pytest.raises(InputError, match="image 9: train2014/COCO_9.jpg is missing"):
        imagefolder.read(folder, 12)


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
def test_captions_in_another_encoding_raise_an_error(dataset, encoding):
    (dataset / "metadata.jsonl").write_bytes('{"captions": ["café"]}'.encode(encoding))
    with pytest.raises(InputError, match="not UTF-8"):
        imagefolder.read(dataset, 12)


def test_copies_are_counted_and_those_in_training_and_test_are_named(dataset, caplog):
    for name in ("red-1.png", "red-2.png", "green-0.png"):
        shutil.copy(dataset / "red-0.png", dataset / name)
    shutil.copy(dataset / "blue-0.png", dataset / "white-0.png")
    for _ in range(2):
        imagefolder.read(dataset, 12)
    assert caplog.messages == [
        f"{dataset}: 4 of 32 pictures are copies of others",
        f"{dataset}: 1 test picture is in training, too: what is measured will be too good",
    ]


def test_a_data_set_without_copies_needs_no_note(dataset, caplog):
    imagefolder.read(dataset, 12)
    assert not caplog.messages


@pytest.mark.parametrize("readable, share", [(0, "0%"), (10, "42%"), (12, None), (24, None)])
def test_a_data_set_in_another_alphabet_is_refused_with_the_share(dataset, readable, share):
    for line in range(readable + 1, 25):
        edit(dataset, line, captions=["빨간 꽃 1"])
    for line in range(1, readable + 1):
        edit(dataset, line, captions=["a café's flower"])
    squares = imagefolder.read(dataset, 12)
    if share:
        with pytest.raises(InputError, match=f"squares: only {share} of the training captions are in the letters"):
            squares.training_rows()
    else:
        assert len(squares.training_rows()) == 24


def test_training_pictures_of_one_class_are_refused_with_the_remedy(dataset):
    for line in range(1, 25):
        edit(dataset, line, class_id=7)
    squares = imagefolder.read(dataset, 12)
    with pytest.raises(InputError, match="all training pictures are of one class, .*leave out class_id"):
        squares.training_rows(min_classes=2)
    for line in range(1, 25):
        edit(dataset, line, class_id=None)
    assert len(imagefolder.read(dataset, 12).training_rows(min_classes=2)) == 24


def test_too_few_test_pictures_are_refused_with_the_remedy(dataset):
    squares = imagefolder.read(dataset, 12)
    assert len(squares.test_rows(8)) == 8
    with pytest.raises(InputError, match="squares: has 8 test pictures, and 9 are the fewest: mark some"):
        squares.test_rows(9)


def test_pictures_of_unusual_depth_are_scaled_by_their_range(dataset):
    Image.fromarray(np.linspace(-2, 7, 24 * 24, dtype=np.float32).reshape(24, 24)).save(dataset / "red-0.tif")
    edit(dataset, 1, file_name="red-0.tif")
    picture = imagefolder.read(dataset, 24).images[0]
    assert picture[0].max() < 12 and picture[-1].min() > 243


@pytest.mark.parametrize("content", [b"", b"half a", None])
def test_broken_pixels_in_the_cache_are_replaced(dataset, content):
    first = imagefolder.read(dataset, 12).images.copy()
    [file] = cache_dir().glob("*.npy")
    file.write_bytes(file.read_bytes()[:-500] if content is None else content)
    assert np.array_equal(imagefolder.read(dataset, 12).images, first)


@pytest.fixture
def small_disk(tmp_path):
    """Sixteen kilobytes, in the place of the cache."""
    cache_dir().mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", cache_dir()]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("needs the right to mount")
    yield cache_dir()
    subprocess.run(["umount", cache_dir()], check=True)


def test_a_full_disk_under_the_cache_raises_an_error_and_leaves_no_partial_file(dataset, small_disk):
    with pytest.raises(InputError, match=r"squares-24-.*npy: cannot be written \(No space left .*XDG_CACHE_HOME"):
        imagefolder.read(dataset, 24)
    assert not list(small_disk.iterdir())


def test_a_read_only_cache_raises_an_error(dataset, small_disk):
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    with pytest.raises(InputError, match=r"cannot be written \(Read-only file system\): .*XDG_CACHE_HOME"):
        imagefolder.read(dataset, 24)


def test_all_pictures_are_found_whether_they_have_captions_or_not(dataset, tmp_path):
    (dataset / "more").mkdir()
    shutil.copy(dataset / "red-0.png", dataset / "more" / "new.png")
    for path in (dataset, Path(shutil.make_archive(str(tmp_path / "packed"), "zip", dataset))):
        files = {place: read() for place, read in imagefolder.pictures(path)}
        assert len(files) == 33 and files[f"{path}/more/new.png"] == (dataset / "red-0.png").read_bytes()
    (tmp_path / "outer").mkdir()
    dataset.rename(tmp_path / "outer" / "inner")
    assert all(Path(place).is_file() for place, _ in imagefolder.pictures(tmp_path / "outer"))


def test_missing_or_empty_data_sets_raise_an_error(tmp_path):
    with pytest.raises(InputError, match="no such zip or folder"):
        imagefolder.read(tmp_path / "nowhere.zip", 12)
    with pytest.raises(InputError, match="no metadata.jsonl"):
        imagefolder.read(tmp_path, 12)
    (tmp_path / "text.zip").write_text("not a zip")
    with pytest.raises(InputError, match="neither a folder nor a readable zip, .*: fetch it anew, or unpack it"):
        imagefolder.read(tmp_path / "text.zip", 12)
    (tmp_path / "text.zip").unlink()
    (tmp_path / "metadata.jsonl").write_text("\n")
    with pytest.raises(InputError, match="is empty"):
        imagefolder.read(tmp_path, 12)
