"""What runs in the cluster in these tests, as its users write it."""

#: Answers with its pid when a file says so, for tests that decide what runs when.
GATE = """
import os
import time
from pathlib import Path

import numpy as np


class Model:
    inputs = {"gate": ("BYTES", [-1])}
    outputs = {"pid": ("INT64", [-1])}

    def predict(self, gate):
        gate = Path(gate[0].decode())
        gate.with_suffix(f".{os.getpid()}").touch()
        while not gate.exists():
            time.sleep(0.005)
        return {"pid": np.array([os.getpid()])}
"""
SUM = """
import os

import numpy as np


class Model:
    inputs = {"a": ("FP32", [-1, 2]), "b": ("FP32", [-1, 2])}
    outputs = {"sum": ("FP32", [-1, 2]), "pid": ("INT64", [-1])}
    batched = True

    def predict(self, a, b):
        return {"sum": a + b, "pid": np.full(len(a), os.getpid())}
"""
FUSSY = """
from dragoman.errors import InvalidInput


class Model:
    def predict(self, x):
        if x[0] < 0:
            raise InvalidInput("x must not be negative")
        if x[0] == 0:
            raise ZeroDivisionError("by nothing")
        return 1 / x
"""
#: A TorchServe handler: streams words, explains, and says what it is.
HANDLER = """
from ts.handler_utils.utils import send_intermediate_predict_response


class Words:
    def initialize(self, context):
        self.initialized = True

    def handle(self, data, context):
        if context.get_request_header(0, "explain") == "True":
            return ["because"]
        words = (data[0].get("body") or data[0].get("data")).decode().split()
        for word in words[:-1]:
            send_intermediate_predict_response([word], context.request_ids, "ok", 200, context)
        return [words[-1]]
"""
MODELS = {
    "gate": GATE,
    "pair": GATE,
    "tight": GATE,
    "grows": GATE,
    "sum": SUM,
    "fussy": FUSSY,
}
SETTINGS = {
    "pair": "instances = 2\nmax_ongoing = 1\n",
    "sum": "instances = 2\nmax_batch = 8\n",
    "tight": "max_ongoing = 1\nqueue_size = 1\n",
    "grows": "max_ongoing = 1\nmax_instances = 2\ntarget_delay = 0.05\nidle_timeout = 1\n",
}
