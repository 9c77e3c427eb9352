"""The features in what a model is asked: a column of each tensor, row by row. Pure."""

from collections.abc import Mapping, Sequence
from math import prod
from typing import Final

import numpy as np

from dragoman.rows.values import values_of
from dragoman.types import Array, Tensor

#: Columns of a tensor up to which each is a feature; pictures and the like have none.
MOST_COLUMNS: Final = 256
#: Rows of one request that are looked at.
MOST_ROWS: Final = 1000

#: Numbers as floats, NaN where one is missing, and categories as texts in an object array; by feature.
Columns = Mapping[str, Array]


def columns_of(tensors: Sequence[Tensor], *, batched: bool) -> dict[str, Array]:
    """The first rows' values by feature: ``x`` of a tensor with one value a row, else ``x[0]``, ``x[1]`` and so on.

    A model that is not ``batched`` is asked one row; the first dimension counts rows where there is only that one.
    """
    found: dict[str, Array] = {}
    for tensor in tensors:
        shape = tensor.shape
        by_rows = len(shape) > 0 and (batched or len(shape) == 1)
        rows, width = (shape[0], prod(shape[1:])) if by_rows else (1, prod(shape))
        if not rows or not 0 < width <= MOST_COLUMNS:
            continue
        values = values_of(tensor)
        table = (values[:MOST_ROWS] if by_rows else values).reshape(
            min(rows, MOST_ROWS) if by_rows else 1, width
        )
        for column in range(width):
            name = tensor.name if width == 1 else f"{tensor.name}[{column}]"
            found[name] = _column(table[:, column])
    return found


def _column(values: Array) -> Array:
    """A copy of its own, as numbers or as texts."""
    if values.dtype == object:
        return np.array([bytes(each)[:_LONGEST].decode("utf-8", "replace") for each in values], object)
    if values.dtype == np.bool_:
        return np.array(["true" if each else "false" for each in values.tolist()], object)
    return values.astype(np.float64)


#: Bytes of a category's name.
_LONGEST: Final = 64
