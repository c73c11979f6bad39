"""The files of a data set: of a folder, a zip, a tar or a single Parquet file, found by any spelling of their names."""

import io
import logging
import os
import posixpath
import re
import struct
import tarfile
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import BinaryIO, cast

from ..errors import InputError
from ..media.photo import HEIC_SUFFIXES, NEEDS_HEIF, is_picture_name

# What the Hub takes for a split: these words as a folder, or in the name of a shard as in `train-00000-of-00002`.
SPLIT_WORDS = {
    "train": "train", "training": "train", "test": "test", "testing": "test", "eval": "test", "evaluation": "test",
    "validation": "validation", "valid": "validation", "val": "validation", "dev": "validation",
}  # fmt: skip
TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tbz", ".tar.xz", ".txz")
ARCHIVE_SUFFIXES = (".zip", *TAR_SUFFIXES, ".7z", ".rar", ".zst", ".tzst")
PACKED_SUFFIXES = (*ARCHIVE_SUFFIXES, ".parquet")
# What the first bytes of a file tell; Python does not unpack those of `OTHER_ARCHIVES`.
OTHER_ARCHIVES = {b"7z\xbc\xaf\x27\x1c": "7z", b"Rar!\x1a\x07": "RAR", b"\x28\xb5\x2f\xfd": "Zstandard"}
KINDS = OTHER_ARCHIVES | {b"PAR1": "Parquet", b"\x1f\x8b": "tar", b"BZh": "tar", b"\xfd7zXZ\0": "tar"}
# Of the names in a zip of Windows, which does not say in which code page they are.
CODE_PAGES = ("cp850", "cp852", "cp866", "cp932", "cp936", "cp949", "cp950", "cp1251", "cp1252")
LFS_POINTER = b"version https://git-lfs.github.com/spec/"
UNPACK = "unpack it and give the folder"


@dataclass(frozen=True)
class Entry:
    """One file: what opens it, and where it begins, since archives are read fastest in their own order."""

    open: Callable[[], BinaryIO]  # FileNotFoundError if it is a link that leads nowhere
    disk_file: Path  # itself, or the archive that holds it
    position: int = 0  # bytes from the beginning of the archive


class Files:
    """The files of a data set by name, which has `/` between folders and does not begin with a folder of all files.

    `common_folder`: the name of that folder, empty if there is none.
    """

    def __init__(self, path: Path, entries: dict[str, Entry]):
        self.path = path
        self.entries, self.common_folder = _without_common_folder(entries)
        self._by_key: dict[str, list[str]] = {}
        for name in self.entries:
            self._by_key.setdefault(_key(name), []).append(name)

    def names(self) -> list[str]:
        """The names without what systems put beside files (`.DS_Store`, `__MACOSX/…`), sorted."""
        return sorted(name for name in self.entries if not is_clutter(name))

    def pictures(self) -> list[str]:
        """The names of pictures, by their endings, sorted. A note names those that need a package."""
        names = self.names()
        pictures = [name for name in names if is_picture_name(name)]
        if left_out := sorted({name for name in names if name.lower().endswith(HEIC_SUFFIXES)} - set(pictures)):
            note(f"{self.path}: left out {', '.join(left_out[:3])}{', …' * (len(left_out) > 3)}: {NEEDS_HEIF}")
        return pictures

    def find(self, name: str) -> str:
        """The name of a file that is spelled in another way; FileNotFoundError if there is none.

        It may differ in its separators, in how an accent is composed (NFC, NFD), in upper and lower case if that is
        not ambiguous, and, in a zip, in the encoding of the name.
        """
        for spelling in _spellings(name):
            if spelling in self.entries:
                return spelling
            if len(names := self._by_key.get(_key(spelling), [])) == 1:
                return names[0]
        raise FileNotFoundError(name)

    def place(self, name: str) -> str:
        """Where a file is on the disk, for messages; of one in an archive, the archive and its name in there."""
        file = self.entries[name].disk_file
        return str(file) if file.name == name.rpartition("/")[2] else f"{file}/{name}"

    def open(self, name: str) -> BinaryIO:
        """A file by its name as `find` returns it. `InputError` if it is not readable, or a link to nowhere."""
        try:
            return self.entries[name].open()
        except FileNotFoundError:
            remedy = "bring that, too (a tar: pack it with `tar -h`)"
            raise InputError(f"{self.path}: {name} is a link to a file that is not there: {remedy}") from None
        except OSError as error:
            raise InputError(f"{self.path}: {name} cannot be read: {error.strerror or error}") from None

    def read(self, name: str) -> bytes:
        """What is in a file; `InputError` if that is damaged, or not there but in Git LFS."""
        with self.open(name) as file:
            try:
                data = file.read()
            except Exception:  # each compression method has its own class of error
                raise InputError(f"{self.path}: {name} is damaged: {UNPACK}") from None
        if data.startswith(LFS_POINTER):
            raise InputError(f"{self.path}: {name} is a pointer of Git LFS, not the file: fetch it with `git lfs pull`")
        return data


