"""Two inputs, their sum and their difference: as little work as a model can do."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.int32]


class Add:
    inputs = {"INPUT0": ("INT32", [-1, 16]), "INPUT1": ("INT32", [-1, 16])}
    outputs = {"OUTPUT0": ("INT32", [-1, 16]), "OUTPUT1": ("INT32", [-1, 16])}
    batched = True
    fast = True

    def predict(self, INPUT0: Array, INPUT1: Array) -> dict[str, Any]:
        return {"OUTPUT0": INPUT0 + INPUT1, "OUTPUT1": INPUT0 - INPUT1}
