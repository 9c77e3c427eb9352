"""A handler's items as JSON: what TorchServe's ``json.dumps(item, indent=2)`` writes, to the byte."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dragoman.errors import PredictionFailed
from dragoman.runtimes.torchserve.results import encode

KEYS = st.text(max_size=4) | st.integers() | st.booleans() | st.none()
ITEMS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda items: st.lists(items, max_size=4) | st.dictionaries(KEYS, items, max_size=4),
    max_leaves=12,
)


@given(st.lists(ITEMS, max_size=3) | st.dictionaries(KEYS, ITEMS, max_size=3) | st.floats() | st.integers())
def test_every_item_is_written_as_python_writes_it(item):
    assert encode(item) == json.dumps(item, indent=2).encode()


@pytest.mark.parametrize(
    "number", [1e-4, 1e-5, 9.9e-5, 1e15, 1e16, 123456789012345680.0, 5e-324, -0.0, math.nan, -math.inf, 2**70]
)
def test_numbers_at_the_edges_are_written_as_python_writes_them(number):
    assert encode({"number": [number]}) == json.dumps({"number": [number]}, indent=2).encode()


@pytest.mark.parametrize("item", [{1, 2}, object(), [b"bytes"], {"when": {3}}])
def test_what_json_has_no_words_for_is_refused(item):
    with pytest.raises(PredictionFailed):
        encode(item)
