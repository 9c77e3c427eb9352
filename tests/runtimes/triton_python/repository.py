"""A model repository as users of Triton's Python backend have it: folders, versions, ``config.pbtxt``, ``model.py``."""

from pathlib import Path
from textwrap import dedent

PAIR = """
    input [
      { name: "INPUT0" data_type: TYPE_FP32 dims: [ 4 ] },
      { name: "INPUT1" data_type: TYPE_FP32 dims: [ 4 ] }
    ]
    output [
      { name: "OUTPUT0" data_type: TYPE_FP32 dims: [ 4 ] },
      { name: "OUTPUT1" data_type: TYPE_FP32 dims: [ 4 ] }
    ]
"""

SUM = """
    import triton_python_backend_utils as pb_utils

    class TritonPythonModel:
        def execute(self, requests):
            responses = []
            for request in requests:
                first = pb_utils.get_input_tensor_by_name(request, "INPUT0").as_numpy()
                second = pb_utils.get_input_tensor_by_name(request, "INPUT1").as_numpy()
                outputs = [pb_utils.Tensor("OUTPUT0", first + second), pb_utils.Tensor("OUTPUT1", first - second)]
                responses.append(pb_utils.InferenceResponse(output_tensors=outputs))
            return responses
"""

IDENTITY = """
    import json
    import triton_python_backend_utils as pb_utils

    class TritonPythonModel:
        def initialize(self, args):
            self.config = json.loads(args["model_config"])

        def execute(self, requests):
            (name,) = [output["name"] for output in self.config["output"]]
            responses = []
            for request in requests:
                (tensor,) = request.inputs()
                try:
                    output = pb_utils.Tensor(name, tensor.as_numpy())
                except pb_utils.TritonModelException:
                    output = pb_utils.Tensor.from_dlpack(name, tensor.to_dlpack())
                responses.append(pb_utils.InferenceResponse([output]))
            return responses
"""

ERRORS = """
    import triton_python_backend_utils as pb_utils

    CODES = [None, None, pb_utils.TritonError.INVALID_ARG, pb_utils.TritonError.NOT_FOUND,
             pb_utils.TritonError.UNAVAILABLE, pb_utils.TritonError.UNSUPPORTED, pb_utils.TritonError.ALREADY_EXISTS,
             pb_utils.TritonError.CANCELLED, pb_utils.TritonError.INTERNAL, pb_utils.TritonError.UNKNOWN]

    class TritonPythonModel:
        def execute(self, requests):
            responses = []
            for request in requests:
                which = int(pb_utils.get_input_tensor_by_name(request, "WHICH").as_numpy()[0])
                if which == 0:
                    raise RuntimeError("boom from execute")
                if which == 1:
                    return responses
                error = pb_utils.TritonError("custom error text", CODES[which])
                responses.append(pb_utils.InferenceResponse(error=error))
            return responses
"""

ECHO = """
    import json
    import numpy as np
    import triton_python_backend_utils as pb_utils

    class TritonPythonModel:
        def execute(self, requests):
            responses = []
            for request in requests:
                said = {"parameters": json.loads(request.parameters() or "{}"), "id": request.request_id(),
                        "correlation": request.correlation_id(), "flags": request.flags(),
                        "timeout": request.timeout(), "priority": request.priority(), "model": request.model_name(),
                        "outputs": request.requested_output_names(), "cancelled": request.is_cancelled()}
                tensor = pb_utils.Tensor("SAID", np.array([json.dumps(said)], dtype=object))
                more = {"text": "s", "count": 7, "yes": True}
                responses.append(pb_utils.InferenceResponse([tensor], parameters=more))
            return responses
"""

REPEAT = """
    import threading
    import numpy as np
    import triton_python_backend_utils as pb_utils

    class TritonPythonModel:
        def execute(self, requests):
            for request in requests:
                values = pb_utils.get_input_tensor_by_name(request, "IN").as_numpy()
                threading.Thread(target=self.answer, args=(request.get_response_sender(), values)).start()
            return None

        def answer(self, sender, values):
            for index, value in enumerate(values):
                if value < 0:
                    sender.send(pb_utils.InferenceResponse(error=pb_utils.TritonError("negative value in stream")))
                    continue
                sender.send(pb_utils.InferenceResponse([
                    pb_utils.Tensor("OUT", np.array([value], np.int32)),
                    pb_utils.Tensor("IDX", np.array([index], np.uint32)),
                ]))
            if not len(values) or values[-1] != 99:
                sender.send(flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
"""

