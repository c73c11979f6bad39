import json
import shutil

import numpy as np
import pytest
from PIL import Image

from t2i.errors import InputError
from t2i.training import data


def edit(corpus, line: int, **changes):
    """Change fields of one line of metadata.jsonl; None removes a field."""
    file = corpus / "metadata.jsonl"
    lines = file.read_text().splitlines()
    record = json.loads(lines[line - 1]) | changes
    lines[line - 1] = json.dumps({k: v for k, v in record.items() if v is not None})
    file.write_text("\n".join(lines))


def test_reads_pictures_captions_classes_and_splits(corpus):
    found = data.read(corpus, 12)
    assert found.images.shape == (32, 12, 12, 3) and found.images.dtype == np.uint8
    assert found.captions[0] == ("a red square", "this is red, all of it")
    assert found.class_names == {1: "red", 2: "green", 3: "blue", 4: "white"}
    assert len(found.rows("train")) == 24 and len(found.rows("test")) == 8
    assert np.abs(found.images[0].mean((0, 1)) - (220, 30, 30)).max() < 15


def test_a_zip_reads_like_its_folder(corpus, tmp_path):
    archive = shutil.make_archive(str(tmp_path / "squares"), "zip", corpus)
    one, other = data.read(corpus, 12), data.read(archive, 12)
    assert np.array_equal(one.images, other.images) and one.captions == other.captions


def test_decodes_once(corpus, monkeypatch):
    first = data.read(corpus, 12).images
    monkeypatch.setattr(data, "_decode", lambda *_: pytest.fail("decoded again"))
    assert np.array_equal(data.read(corpus, 12).images, first)


def test_a_changed_picture_is_decoded_again(corpus):
    before = np.array(data.read(corpus, 12).images[0])
    Image.new("RGB", (30, 30), "black").save(corpus / "red-0.png")
    assert not np.array_equal(data.read(corpus, 12).images[0], before)


def test_without_classes_every_picture_is_its_own(corpus):
    for line in range(1, 33):
        edit(corpus, line, class_id=None, class_name=None)
    assert len(set(data.read(corpus, 12).classes)) == 32


def test_turns_pictures_by_their_exif_orientation(corpus):
    pixels = np.zeros((24, 24, 3), dtype=np.uint8)
    pixels[:12] = 255
    exif = Image.Exif()
    exif[0x0112] = 3  # half a turn
    Image.fromarray(pixels).save(corpus / "red-0.png", exif=exif)
    picture = data.read(corpus, 24).images[0]
    assert picture[:10].max() < 50 and picture[14:].min() > 200


@pytest.mark.parametrize("mode", ["L", "P", "CMYK", "RGBA", "1"])
def test_reads_pictures_of_other_modes(corpus, mode):
    name = "red-0.tif" if mode == "CMYK" else "red-0.png"
    Image.new("RGB", (24, 24), "white").convert(mode).save(corpus / name)
    edit(corpus, 1, file_name=name)
    assert data.read(corpus, 12).images[0].min() > 250


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"captions": []}, "needs captions"),
        ({"captions": None}, "needs captions"),
        ({"captions": ["a square", "  "]}, "empty caption"),
        ({"captions": [7]}, "empty caption"),
        ({"split": "holdout"}, "unknown split 'holdout'; allowed: train, val, test"),
        ({"split": None}, "unknown split None"),
        ({"file_name": None}, "needs a file_name"),
        ({"file_name": "nowhere.png"}, "nowhere.png is missing"),
        ({"file_name": "../outside.png"}, "../outside.png is missing"),
        ({"class_id": "seven"}, "class_id must be a whole number"),
    ],
)
def test_a_bad_line_is_named(corpus, changes, told):
    Image.new("RGB", (8, 8)).save(corpus.parent / "outside.png")
    edit(corpus, 3, **changes)
    with pytest.raises(InputError, match="line 3: ") as error:
        data.read(corpus, 12)
    assert told in str(error.value)


@pytest.mark.parametrize("content", [b"", b"no picture", b"\x89PNG\r\n\x1a\n broken"])
def test_a_broken_picture_is_named_and_nothing_is_cached(corpus, tmp_path, content):
    (corpus / "red-2.png").write_bytes(content)
    with pytest.raises(InputError, match="line 3: red-2.png is not a readable image"):
        data.read(corpus, 12)
    assert not list(tmp_path.rglob("*.npy"))


def test_a_line_that_is_no_json_is_named(corpus):
    with open(corpus / "metadata.jsonl", "a") as file:
        file.write("{oops\n")
    with pytest.raises(InputError, match="line 33: is not JSON"):
        data.read(corpus, 12)


def test_captions_in_another_encoding_are_told(corpus):
    (corpus / "metadata.jsonl").write_bytes('{"captions": ["café"]}'.encode("latin-1"))
    with pytest.raises(InputError, match="not UTF-8"):
        data.read(corpus, 12)


def test_missing_places_are_told(tmp_path):
    with pytest.raises(InputError, match="no such zip or folder"):
        data.read(tmp_path / "nowhere.zip", 12)
    with pytest.raises(InputError, match="no metadata.jsonl"):
        data.read(tmp_path, 12)
    (tmp_path / "text.zip").write_text("not a zip")
    with pytest.raises(InputError, match="neither a folder nor a readable zip"):
        data.read(tmp_path / "text.zip", 12)
    (tmp_path / "metadata.jsonl").write_text("\n")
    with pytest.raises(InputError, match="is empty"):
        data.read(tmp_path, 12)
