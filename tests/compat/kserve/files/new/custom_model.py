"""A predictor as KServe 0.21's documentation has it, with middleware on the server's app."""

import argparse
import base64
import io
from typing import Dict, Union

import numpy as np
from fastapi.middleware.cors import CORSMiddleware
from kserve import InferOutput, InferRequest, InferResponse, Model, ModelServer, logging, model_server
from kserve.errors import InvalidInput
from kserve.model_server import app
from kserve.utils.utils import generate_uuid
from PIL import Image


class PixelModel(Model):
    def __init__(self, name: str):
        super().__init__(name, return_response_headers=True)
        self.load()

    def load(self):
        self.model = lambda pixels: np.array([sum(pixels)], dtype=np.int64)
        self.ready = True
        return self.ready

    async def preprocess(self, payload: Union[Dict, InferRequest], headers: Dict[str, str] = None):
        if isinstance(payload, Dict) and "instances" in payload:
            headers["request-type"] = "v1"
            raw = base64.b64decode(payload["instances"][0]["image"]["b64"])
        elif isinstance(payload, InferRequest):
            headers["request-type"] = "v2"
            data = payload.inputs[0].data[0]
            raw = data if isinstance(data, bytes) else base64.b64decode(data)
        else:
            raise InvalidInput("invalid payload")
        return list(Image.open(io.BytesIO(raw)).convert("L").tobytes())

    async def predict(
        self, input_tensor, headers: Dict[str, str] = None, response_headers: Dict[str, str] = None
    ) -> Union[Dict, InferResponse]:
        output = self.model(input_tensor)
        response_headers.update({"my-header": "sample"})
        if headers["request-type"] == "v1":
            return {"predictions": output.tolist()}
        infer_output = InferOutput(name="output-0", shape=list(output.shape), datatype="INT64")
        infer_output.set_data_from_numpy(output)
        return InferResponse(generate_uuid(), self.name, [infer_output])


parser = argparse.ArgumentParser(parents=[model_server.parser])
args, _ = parser.parse_known_args()

if __name__ == "__main__":
    if args.configure_logging:
        logging.configure_logging(args.log_config_file)
    app.add_middleware(CORSMiddleware, allow_origins=["*"])
    ModelServer().start([PixelModel(args.model_name)])
