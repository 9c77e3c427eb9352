"""docs/compatibility.md and the recorded exchanges tell the same differences."""

import re
from pathlib import Path

import pytest

from tests.conformance.grpc import test_exchanges as grpc
from tests.conformance.kserve_api import test_exchanges as kserve_api
from tests.conformance.test_exchanges import ALL, IDS

PAGE = Path(__file__).parents[2] / "docs" / "compatibility.md"
PROGRAM = [(case.id, case) for case in kserve_api.ALL]
CASES = [case for _, case in (*ALL, *grpc.ALL, *PROGRAM)]
#: A test that shows a difference which no recorded exchange can says so: ``# row: name, name``.
NAMED = [
    name
    for path in (
        *Path(__file__).parent.glob("grpc/test_*.py"),
        *Path(__file__).parent.glob("kserve_api/test_*.py"),
        Path(__file__).parents[1] / "test_grpc_bombs.py",
        *Path(__file__).parents[1].glob("caching/test_*.py"),
        *Path(__file__).parents[1].glob("protocols/openai/test_*.py"),
    )
    for names in re.findall(r"^ +# row: (.+)$", path.read_text("utf-8"), re.MULTILINE)
    for name in names.split(", ")
]
ROWS = re.findall(r"^\| `([a-z0-9-]+)` \|", PAGE.read_text("utf-8"), re.MULTILINE)


@pytest.mark.parametrize("case", CASES, ids=[*IDS, *grpc.IDS, *(name for name, _ in PROGRAM)])
def test_a_difference_has_its_row(case):
    assert set(case.rows) <= set(ROWS)


@pytest.mark.parametrize("row", ROWS)
def test_a_row_has_its_difference(row):
    assert row in NAMED or any(row in case.rows for case in CASES), f"no recorded exchange shows {row}"


def test_tests_name_rows_that_exist():
    assert set(NAMED) <= set(ROWS)


def test_no_row_is_there_twice():
    assert len(set(ROWS)) == len(ROWS)
