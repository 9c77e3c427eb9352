"""Handlers like the recorded ones, written into archives. Their code runs in the server's workers."""

import json
import zipfile
from pathlib import Path
from typing import Any

#: Tells what it sees, in an order of its own.
ECHO = """
import json

def show(value):
    if isinstance(value, bytearray):
        return "bytearray " + value.decode("utf-8", "replace")
    return type(value).__name__ + " " + (value if isinstance(value, str) else json.dumps(value))

def handle(data, context):
    if data is None:
        return None
    return [
        {
            "inputs": {name: show(value) for name, value in row.items()},
            "headers": dict(sorted(context.get_all_request_header(place).items())),
        }
        for place, row in enumerate(data)
    ]
"""

#: Answers as its body says.
RESULTS = """
import os
import signal
import uuid
from ts.utils.util import PredictionException

PLAIN = {
    "str": "plain string", "bytes": b"\\x00\\x01\\x02raw", "dict": {"a": 1, "b": [1.5, "x"]}, "list": [1, 2, 3],
    "none": None, "int": 7, "unserializable": object(),
    "uuid": {"id": uuid.UUID(int=7)},
}
FAILURES = {
    "predexc": PredictionException("Some Prediction Error", 513),
    "predexc404": PredictionException("custom not found", 404),
    "too large": PredictionException("bring less", 413),
    "memerr": MemoryError("x"),
    "cudaerr": RuntimeError("CUDA out of memory"),
    "raise": ValueError("a secret of the handler"),
}

def handle(data, context):
    if data is None:
        return None
    mode = bytes(data[0]["body"]).decode()
    if mode in FAILURES:
        raise FAILURES[mode]
    if mode in PLAIN:
        return [PLAIN[mode]]
    if mode == "notlist":
        return {"not": "a list"}
    if mode == "wronglen":
        return [1, 2]
    if mode == "ctype":
        context.set_response_content_type(0, "text/html; charset=utf-8")
        return ["<b>hi</b>"]
    if mode == "header":
        context.set_response_header(0, "X-My-Header", "v1")
        return ["with header"]
    if mode == "status":
        context.set_response_status(code=418, phrase="Teapot", idx=0)
        return ["teapot body"]
    if mode == "line break":
        context.set_response_header(0, "X-My-Header", "v1\\r\\nX-Yours: v2")
        return ["smuggled"]
    if mode == "exit":
        os._exit(3)
    if mode == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
"""

#: Sends its answer in parts; fails after the first if told to.
STREAM = """
import time
from ts.handler_utils.utils import send_intermediate_predict_response

def handle(data, context):
    if data is None:
        return None
    for number in range(3):
        send_intermediate_predict_response(["hello "], context.request_ids, "part", 200, context)
        time.sleep(0.02)
        if bytes(data[0]["body"]) == b"fail":
            raise ValueError("too late to say")
    return ["hello world "]
"""

#: Takes the seconds of its body, and tells how many requests it was asked together.
SLOW = """
import time

def handle(data, context):
    if data is None:
        return None
    seconds = max(float(bytes(row["body"]) or 0) for row in data)
    time.sleep(seconds)
    return [{"place": place, "together": len(data)} for place in range(len(data))]
"""

#: Adds up what KServe's envelopes bring it.
SUM = """
class Handler:
    def initialize(self, context):
        self.context = context

    def handle(self, data, context):
        if context.get_request_header(0, "explain") == "True":
            return [[float(sum(self.numbers(row)))] for row in data]
        return [int(sum(self.numbers(row))) for row in data]

    def numbers(self, row):
        return row["data"] if isinstance(row, dict) else row
"""

#: Tells which version it is, and how many requests it was asked together.
COUNTS = """
def handle(data, context):
    if data is None:
        return None
    version = context.manifest["model"]["modelVersion"]
    size = context.system_properties["batch_size"]
    return [{"rows": len(data), "version": version, "batch_size": size, "nothing": None} for _ in data]
"""

#: Has something to say of itself.
DESCRIBES = """
def handle(data, context):
    if data is None:
        return None
    if context.get_request_header(0, "describe") == "True":
        return [{"custom": "meta", "n": 3}]
    return ["ok"] * len(data)
"""

#: Never gets ready.
FAILS = """
class Bad:
    def initialize(self, context):
        raise RuntimeError("cannot load weights")

    def handle(self, data, context):
        return [1] * len(data)
"""


#: Answers with the length of its body.
LENGTH = """
def handle(data, context):
    return [len(row["body"]) for row in data or ()]
"""

#: The functions of a workflow.
STEPS = """
def preprocessing(data, context):
    if not data:
        return None
    return [row.get("data") or row.get("body") for row in data]


def postprocessing(data, context):
    if data:
        return [row.get("data") or row.get("body") for row in data]
"""

#: How a model stands between them.
FLOW = """
models:
    min-workers: 1
    max-workers: 1
    batch-size: 8
    max-batch-delay: 50
    m1:
        url: length.mar
        batch-size: 4

dag:
    preprocessing: [m1]
    m1: [postprocessing]
"""


def write_workflow(folder: Path, name: str, spec: str, code: str = "") -> Path:
    """An archive of a workflow."""
    workflow = {"workflowName": name, "handler": "steps.py" if code else "", "specFile": "spec.yaml"}
    manifest = {"createdOn": "01/01/2024 00:00:00", "archiverVersion": "0.2.15", "workflow": workflow}
    path = folder / f"{name}.war"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("WAR-INF/MANIFEST.json", json.dumps(manifest))
        archive.writestr("spec.yaml", spec)
        if code:
            archive.writestr("steps.py", code)
    return path


def write_archive(folder: Path, name: str, code: str, handler: str = "", yaml: str = "", **model: Any) -> str:
    """An archive of one handler; its path, for a server."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.mar"
    with zipfile.ZipFile(path, "w") as archive:
        for member, text in _members(name, code, handler, yaml, **model).items():
            archive.writestr(member, text)
    return str(path)


def write_folder(folder: Path, name: str, code: str) -> None:
    """What such an archive holds."""
    for member, text in _members(name, code).items():
        (folder / member).parent.mkdir(parents=True, exist_ok=True)
        (folder / member).write_text(text)


def write_without_manifest(path: Path, code: str) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("service.py", code)


def _members(name: str, code: str, handler: str = "", yaml: str = "", **model: Any) -> dict[str, str]:
    described = {"modelName": name, "handler": f"{name}_handler.py{handler}", "modelVersion": "1.0", **model}
    if yaml:
        described["configFile"] = "model-config.yaml"
    manifest = {
        "createdOn": "01/01/2024 00:00:00", "runtime": "python", "archiverVersion": "0.12.0", "model": described,
    }  # fmt: skip
    files = {"MAR-INF/MANIFEST.json": json.dumps(manifest), f"{name}_handler.py": code}
    return {**files, "model-config.yaml": yaml} if yaml else files
