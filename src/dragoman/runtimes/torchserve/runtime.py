"""Loads a model packed for TorchServe and answers requests with its handler.

Knows manifest, configuration and options; the handler's contract is in ``calling`` and ``dragoman.compat.ts``.
"""

import asyncio
import copy
import inspect
import json
import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Final

from dragoman.compat import install
from dragoman.compat.ts.context import Context
from dragoman.compat.ts.utils.util import get_yaml_config
from dragoman.compat.ts.version import __version__
from dragoman.errors import ConfigError, DragomanError
from dragoman.runtimes.base import Artifact, Emit, Runtime
from dragoman.runtimes.options import check_options
from dragoman.runtimes.torchserve.calling import Call, Model, Outcome, together
from dragoman.runtimes.torchserve.continuous import ContinuousBatch
from dragoman.runtimes.torchserve.finding import find_handle, prefer
from dragoman.runtimes.torchserve.measuring import make_metrics, time_predictions
from dragoman.types import InferRequest, InferResponse, Signature

_OPTIONS: Final = {
    "batch_size": int,
    "chdir": bool,
    "declared_metrics": Mapping,
    "decode_input_request": bool,
    "detect_metrics": bool,
    "each_metric": bool,
    "envelope": str,
    "gpu_id": int,
    "handler": str,
    "isolate_failures": bool,
    "limit_max_image_pixels": bool,
    "manifest": Mapping,
    "metrics_config": str,
    "model_yaml_config": Mapping,
    "print_metrics": bool,
    "sequence_headers": Sequence,
    "torchserve": object,  # what the archive's configuration says of serving it
}
_MANIFEST = Path("MAR-INF", "MANIFEST.json")
_alone = threading.RLock()  # models load side by side, but ``sys.path`` and ``sys.modules`` are one


