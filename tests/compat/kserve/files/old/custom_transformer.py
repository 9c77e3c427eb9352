"""A transformer as KServe 0.13's documentation has it: it is told of its predictor by assignment."""

import argparse
import base64
import io
from typing import Dict, Union

import numpy as np
from kserve import InferInput, InferRequest, InferResponse, Model, ModelServer, logging, model_server
from kserve.model import PredictorProtocol
from PIL import Image


def image_transform(instance: Union[Dict, str]) -> np.ndarray:
    """The picture in an instance as numbers."""
    data = instance["image"]["b64"] if isinstance(instance, dict) else instance
    picture = Image.open(io.BytesIO(base64.b64decode(data)))
    return np.asarray(picture.convert("L"), dtype=np.float32).ravel() / 255


class ImageTransformer(Model):
    def __init__(self, name: str, predictor_host: str, protocol: str):
        super().__init__(name)
        self.predictor_host = predictor_host
        self.protocol = protocol
        self.ready = True

    def preprocess(self, payload: Union[Dict, InferRequest], headers: Dict[str, str] = None):
        if isinstance(payload, InferRequest):
            pictures = [image_transform(text) for text in payload.inputs[0].as_string()]
        else:
            pictures = [image_transform(instance) for instance in payload["instances"]]
        tensor = np.concatenate(pictures)
        if self.protocol == PredictorProtocol.REST_V1.value:
            return {"instances": tensor.tolist()}
        infer_input = InferInput("x", list(tensor.shape), "FP32", data=tensor)
        return InferRequest(model_name=self.name, infer_inputs=[infer_input])

    def postprocess(self, infer_response: Union[Dict, InferResponse], headers: Dict[str, str] = None):
        if isinstance(infer_response, dict):
            return infer_response
        return {"predictions": infer_response.outputs[0].as_numpy().tolist()}


parser = argparse.ArgumentParser(parents=[model_server.parser])
args, _ = parser.parse_known_args()

if __name__ == "__main__":
    logging.configure_logging(args.log_config_file)
    ModelServer().start(
        [
            ImageTransformer(
                args.model_name, predictor_host=args.predictor_host, protocol=args.predictor_protocol
            )
        ]
    )
