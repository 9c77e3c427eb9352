"""The page on Triton's Python backend tells the differences that tests show, and every name there is."""

import re
from pathlib import Path

from dragoman.compat import triton_python_backend_utils as pb_utils

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "triton-python.md").read_text("utf-8")


def test_every_difference_is_shown_by_a_test():
    tests = [*Path(__file__).parent.glob("test_*.py"), ROOT / "tests" / "compat" / "test_triton_python.py"]
    named = {
        name
        for path in tests
        for names in re.findall(r"^ +# row: (.+)$", path.read_text("utf-8"), re.MULTILINE)
        for name in names.split(", ")
    }
    assert named == set(re.findall(r"^\| `([a-z0-9-]+)` \|", PAGE, re.MULTILINE))


def test_every_function_of_the_module_is_on_the_page():
    functions = [name for name in pb_utils.__all__ if name.islower()]
    assert [name for name in functions if f"`{name}`" not in PAGE] == []