def open_files(path: Path) -> Files:
    """The files of a folder, a zip, a tar or a Parquet file; `InputError` if it is none of them.

    If a folder holds archives and no data besides, as a repository of the Hub may, their files are among its own.
    """
    if not path.exists():
        raise InputError(f"{path}: no such zip or folder: check its name")
    if not path.is_dir():
        return Files(path, _archive_entries(path))
    files = Files(path, dict(_folder_entries(path)))
    if any(name.endswith(".parquet") or is_picture_name(name) for name in files.names()):
        return files
    entries = files.entries
    for name in [name for name in files.names() if name.lower().endswith(ARCHIVE_SUFFIXES)]:
        entries |= _mounted(name, _archive_entries(entries.pop(name).disk_file))
    return Files(path, entries)


def is_packed(path: Path) -> bool:
    """Whether a file is an archive or a Parquet file, by what is in it, or, if it may be damaged, by its name."""
    return path.is_file() and (_kind(path) is not None or path.name.lower().endswith(PACKED_SUFFIXES))


@cache
def note(text: str) -> None:
    """Tell the user something, once: on standard error, unless the program logs elsewhere."""
    logging.getLogger("t2i").warning(text)


def is_clutter(name: str) -> bool:
    """Whether a file is hidden, or is written by macOS or Windows beside the user's own."""
    *folders, last = name.split("/")
    hidden = any(part.startswith(".") for part in (*folders, last))
    return hidden or "__MACOSX" in folders or last in ("Thumbs.db", "desktop.ini")


def split_of(name: str) -> str | None:
    """The split that a folder of this name stands for: train, test or validation."""
    words = re.split(r"[-_. ]|\d+", name.lower())
    return next((SPLIT_WORDS[word] for word in words if word in SPLIT_WORDS), None)


def _folder_entries(root: Path) -> Iterator[tuple[str, Entry]]:
    """Every file below a folder. Links are followed, because a snapshot of the Hub is made of them."""

    def opener(file: Path) -> Callable[[], BinaryIO]:
        return lambda: open(file, "rb")

    seen = set()
    for folder, subfolders, names in os.walk(root, followlinks=True):
        if (real := os.path.realpath(folder)) in seen:  # a link to a folder above it
            subfolders.clear()
            continue
        seen.add(real)
        for name in names:
            file = Path(folder, name)
            yield file.relative_to(root).as_posix(), Entry(opener(file), file)


def _kind(path: Path) -> str | None:
    """How a file is packed, by what is in it: zip, tar (compressed or not), Parquet or one of `OTHER_ARCHIVES`."""
    with open(path, "rb") as file:
        start = file.read(8)
    if kind := next((kind for magic, kind in KINDS.items() if start.startswith(magic)), None):
        return kind
    return "zip" if zipfile.is_zipfile(path) else "tar" if tarfile.is_tarfile(path) else None


def _archive_entries(path: Path) -> dict[str, Entry]:
    kind = _kind(path)
    if kind == "Parquet":
        return {f"{path.stem}.parquet": Entry(lambda: open(path, "rb"), path)}
    if kind in OTHER_ARCHIVES.values():
        raise InputError(f"{path}: is packed with {kind}, which is not read: {UNPACK}")
    try:
        return dict(_zip_entries(path) if kind == "zip" else _tar_entries(path))
    except Exception:  # each compression method has its own class of error
        reason = "is neither a folder nor a readable zip, tar or Parquet file"
        raise InputError(f"{path}: {reason}: fetch it anew, or {UNPACK}") from None


