"""The handler that most handlers derive from: loads a PyTorch model and answers with it in three steps.

::

    data ──► preprocess ──► inference ──► postprocess ──► one item per request
                       └──► explain_handle ──► get_insights       (header explain: True)
    describe_handle                                               (header describe: True)
"""

import importlib
import importlib.util
import logging
import os
import pickle
import tempfile
import time
import warnings
from abc import ABC
from pathlib import Path
from typing import Any

from dragoman.compat.need import need
from dragoman.compat.ts.handler_utils.timer import timed
from dragoman.compat.ts.torch_handler.explain import integrated_gradients
from dragoman.compat.ts.torch_handler.request_envelope.base import content_of
from dragoman.compat.ts.utils.util import (
    PredictionException,
    check_valid_pt2_backend,
    list_classes_from_module,
    load_label_mapping,
)

torch = need("torch", "BaseHandler")
logger = logging.getLogger(__name__)

# What handlers ask before they use a library of that name.
PROFILER_AVAILABLE = True
PT2_AVAILABLE = True
ONNX_AVAILABLE = importlib.util.find_spec("onnxruntime") is not None
IPEX_AVAILABLE = False
XLA_AVAILABLE = False


class BaseHandler(ABC):  # noqa: B024 - as handlers know it: every step has a default
    """Loads what the archive holds, by the first of these that fits:

    a model file (a class of ``torch.nn.Module``) with its state dict; TorchScript (``.pt``, ``.pth``); an ONNX
    graph (``.onnx``); an exported program (``.pt2``); AOTInductor's library or package (``.so``, ``.pt2``) where
    the model's configuration says ``pt2: {export: {aot_compile: true}}``.
    """

    def __init__(self) -> None:
        self.model: Any = None
        self.mapping: dict[str, str] | None = None
        self.device: Any = None
        self.initialized = False
        self.context: Any = None
        self.model_pt_path: str | None = None
        self.manifest: Any = None
        self.map_location: str | None = None
        self.explain = False
        self.target: Any = 0
        self.profiler_args: dict[str, Any] = {}
        self.model_yaml_config: dict[str, Any] = {}

    def initialize(self, context: Any) -> None:
        """Choose the device, load the model, compile it if the configuration says so, and load the labels."""
        self.context = context
        self.manifest = context.manifest
        self.model_yaml_config = getattr(context, "model_yaml_config", None) or {}
        properties = context.system_properties
        self._choose_device(properties.get("gpu_id"))
        model_dir = properties.get("model_dir")
        files = self.manifest["model"]
        serialized = files.get("serializedFile")
        self.model_pt_path = os.path.join(model_dir, serialized) if serialized else None
        self._load(model_dir, files.get("modelFile") or "")
        self._compile()
        self.mapping = load_label_mapping(os.path.join(model_dir, "index_to_name.json"))
        self.initialized = True

    @timed
    def preprocess(self, data: Any) -> Any:
        """A tensor of all rows. A row is a number or list, or a dict that has it under ``data`` or ``body``."""
        return torch.as_tensor([_value(row) for row in data], device=self.device)

    @timed
    def inference(self, data: Any, *args: Any, **kwargs: Any) -> Any:
        """The model's output for a tensor, on the model's device, without gradients."""
        if hasattr(self.model, "get_inputs"):  # a session of ONNX Runtime
            name = self.model.get_inputs()[0].name
            return torch.from_numpy(self.model.run(None, {name: data.cpu().numpy()})[0])
        with torch.inference_mode():
            return self.model(data.to(self.device), *args, **kwargs)

    @timed
    def postprocess(self, data: Any) -> Any:
        """One item per request."""
        return data.tolist()

    def handle(self, data: Any, context: Any) -> Any:
        """Answer a batch of requests, or explain or describe, as the first request's headers say."""
        started = time.perf_counter()
        self.context = context
        if os.environ.get("ENABLE_TORCH_PROFILER"):
            output, _ = self._infer_with_profiler(data=data)
        elif self._is_describe():
            output = [self.describe_handle()]
        else:
            output = self._answer(data)
        taken = round((time.perf_counter() - started) * 1000, 2)
        context.metrics.add_time("HandlerTime", taken, None, "ms")
        return output

    def explain_handle(self, data_preprocess: Any, raw_data: Any) -> Any:
        """What in the input made the model say so. The row, or its JSON body, may name the ``target``."""
        row = raw_data[0]
        inputs, target = None, 0
        if isinstance(row, dict):
            inputs = row.get("data") or row.get("body")
            asked = inputs.get("target") if isinstance(inputs, dict) else None
            target = row.get("target") or asked or 0
        return self.get_insights(data_preprocess, inputs, target)

    def get_insights(self, tensor_data: Any, _: Any, target: Any = 0) -> Any:
        """Integrated gradients (Captum) of the model's output ``target`` for every number of the input."""
        return integrated_gradients(self.model, tensor_data, target)

    def describe_handle(self) -> Any:
        """What ``describe`` with ``customized=true`` shows of this model; nothing unless a handler says it."""
        return None

    def get_device(self) -> Any:
        return self.device

    def _answer(self, data: Any) -> Any:
        ready = self.preprocess(data)
        if self._is_explain():
            return self.explain_handle(ready, data)
        return self.postprocess(self.inference(ready))

    def _is_explain(self) -> bool:
        if self._asks("explain"):
            self.explain = True
        return self._asks("explain")

    def _is_describe(self) -> bool:
        return self._asks("describe")

    def _asks(self, header: str) -> bool:
        return bool(self.context) and self.context.get_request_header(0, header) == "True"

    def _choose_device(self, gpu: int | None) -> None:
        self.map_location = "cpu"
        if gpu is not None and torch.cuda.is_available():
            self.map_location = "cuda"
        elif gpu is not None and torch.backends.mps.is_available():
            self.map_location = "mps"
        name = f"cuda:{gpu}" if self.map_location == "cuda" else self.map_location
        self.device = torch.device(name)

    def _load(self, model_dir: str, model_file: str) -> None:
        path = self.model_pt_path or ""
        if model_file:
            self.model = self._load_pickled_model(model_dir, model_file, self.model_pt_path)
            self.model.to(self.device).eval()
        elif path.endswith((".so", ".pt2")) and self._use_torch_export_aot_compile():
            self.model = self._load_torch_export_aot_compile(path)
        elif path.endswith(".pt2"):
            self.model = torch.export.load(path).module().to(self.device)
        elif path.endswith((".pt", ".pth", ".ts")):
            self.model = self._load_torchscript_model(path)
            self.model.eval()
        elif path.endswith(".onnx"):
            self.model = self._load_onnx_model(path)
        else:
            what = Path(path).name if path else "nothing"
            raise RuntimeError(f"the archive has no model that BaseHandler can load: {what}")

    def _load_pickled_model(self, model_dir: str, model_file: str, model_pt_path: str | None) -> Any:
        """An object of the model file's only class, with the state dict of ``model_pt_path`` if there is one."""
        if not os.path.isfile(os.path.join(model_dir, model_file)):
            raise RuntimeError(f"the model file {model_file} is missing")
        module = importlib.import_module(Path(model_file).stem)
        classes = list_classes_from_module(module)
        if len(classes) != 1:
            names = ", ".join(each.__name__ for each in classes) or "none"
            raise ValueError(f"{model_file} should have one class, the model; it has: {names}")
        if not model_pt_path:
            return classes[0]()
        state = load_weights(model_pt_path, self.device)
        if isinstance(state, torch.nn.Module):
            return state
        model: Any = classes[0]()
        model.load_state_dict(state)
        return model

    def _load_torchscript_model(self, model_pt_path: str) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # PyTorch would rather have .pt2 files
            return torch.jit.load(model_pt_path, map_location=self.device)

    def _load_onnx_model(self, path: str) -> Any:
        ort = need("onnxruntime", "an ONNX model")
        wanted = ["CUDAExecutionProvider"] if self.map_location == "cuda" else []
        return ort.InferenceSession(path, providers=[*wanted, "CPUExecutionProvider"])

    def _use_torch_export_aot_compile(self) -> bool:
        said = self.model_yaml_config.get("pt2")
        export = said.get("export") if isinstance(said, dict) else None
        return isinstance(export, dict) and export.get("aot_compile") is True

    def _load_torch_export_aot_compile(self, model_so_path: str) -> Any:
        if self.map_location == "cuda":
            torch.cuda.set_device(self.device)
        if model_so_path.endswith(".pt2"):
            return torch._inductor.aoti_load_package(model_so_path)
        return torch._export.aot_load(model_so_path, self.map_location)

    def _compile(self) -> None:
        """``pt2`` of the configuration: ``{compile: {enable: true, …}}``; or, as of old, a backend or options."""
        said = self.model_yaml_config.get("pt2")
        if said is None or (isinstance(said, dict) and "export" in said):
            return
        if not isinstance(said, str | dict):
            raise ValueError("pt2 should be a backend's name or a mapping")
        options = {"backend": said} if isinstance(said, str) else dict(said.get("compile", said))
        if not options.pop("enable", "compile" not in said):
            return
        if "backend" in options and not check_valid_pt2_backend(options["backend"]):
            return
        self.model = torch.compile(self.model, **options)

    def _infer_with_profiler(self, data: Any) -> Any:
        """The answer and the profile, whose trace goes to a folder of the model's name among temporary files."""
        profiler = torch.profiler
        arguments = self.profiler_args
        if not arguments:
            activities = [profiler.ProfilerActivity.CPU]
            if torch.cuda.is_available():
                activities.append(profiler.ProfilerActivity.CUDA)
            arguments.update(activities=activities, record_shapes=True)
        if "on_trace_ready" not in arguments:
            name = (self.manifest or self.context.manifest)["model"].get("modelName", "")
            folder = os.path.join(tempfile.gettempdir(), "pytorch_profiler", name)
            arguments["on_trace_ready"] = profiler.tensorboard_trace_handler(folder)
            logger.info("the profiler's traces go to %s", folder)
        with profiler.profile(**arguments) as profile:
            with profiler.record_function("preprocess"):
                ready = self.preprocess(data)
            if self._is_explain():
                with profiler.record_function("explain"):
                    output = self.explain_handle(ready, data)
            else:
                with profiler.record_function("inference"):
                    output = self.inference(ready)
                with profiler.record_function("postprocess"):
                    output = self.postprocess(output)
        logger.info("%s", profile.key_averages().table(sort_by="cpu_time_total", row_limit=10))
        return output, profile


def _value(row: Any) -> Any:
    """The numbers that a row holds."""
    found = content_of(row)
    if isinstance(found, dict | str | bytes | bytearray):
        raise PredictionException(f"expected numbers as JSON, got {type(found).__name__}", 400)
    return found


def load_weights(path: str, device: Any) -> Any:
    """A state dict; where it isn't plain tensors, whatever was pickled: an archive is code anyway."""
    try:
        return torch.load(path, map_location=device, weights_only=True)
    except (pickle.UnpicklingError, RuntimeError):  # a pickle, or TorchScript
        logger.info("%s holds more than tensors: loading it as a pickle", Path(path).name)
        return torch.load(path, map_location=device, weights_only=False)
