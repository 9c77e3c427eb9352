"""A transformer as KServe 0.21's documentation has it: where its predictor is, is the server's to know."""

import argparse
import base64
import io
from typing import Dict, Union

import numpy as np
from kserve import InferInput, InferRequest, InferResponse, Model, ModelServer, logging, model_server
from kserve.constants.constants import PredictorProtocol
from PIL import Image


def image_transform(model_name, data: Union[str, bytes]):
    """The picture in an instance as numbers."""
    picture = Image.open(io.BytesIO(base64.b64decode(data)))
    return np.asarray(picture.convert("L"), dtype=np.float32).ravel() / 255


class ImageTransformer(Model):
    def __init__(self, name: str):
        super().__init__(name)
        self.ready = True

    def preprocess(self, payload: Union[Dict, InferRequest], headers: Dict[str, str] = None):
        if isinstance(payload, InferRequest):
            pictures = [image_transform(self.name, text) for text in payload.inputs[0].as_string()]
        else:
            pictures = [
                image_transform(self.name, instance["image"]["b64"]) for instance in payload["instances"]
            ]
        tensor = np.concatenate(pictures)
        if self.predictor_config.predictor_protocol == PredictorProtocol.REST_V1.value:
            return {"instances": tensor.tolist()}
        infer_input = InferInput("x", list(tensor.shape), "FP32")
        infer_input.set_data_from_numpy(tensor)
        return InferRequest(model_name=self.name, infer_inputs=[infer_input])

    def postprocess(
        self,
        infer_response: Union[Dict, InferResponse],
        headers: Dict[str, str] = None,
        response_headers: Dict[str, str] = None,
    ):
        if isinstance(infer_response, dict):
            return infer_response
        return {"predictions": infer_response.outputs[0].as_numpy().tolist()}


parser = argparse.ArgumentParser(parents=[model_server.parser])
args, _ = parser.parse_known_args()

if __name__ == "__main__":
    if args.configure_logging:
        logging.configure_logging(args.log_config_file)
    ModelServer().start([ImageTransformer(args.model_name)])
