"""Rows of files: every format gives the same rows, from any row on, and what is no row is named."""

import json

import numpy as np
import pytest

from dragoman.errors import InvalidInput
from dragoman.rows.fitting import fit
from dragoman.rows.reading import Source
from dragoman.types import TensorSpec

SPECS = (TensorSpec("a", "INT64", (-1, 1)), TensorSpec("b", "FP32", (-1, 1)))
COUNT = 25


def write(path):
    rows = [{"a": n, "b": n / 2} for n in range(COUNT)]
    if path.suffix == ".jsonl":
        path.write_text("\n\n".join(map(json.dumps, rows)) + "\n")
    elif path.suffix == ".csv":
        path.write_text("a,b\n" + "".join(f"{row['a']},{row['b']}\n" for row in rows))
    else:
        import pyarrow
        from pyarrow.parquet import write_table

        write_table(pyarrow.Table.from_pylist(rows), path, row_group_size=7)
    return Source(path, "auto")


@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet"])
def test_every_format_gives_the_same_rows_from_any_row_on(tmp_path, kind):
    source = write(tmp_path / f"rows.{kind}")
    assert source.count() == COUNT
    for size, skip in ((4, 0), (4, 9), (100, 0), (1, 24), (7, 25)):
        parts = list(source.read(size, skip))
        assert sum(part.count for part in parts) == COUNT - skip
        assert all(0 < part.count <= size for part in parts)
        fitted = [fit(part.given, SPECS) for part in parts]
        got = np.concatenate([a.data for a, _ in fitted]).ravel().tolist() if fitted else []
        assert got == list(range(skip, COUNT))
        alone = [fit(row, SPECS)[0].data.item() for part in parts for row in part.singly()]
        assert alone == got


def test_a_file_that_has_changed_has_another_digest(tmp_path):
    source = write(tmp_path / "rows.csv")
    before = source.digest()
    assert write(tmp_path / "rows.csv").digest() == before
    source.path.write_text(source.path.read_text() + "1,2\n")
    assert source.digest() != before


def test_a_table_without_a_header_has_none(tmp_path):
    (tmp_path / "rows.csv").write_text("1,2\n3,4\n")
    (part,) = Source(tmp_path / "rows.csv", "auto").read(10)
    assert (part.count, part.given.header) == (2, None)
    (tmp_path / "rows.csv").write_text("")
    assert Source(tmp_path / "rows.csv", "auto").count() == 0


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("rows.jsonl", b"[1]\n[2\n", "line 2 is not JSON"),
        ("rows.parquet", b"PAR1 and nothing more", "the file is not Parquet"),
        ("rows.csv", b"a,\xff\n", "the file is not CSV"),
    ],
)
def test_what_is_no_row_is_told(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InvalidInput, match=words):
        Source(tmp_path / name, "auto").count()


def test_a_format_that_is_none_is_told(tmp_path):
    with pytest.raises(InvalidInput, match="rows are read from jsonl, csv, parquet, got 'xml'"):
        Source(tmp_path / "rows.xml", "auto")
