"""A predictor as KServe 0.13's documentation has it."""

import argparse
import base64
import io
from typing import Dict

from kserve import Model, ModelServer, model_server
from PIL import Image


class PixelModel(Model):
    def __init__(self, name: str):
        super().__init__(name)
        self.name = name
        self.ready = False
        self.load()

    def load(self):
        self.model = lambda pixels: [sum(pixels)]
        self.ready = True

    def predict(self, payload: Dict, headers: Dict[str, str] = None) -> Dict:
        data = payload["instances"][0]["image"]["b64"]
        picture = Image.open(io.BytesIO(base64.b64decode(data)))
        return {"predictions": self.model(list(picture.convert("L").tobytes()))}


parser = argparse.ArgumentParser(parents=[model_server.parser])
args, _ = parser.parse_known_args()

if __name__ == "__main__":
    ModelServer().start([PixelModel(args.model_name)])
