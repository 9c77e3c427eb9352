"""Rows of a file, as many at once as somebody wants, from any row on: JSON lines, CSV or Parquet.

What comes out is what ``fitting`` takes: values of JSON's kinds, or a table of texts. A file is read as it is needed;
its digest tells whether it is still the same.
"""

import csv
import hashlib
import io
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any, BinaryIO, Final

from dragoman.errors import ConfigError, InvalidInput
from dragoman.rows.fitting import Table

#: Bytes that are hashed at once.
_CHUNK: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Rows:
    """So many rows as ``fitting.fit`` takes them."""

    given: Any
    count: int

    def singly(self) -> Iterator[Any]:
        """Each row alone, as ``fitting.fit`` takes it."""
        if isinstance(self.given, Table):
            return (Table(self.given.header, [row]) for row in self.given.rows)
        return iter(self.given)


class Source:
    """A file of rows. Reading raises InvalidInput, with the number of the row, and OSError."""

    def __init__(self, path: Path, kind: str) -> None:
        """``kind`` is a key of READERS; "auto" goes by the file's name. Raises InvalidInput."""
        if kind == "auto":
            kind = path.suffix.lower().removeprefix(".")
        if kind not in READERS:
            raise InvalidInput(
                f"rows are read from {', '.join(READERS)}, got {kind or 'a file without a suffix'!r}"
            )
        self.path = path
        self.kind = kind

    def digest(self) -> str:
        """SHA-256 of all of the file."""
        whole = hashlib.sha256(self.kind.encode())
        with self.path.open("rb") as file:
            while piece := file.read(_CHUNK):
                whole.update(piece)
        return whole.hexdigest()

    def count(self) -> int:
        """How many rows there are."""
        return sum(rows.count for rows in self.read(10_000))

    def read(self, size: int, skip: int = 0) -> Iterator[Rows]:
        """All rows after the first ``skip``, ``size`` at a time."""
        with self.path.open("rb") as file:
            yield from READERS[self.kind](file, size, skip)


def _read_jsonl(file: BinaryIO, size: int, skip: int) -> Iterator[Rows]:
    numbered = ((number, line) for number, line in enumerate(file, 1) if not line.isspace())
    lines = islice(numbered, skip, None)
    while part := list(islice(lines, size)):
        yield Rows([_parse(number, line) for number, line in part], len(part))


def _parse(number: int, line: bytes) -> Any:
    try:
        return json.loads(line)
    except ValueError as error:
        raise InvalidInput(f"line {number} is not JSON: {error}") from None


def _read_csv(file: BinaryIO, size: int, skip: int) -> Iterator[Rows]:
    with io.TextIOWrapper(file, "utf-8-sig", newline="") as text, _as_invalid("CSV"):
        every = (row for row in csv.reader(text) if row)
        first, second = next(every, None), next(every, None)
        if first is None:
            return
        header = first if second is not None and is_header(first, second) else None
        begin = [each for each in (None if header else first, second) if each is not None]
        rows = islice(chain(begin, every), skip, None)
        while part := list(islice(rows, size)):
            yield Rows(Table(header, part), len(part))


def is_header(first: list[str], second: list[str]) -> bool:
    """Whether the first line of a table can't be data: it has no number, and the second has one."""
    return not any(map(_is_number, first)) and any(map(_is_number, second))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _read_parquet(file: BinaryIO, size: int, skip: int) -> Iterator[Rows]:
    """A row is an object of its columns; of a file with one column it is that column's value."""
    try:
        import pyarrow
        from pyarrow.parquet import ParquetFile
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] != "pyarrow":
            raise
        hint = "pip install 'dragoman[batch]'"
        raise ConfigError("reading Parquet needs pyarrow, which is not installed", hint=hint) from error
    with _as_invalid("Parquet", (pyarrow.ArrowException,)):
        parquet = ParquetFile(file)
        only = parquet.schema_arrow.names[0] if len(parquet.schema_arrow.names) == 1 else None
        for batch in parquet.iter_batches(size):
            if skip >= batch.num_rows:
                skip -= batch.num_rows
                continue
            part, skip = batch.slice(skip), 0
            given = part.column(0).to_pylist() if only else part.to_pylist()
            yield Rows(given, part.num_rows)


@contextmanager
def _as_invalid(kind: str, kinds: Any = ()) -> Iterator[None]:
    """``kinds`` are exceptions of the library that reads."""
    try:
        yield
    except (UnicodeDecodeError, csv.Error, *kinds) as error:
        raise InvalidInput(f"the file is not {kind}: {error}") from None


#: Readers by the suffix of a file: a file, rows at a time, rows to skip.
READERS: Final[dict[str, Callable[[BinaryIO, int, int], Iterator[Rows]]]] = {
    "jsonl": _read_jsonl,
    "csv": _read_csv,
    "parquet": _read_parquet,
}
