"""Takes 2 ms and 10 µs for each row, whatever it is given: what joined requests gain is plain to see."""

import time

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.int32]


class Batching:
    inputs = {"INPUT0": ("INT32", [-1, 16])}
    outputs = {"OUTPUT0": ("INT32", [-1, 16])}
    batched = True

    def predict(self, INPUT0: Array) -> dict[str, Array]:
        time.sleep(0.002 + 0.00001 * len(INPUT0))
        return {"OUTPUT0": INPUT0 + 1}
