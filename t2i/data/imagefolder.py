"""Captioned pictures: a data set as the Hub's imagefolder convention, its Parquet files or MS-COCO lay it out."""

import hashlib
import io
import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from ..errors import InputError
from ..media.photo import open_photo, prepare
from ..models import encode
from ..models.text_encoder import ALPHABET
from . import coco, metadata, parquet
from .cache import digest, mapped_array
from .files import Entry, Files, note, open_files

HELD_OUT_SHARE, HELD_OUT_SEED = 0.1, 0  # of the pictures, for the test split, if a data set has no split
MIN_READABLE_SHARE = 0.5  # of the training captions, and of a caption's characters for it to be readable
CAPTIONS_AT_ONCE = 10_000  # whose codes are in memory
CACHE_VERSION = 3  # of the pixels: to be raised when a picture is decoded in another way


@dataclass(frozen=True)
class CaptionedImages:
    """The decoded pictures of a data set and their captions; row i of every field belongs to picture i."""

    name: str  # the zip or folder, as given
    images: np.ndarray  # (N, size, size, 3) uint8
    captions: tuple[tuple[str, ...], ...]
    classes: np.ndarray  # (N,) int64; a picture without `class_id` is a class of its own
    splits: np.ndarray  # (N,) of train, val and test
    boxes: tuple[tuple[float, ...] | None, ...]  # (x0, y0, x1, y1) of the subject in fractions, where known
    parts: tuple[dict[str, tuple[float, float]] | None, ...]  # key points (x, y) in fractions, where known

    def rows(self, *splits: str) -> np.ndarray:
        """Indices (M,) of the pictures in these splits."""
        return np.flatnonzero(np.isin(self.splits, splits))

    def training_rows(self, batch: int = 1, min_classes: int = 1) -> np.ndarray:
        """Indices (M,) of the pictures to train on.

        `InputError` if there are fewer than two, or than a batch, or fewer than `min_classes` classes of them, or if
        most of their captions are in an alphabet that the text encoder does not read.
        """
        rows = self.rows("train", "val")
        if len(rows) < 2:
            remedy = 'bring more, or mark more with the split "train"'
            raise InputError(f"{self.name}: has {len(rows)} training pictures, and 2 are the fewest: {remedy}")
        share = readable_share([caption for i in rows for caption in self.captions[i]])
        if share < MIN_READABLE_SHARE:
            raise InputError(
                f"{self.name}: only {share:.0%} of the training captions are in the letters that the text encoder "
                "reads, a to z: translate them into English"
            )
        if len(rows) < batch:
            remedy = "bring more, or lower --batch, which may be 4 at least"
            raise InputError(f"{self.name}: has {len(rows)} training pictures, fewer than --batch {batch}: {remedy}")
        if len(set(self.classes[rows])) < min_classes:
            raise InputError(
                f"{self.name}: all training pictures are of one class, so no caption mismatches one: leave out "
                "class_id, or bring metadata.jsonl instead of class folders, and every picture is a class of its own"
            )
        return rows

    def test_rows(self, min_count: int = 1) -> np.ndarray:
        """Indices (M,) of the pictures to measure on; `InputError` if there are fewer than `min_count`."""
        rows = self.rows("test")
        if len(rows) < min_count:
            remedy = 'mark some with the split "test", or put them into a folder of this name'
            raise InputError(f"{self.name}: has {len(rows)} test pictures, and {min_count} are the fewest: {remedy}")
        return rows

    def examples(self, count: int = 6) -> list[str]:
        """Short captions of up to `count` training pictures, of different classes as far as there are enough."""
        rows = self.rows("train", "val")
        _, firsts = np.unique(self.classes[rows], return_index=True)  # the first picture of each class
        chosen = firsts[np.linspace(0, len(firsts) - 1, min(count, len(firsts))).astype(int)]
        return list(dict.fromkeys(min(self.captions[i], key=len) for i in rows[chosen]))

    def digest(self) -> str:
        """SHA-256 of captions, classes and splits; not of the pixels, which differ with size and decoder."""
        return digest(self.captions, self.classes.tolist(), self.splits.tolist())


def read(path: str | Path, size: int) -> CaptionedImages:
    """Read a data set; its pictures are scaled and centre-cropped to size×size.

    It is a folder, a zip, a tar or a Parquet file, in one of these forms; the first that is there is read:

    - MS-COCO's own layout, `annotations/captions_<folder>.json` beside the folders of images: `train…` is the training
      split, `val…` is the test split, and there are no classes;
    - the Hub's imagefolder convention: `metadata.jsonl`, `.csv` or `.parquet`, at the top or in folders as `train`;
    - Parquet files with the pictures inside, as the Hub stores them;
    - pictures in folders named after their classes, whose names are the captions.

    Without any split, a tenth of the pictures is held out for the test split. A note on standard error says that, and
    counts pictures that come twice. Pictures are decoded once: the pixels are cached under `$XDG_CACHE_HOME/t2i` and
    memory-mapped. `InputError` names the line, or the picture, that is broken, missing or without a caption.
    """
    files = open_files(Path(path))
    records = coco.read_records(files) or metadata.read_records(files)
    splits = _splits(files.path, records)
    dataset = CaptionedImages(
        name=str(path),
        images=_pixels(files, size, records),
        captions=tuple(tuple(r["captions"]) for r in records),
        classes=np.array([r.get("class_id", -1 - i) for i, r in enumerate(records)], dtype=np.int64),
        splits=np.array(splits),
        boxes=tuple(tuple(r["box"]) if "box" in r else None for r in records),
        parts=tuple(r.get("parts") for r in records),
    )
    _count_copies(dataset)
    return dataset