class TorchServeRuntime(Runtime):
    """One initialized handler of an unpacked archive. Options (all optional):

    ``handler``, ``envelope`` and ``manifest`` (instead of the archive's), ``batch_size``, ``gpu_id``,
    ``limit_max_image_pixels``, ``decode_input_request``, ``model_yaml_config`` (instead of the archive's file),
    ``metrics_config`` (a metrics file's path), ``declared_metrics`` (the same without a file), ``detect_metrics``
    (metrics that are not declared count, too), ``each_metric`` (every value of them is told by itself),
    ``print_metrics`` (write values to standard output, as TorchServe does), ``isolate_failures`` (try the requests
    of a failed batch one by one), ``sequence_headers`` (names of the headers that tell a sequence's id, start and
    end) and ``chdir`` (work in the model's directory: only where the process has this one model). ``torchserve`` is
    what the archive says of serving.
    """

    extra = "torchserve"
    takes_requests: ClassVar[bool] = True
    signature = Signature((), ())

    def __init__(self, artifact: Artifact, directory: Path) -> None:
        self._loop = asyncio.Runner()
        options = artifact.options
        self._isolates: bool = options.get("isolate_failures", False)
        manifest = _read_manifest(artifact, directory)
        said = manifest["model"]
        envelope: str = options.get("envelope", said.get("envelope") or "")
        config = _read_config(artifact, directory, said.get("configFile"))
        context = self._make_context(artifact, directory, manifest, config)
        try:
            name = options.get("handler") or said.get("handler") or ""
            handle, self.handler = find_handle(name, envelope, context, self.finish)
        except BaseException:
            self._loop.close()
            raise
        decode: bool = options.get("decode_input_request", True)
        self.concurrent = bool(config.get("asyncCommunication"))
        self.continuous = bool(config.get("continuousBatching")) and not self.concurrent
        names = (
            context.header_key_sequence_id,
            context.header_key_sequence_start,
            context.header_key_sequence_end,
        )
        assert self.metrics is not None
        told = time_predictions(context.metrics, self.metrics)
        self._model = Model(handle, context, self.finish, told, artifact.version, envelope, decode, names)

    @classmethod
    def load(cls, artifact: Artifact) -> "TorchServeRuntime":
        """Import and initialize the handler; what it raises becomes ConfigError with a place."""
        if not artifact.trusted:
            raise ConfigError(
                "the model brings Python code from a place that isn't trusted to run code here",
                hint="load it from a local path",
            )
        check_options(artifact, _OPTIONS)
        directory = artifact.path
        if directory is None or not directory.is_dir():
            raise ConfigError("a TorchServe model is loaded from its unpacked directory")
        directory = directory.resolve()
        with _alone:
            install("ts")
            prefer(directory)
            if artifact.options.get("chdir"):
                os.chdir(directory)
            return cls(artifact, directory)

    def execute(self, request: InferRequest) -> InferResponse:
        """Answer one request; the parts of a streamed answer before its last are lost."""
        (outcome,) = self.execute_requests([request], lambda place, response: None)
        if isinstance(outcome, DragomanError):
            raise outcome
        return outcome

    def execute_requests(self, requests: Sequence[InferRequest], emit: Emit) -> Sequence[Outcome]:
        """Answer these requests with one call of the handler, as TorchServe would a batch.

        Those that ask for an explanation or a description go alone: a handler looks at the first one's headers.
        """
        if self.continuous:
            return self._execute_to_the_end(requests, emit)
        if len(requests) == 1:
            return Call(self._model, requests, (0,), emit).run()
        outcomes: dict[int, Outcome] = {}
        for places in together(requests):
            batch = [requests[place] for place in places]
            call = Call(self._model, batch, places, emit)
            found = call.run()
            if call.failed and len(batch) > 1 and not call.sent and self._isolates:
                found = [Call(self._model, [requests[place]], [place], emit).run()[0] for place in places]
            outcomes.update(zip(places, found, strict=True))
        return [outcomes[place] for place in range(len(requests))]

    def _execute_to_the_end(self, requests: Sequence[InferRequest], emit: Emit) -> Sequence[Outcome]:
        """Where nobody can join: step by step until all of them are answered."""
        batch = self.open_batch(emit)
        for place, request in enumerate(requests):
            batch.join(place, request)
        outcomes: dict[int, Outcome] = {}
        while batch:
            outcomes.update(batch.step())
        return [outcomes[place] for place in range(len(requests))]

    def open_batch(self, emit: Emit) -> ContinuousBatch:
        return ContinuousBatch(self._model, emit)

    async def execute_concurrently(self, requests: Sequence[InferRequest], emit: Emit) -> Sequence[Outcome]:
        """The same beside other calls of the handler, each with a context of its own."""
        outcomes: dict[int, Outcome] = {}
        for places in together(requests):
            batch = [requests[place] for place in places]
            call = Call(replace(self._model, context=copy.copy(self._model.context)), batch, places, emit)
            outcomes.update(zip(places, await call.run_concurrently(), strict=True))
        return [outcomes[place] for place in range(len(requests))]

    def close(self) -> None:
        """Let the handler tidy up, if it has a ``close`` or ``shutdown``, and end what its coroutines left."""
        for name in ("close", "shutdown"):
            if self.handler is not None and callable(end := getattr(self.handler, name, None)):
                self.finish(end())
                break
        self._loop.close()

    def finish(self, result: Any) -> Any:
        """``result``, or what it comes to when it is a coroutine."""
        return self._loop.run(result) if inspect.iscoroutine(result) else result

    def _make_context(
        self, artifact: Artifact, directory: Path, manifest: dict[str, Any], config: dict[str, Any]
    ) -> Context:
        options = artifact.options
        metrics, self.metrics = make_metrics(artifact)
        configured = getattr(options.get("torchserve"), "batch_size", None)
        context = Context(
            artifact.name,
            str(directory),
            manifest,
            options.get("batch_size", configured or 1),
            options.get("gpu_id"),
            __version__,
            options.get("limit_max_image_pixels", True),
            metrics,
            config,
        )
        if names := options.get("sequence_headers"):
            (
                context.header_key_sequence_id,
                context.header_key_sequence_start,
                context.header_key_sequence_end,
            ) = names
        return context


def _read_manifest(artifact: Artifact, directory: Path) -> dict[str, Any]:
    """The archive's manifest, or what TorchServe takes where there is none."""
    given = artifact.options.get("manifest") or {}
    if isinstance(given.get("model"), Mapping):
        return dict(given)
    path = directory / _MANIFEST
    if not path.is_file():
        return {"runtime": "python", "model": {"modelName": artifact.name, "modelVersion": "1.0"}}
    try:
        manifest = json.loads(path.read_bytes())
    except ValueError as error:
        raise ConfigError(f"{_MANIFEST} is not JSON: {error}") from error
    if not isinstance(manifest, dict) or not isinstance(manifest.get("model"), dict):
        raise ConfigError(f"{_MANIFEST} has no model")
    return manifest


def _read_config(artifact: Artifact, directory: Path, file: str | None) -> dict[str, Any]:
    given = artifact.options.get("model_yaml_config")
    if given is not None:
        return dict(given)
    if not file or not (directory / file).is_file():
        return {}
    try:
        return get_yaml_config(directory / file)
    except ImportError as error:
        raise ConfigError(str(error), hint="pip install 'dragoman[torchserve]'") from error
    except Exception as error:
        raise ConfigError(f"{file} can't be read: {error}") from error
