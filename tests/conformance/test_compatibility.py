"""docs/compatibility.md and the recorded exchanges tell the same differences."""

import re
from pathlib import Path

import pytest

from tests.conformance.test_exchanges import ALL, IDS

PAGE = Path(__file__).parents[2] / "docs" / "compatibility.md"
ROWS = re.findall(r"^\| `([a-z0-9-]+)` \|", PAGE.read_text("utf-8"), re.MULTILINE)


@pytest.mark.parametrize(("folder", "case"), ALL, ids=IDS)
def test_a_difference_has_its_row(folder, case):
    assert set(case.rows) <= set(ROWS)


@pytest.mark.parametrize("row", ROWS)
def test_a_row_has_its_difference(row):
    assert any(row in case.rows for _, case in ALL), f"no recorded exchange shows {row}"


def test_no_row_is_there_twice():
    assert len(set(ROWS)) == len(ROWS)
