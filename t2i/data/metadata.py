"""The records of a data set, one for each picture: of `metadata.jsonl`, `.csv` or `.parquet`, or of class folders.

A record is a dict with `where` (for messages), `file_name`, `captions`, the `split` that the metadata name and the
`split_of_name` of its folder or file, either of which may be None, and, where known, `class_id`, `box` and `parts`. Of
a picture in a Parquet file, `shard` is the file.
"""

import csv
import io
import json
from ast import literal_eval
from collections.abc import Callable, Iterator
from typing import Any

from ..errors import InputError
from ..media.photo import HEIC_SUFFIXES, NEEDS_HEIF
from . import parquet
from .files import SPLIT_WORDS, Files, split_of

METADATA = ("metadata.jsonl", "metadata.csv", "metadata.parquet")
CAPTION_FIELDS = ("captions", "text", "caption")  # the first that a record has is used
SPLITS = ("train", "val", "test")  # what a record's `split` may be; `validation` is another word for val or test
EXAMPLE = '{"file_name": "0001.png", "text": "a pink flower"}'


def read_records(files: Files) -> list[dict]:
    """The records of a data set's metadata files, else of its Parquet files with pictures, else of its class folders.

    A metadata file at the top is the only one; else there may be one in each folder, such as `train` and `test`.
    `InputError` names the line that is wrong, or says what is missing.
    """
    if names := _metadata_files(files):
        records = [record for name in names for record in _read_metadata(files, name)]
    elif names := shards(files):
        records = [record for name in names for record in _read_shard(files, name)]
    else:
        records = _class_folders(files)
    return _merge(records)


def shards(files: Files) -> list[str]:
    """The names of the Parquet files that are to hold pictures."""
    return [name for name in files.names() if name.lower().endswith(".parquet") and not _is_metadata(name)]


def _is_metadata(name: str) -> bool:
    return name.rpartition("/")[2].lower() in METADATA


def _metadata_files(files: Files) -> list[str]:
    found: dict[str, dict[str, str]] = {}  # folder: {metadata.…: name}
    for name in files.names():
        folder, _, last = name.rpartition("/")
        if _is_metadata(name):
            found.setdefault(folder, {})[last.lower()] = name
    first = {folder: next(names[kind] for kind in METADATA if kind in names) for folder, names in found.items()}
    return [first[""]] if "" in first else list(first.values())


def _read_metadata(files: Files, name: str) -> Iterator[dict]:
    rows = {"jsonl": _jsonl_rows, "csv": _csv_rows, "parquet": parquet.read_rows}[name.lower().rpartition(".")[2]]
    folder, empty = name.rpartition("/")[0], True
    for where, row in rows(files, name):
        empty, record = False, _checked(where, row)
        record["file_name"] = _picture(files, folder, record)
        yield record | {"split_of_name": _split_of_folders(record["file_name"])}
    if empty:
        raise InputError(f"{files.path}/{name}: is empty: write a row for each picture, such as {EXAMPLE}")


def _read_shard(files: Files, name: str) -> Iterator[dict]:
    """The records of a Parquet file with pictures; its name may tell the split, and `label` is the class."""
    split = next(filter(None, map(split_of, name.split("/"))), None)
    for number, (where, row) in enumerate(parquet.read_rows(files, name)):
        label = row.get("label")
        if "class_id" not in row and type(label) is int and label >= 0:  # -1 stands for an unknown one
            row["class_id"] = label
        record = _checked(where, row | {"file_name": f"{name}, row {number + 1}"})
        yield record | {"shard": name, "split_of_name": split}


def _text(files: Files, name: str) -> str:
    try:
        return files.read(name).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{files.path}/{name}: is not UTF-8 (byte {error.start}): save it as UTF-8") from None


def _jsonl_rows(files: Files, name: str) -> Iterator[tuple[str, dict]]:
    for number, line in enumerate(_text(files, name).split("\n"), 1):
        if line.strip():
            where = f"{files.path}/{name}, line {number}"
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                reason = f"is not JSON ({getattr(error, 'msg', error)})"
                raise InputError(f"{where}: {reason}: a line must be such as {EXAMPLE}") from None
            if not isinstance(row, dict):
                raise InputError(f"{where}: has no fields: a line must be such as {EXAMPLE}")
            yield where, row


def _csv_rows(files: Files, name: str) -> Iterator[tuple[str, dict]]:
    """Rows of cells; empty ones are left out, and numbers and lists are read where the field has them."""
    text = _text(files, name)
    header = text.partition("\n")[0]
    delimiter = max(",;\t", key=header.count)  # a comma, unless Excel of another language wrote it
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        for row in reader:
            where = f"{files.path}/{name}, line {reader.line_num}"
            if None in row:
                raise InputError(f"{where}: has more cells than the first line: put texts with a comma in quotes")
            yield where, {field.strip(): _cell(field.strip(), value) for field, value in row.items() if value}
    except csv.Error as error:
        remedy = "save it anew as CSV, or bring it as metadata.jsonl"
        raise InputError(f"{files.path}/{name}, line {reader.line_num}: is not CSV ({error}): {remedy}") from None


def _cell(field: str, value: str) -> object:
    """What a cell of CSV holds: text, unless the field has numbers, or the text is a list as pandas or JSON has it."""
    is_list = field in CAPTION_FIELDS and value.startswith("[") and value.endswith("]")
    if is_list or field in ("class_id", "box", "parts"):
        try:
            return literal_eval(value.strip())
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            pass
    return value