def pictures(path: Path) -> Iterator[tuple[str, Callable[[], bytes]]]:
    """Every picture of a data set, with a caption or without: where it is, and what reads it."""
    files = open_files(path)
    for name in files.pictures():
        yield files.place(name), partial(files.read, name)
    for name in metadata.shards(files):
        for row, data in enumerate(parquet.read_pictures(files, name), 1):
            yield f"{files.place(name)}, row {row}", partial(bytes, data)


def readable_share(captions: list[str]) -> float:
    """The share of captions of which the text encoder reads at least half of the characters, not counting spaces."""
    readable = 0
    for start in range(0, len(captions), CAPTIONS_AT_ONCE):
        part = captions[start : start + CAPTIONS_AT_ONCE]
        codes = encode(part)
        lengths = torch.tensor([len("".join(caption.split())[: codes.shape[1]]) for caption in part])
        read = ((codes > 0) & (codes < len(ALPHABET))).sum(1)  # the last of the alphabet is the space
        readable += int((read >= MIN_READABLE_SHARE * lengths).sum())
    return readable / len(captions)


def _splits(path: Path, records: list[dict]) -> list[str]:
    """The split of each record: its own, or that of its folder or file, or by a seeded choice if none has any.

    The Hub puts what has no split into `train`, so that word alone in the names of folders or files tells nothing.
    `validation` is the test split if there is no other, else it is trained on as `val`.
    """
    splits = [record["split"] or record.get("split_of_name") for record in records]
    if not any(record["split"] for record in records) and set(splits) <= {"train", None}:
        return _hold_out(path, [record["file_name"] for record in records])
    if None in splits:
        reason = f"has no split, and other pictures have one; allowed: {', '.join(metadata.SPLITS)}, validation"
        raise InputError(f"{records[splits.index(None)]['where']}: {reason}")
    validation = "val"
    if "validation" in splits and "test" not in splits:
        note(f"{path}: has no test split: measured on its {splits.count('validation')} validation pictures")
        validation = "test"
    return [validation if split == "validation" else str(split) for split in splits]


def _hold_out(path: Path, names: list[str]) -> list[str]:
    """A split for each name: the tenth of the lowest hashes is the test split, so that few move if some are added."""
    order = sorted(set(names), key=lambda name: digest(HELD_OUT_SEED, name))
    held_out = set(order[: round(HELD_OUT_SHARE * len(order))])
    splits = ["test" if name in held_out else "train" for name in names]
    if count := splits.count("test"):
        which = f"{count} of {len(names)} pictures, a tenth by seed {HELD_OUT_SEED}"
        note(f"{path}: names no split: {which}, are held out for measuring, and the others are trained on")
    else:
        note(f"{path}: names no split: all of its {len(names)} pictures, which are few, are trained on")
    return splits


def _count_copies(dataset: CaptionedImages) -> None:
    """Note how many pictures are there more than once, and how many of the test split are in training, too."""
    hashes = np.array([hashlib.sha256(row).hexdigest() for row in dataset.images])
    if copies := len(hashes) - len(Counter(hashes)):
        note(f"{dataset.name}: {copies} of {len(hashes)} pictures are copies of others")
    training = set(hashes[dataset.rows("train", "val")])
    if seen := sum(row in training for row in hashes[dataset.rows("test")]):
        verb = "picture is" if seen == 1 else "pictures are"
        note(f"{dataset.name}: {seen} test {verb} in training, too: what is measured will be too good")


def _pixels(files: Files, size: int, records: list[dict]) -> np.ndarray:
    def parts() -> Iterator[tuple[int, np.ndarray]]:
        bar = tqdm(_encoded(files, records), desc=f"decoding {files.path.name}", total=len(records), unit="image")
        for i, data in bar:
            yield i, _decode(records[i], data, size)[None]

    shape = (len(records), size, size, 3)
    return mapped_array(f"{files.path.stem}-{size}", _source(files, size, records), shape, "|u1", parts)


def _source(files: Files, size: int, records: list[dict]) -> str:
    """A digest of all on which the pixels depend."""
    on_disk = dict.fromkeys(_entry(files, record).disk_file for record in records)
    stamps = [(str(f.resolve()), s.st_mtime_ns, s.st_size) for f in on_disk if f.exists() for s in [f.stat()]]
    source = [CACHE_VERSION, size, [record["file_name"] for record in records], stamps]
    return hashlib.sha256(json.dumps(source).encode()).hexdigest()


def _entry(files: Files, record: dict) -> Entry:
    return files.entries[record.get("shard") or record["file_name"]]


def _encoded(files: Files, records: list[dict]) -> Iterator[tuple[int, bytes]]:
    """The index of each record and its encoded picture, in the order in which archives are read fastest."""
    if "shard" in records[0]:
        shards = dict.fromkeys(record["shard"] for record in records)
        yield from enumerate(data for name in shards for data in parquet.read_pictures(files, name))
        return
    entries = [_entry(files, record) for record in records]
    for i in sorted(range(len(records)), key=lambda i: (str(entries[i].disk_file), entries[i].position)):
        yield i, files.read(records[i]["file_name"])


def _decode(record: dict, data: bytes, size: int) -> np.ndarray:
    try:
        return prepare(open_photo(io.BytesIO(data)), size)
    except InputError as error:
        raise InputError(f"{record['where']}: {record['file_name']}: {error}") from None
