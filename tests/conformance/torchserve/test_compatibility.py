"""docs/compatibility-torchserve.md and the tests tell the same differences."""

import re
from pathlib import Path

import pytest

from tests.conformance.torchserve import test_exchanges, test_scenarios
from tests.conformance.torchserve.grpc import test_exchanges as grpc

CASES = [*test_exchanges.CASES, *test_scenarios.CASES, *grpc.CASES]
ROOT = Path(__file__).parents[3]
ROWS = re.findall(
    r"^\| `([a-z0-9-]+)` \|", (ROOT / "docs/compatibility-torchserve.md").read_text("utf-8"), re.MULTILINE
)
TESTS = [
    path.read_text("utf-8")
    for folder in (
        "tests/conformance/torchserve",
        "tests/conformance/torchserve/grpc",
        "tests/protocols/torchserve",
        "tests/profiles",
    )
    for path in (ROOT / folder).glob("test_*.py")
]
#: A test that shows a difference says so: ``# row: name, name``.
NAMED = [
    name
    for text in TESTS
    for names in re.findall(r"^ +# row: (.+)$", text, re.MULTILINE)
    for name in names.split(", ")
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_a_difference_has_its_row(case):
    assert set(case.rows) <= set(ROWS)


@pytest.mark.parametrize("row", ROWS)
def test_a_row_is_shown_by_a_test(row):
    assert row in NAMED or any(row in case.rows for case in CASES)


def test_tests_name_rows_that_exist():
    assert set(NAMED) <= set(ROWS)


def test_no_row_is_there_twice():
    assert len(set(ROWS)) == len(ROWS)
