"""Datatypes of the Open Inference Protocol and the dtypes of numpy that carry them."""

from functools import lru_cache
from typing import Any

import numpy as np

from dragoman.types import DTYPES

_NAMES = {dtype: name for name, dtype in DTYPES.items() if name not in {"BF16", "BYTES"}}


def to_np_dtype(dtype: str) -> Any:
    """numpy's dtype for a datatype, ``None`` where there is none. BF16 travels as uint16, BYTES as objects."""
    return DTYPES.get(dtype)


def from_np_dtype(np_dtype: Any) -> str | None:
    """The datatype that carries a dtype; strings, dates and objects are BYTES. ``None`` where none does."""
    return _datatype(np.dtype(np_dtype))


@lru_cache(maxsize=256)
def _datatype(dtype: np.dtype[Any]) -> str | None:
    if dtype.kind in "OSUM":
        return "BYTES"
    return _NAMES.get(dtype.newbyteorder("<"), "BF16" if dtype.name == "bfloat16" else None)
