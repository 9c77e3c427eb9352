"""Runs XGBoost models from their own JSON or UBJSON files, which hold no code. Knows boosters only.

A file saved by XGBoost's scikit-learn classes is read too, and answers what its booster computes: the
probability of class 1 for a binary classifier, one probability for each class for several.
"""

from typing import Any, Final

import numpy as np

from dragoman.runtimes.base import Artifact, Runtime, require
from dragoman.runtimes.convert import to_tensor
from dragoman.runtimes.options import cannot_load, check_options, find_file
from dragoman.runtimes.signature import complete
from dragoman.types import Array, InferRequest, InferResponse, Signature, TensorSpec

_OPTIONS: Final = {"threads": int}


class XGBoostRuntime(Runtime):
    """A booster: ``input`` [-1, features] FP32, where NaN is a missing value, gives ``predict`` FP32.

    Option: ``threads`` (0 for all cores).
    """

    extra = "xgboost"

    def __init__(self, artifact: Artifact, booster: Any, xgboost: Any) -> None:
        self._name, self._version = artifact.name, artifact.version
        self._booster, self._xgboost = booster, xgboost
        # Early stopping leaves trees behind that are worse than the best: XGBoost's own classes skip them.
        best = booster.attr("best_iteration")
        self._rounds = (0, int(best) + 1) if best is not None else (0, 0)
        row = np.zeros((1, booster.num_features()), np.float32)
        try:
            self._predict = self._predict_inplace
            answer = self._predict(row)
        except xgboost.core.XGBoostError:  # gblinear can't
            self._predict = self._predict_matrix
            answer = self._predict(row)
        given = TensorSpec("input", "FP32", (-1, row.shape[1]))
        output = TensorSpec("predict", "FP32", (-1, *answer.shape[1:]))
        self.signature = complete(artifact, Signature((given,), (output,), batched=True), rename=True)

    @classmethod
    def load(cls, artifact: Artifact) -> "XGBoostRuntime":
        """Read the model; the file's content, not its suffix, says whether it is JSON or UBJSON."""
        xgboost: Any = require("xgboost", cls.extra)
        check_options(artifact, _OPTIONS)
        path = find_file(artifact, ".ubj", ".json", ".xgb", ".bst")
        booster = xgboost.Booster({"nthread": artifact.options.get("threads", 0)})
        try:
            booster.load_model(bytearray(path.read_bytes()))
        except xgboost.core.XGBoostError as error:
            raise cannot_load("xgboost", path, error) from error
        return cls(artifact, booster, xgboost)

    def execute(self, request: InferRequest) -> InferResponse:
        """Predict every row."""
        output = to_tensor(self.signature.outputs[0], self._predict(request.inputs[0].data))
        return InferResponse(self._name, self._version, (output,), request.id)

    def _predict_inplace(self, rows: Array) -> Array:
        result: Array = self._booster.inplace_predict(
            rows, iteration_range=self._rounds, validate_features=False
        )
        return result

    def _predict_matrix(self, rows: Array) -> Array:
        matrix = self._xgboost.DMatrix(rows)
        result: Array = self._booster.predict(matrix, iteration_range=self._rounds, validate_features=False)
        return result
