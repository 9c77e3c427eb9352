"""Imports a model file under the name ``kserve``, as a user's process would, and asks its model.

Reads what to do as JSON: the file, its class and its arguments, the predictor, and the requests. Writes the answers.
"""

import asyncio
import base64
import importlib.util
import io
import json
import sys

from dragoman.compat import install

task = json.load(sys.stdin)
install("kserve", task["dialect"])

import kserve
from kserve.context import set_predictor_config
from kserve.protocol.infer_type import InferInput, InferRequest
from kserve.utils.inference_client_factory import InferenceClientFactory
from PIL import Image

assert kserve.Model.__module__.startswith("dragoman.")
if task["predictor"]:
    set_predictor_config(kserve.PredictorConfig(*task["predictor"]))
spec = importlib.util.spec_from_file_location("user", task["file"])
user = importlib.util.module_from_spec(spec)
spec.loader.exec_module(user)
model = getattr(user, task["class"])(*task["arguments"])
picture = io.BytesIO()
Image.new("L", (2, 1), 255).save(picture, "PNG")
text = base64.b64encode(picture.getvalue()).decode()


async def ask(body):
    answer = await model(body, headers={})
    headers = {}
    if isinstance(answer, tuple):
        answer, headers = answer
    if not isinstance(answer, dict):
        answer = {"outputs": [[output.name, output.as_numpy().tolist()] for output in answer.outputs]}
    return [answer, headers]


async def go():
    try:
        over_v1 = await ask({"instances": [{"image": {"b64": text}}]})
        over_v2 = None
        if task["v2"]:
            over_v2 = await ask(InferRequest(model.name, [InferInput("image", [1], "BYTES", [text])], "7"))
        return [over_v1, over_v2]
    finally:
        await InferenceClientFactory().close()


json.dump(asyncio.run(go()), sys.stdout)
