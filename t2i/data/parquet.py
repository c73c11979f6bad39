"""Parquet files: tables of metadata, and pictures with their captions, as the Hub itself stores image data sets.

`pyarrow` is imported when the first such file is met: who brings none need not install it.
"""

from collections.abc import Iterator
from types import ModuleType
from typing import Any

from ..errors import InputError
from .files import Files

BATCH_ROWS = 64  # pictures in memory at a time
FETCH_ANEW = "fetch or write it anew"


def read_rows(files: Files, name: str) -> Iterator[tuple[str, dict]]:
    """The rows of a Parquet file, each with where it is (for messages), without the columns of pictures."""
    table = _open(files, name)
    pictures, number = _picture_columns(table), 0
    for batch in _batches(files, name, table, [c for c in table.schema_arrow.names if c not in pictures]):
        for row in batch.to_pylist():
            number += 1
            yield f"{files.path}/{name}, row {number}", row


def read_pictures(files: Files, name: str) -> Iterator[bytes]:
    """The encoded picture in each row of a Parquet file, or of the file that the row names."""
    table = _open(files, name)
    if not (pictures := _picture_columns(table)):
        columns = ", ".join(table.schema_arrow.names)
        reason = "has no column of pictures: bring one called image, with the bytes of their files"
        raise InputError(f"{files.path}/{name}: {reason}; its columns: {columns}")
    cells = (cell for batch in _batches(files, name, table, pictures[:1]) for cell in batch.column(0).to_pylist())
    for row, cell in enumerate(cells, 1):
        data, path = (cell.get("bytes"), cell.get("path")) if isinstance(cell, dict) else (cell, None)
        try:
            yield data if data is not None else files.read(files.find(path or ""))
        except FileNotFoundError:
            reason = f"{path} is missing" if path else "has no picture"
            raise InputError(f"{files.path}/{name}, row {row}: {reason}: bring it, or leave the row out") from None


def _open(files: Files, name: str) -> Any:
    pyarrow = _pyarrow(files, name)
    try:
        return pyarrow.parquet.ParquetFile(files.open(name))
    except pyarrow.ArrowException:
        files.read(name)  # which raises the error for a pointer of Git LFS
        raise InputError(f"{files.path}/{name}: is damaged, or no Parquet file: {FETCH_ANEW}") from None


def _batches(files: Files, name: str, table: Any, columns: list[str]) -> Iterator[Any]:
    pyarrow = _pyarrow(files, name)
    try:
        yield from table.iter_batches(BATCH_ROWS, columns=columns)
    except (pyarrow.ArrowException, OSError) as error:
        raise InputError(f"{files.path}/{name}: is damaged ({str(error).splitlines()[0]}): {FETCH_ANEW}") from None


def _pyarrow(files: Files, name: str) -> ModuleType:
    try:
        import pyarrow.parquet
    except ModuleNotFoundError:
        reason = "to read Parquet files, pip install pyarrow (or -r requirements-train.txt)"
        raise InputError(f"{files.path}/{name}: {reason}") from None
    return pyarrow


def _picture_columns(table: Any) -> list[str]:
    """The columns with bytes, which are pictures: of bytes and path, as the Hub writes them, or of bytes alone.

    One that is called `image` comes first.
    """
    from pyarrow import types

    def holds_bytes(kind: Any) -> bool:
        if types.is_struct(kind):
            return kind.get_field_index("bytes") >= 0
        return any(is_kind(kind) for is_kind in (types.is_binary, types.is_large_binary, types.is_binary_view))

    names = [field.name for field in table.schema_arrow if holds_bytes(field.type)]
    return sorted(names, key=lambda name: name != "image")
