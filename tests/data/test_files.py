"""Folders, zips and tars, as the tools of Windows, macOS and Linux and the Hub's client write them."""

import bz2
import gzip
import io
import lzma
import os
import struct
import tarfile
import unicodedata
import zipfile
import zlib
from typing import BinaryIO

import pytest
from PIL import Image

from t2i.data.files import Entry, Files, is_packed, open_files, split_of
from t2i.errors import InputError

ÉTÉ = unicodedata.normalize("NFC", "été.png")


def write_zip(path, names, flagged=True, encoding="utf-8", extra=b""):
    """A zip of files that hold their own names. `flagged`: it says that names are UTF-8; else they are as encoded."""
    stand_ins = [str(i).rjust(len(name.encode(encoding)), "?") for i, name in enumerate(names)]
    with zipfile.ZipFile(path, "w") as archive:
        for name, stand_in in zip(names, stand_ins):
            info = zipfile.ZipInfo(stand_in)
            info.extra = extra
            archive.writestr(info, name)
    content = path.read_bytes()
    for name, stand_in in zip(names, stand_ins):  # Python itself cannot write such names
        content = content.replace(stand_in.encode(), name.encode(encoding))
    if flagged:
        for header, flags in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
            parts = content.split(header)
            content = header.join(
                part if i == 0 else part[: flags - 4] + struct.pack("<H", 0x800) + part[flags - 2 :]
                for i, part in enumerate(parts)
            )
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    "names",
    [
        ["a/1.png", "2.png"],
        ["a\\1.png", "2.png"],  # an old .NET
        ["./a/1.png", "./2.png"],
        ["photos/a/1.png", "photos/2.png"],  # a folder that was packed, not what is in it
        ["photos\\a\\1.png", "photos\\2.png"],
        ["x/photos/a/1.png", "x/photos/2.png", "__MACOSX/x/photos/._2.png", "x/.DS_Store"],  # macOS
        ["a/1.png", "2.png", "Thumbs.db", "a/desktop.ini", ".ipynb_checkpoints/2.png"],
    ],
)
def test_a_zip_is_read_whichever_tool_wrote_it(tmp_path, names):
    files = open_files(write_zip(tmp_path / "x.zip", names))
    assert files.names() == files.pictures() == ["2.png", "a/1.png"]
    for spelling in ("a/1.png", "a\\1.png", "./a/1.png", "A/1.PNG"):
        assert files.read(files.find(spelling)).decode().endswith("1.png")


@pytest.mark.parametrize("flagged", [True, False])
@pytest.mark.parametrize("form", ["NFC", "NFD"])  # macOS decomposes accents
@pytest.mark.parametrize("name", ["été.png", "빨간 꽃.png", "花/Ä.png"])
def test_names_in_utf_8_are_found_however_their_accents_are_composed(tmp_path, flagged, form, name):
    files = open_files(write_zip(tmp_path / "x.zip", [unicodedata.normalize(form, name), "1.png"], flagged))
    for wanted in ("NFC", "NFD"):
        assert "png" in files.read(files.find(unicodedata.normalize(wanted, name))).decode()


@pytest.mark.parametrize(
    "encoding, name",
    [
        ("cp437", "été.png"),
        ("cp850", "Ãra.png"),
        ("cp866", "цветок.png"),
        ("cp932", "ソ花.png"),  # its first letter has the byte of a backslash
        ("cp936", "花.png"),
        ("cp949", "빨간 꽃.png"),
        ("cp1252", "“rose”.png"),
    ],
)
def test_names_in_a_code_page_of_windows_are_found(tmp_path, encoding, name):
    names = [f"top/{name}", "top/1.png"]
    files = open_files(write_zip(tmp_path / "x.zip", names, flagged=False, encoding=encoding))
    assert files.read(files.find(name)).decode() == f"top/{name}"


def test_a_field_for_unicode_is_preferred_to_the_name_in_a_code_page(tmp_path):
    raw = b"_t_.png"
    field = b"\1" + struct.pack("<L", zlib.crc32(raw)) + ÉTÉ.encode()
    extra = struct.pack("<HH", 0x7075, len(field)) + field
    files = open_files(write_zip(tmp_path / "x.zip", ["_t_.png"], flagged=False, extra=extra))
    assert files.names() == [ÉTÉ]


def test_two_names_that_differ_in_case_alone_are_not_mistaken(tmp_path):
    files = open_files(write_zip(tmp_path / "x.zip", ["a.png", "A.png"]))
    assert files.find("a.png") == "a.png" and files.find("A.png") == "A.png"
    with pytest.raises(FileNotFoundError):
        open_files(write_zip(tmp_path / "x.zip", ["aa.png", "AA.png"])).find("Aa.png")


