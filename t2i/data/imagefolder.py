"""Captioned pictures: a zip or a folder in the Hub's imagefolder convention (`metadata.jsonl`) or MS-COCO's layout."""

import hashlib
import io
import json
import os
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from ..errors import InputError
from ..media.photo import open_photo, prepare
from . import coco
from .cache import cache_dir, digest

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class CaptionedImages:
    """The decoded pictures of a data set and their captions; row i of every field belongs to picture i."""

    name: str  # the zip or folder, as given
    images: np.ndarray  # (N, size, size, 3) uint8
    captions: tuple[tuple[str, ...], ...]
    classes: np.ndarray  # (N,) int64; a picture without `class_id` is a class of its own
    splits: np.ndarray  # (N,) of SPLITS
    boxes: tuple[tuple[float, ...] | None, ...]  # (x0, y0, x1, y1) of the subject in fractions, where known
    parts: tuple[dict[str, tuple[float, float]] | None, ...]  # key points (x, y) in fractions, where known

    def rows(self, *splits: str) -> np.ndarray:
        """Indices (M,) of the pictures in these splits."""
        return np.flatnonzero(np.isin(self.splits, splits))

    def training_rows(self, min_count: int) -> np.ndarray:
        """Indices (M,) of the pictures to train on; `InputError` if there are fewer than `min_count`."""
        rows = self.rows("train", "val")
        if len(rows) < min_count:
            raise InputError(f"{self.name}: has {len(rows)} training pictures, and {min_count} are the fewest")
        return rows

    def digest(self) -> str:
        """SHA-256 of captions, classes and splits; not of the pixels, which differ with size and decoder."""
        return digest(self.captions, self.classes.tolist(), self.splits.tolist())


def read(path: str | Path, size: int) -> CaptionedImages:
    """Read a data set; its pictures are scaled and centre-cropped to size×size.

    Pictures are decoded once: the pixels are cached under `$XDG_CACHE_HOME/t2i` and memory-mapped.
    Instead of `metadata.jsonl`, the data set may have MS-COCO's own layout: `annotations/captions_<folder>.json` with
    the folder of images beside `annotations`. Then `train…` is the training split, `val…` is the test split, and
    there are no classes.
    Raises `InputError` that names the line, or the image id, of a broken or missing picture, an empty caption list
    or an unknown split.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path}: no such zip or folder")
    read_file = _folder_reader(path) if path.is_dir() else _zip_reader(path)
    records = coco.read_records(path, read_file) or list(_read_records(path, read_file))
    return CaptionedImages(
        name=str(path),
        images=_pixels(path, size, records, read_file),
        captions=tuple(tuple(r["captions"]) for r in records),
        classes=np.array([r.get("class_id", -1 - i) for i, r in enumerate(records)], dtype=np.int64),
        splits=np.array([r["split"] for r in records]),
        boxes=tuple(tuple(r["box"]) if "box" in r else None for r in records),
        parts=tuple(r.get("parts") for r in records),
    )


def _folder_reader(path: Path) -> Callable[[str], bytes]:
    root = path.resolve()

    def read_file(name: str) -> bytes:
        try:
            file = (root / name).resolve()
        except ValueError:  # the name contains a null byte or a lone surrogate
            raise FileNotFoundError(name) from None
        if not file.is_relative_to(root):
            raise FileNotFoundError(name)
        return file.read_bytes()

    return read_file


def _zip_reader(path: Path) -> Callable[[str], bytes]:
    try:
        archive = zipfile.ZipFile(path)
    except zipfile.BadZipFile:
        raise InputError(f"{path}: neither a folder nor a readable zip") from None

    def read_file(name: str) -> bytes:
        try:
            return archive.read(name)
        except KeyError:
            raise FileNotFoundError(name) from None
        except Exception:  # each compression method, and a password, has its own class of error
            raise InputError(f"{path}: {name} is damaged in the zip, or locked") from None

    return read_file


def _read_records(path: Path, read_file: Callable[[str], bytes]) -> Iterator[dict]:
    try:
        text = read_file("metadata.jsonl").decode("utf-8-sig")
    except FileNotFoundError:
        raise InputError(f"{path}: has no metadata.jsonl at its top") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}/metadata.jsonl: is not UTF-8 (byte {error.start})") from None
    if not text.strip():
        raise InputError(f"{path}/metadata.jsonl: is empty")
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            where = f"{path}/metadata.jsonl, line {number}"
            yield _parse_record(where, line) | {"where": where}


def _parse_record(where: str, line: str) -> dict:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where}: is not JSON ({getattr(error, 'msg', error)})") from None
    if not isinstance(record, dict) or not isinstance(record.get("file_name"), str):
        raise InputError(f"{where}: needs a file_name")
    captions = record.get("captions")
    if not isinstance(captions, list) or not captions:
        raise InputError(f"{where}: needs captions, a list of at least one sentence")
    if not all(isinstance(c, str) and c.strip() for c in captions):
        raise InputError(f"{where}: has an empty caption")
    if record.get("split") not in SPLITS:
        raise InputError(f"{where}: unknown split {record.get('split')!r}; allowed: {', '.join(SPLITS)}")
    if type(number := record.get("class_id", 0)) is not int or not 0 <= number < 2**31:
        raise InputError(f"{where}: class_id must be a whole number from 0 to 2,147,483,647, not {number!r}")
    if "box" in record and not _are_numbers(record["box"], 4):
        raise InputError(f"{where}: box must be four numbers, not {record['box']!r}")
    parts = record.get("parts", {})
    if not isinstance(parts, dict) or not all(_are_numbers(point, 2) for point in parts.values()):
        raise InputError(f"{where}: parts must name points of two numbers, not {parts!r}")
    return record


def _are_numbers(value: object, count: int) -> bool:
    return isinstance(value, list) and len(value) == count and all(map(_is_number, value))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and type(value) is not bool and abs(value) < 1e9  # neither infinite nor NaN


def _pixels(path: Path, size: int, records: list[dict], read_file: Callable[[str], bytes]) -> np.ndarray:
    file = _cache_file(path, size, records)
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        partial = file.with_name(f"{file.name}.{os.getpid()}.part")
        try:
            pixels = np.lib.format.open_memmap(partial, "w+", np.uint8, (len(records), size, size, 3))
            for row, record in zip(pixels, tqdm(records, desc=f"decoding {path.name}", unit="image")):
                row[:] = _decode(record["where"], record["file_name"], read_file, size)
            pixels.flush()
            del pixels, row  # Windows cannot rename a file that is mapped
            os.replace(partial, file)
        finally:
            partial.unlink(missing_ok=True)
    return np.load(file, mmap_mode="r")


def _cache_file(path: Path, size: int, records: list[dict]) -> Path:
    files = [path] if path.is_file() else [path / r["file_name"] for r in records]
    stamps = [(str(f.resolve()), s.st_mtime_ns, s.st_size) for f in files if f.exists() for s in [f.stat()]]
    key = hashlib.sha256(json.dumps([size, [r["file_name"] for r in records], stamps]).encode()).hexdigest()[:16]
    return cache_dir() / f"{path.stem}-{size}-{key}.npy"


def _decode(where: str, name: str, read_file: Callable[[str], bytes], size: int) -> np.ndarray:
    try:
        data = read_file(name)
    except OSError:
        raise InputError(f"{where}: {name} is missing") from None
    try:
        return prepare(open_photo(io.BytesIO(data)), size)
    except InputError as error:
        raise InputError(f"{where}: {name}: {error}") from None