def _checked(where: str, row: dict) -> dict:
    """A row of metadata as a record, with its captions as a list; `InputError` says what is wrong with it."""
    file_name = row.get("file_name", row.get("image_file_name"))
    if not isinstance(file_name, str):
        fields = ", ".join(map(str, row)) or "none"
        raise InputError(f"{where}: needs a file_name, as in {EXAMPLE}; its fields: {fields}")
    record: dict[str, Any] = {
        "where": where,
        "file_name": file_name,
        "captions": _captions(where, row),
        "split": _split(where, row),
    }
    record["may_be_one_of_several"] = not isinstance(row.get("captions"), list)
    checks: dict[str, Callable[[str, object], Any]] = {"class_id": _class_id, "box": _box, "parts": _parts}
    for name, check in checks.items():
        if row.get(name) is not None:
            record[name] = check(where, row[name])
    return record


def _split(where: str, row: dict) -> str | None:
    split = row.get("split")
    if split is None or split in SPLITS:
        return split
    if not isinstance(split, str) or not (known := SPLIT_WORDS.get(split.strip().lower())):
        raise InputError(f"{where}: unknown split {split!r}; allowed: {', '.join(SPLITS)}, validation")
    return known


def _class_id(where: str, value: object) -> int:
    if isinstance(value, float) and value.is_integer():  # as pandas writes numbers of which some are missing
        value = int(value)
    if type(value) is not int or not 0 <= value < 2**31:
        raise InputError(f"{where}: class_id must be a whole number from 0 to 2,147,483,647, not {value!r}")
    return value


def _box(where: str, value: object) -> list[float]:
    if not _are_numbers(value, 4):
        raise InputError(f"{where}: box must be four numbers, not {value!r}")
    return value  # type: ignore[return-value]


def _parts(where: str, value: object) -> dict[str, list[float]]:
    points = {k: v for k, v in value.items() if v is not None} if isinstance(value, dict) else value
    if not isinstance(points, dict) or not all(_are_numbers(point, 2) for point in points.values()):
        raise InputError(f"{where}: parts must name points of two numbers, not {value!r}")
    return points


def _captions(where: str, row: dict) -> list[str]:
    captions = next((row[field] for field in CAPTION_FIELDS if row.get(field) is not None), None)
    if isinstance(captions, str):
        captions = [captions]
    if not isinstance(captions, list) or not captions:
        fields = ", ".join(map(str, row))
        reason = "needs captions or text, a sentence or a list of them"
        raise InputError(f"{where}: {reason}, as in {EXAMPLE}; its fields: {fields}")
    if not all(isinstance(c, str) and c.strip() for c in captions):
        raise InputError(f"{where}: has an empty caption: write a sentence, or leave the picture out")
    return captions


def _are_numbers(value: object, count: int) -> bool:
    return isinstance(value, list | tuple) and len(value) == count and all(map(_is_number, value))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and type(value) is not bool and abs(value) < 1e9  # neither infinite nor NaN


def _picture(files: Files, folder: str, record: dict) -> str:
    """The name of a record's picture, which is given from the folder of the metadata file, or from the top."""
    for name in (f"{folder}/{record['file_name']}", record["file_name"]):
        try:
            return files.find(name)
        except FileNotFoundError:
            pass
    raise InputError(f"{record['where']}: {record['file_name']} is missing: bring it, or leave its row out")


def _split_of_folders(name: str) -> str | None:
    return next(filter(None, map(split_of, name.split("/")[:-1])), None)


def _class_folders(files: Files) -> list[dict]:
    """Pictures in folders that are named after their classes: the name is the caption."""
    pictures = files.pictures()
    folders = {name: [part for part in name.split("/")[:-1] if not split_of(part)] for name in pictures}
    if pictures and files.common_folder and not any(folders.values()):
        raise InputError(
            f"{files.path}: all pictures are of one class, {files.common_folder}: bring folders of two classes at "
            f"least, or a metadata.jsonl with the captions, which has for each picture a line such as {EXAMPLE}"
        )
    if not pictures or not all(folders.values()):
        heic = any(name.lower().endswith(HEIC_SUFFIXES) for name in files.names())
        raise InputError(
            f"{files.path}: has no {', '.join(METADATA)} with the captions, nor Parquet files of pictures, nor all "
            f"pictures in folders named after classes; a metadata.jsonl has for each picture a line such as {EXAMPLE}"
            + (f"; {NEEDS_HEIF}" if heic and not pictures else "")
        )
    class_ids = {name: number for number, name in enumerate(sorted({parts[-1] for parts in folders.values()}))}
    return [
        {
            "where": f"{files.path}/{name}",
            "file_name": name,
            "captions": [" ".join(parts[-1].replace("_", " ").replace("-", " ").split()) or parts[-1]],
            "may_be_one_of_several": False,
            "class_id": class_ids[parts[-1]],
            "split": None,
            "split_of_name": _split_of_folders(name),
        }
        for name, parts in folders.items()
    ]


def _merge(records: list[dict]) -> list[dict]:
    """The records, where those of one picture and split that have single captions, not lists, have become one."""
    merged: dict[object, dict] = {}
    for i, record in enumerate(records):
        key = (record["file_name"], record["split"]) if record.pop("may_be_one_of_several") else i
        if key in merged:
            merged[key]["captions"] += record["captions"]
        else:
            merged[key] = record
    return list(merged.values())
