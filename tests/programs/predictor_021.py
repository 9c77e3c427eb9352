"""A custom predictor as KServe 0.21's pages show one, with middleware on the server's application."""

import argparse
from typing import Dict, Union

import numpy as np
from fastapi.middleware.cors import CORSMiddleware
from kserve import (
    InferOutput,
    InferRequest,
    InferResponse,
    Model,
    ModelServer,
    logging,
    model_server,
)
from kserve.errors import InvalidInput
from kserve.model_server import app
from kserve.utils.utils import generate_uuid


class Sums(Model):
    def __init__(self, name: str):
        super().__init__(name, return_response_headers=True)
        self.load()

    def load(self):
        self.ready = True
        return self.ready

    async def predict(
        self,
        payload: Union[Dict, InferRequest],
        headers: Dict[str, str] = None,
        response_headers: Dict[str, str] = None,
    ) -> Union[Dict, InferResponse]:
        response_headers.update({"x-rows": "counted"})
        if isinstance(payload, InferRequest):
            rows = payload.get_input_by_name("rows").as_numpy()
        else:
            rows = np.array(payload["instances"], dtype=np.float32)
        if rows.ndim != 2:
            raise InvalidInput(f"expected rows, got {rows.ndim} dimensions")
        sums = rows.sum(axis=1)
        if not isinstance(payload, InferRequest):
            return {"predictions": sums.tolist()}
        output = InferOutput("sums", list(sums.shape), "FP32")
        output.set_data_from_numpy(sums, binary_data=payload.use_binary_outputs)
        return InferResponse(
            generate_uuid(),
            self.name,
            [output],
            use_binary_outputs=payload.use_binary_outputs,
            requested_outputs=payload.request_outputs,
        )


parser = argparse.ArgumentParser(parents=[model_server.parser])
args, _ = parser.parse_known_args()

if __name__ == "__main__":
    if args.configure_logging:
        logging.configure_logging(args.log_config_file)
    app.add_middleware(
        CORSMiddleware, allow_origins=["https://example.com"], allow_methods=["*"], allow_headers=["*"]
    )

    @app.get("/version")
    def version():
        return {"program": "sums"}

    ModelServer().start([Sums(args.model_name)])
