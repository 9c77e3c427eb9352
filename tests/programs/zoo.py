"""A program written for KServe's Python API: one model for each thing that a model may do."""

import argparse
from typing import Dict, Union

import numpy as np
from fastapi import HTTPException
from kserve import InferOutput, InferRequest, InferResponse, Model, ModelServer, logging, model_server
from kserve.errors import InferenceError, InvalidInput, ModelNotReady
from kserve.model_repository import ModelRepository
from kserve.utils.utils import get_predict_input, get_predict_response


class Identity(Model):
    """What comes in goes out, and a little more."""

    def __init__(self, name):
        super().__init__(name)
        self.load()

    def get_input_types(self):
        return [{"name": "INPUT0", "datatype": "FP32", "shape": [-1, 4]}]

    def get_output_types(self):
        return [{"name": "INPUT0", "datatype": "FP32", "shape": [-1, 4]}]

    async def predict(self, payload, headers: Dict[str, str] = None):
        if not isinstance(payload, InferRequest):
            return {"predictions": payload["instances"]}
        binary = payload.use_binary_outputs
        outputs = []
        for tensor in payload.inputs:
            output = InferOutput(
                name=tensor.name,
                shape=list(tensor.shape),
                datatype=tensor.datatype,
                parameters={"echo": True},
            )
            output.set_data_from_numpy(tensor.as_numpy(), binary_data=binary)
            outputs.append(output)
        return InferResponse(
            response_id=payload.id or "generated-id",
            model_name=self.name,
            infer_outputs=outputs,
            parameters={"p_str": "s", "p_int": 7, "p_bool": True},
            use_binary_outputs=binary,
            requested_outputs=payload.request_outputs,
        )

    async def explain(self, payload, headers=None):
        return {"explanations": payload["instances"]}


class AddSub(Model):
    """The sum and the difference of two tensors."""

    def __init__(self, name):
        super().__init__(name)
        self.load()

    def predict(self, payload: InferRequest, headers: Dict[str, str] = None) -> InferResponse:
        left = payload.get_input_by_name("INPUT0").as_numpy()
        right = payload.get_input_by_name("INPUT1").as_numpy()
        binary = payload.use_binary_outputs
        outputs = []
        for name, value in (("OUTPUT0", left + right), ("OUTPUT1", left - right)):
            output = InferOutput(name=name, shape=list(value.shape), datatype="FP32")
            output.set_data_from_numpy(value, binary_data=binary)
            outputs.append(output)
        return InferResponse(
            payload.id or "generated-id",
            self.name,
            outputs,
            use_binary_outputs=binary,
            requested_outputs=payload.request_outputs,
        )


class Iris(Model):
    """A classifier, served as KServe's server for scikit-learn does it."""

    def load(self):
        from sklearn.datasets import load_iris
        from sklearn.svm import SVC

        data = load_iris()
        self._model = SVC(gamma="scale").fit(data.data, data.target)
        self.ready = True
        return self.ready

    def predict(self, payload: Union[Dict, InferRequest], headers=None):
        try:
            result = self._model.predict(get_predict_input(payload))
        except Exception as error:
            raise InferenceError(str(error)) from error
        return get_predict_response(payload, result, self.name)


class NotReady(Model):
    """Registered, and not healthy."""

    def __init__(self, name):
        super().__init__(name)
        self.ready = True

    async def healthy(self):
        return False


class Errors(Model):
    """Does what the client says."""

    def __init__(self, name):
        super().__init__(name)
        self.load()

    def predict(self, payload, headers=None):
        kind = payload["instances"][0] if isinstance(payload, dict) else payload.inputs[0].data[0]
        if isinstance(kind, bytes):
            kind = kind.decode()
        failures = {
            "InvalidInput": InvalidInput("bad input given"),
            "InferenceError": InferenceError("inference went wrong"),
            "InferenceErrorStatus": InferenceError("inference went wrong", status="E42", debug_details="x"),
            "ModelNotReady": ModelNotReady(self.name, "warming up"),
            "NotImplementedError": NotImplementedError("no such thing"),
            "HTTPException": HTTPException(status_code=418, detail="teapot"),
            "ValueError": ValueError("plain value error"),
        }
        if kind in failures:
            raise failures[kind]
        answers = {
            "None": None,
            "str": "plain string",
            "bytes": b"\x00\x01raw",
            "nan": {"predictions": [float("nan"), float("inf"), -0.0, 1e400]},
            "ndarray": {"predictions": np.arange(3)},
        }
        return answers.get(kind, {"predictions": [kind]})


class Stream(Model):
    """Answers in pieces."""

    def __init__(self, name):
        super().__init__(name)
        self.load()

    async def predict(self, payload, headers=None):
        async def pieces():
            for number in range(3):
                yield f"chunk {number}\n"

        return pieces()


class Headers(Model):
    """Has headers of its own."""

    def __init__(self, name):
        super().__init__(name, return_response_headers=True)
        self.load()

    async def predict(self, payload, headers=None, response_headers=None):
        response_headers.update({"x-from-predict": "1"})
        if not isinstance(payload, InferRequest):
            return {"predictions": payload["instances"]}
        tensor = payload.inputs[0]
        output = InferOutput("o", tensor.shape, tensor.datatype, tensor.data)
        return InferResponse(payload.id or "generated-id", self.name, [output])

    async def postprocess(self, result, headers=None, response_headers=None):
        response_headers.update({"x-from-postprocess": "1"})
        return result


class Repository(ModelRepository):
    """Loads one model on request, and fails with another."""

    def load(self, name):
        if name == "iris2":
            model = Iris(name)
            model.load()
            self.update(model)
            return True
        if name == "broken":
            raise RuntimeError("cannot read artefact")
        return False


parser = argparse.ArgumentParser(parents=[model_server.parser])
args, _ = parser.parse_known_args()

if __name__ == "__main__":
    if args.configure_logging:
        logging.configure_logging(args.log_config_file)
    iris = Iris("iris")
    iris.load()
    ModelServer(registered_models=Repository("/nonexistent"), enable_docs_url=args.enable_docs_url).start(
        [
            Identity("identity"),
            AddSub("addsub"),
            iris,
            NotReady("notready"),
            Errors("errors"),
            Stream("stream"),
            Headers("hdrs"),
        ]
    )