#: Asks another model twice, the second time in a coroutine, and one that answers in parts.
CALLER = """
    import asyncio
    import numpy as np
    import triton_python_backend_utils as pb_utils

    def ask(model, outputs, **tensors):
        inputs = [pb_utils.Tensor(name, data) for name, data in tensors.items()]
        return pb_utils.InferenceRequest(model_name=model, requested_output_names=outputs, inputs=inputs)

    class TritonPythonModel:
        def execute(self, requests):
            return [self.answer(request) for request in requests]

        def answer(self, request):
            x = pb_utils.get_input_tensor_by_name(request, "X").as_numpy()
            model = pb_utils.get_input_tensor_by_name(request, "MODEL").as_numpy()[0].decode()
            if model == "repeat":
                parts = ask("repeat", ["OUT"], IN=x.astype(np.int32)[0]).exec(decoupled=True)
                values = [pb_utils.get_output_tensor_by_name(part, "OUT").as_numpy()[0] for part in parts]
                return pb_utils.InferenceResponse([pb_utils.Tensor("Y", np.array([values], np.float32))])
            added = ask(model, ["OUTPUT0"], INPUT0=x, INPUT1=x).exec()
            if added.has_error():
                return pb_utils.InferenceResponse(error=added.error())
            total = pb_utils.get_output_tensor_by_name(added, "OUTPUT0").as_numpy()
            doubled = asyncio.run(ask("double", ["Y"], X=total).async_exec())
            return pb_utils.InferenceResponse(doubled.output_tensors())
"""

DOUBLE = """
    import triton_python_backend_utils as pb_utils

    class TritonPythonModel:
        @staticmethod
        def auto_complete_config(config):
            config.add_input({"name": "X", "data_type": "TYPE_FP32", "dims": [4]})
            config.add_output({"name": "Y", "data_type": "TYPE_FP32", "dims": [4]})
            config.set_max_batch_size(8)
            config.set_dynamic_batching()
            return config

        def execute(self, requests):
            responses = []
            for request in requests:
                data = pb_utils.get_input_tensor_by_name(request, "X").as_numpy()
                data *= 2
                responses.append(pb_utils.InferenceResponse([pb_utils.Tensor("Y", data)]))
            return responses
"""

#: Says how many requests came together, and waits until a file is there.
TOGETHER = """
    import os
    import time
    import numpy as np
    import triton_python_backend_utils as pb_utils

    class TritonPythonModel:
        def initialize(self, args):
            self.gate = os.path.join(args["model_repository"], "gate")

        def execute(self, requests):
            while not os.path.exists(self.gate):
                time.sleep(0.005)
            count = np.array([[len(requests)]], np.int32)
            return [pb_utils.InferenceResponse([pb_utils.Tensor("COUNT", count)]) for _ in requests]
"""

FINALIZED = """
    import os
    import triton_python_backend_utils as pb_utils

    class TritonPythonModel:
        def initialize(self, args):
            self.said = os.path.join(args["model_repository"], "finalized")
            self.counter = pb_utils.MetricFamily(
                name="asked", description="how often", kind=pb_utils.MetricFamily.COUNTER
            ).Metric(labels={"who": "me"})
            pb_utils.Logger.log_info("initialized")

        def execute(self, requests):
            self.counter.increment(len(requests))
            return [pb_utils.InferenceResponse(request.inputs()) for request in requests]

        def finalize(self):
            with open(self.said, "w") as file:
                file.write(str(self.counter.value()))
"""

#: Not decoupled, and answers with a sender, from a thread of its own.
LATER = """
    import threading
    import triton_python_backend_utils as pb_utils

    class TritonPythonModel:
        def execute(self, requests):
            for request in requests:
                threading.Thread(target=self.answer, args=(request, request.get_response_sender())).start()

        def answer(self, request, sender):
            sender.send(pb_utils.InferenceResponse(request.inputs()), pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
"""

#: Answers when nobody waits for it any more, and leaves a file then.
PATIENT = """
    import os
    import time
    import triton_python_backend_utils as pb_utils

    class TritonPythonModel:
        def initialize(self, args):
            self.folder = args["model_repository"]

        def execute(self, requests):
            (request,) = requests
            open(os.path.join(self.folder, "began"), "w").close()
            until = time.monotonic() + 60
            while not request.is_cancelled() and time.monotonic() < until:
                time.sleep(0.005)
            if request.is_cancelled():
                open(os.path.join(self.folder, "cancelled"), "w").close()
            return [pb_utils.InferenceResponse(request.inputs())]
"""

