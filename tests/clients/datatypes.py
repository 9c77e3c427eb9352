"""A tensor of every datatype, as numpy has them, with the values that are easily lost."""

import ml_dtypes
import numpy as np


def _extremes(dtype: type) -> np.ndarray:
    info = np.iinfo(dtype)
    return np.array([info.min, 0, 1, info.max], dtype)


SAMPLES = {
    "BOOL": np.array([True, False, True, True]),
    "INT8": _extremes(np.int8),
    "INT16": _extremes(np.int16),
    "INT32": _extremes(np.int32),
    "INT64": _extremes(np.int64),
    "UINT8": _extremes(np.uint8),
    "UINT16": _extremes(np.uint16),
    "UINT32": _extremes(np.uint32),
    "UINT64": _extremes(np.uint64),
    "FP16": np.array([0.5, -0.0, 65504, np.inf], np.float16),
    "BF16": np.array([0.5, -0.0, 3e38, np.inf], ml_dtypes.bfloat16),
    "FP32": np.array([0.1, -0.0, 3e38, 1e-45], np.float32),
    "FP64": np.array([0.1, -0.0, 1e308, 5e-324], np.float64),
    "BYTES": np.array([b"", b"\x00\xff\xfe", "é☃".encode(), b"plain"], object),
}
TEXTS = np.array([b"", b"plain", 'é☃ "q" \\ \n'.encode(), b"x"], object)
SHAPES = [(4,), (1, 4), (2, 2), (4, 1, 1), (1, 2, 2, 1)]


def same(got: np.ndarray, sent: np.ndarray) -> bool:
    """The same shape and the same bits; of strings, the same bytes."""
    if got.shape != sent.shape:
        return False
    if sent.dtype == object:
        return got.ravel().tolist() == sent.ravel().tolist()
    return got.tobytes() == sent.tobytes()
