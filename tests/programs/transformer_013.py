"""A custom transformer as KServe 0.13's pages show one: it assigns where its predictor is."""

import argparse
from typing import Dict, Union

import numpy as np
from kserve import InferInput, InferRequest, InferResponse, Model, ModelServer, model_server
from kserve.model import PredictorConfig


class Scaler(Model):
    """Scales rows before they are predicted, and says so afterwards."""

    def __init__(self, name: str, predictor_host: str, protocol: str):
        super().__init__(name)
        self.predictor_host = predictor_host
        self.explainer_host = predictor_host
        self.protocol = protocol
        self.ready = True

    def preprocess(
        self, payload: Union[Dict, InferRequest], headers: Dict[str, str] = None
    ) -> Union[Dict, InferRequest]:
        if isinstance(payload, InferRequest):
            rows = payload.inputs[0].as_numpy() * 10
        else:
            rows = [[value * 10 for value in row] for row in payload["instances"]]
        if self.protocol == "v1":
            return {"instances": [list(map(float, row)) for row in rows]}
        array = np.array(rows, np.float32)
        tensor = InferInput("rows", list(array.shape), "FP32")
        tensor.set_data_from_numpy(array, binary_data=self.protocol == "grpc-v2")
        return InferRequest(model_name=self.name, infer_inputs=[tensor])

    def postprocess(
        self, result: Union[Dict, InferResponse], headers: Dict[str, str] = None
    ) -> Union[Dict, InferResponse]:
        if isinstance(result, dict):
            return {**result, "scaled": True} if "predictions" in result else result
        return {"predictions": result.outputs[0].as_numpy().tolist(), "scaled": True}


parser = argparse.ArgumentParser(parents=[model_server.parser])
args, _ = parser.parse_known_args()

if __name__ == "__main__":
    config = PredictorConfig(args.predictor_host, args.predictor_protocol)
    model = Scaler(args.model_name, config.predictor_host, config.predictor_protocol)
    ModelServer().start(models=[model])