def _mounted(archive: str, entries: dict[str, Entry]) -> dict[str, Entry]:
    """The entries of an archive in a folder: in its own top folder, else, or if it stands for a split, in its name."""
    folder, (inner, common) = re.sub(r"(\.tar)?\.\w+$", "", archive), _without_common_folder(entries)
    if common and not split_of(folder):
        return entries
    return {f"{folder}/{name}": entry for name, entry in inner.items()}


def _zip_entries(path: Path) -> Iterator[tuple[str, Entry]]:
    archive = zipfile.ZipFile(path)

    def opener(info: zipfile.ZipInfo) -> Callable[[], BinaryIO]:
        def open_() -> BinaryIO:
            try:
                return io.BytesIO(archive.read(info))
            except Exception:  # each compression method, and a password, has its own class of error
                reason = "is damaged in the zip, or locked or packed in a way that is not read"
                raise InputError(f"{path}: {info.filename} {reason}: {UNPACK}") from None

        return open_

    for info in archive.infolist():
        if not info.is_dir() and not info.filename.endswith("\\"):
            yield _normal(_zip_name(info)), Entry(opener(info), path, info.header_offset)


def _zip_name(info: zipfile.ZipInfo) -> str:
    """The name of a zip's file: from its field for Unicode, or UTF-8, said or not, or what Python takes it for."""
    if info.flag_bits & 0x800:  # it says that it is UTF-8
        return info.filename
    raw, extra = info.orig_filename.encode("cp437"), info.extra
    while len(extra) >= 4:
        field, length = struct.unpack_from("<HH", extra)
        # Info-ZIP's Unicode Path: version, CRC-32 of the other name, UTF-8.
        if field == 0x7075 and extra[5:9] == struct.pack("<L", zlib.crc32(raw)):
            return extra[9 : 4 + length].decode("utf-8", "replace")
        extra = extra[4 + length :]
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return info.filename


def _tar_entries(path: Path) -> Iterator[tuple[str, Entry]]:
    archive = tarfile.open(path)

    def opener(member: tarfile.TarInfo) -> Callable[[], BinaryIO]:
        def open_() -> BinaryIO:
            try:
                return cast(BinaryIO, archive.extractfile(member) or io.BytesIO())  # nothing, of a device
            except KeyError:  # a link that leads out of the archive
                raise FileNotFoundError(member.name) from None

        return open_

    for member in archive.getmembers():
        if not member.isdir():
            yield _normal(member.name), Entry(opener(member), path, member.offset_data)
    cast(BinaryIO, archive.fileobj).seek(archive.offset)
    if cast(BinaryIO, archive.fileobj).read(tarfile.BLOCKSIZE) != tarfile.NUL * tarfile.BLOCKSIZE:
        raise tarfile.ReadError("cut off before its end mark")


def _without_common_folder(entries: dict[str, Entry]) -> tuple[dict[str, Entry], str]:
    """The entries without the folder, or folders, that all of them are in, unless it is a split; and its last name."""
    common = ""
    while True:
        tops = {name.partition("/")[0] if "/" in name else "" for name in entries if not is_clutter(name)}
        if len(tops) != 1 or not (top := tops.pop()) or split_of(top):
            return entries, common
        common = top
        entries = {name.removeprefix(f"{top}/"): e for name, e in entries.items() if name.startswith(f"{top}/")}


def _normal(name: str) -> str:
    return posixpath.normpath(name.replace("\\", "/")).lstrip("/")


def _key(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _spellings(name: str) -> Iterator[str]:
    """A name, and what it is taken for in a zip of another code page: code page 437, or UTF-8 if it happens to be."""
    yield (name := _normal(name))
    for code_page in CODE_PAGES if not name.isascii() else ():
        for taken_for in ("cp437", "utf-8"):
            try:
                yield _normal(unicodedata.normalize("NFC", name).encode(code_page).decode(taken_for))
            except UnicodeError:  # the code page lacks a character, or it is no UTF-8
                pass
