"""A custom predictor as KServe 0.13's pages show one: rows in, sums out."""

import argparse
from typing import Dict, Union

import numpy as np
from kserve import InferOutput, InferRequest, InferResponse, Model, ModelServer, model_server
from kserve.errors import InvalidInput
from kserve.model import PredictorConfig
from kserve.utils.utils import generate_uuid


class Sums(Model):
    def __init__(self, name: str, predictor_config: PredictorConfig = None):
        super().__init__(name, predictor_config)
        self.name = name
        self.model = None
        self.ready = False
        self.load()

    def load(self) -> bool:
        self.model = np.sum
        self.ready = True
        return self.ready

    def predict(
        self, payload: Union[Dict, InferRequest], headers: Dict[str, str] = None
    ) -> Union[Dict, InferResponse]:
        rows = (
            payload.inputs[0].as_numpy()
            if isinstance(payload, InferRequest)
            else np.array(payload["instances"])
        )
        if rows.ndim != 2:
            raise InvalidInput(f"expected rows, got {rows.ndim} dimensions")
        sums = self.model(rows, axis=1)
        if not isinstance(payload, InferRequest):
            return {"predictions": sums.tolist()}
        output = InferOutput(name="sums", shape=list(sums.shape), datatype="FP32", data=sums.tolist())
        return InferResponse(model_name=self.name, infer_outputs=[output], response_id=generate_uuid())

    async def explain(self, payload: Dict, headers: Dict[str, str] = None) -> Dict:
        rows = np.array(payload["instances"], float)
        return {"explanations": (rows / rows.sum(axis=1, keepdims=True)).tolist()}


parser = argparse.ArgumentParser(parents=[model_server.parser])
args, _ = parser.parse_known_args()

if __name__ == "__main__":
    ModelServer().start([Sums(args.model_name)])