@pytest.mark.parametrize("name", ["../x.png", "/etc/passwd", "a/../../x.png", "x\0.png", "\ud800.png", ""])
def test_no_name_leads_out_of_the_data_set(tmp_path, name):
    Image.new("RGB", (2, 2)).save(tmp_path / "x.png")
    (tmp_path / "data" / "a").mkdir(parents=True)
    (tmp_path / "data" / "1.png").write_bytes(b"1")
    with pytest.raises(FileNotFoundError):
        open_files(tmp_path / "data").find(name)


def write_tar(path, names, mode="w"):
    with tarfile.open(path, mode) as archive:
        for name in names:
            member = tarfile.TarInfo(name)
            member.size = len(name.encode())
            archive.addfile(member, io.BytesIO(name.encode()))
    return path


@pytest.mark.parametrize("compression", ["", "gz", "bz2", "xz"])
@pytest.mark.parametrize("prefix", ["", "./", "photos/", "./photos/", "/home/me/photos/"])
def test_a_tar_is_read_whichever_tool_wrote_it(tmp_path, compression, prefix):
    names = [prefix + name for name in ("a/1.png", ÉTÉ, "._2.png")]
    files = open_files(write_tar(tmp_path / "x.tar", names, f"w:{compression}"))
    assert files.names() == ["a/1.png", ÉTÉ]
    assert files.read(files.find(unicodedata.normalize("NFD", ÉTÉ))).decode() == prefix + ÉTÉ


def test_links_in_a_tar_are_followed_in_the_tar_alone(tmp_path):
    with tarfile.open(write_tar(tmp_path / "x.tar", ["blobs/1"]), "a") as archive:
        for name, kind, target in (
            ("soft.png", tarfile.SYMTYPE, "blobs/1"),
            ("hard.png", tarfile.LNKTYPE, "blobs/1"),
            ("away.png", tarfile.SYMTYPE, "../../etc/passwd"),
        ):
            link = tarfile.TarInfo(name)
            link.type, link.linkname = kind, target
            archive.addfile(link)
    files = open_files(tmp_path / "x.tar")
    assert files.read("soft.png") == files.read("hard.png") == b"blobs/1"
    with pytest.raises(InputError, match="away.png is a link to a file that is not there: .*tar -h"):
        files.read("away.png")


@pytest.mark.parametrize(
    "start, kind", [(b"7z\xbc\xaf\x27\x1c", "7z"), (b"Rar!\x1a\x07\1", "RAR"), (b"\x28\xb5\x2f\xfd", "Zstandard")]
)
def test_an_archive_of_another_kind_is_named_with_the_remedy(tmp_path, start, kind):
    (tmp_path / "x.bin").write_bytes(start + bytes(2000))
    with pytest.raises(InputError, match=f"is packed with {kind}, .*unpack it and give the folder"):
        open_files(tmp_path / "x.bin")


@pytest.mark.parametrize("name", ["x.bin", "x.7z", "x.tar.zst", "0a1b2c", "x.png"])
def test_what_is_packed_is_told_by_its_content(tmp_path, name):
    file, picture = tmp_path / name, tmp_path / "picture.png"
    for start in (b"7z\xbc\xaf\x27\x1c", b"Rar!\x1a\x07\1", b"\x28\xb5\x2f\xfd", b"PAR1"):
        file.write_bytes(start + bytes(99))
        assert is_packed(file)
    for compression in ("", "gz", "bz2", "xz"):
        assert is_packed(write_tar(file, ["1.png"], f"w:{compression}"))
    assert is_packed(write_zip(file, ["1.png"]))
    Image.new("RGB", (9, 9)).save(picture)
    assert not is_packed(picture) and not is_packed(tmp_path) and not is_packed(tmp_path / "missing")


@pytest.mark.parametrize("name", ["x.zip", "x.tbz2", "x.TXZ", "x.parquet"])
def test_what_is_damaged_is_packed_if_its_name_says_so(tmp_path, name):
    (tmp_path / name).write_bytes(b"?" * 99)
    assert is_packed(tmp_path / name)


@pytest.mark.parametrize("name, mode", [("train.tbz2", "w:bz2"), ("train.txz", "w:xz"), ("train.tgz", "w:gz")])
def test_short_endings_of_tars_are_known_in_a_folder(tmp_path, name, mode):
    write_tar(tmp_path / name, ["1.png", "2.png"], mode)
    assert open_files(tmp_path).names() == ["train/1.png", "train/2.png"]


