"""Runs LightGBM models from their own text files, which hold no code. Knows boosters only."""

from typing import Any, Final

import numpy as np

from dragoman.runtimes.base import Artifact, Runtime, require
from dragoman.runtimes.convert import to_tensor
from dragoman.runtimes.options import cannot_load, check_options, find_file
from dragoman.runtimes.signature import complete
from dragoman.types import InferRequest, InferResponse, Signature, TensorSpec

_OPTIONS: Final = {"threads": int}


class LightGBMRuntime(Runtime):
    """A booster: ``input`` [-1, features] FP64, where NaN is a missing value, gives ``predict`` FP64.

    Option: ``threads`` (0 for all cores).
    """

    extra = "lightgbm"

    def __init__(self, artifact: Artifact, booster: Any) -> None:
        self._name, self._version = artifact.name, artifact.version
        self._booster = booster
        self._threads = artifact.options.get("threads", 0)
        row = np.zeros((1, booster.num_feature()))
        answer = booster.predict(row, num_threads=self._threads)
        given = TensorSpec("input", "FP64", (-1, row.shape[1]))
        output = TensorSpec("predict", "FP64", (-1, *answer.shape[1:]))
        self.signature = complete(artifact, Signature((given,), (output,), batched=True), rename=True)

    @classmethod
    def load(cls, artifact: Artifact) -> "LightGBMRuntime":
        """Read the model's text."""
        lightgbm: Any = require("lightgbm", cls.extra)
        check_options(artifact, _OPTIONS)
        path = find_file(artifact, ".txt", ".lgb", ".bst")
        try:
            booster = lightgbm.Booster(model_str=path.read_text())
        except (lightgbm.basic.LightGBMError, UnicodeDecodeError) as error:
            raise cannot_load("lightgbm", path, error) from error
        return cls(artifact, booster)

    def execute(self, request: InferRequest) -> InferResponse:
        """Predict every row."""
        answer = self._booster.predict(request.inputs[0].data, num_threads=self._threads)
        output = to_tensor(self.signature.outputs[0], answer)
        return InferResponse(self._name, self._version, (output,), request.id)
