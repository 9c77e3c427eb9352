"""Answers to the rows of a file, written row by row: JSON lines, CSV or Parquet. Knows no server and no store.

A file gets its name when it is whole.
"""

import csv
import json
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Final

from dragoman.cli.failure import USAGE, Failure

Row = dict[str, Any]

#: Rows that are handed to Parquet at once.
_GROUP: Final = 10_000


def check(path: Path) -> None:
    """Raises Failure for a file that can't be written, before anything is done for it."""
    if path.suffix.lower().removeprefix(".") not in WRITERS:
        raise Failure(f"answers are written as {', '.join(WRITERS)}, got {path.name!r}", code=USAGE)
    if not path.absolute().parent.is_dir():
        raise Failure(f"there is no folder {str(path.absolute().parent)!r}", code=USAGE)


def write(path: Path, rows: Iterable[Row]) -> None:
    """Write all rows, in their order. Raises Failure."""
    new = path.with_name(f".{path.name}.new")
    try:
        WRITERS[path.suffix.lower().removeprefix(".")](new, iter(rows))
        new.replace(path)
    except OSError as error:
        raise Failure(f"can't write {str(path)!r}: {error.strerror}") from error
    finally:
        new.unlink(missing_ok=True)


def _write_jsonl(path: Path, rows: Iterator[Row]) -> None:
    with path.open("w", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


def _write_csv(path: Path, rows: Iterator[Row]) -> None:
    """A cell that is no single value is JSON."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer: Any = None
        for row in rows:
            writer = writer or csv.DictWriter(file, list(row))
            if file.tell() == 0:
                writer.writeheader()
            writer.writerow({name: _cell(value) for name, value in row.items()})


def _cell(value: Any) -> Any:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list | dict) else value


def _write_parquet(path: Path, rows: Iterator[Row]) -> None:
    try:
        import pyarrow
        from pyarrow.parquet import ParquetWriter
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] != "pyarrow":
            raise
        raise Failure(
            "writing Parquet needs pyarrow, which is not installed", hint="pip install 'dragoman[batch]'"
        ) from error
    writer: Any = None
    try:
        while group := list(islice(rows, _GROUP)):
            table = pyarrow.Table.from_pylist(group, None if writer is None else writer.schema)
            writer = writer or ParquetWriter(path, table.schema)
            writer.write_table(table)
    finally:
        if writer is not None:
            writer.close()


#: Writers by the suffix of a file.
WRITERS: Final[dict[str, Callable[[Path, Iterator[Row]], None]]] = {
    "jsonl": _write_jsonl,
    "csv": _write_csv,
    "parquet": _write_parquet,
}
