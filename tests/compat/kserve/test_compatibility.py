"""docs/compatibility-kserve.md and the tests tell the same differences of the Python API."""

import re
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[3] / "docs" / "compatibility-kserve.md").read_text("utf-8")
SECTION = PAGE.partition("\n## Python API\n")[2].partition("\n## ")[0]
ROWS = re.findall(r"^\| `([a-z0-9-]+)` \|", SECTION, re.MULTILINE)
NAMED = [
    name
    for path in Path(__file__).parent.glob("test_*.py")
    for names in re.findall(r"^ +# row: (.+)$", path.read_text("utf-8"), re.MULTILINE)
    for name in names.split(", ")
]


@pytest.mark.parametrize("row", ROWS)
def test_a_row_has_its_test(row):
    assert row in NAMED


def test_tests_name_rows_that_exist():
    assert set(NAMED) <= set(ROWS)


def test_no_row_is_there_twice():
    assert len(set(ROWS)) == len(ROWS) > 20