#: Asks the patient model and gives up.
HASTY = """
    import asyncio
    import os
    import pathlib
    import triton_python_backend_utils as pb_utils

    class TritonPythonModel:
        def initialize(self, args):
            self.began = pathlib.Path(args["model_repository"]).parent / "patient" / "began"

        def execute(self, requests):
            return [asyncio.run(self.answer(request)) for request in requests]

        async def answer(self, request):
            asked = pb_utils.InferenceRequest(
                model_name="patient", requested_output_names=["X"], inputs=request.inputs()
            )
            waiting = asyncio.create_task(asked.async_exec())
            while not self.began.exists():
                await asyncio.sleep(0.005)
            waiting.cancel()
            return pb_utils.InferenceResponse(request.inputs())
"""

#: Ready as long as there is no file.
MOODY = """
    import os
    import triton_python_backend_utils as pb_utils

    class TritonPythonModel:
        def initialize(self, args):
            self.file = os.path.join(args["model_repository"], "not_now")

        def is_ready(self):
            return not os.path.exists(self.file)

        def execute(self, requests):
            return [pb_utils.InferenceResponse(request.inputs()) for request in requests]
"""

ONE = 'input [ { name: "X" data_type: TYPE_INT32 dims: [ 1 ] } ] '
BACKEND = 'backend: "python"\n'

MODELS = {
    "add_sub": (PAIR + "max_batch_size: 8 dynamic_batching { }", SUM),
    "errors": (
        'input [ { name: "WHICH" data_type: TYPE_INT32 dims: [ 1 ] } ]'
        ' output [ { name: "NONE" data_type: TYPE_INT32 dims: [ 1 ] } ]',
        ERRORS,
    ),
    "echo": (ONE + 'output [ { name: "SAID" data_type: TYPE_STRING dims: [ 1 ] } ]', ECHO),
    "repeat": (
        'input [ { name: "IN" data_type: TYPE_INT32 dims: [ -1 ] } ] output [ '
        '{ name: "OUT" data_type: TYPE_INT32 dims: [ 1 ] }, { name: "IDX" data_type: TYPE_UINT32 dims: [ 1 ] } ] '
        "model_transaction_policy { decoupled: true }",
        REPEAT,
    ),
    "caller": (
        'input [ { name: "X" data_type: TYPE_FP32 dims: [ 1, -1 ] }, '
        '{ name: "MODEL" data_type: TYPE_STRING dims: [ 1 ] } ] '
        'output [ { name: "Y" data_type: TYPE_FP32 dims: [ 1, -1 ] } ]',
        CALLER,
    ),
    "double": (None, DOUBLE),
    "together": (
        ONE + 'output [ { name: "COUNT" data_type: TYPE_INT32 dims: [ 1 ] } ] max_batch_size: 4 '
        "dynamic_batching { }",
        TOGETHER,
    ),
    "finalized": (ONE + 'output [ { name: "X" data_type: TYPE_INT32 dims: [ 1 ] } ]', FINALIZED),
    "patient": (ONE + 'output [ { name: "X" data_type: TYPE_INT32 dims: [ 1 ] } ]', PATIENT),
    "moody": (ONE + 'output [ { name: "X" data_type: TYPE_INT32 dims: [ 1 ] } ]', MOODY),
    "hasty": (ONE + 'output [ { name: "X" data_type: TYPE_INT32 dims: [ 1 ] } ]', HASTY),
    "later": (ONE + 'output [ { name: "X" data_type: TYPE_INT32 dims: [ 1 ] } ]', LATER),
}
for name in ("BF16", "BOOL", "FP16", "INT64", "STRING", "UINT8"):
    fields = f"data_type: TYPE_{name} dims: -1"
    written = f'input {{ name: "IN" {fields} }} output {{ name: "OUT" {fields} }}'
    MODELS[f"identity_{name.lower()}"] = (written, IDENTITY)


def make_repository(folder: Path, *names: str) -> Path:
    """Write these models, each in version 1."""
    for name in names:
        config, code = MODELS[name]
        version = folder / name / "1"
        version.mkdir(parents=True)
        (version / "model.py").write_text(dedent(code))
        if config is not None:
            (folder / name / "config.pbtxt").write_text(BACKEND + dedent(config))
    return folder