@pytest.mark.parametrize("name", ["photos.7z", "photos.tar.zst", "photos.rar"])
def test_an_archive_of_another_kind_in_a_folder_is_named_with_the_remedy(tmp_path, name):
    (tmp_path / name).write_bytes(b"7z\xbc\xaf\x27\x1c" + bytes(99))
    with pytest.raises(InputError, match=f"{name}: is packed with 7z, .*unpack it and give the folder"):
        open_files(tmp_path)


@pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress, lzma.compress])
def test_a_tar_that_was_cut_is_refused(tmp_path, pack):
    content = pack(write_tar(tmp_path / "x.tar", [f"{i}.png" for i in range(200)]).read_bytes())
    (tmp_path / "x.tar").write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match="neither a folder nor a readable zip, tar or Parquet file|is damaged"):
        files = open_files(tmp_path / "x.tar")
        assert all(files.read(name) for name in files.names()) and len(files.names()) == 200


@pytest.fixture
def snapshot(tmp_path):
    """A folder as the Hub's client lays out a snapshot: links to files that are named by their hashes."""
    blobs, folder = tmp_path / "blobs", tmp_path / "snapshots" / "0a1b" / "train"
    folder.mkdir(parents=True)
    blobs.mkdir()
    for number in range(2):
        (blobs / f"hash{number}").write_bytes(b"%d" % number)
        (folder / f"{number}.png").symlink_to(os.path.relpath(blobs / f"hash{number}", folder))
    return tmp_path / "snapshots" / "0a1b"


def test_a_snapshot_of_the_hub_is_read_through_its_links(snapshot, tmp_path):
    assert open_files(snapshot).read("train/1.png") == b"1"
    (tmp_path / "link").symlink_to(snapshot)
    assert open_files(tmp_path / "link").names() == ["train/0.png", "train/1.png"]


def test_a_folder_may_be_a_link(snapshot, tmp_path):
    (snapshot / "train").rename(tmp_path / "elsewhere")
    (snapshot / "train").symlink_to(tmp_path / "elsewhere")
    assert open_files(snapshot).names() == ["train/0.png", "train/1.png"]


def test_a_link_that_leads_nowhere_or_to_its_own_folder_does_no_harm(snapshot):
    (snapshot.parents[1] / "blobs" / "hash0").unlink()
    (snapshot / "train" / "again").symlink_to(snapshot)
    files = open_files(snapshot)
    assert "train/1.png" in files.names()
    with pytest.raises(InputError, match="train/0.png is a link to a file that is not there"):
        files.read("train/0.png")


def test_a_file_that_must_not_be_read_is_named_with_the_reason(tmp_path):
    def refuse() -> BinaryIO:
        raise PermissionError(13, "Permission denied")

    files = Files(tmp_path, {"1.png": Entry(refuse, tmp_path / "1.png")})
    with pytest.raises(InputError, match="1.png cannot be read: Permission denied"):
        files.read("1.png")


def test_a_pointer_of_git_lfs_is_named(tmp_path):
    (tmp_path / "1.png").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n")
    with pytest.raises(InputError, match="1.png is a pointer of Git LFS, .*git lfs pull"):
        open_files(tmp_path).read("1.png")


def test_archives_in_a_folder_without_pictures_are_among_its_files(tmp_path):
    (tmp_path / "README.md").write_text("about")
    write_zip(tmp_path / "train.zip", ["metadata.jsonl", "1.png"])
    write_tar(tmp_path / "test.tar.gz", ["photos/metadata.jsonl", "photos/1.png"], "w:gz")
    write_zip(tmp_path / "annotations_trainval2014.zip", ["annotations/captions_val2014.json"])
    assert open_files(tmp_path).names() == [
        "README.md",
        "annotations/captions_val2014.json",
        "test/1.png",
        "test/metadata.jsonl",
        "train/1.png",
        "train/metadata.jsonl",
    ]
    (tmp_path / "1.png").write_bytes(b"1")
    assert "train.zip" in open_files(tmp_path).names(), "a backup beside the pictures is no data"


@pytest.mark.parametrize(
    "name, split",
    [
        ("train", "train"), ("Test", "test"), ("validation", "validation"), ("val", "validation"),
        ("train-00000-of-00002.parquet", "train"), ("imagefolder-test.parquet", "test"), ("train2014", "train"),
        ("trainer", None), ("contest", None), ("roses", None),
    ],
)  # fmt: skip
def test_the_words_of_the_hub_are_taken_for_splits(name, split):
    assert split_of(name) == split


@pytest.mark.parametrize("top", ["train", "photos"])
def test_a_folder_of_all_files_is_left_out_unless_it_is_a_split(tmp_path, top):
    files = open_files(write_zip(tmp_path / "x.zip", [f"{top}/1.png", f"{top}/a/2.png"]))
    assert files.names() == (["train/1.png", "train/a/2.png"] if top == "train" else ["1.png", "a/2.png"])
