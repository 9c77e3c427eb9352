"""A model's outputs for people and for programs. Knows no wire."""

import base64
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from dragoman.cli import output
from dragoman.types import Array, Tensor

#: What a table shows at most: rows of an answer, elements and characters of a cell.
ROWS: Final = 50
ELEMENTS: Final = 8
CHARACTERS: Final = 200


def document(model: str, outputs: Sequence[Tensor]) -> dict[str, Any]:
    """As a v2 answer has it, with nested data; bytes that are no text as {"b64": …}."""
    described = [
        {
            "name": each.name,
            "datatype": each.datatype,
            "shape": list(each.shape),
            "data": _plain(_values(each)),
        }
        for each in outputs
    ]
    return {"model_name": model, "outputs": described}


def show(outputs: Sequence[Tensor]) -> None:
    """A table: a column for each output, a line for each row, where all outputs have as many."""
    lengths = {len(each.data) if each.data.ndim else 1 for each in outputs}
    columns = [f"{each.name} {each.datatype}[{','.join(map(str, each.shape))}]" for each in outputs]
    values = [_values(each) for each in outputs]
    console = output.console()
    if len(lengths) == 1:
        (count,) = lengths
        rows = [
            [_cell(each[row] if each.ndim else each) for each in values] for row in range(min(count, ROWS))
        ]
        console.print(output.table(columns, rows))
        if count > ROWS:
            console.print(f"… {count - ROWS} more rows; --json prints all")
    else:
        console.print(output.table(columns, [[_cell(each) for each in values]]))


def _values(tensor: Tensor) -> Array:
    if tensor.datatype != "BF16":
        return tensor.data
    return (tensor.data.astype("<u4") << 16).view("<f4")


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return (
            [_plain(each) for each in value.tolist()] if value.dtype == object or value.ndim else value.item()
        )
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return {"b64": base64.b64encode(value).decode()}
    return value


def _cell(value: Any) -> str:
    if isinstance(value, np.ndarray) and value.size == 1:
        value = value.reshape(-1)[0]
    if not isinstance(value, np.ndarray):
        return output.text(_shorten(_word(value), CHARACTERS))
    words = [_word(each) for each in value.reshape(-1)[:ELEMENTS]]
    if value.size > ELEMENTS:
        words.append(f"… {value.size - ELEMENTS} more")
    return output.text(_shorten("  ".join(words), CHARACTERS))


def _word(value: Any) -> str:
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return f"<{len(value)} bytes>"
    if isinstance(value, float | np.floating):
        return f"{float(value):.6g}"
    return str(value)


def _shorten(text: str, length: int) -> str:
    return text if len(text) <= length else text[:length] + "…"
