"""What a person gave as input, read: JSON on the command line, a file, standard input. Knows no model.

What comes out is a value of JSON's kinds, an array of numpy, a table of texts (CSV) or bytes.
"""

import csv
import io
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from dragoman.cli.failure import FAILED, USAGE, Failure
from dragoman.rows.fitting import Table
from dragoman.rows.reading import is_header


def read_input(given: str | None, kind: str) -> Any:
    """``given`` is JSON, a file's path, ``-`` for standard input, or a plain text; ``kind`` a key of READERS."""
    if given is None and sys.stdin.isatty():
        raise Failure("predict what?", hint="give JSON, a file, or - for standard input", code=USAGE)
    if given in (None, "-"):
        return _read(sys.stdin.buffer.read(), kind, "standard input")
    assert given is not None
    try:
        path = Path(given)
        if path.is_file():
            suffix = path.suffix.lower().removeprefix(".")
            return _read(
                path.read_bytes(), kind if kind != "auto" else suffix if suffix in READERS else "bytes", given
            )
    except (OSError, ValueError) as error:
        if not isinstance(error, OSError) or path.suffix:
            raise Failure(f"can't read {given!r}: {getattr(error, 'strerror', None) or error}") from error
    try:
        return json.loads(given)
    except ValueError as error:
        if given.lstrip()[:1] in ("[", "{"):
            raise Failure(f"the input is not JSON: {error}", code=USAGE) from error
    if len(given.split()) == 1 and ("/" in given or Path(given).suffix):
        raise Failure(f"there is no file {given!r}", code=USAGE)
    return given


def _read(data: bytes, kind: str, where: str) -> Any:
    try:
        return READERS[kind](data)
    except (ValueError, EOFError, csv.Error) as error:
        raise Failure(f"can't read {where} as {kind}: {error}", code=FAILED) from error


def _read_auto(data: bytes) -> Any:
    """Of standard input nobody knows the suffix."""
    if data.startswith(b"\x93NUMPY"):
        return _read_npy(data)
    for reader in (_read_json, _read_jsonl):
        try:
            return reader(data)
        except ValueError:
            continue
    return data


def _read_json(data: bytes) -> Any:
    return json.loads(data)


def _read_jsonl(data: bytes) -> list[Any]:
    return [json.loads(line) for line in data.splitlines() if line.strip()]


def _read_csv(data: bytes) -> Table:
    lines = [line for line in csv.reader(io.StringIO(data.decode("utf-8-sig"), newline="")) if line]
    if len(lines) > 1 and is_header(lines[0], lines[1]):
        return Table(lines[0], lines[1:])
    return Table(None, lines)


def _read_npy(data: bytes) -> Any:
    return np.load(io.BytesIO(data), allow_pickle=False)


def _read_npz(data: bytes) -> dict[str, Any]:
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        return dict(arrays)


#: Readers by the suffix of a file, which is the word of ``--format`` too.
READERS: Final[Mapping[str, Callable[[bytes], Any]]] = {
    "auto": _read_auto,
    "json": _read_json,
    "jsonl": _read_jsonl,
    "csv": _read_csv,
    "npy": _read_npy,
    "npz": _read_npz,
    "bytes": bytes,
}
