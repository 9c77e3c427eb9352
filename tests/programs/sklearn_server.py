"""A server for scikit-learn's models in the style of KServe's own: one model from a folder, or a repository of them."""

import argparse
import os
import pathlib
from typing import Dict, Union

import joblib
from kserve import Model, ModelRepository, ModelServer, logging, model_server
from kserve.errors import InferenceError, ModelMissingError
from kserve.model_repository import MODEL_MOUNT_DIRS
from kserve.protocol.infer_type import InferRequest, InferResponse
from kserve.storage import Storage
from kserve.utils.utils import get_predict_input, get_predict_response

EXTENSIONS = (".joblib", ".pkl", ".pickle")


class SKLearnModel(Model):
    def __init__(self, name: str, model_dir: str):
        super().__init__(name)
        self.model_dir = model_dir
        self.ready = False

    def load(self) -> bool:
        path = pathlib.Path(Storage.download(self.model_dir))
        files = [path / file for file in os.listdir(path) if (path / file).suffix in EXTENSIONS]
        if not files:
            raise ModelMissingError(path)
        if len(files) > 1:
            raise RuntimeError(f"More than one model file is detected, only one is allowed: {files}")
        self._model = joblib.load(files[0])
        self.ready = True
        return self.ready

    def predict(
        self, payload: Union[Dict, InferRequest], headers: Dict[str, str] = None
    ) -> Union[Dict, InferResponse]:
        try:
            return get_predict_response(payload, self._model.predict(get_predict_input(payload)), self.name)
        except Exception as error:
            raise InferenceError(str(error)) from error


class SKLearnModelRepository(ModelRepository):
    def __init__(self, model_dir: str = MODEL_MOUNT_DIRS):
        super().__init__(model_dir)
        self.load_models()

    async def load(self, name: str) -> bool:
        return self.load_model(name)

    def load_model(self, name: str) -> bool:
        model = SKLearnModel(name, os.path.join(self.models_dir, name))
        if model.load():
            self.update(model)
        return model.ready


parser = argparse.ArgumentParser(parents=[model_server.parser])
parser.add_argument("--model_dir", required=True, help="A local path to the model directory")
args, _ = parser.parse_known_args()

if __name__ == "__main__":
    if args.configure_logging:
        logging.configure_logging(args.log_config_file)
    model = SKLearnModel(args.model_name, args.model_dir)
    try:
        model.load()
        ModelServer().start([model])
    except ModelMissingError:
        ModelServer(registered_models=SKLearnModelRepository(args.model_dir)).start([])
