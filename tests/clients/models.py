"""Models that clients ask."""

import time

from dragoman.types import InferRequest, InferResponse
from tests.conformance.models import AddSub, Unloadable


class Echo:
    """Answers with what it was sent: any names, datatypes and shapes."""

    def predict(self, request: InferRequest):
        return InferResponse(request.model, request.version, request.inputs)


class Labelled(AddSub):
    """Sum and difference of rows of four numbers; the sums have names."""

    outputs = {
        "OUTPUT0": ("FP32", [-1, 4], ["cat", "dog", "bird", "fish"]),
        "OUTPUT1": ("FP32", [-1, 4]),
    }


class Slow:
    """Takes a while."""

    inputs = {"x": ("FP32", [-1])}
    outputs = {"y": ("FP32", [-1])}

    def predict(self, x):
        time.sleep(0.2)
        return x


class Broken(Unloadable):
    """Fails while it is loaded."""
