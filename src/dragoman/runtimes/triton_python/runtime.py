"""Loads a class written for Triton's Python backend and answers requests with it.

Knows the life of such a class; a call of it is ``calling``'s, what it imports ``dragoman.compat``'s.
"""

import asyncio
import json
import logging
import threading
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from queue import SimpleQueue
from typing import Any, ClassVar, Final

from dragoman.compat import install
from dragoman.compat.triton_python_backend_utils.config import ModelConfig
from dragoman.compat.triton_python_backend_utils.host import Ask, Host, hosted
from dragoman.errors import ConfigError, DragomanError
from dragoman.model_metrics import Pending
from dragoman.runtimes.base import Artifact, Done, Emit, Runtime
from dragoman.runtimes.importing import find_module, folder_of, where
from dragoman.runtimes.options import check_options
from dragoman.runtimes.triton_python.calling import Call, Model
from dragoman.runtimes.triton_python.config import (
    Document,
    initial_config,
    is_decoupled,
    most_requests,
    read_signature,
)
from dragoman.types import InferRequest, InferResponse

log = logging.getLogger("dragoman.runtimes.triton_python")

Outcome = InferResponse | DragomanError

CLASS: Final = "TritonPythonModel"
_OPTIONS: Final = {"config": dict, "parameters": dict}
_ENVIRONMENT: Final = "EXECUTION_ENV_PATH"


class TritonPythonRuntime(Runtime):
    """One initialized ``TritonPythonModel``. Options: ``config``, a ModelConfig with every field it has."""

    takes_requests: ClassVar[bool] = True
    takes_rows: ClassVar[bool] = True
    talks: ClassVar[bool] = True

    def __init__(self, artifact: Artifact, kind: type[Any]) -> None:
        self.metrics = Pending()
        self._host = Host(artifact.name, self.metrics)
        with hosted(self._host):
            config = _complete(kind, initial_config(artifact))
            self.signature = read_signature(config, artifact)
            self.most_requests = most_requests(config)
            self.concurrent = self.decoupled = is_decoupled(config)
            self._model = _explain("__init__", kind)
            self.watched = callable(getattr(self._model, "is_ready", None))
            if not callable(execute := getattr(self._model, "execute", None)):
                raise ConfigError(f"class {CLASS} has no execute method")
            if callable(initialize := getattr(self._model, "initialize", None)):
                _explain("initialize", initialize, _arguments(artifact, config))
        outputs = tuple(spec.name for spec in self.signature.outputs)
        self._later: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        later = self._later.put
        self._called = Model(artifact.name, artifact.version, execute, outputs, self.concurrent, later)
        threading.Thread(target=self._call_later, name="lost answers", daemon=True).start()

    @classmethod
    def load(cls, artifact: Artifact) -> "TritonPythonRuntime":
        """Import the class, complete its configuration and initialize it; what it raises becomes ConfigError."""
        if not artifact.trusted:
            raise ConfigError(
                "the model is Python code from a place that isn't trusted to run code here",
                hint="load it from a local path",
            )
        check_options(artifact, _OPTIONS)
        if _ENVIRONMENT in artifact.options.get("parameters", {}):
            log.warning("%s has no effect: the model runs with the server's own packages", _ENVIRONMENT)
        for name in ("triton_python_backend_utils", "c_python_backend_utils"):
            install(name)
        module, _ = find_module(artifact)
        kind = getattr(module, CLASS, None)
        if not isinstance(kind, type):
            raise ConfigError(f"the file has no class {CLASS}, which Triton's Python backend calls")
        return cls(artifact, kind)

    def attend(self, ask: Ask) -> None:
        self._host.ask = ask

    def begin(self, requests: Sequence[InferRequest], emit: Emit, done: Done) -> None:
        with hosted(self._host):
            Call(self._called, requests, emit, done).run()

    def execute(self, request: InferRequest) -> InferResponse:
        """Answer one request; the parts of a streamed answer before its last are lost."""
        (outcome,) = self.execute_requests([request], lambda place, response: None)
        if isinstance(outcome, DragomanError):
            raise outcome
        return outcome

    def execute_requests(self, requests: Sequence[InferRequest], emit: Emit) -> Sequence[Outcome]:
        """``begin``, and wait until all of it is answered."""
        answered = threading.Event()
        found: list[Outcome] = []

        def done(outcomes: Sequence[Outcome]) -> None:
            found.extend(outcomes)
            answered.set()

        self.begin(requests, emit, done)
        answered.wait()
        return found

    async def execute_concurrently(self, requests: Sequence[InferRequest], emit: Emit) -> Sequence[Outcome]:
        """The same for an event loop that the model has for itself."""
        loop = asyncio.get_running_loop()
        answered: asyncio.Future[Sequence[Outcome]] = loop.create_future()

        def done(outcomes: Sequence[Outcome]) -> None:
            loop.call_soon_threadsafe(answered.set_result, outcomes)

        self.begin(requests, emit, done)
        return await answered

    def alive(self) -> bool:
        """What the model's ``is_ready`` says, if it has one; what raises is not ready."""
        if not callable(ready := getattr(self._model, "is_ready", None)):
            return True
        try:
            with hosted(self._host):
                return bool(ready())
        except Exception:
            log.exception("is_ready failed")
            return False

    def finish(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run(coroutine)

    def close(self) -> None:
        """Call the model's ``finalize``, if it has one."""
        self._later.put(None)
        if callable(finalize := getattr(self._model, "finalize", None)):
            with hosted(self._host):
                finalize()

    def _call_later(self) -> None:
        while (call := self._later.get()) is not None:
            call()


def _complete(kind: type[Any], config: Document) -> Document:
    """The configuration with what the model's ``auto_complete_config`` adds. Raises ConfigError."""
    complete = getattr(kind, "auto_complete_config", None)
    if not callable(complete):
        return config
    completed = _explain("auto_complete_config", complete, ModelConfig(json.dumps(config)))
    if not isinstance(completed, ModelConfig):
        raise ConfigError(
            f"auto_complete_config must return the configuration it was given, got {type(completed).__name__}"
        )
    return completed.as_dict()


def _arguments(artifact: Artifact, config: Document) -> dict[str, str]:
    """What ``initialize`` is given: texts."""
    folder = folder_of(artifact) or Path()
    group = (config.get("instance_group") or [{}])[0]
    return {
        "model_config": json.dumps(config),
        "model_instance_kind": "CPU",
        "model_instance_name": f"{group.get('name') or artifact.name}_0",
        "model_instance_device_id": "0",
        "model_repository": str(folder.parent if folder.name == artifact.version else folder),
        "model_version": artifact.version,
        "model_name": artifact.name,
    }


def _explain(what: str, call: Any, *arguments: Any) -> Any:
    """Call the model's code; what it raises becomes ConfigError with a place."""
    try:
        return call(*arguments)
    except ConfigError:
        raise
    except Exception as error:
        text = f"{CLASS}.{what} failed at {where(error)}: {type(error).__name__}: {error}"
        raise ConfigError(text) from error
