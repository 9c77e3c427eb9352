"""Takes 5 ms for a request, one after the other: a small model as many are."""

import time

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.int32]


class Five:
    inputs = {"INPUT0": ("INT32", [1, 16])}
    outputs = {"OUTPUT0": ("INT32", [1, 16])}

    def predict(self, INPUT0: Array) -> dict[str, Array]:
        time.sleep(0.005)
        return {"OUTPUT0": INPUT0 + 1}
