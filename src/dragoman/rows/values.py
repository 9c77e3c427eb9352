"""Arrays as JSON has them. Pure."""

import base64
from typing import Any

import numpy as np

from dragoman.types import Array, Tensor


def values_of(tensor: Tensor) -> Array:
    """The tensor's numbers, where its array has only their bits."""
    if tensor.datatype != "BF16":
        return tensor.data
    return (tensor.data.astype("<u4") << 16).view("<f4")


def plain(data: Any) -> Any:
    """An array's values: one element as itself, bytes that are no text as ``{"b64": …}``."""
    if isinstance(data, np.ndarray):
        return plain(data.item()) if data.size == 1 else [plain(each) for each in data]
    if isinstance(data, np.generic):
        return data.item()
    if isinstance(data, bytes):
        try:
            return data.decode()
        except UnicodeDecodeError:
            return {"b64": base64.b64encode(data).decode()}
    return data
