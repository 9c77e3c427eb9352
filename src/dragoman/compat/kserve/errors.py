"""The exceptions of KServe's API. Those that tell of a request are kinds of ours, so that a server knows their status.

What ``str`` says of each is what KServe's says, which is what clients get to read.
"""

from collections.abc import Sequence
from typing import Any

from dragoman import errors as kinds


class ModelMissingError(Exception):
    """There is no model at ``path``."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.path = path

    def __str__(self) -> str:
        return str(self.path)


class InferenceError(kinds.ModelFailed, RuntimeError):
    """The model could not do it. ``status`` is a word of the model's own and stands in front of the reason."""

    def __init__(self, reason: Any, status: str | None = None, debug_details: Any = None) -> None:
        text = "" if reason is None else str(reason)
        super().__init__(text if status is None else f"[{status}] {text}")
        self.reason = reason
        self.status = status
        self.debug_details = debug_details


class InvalidInput(kinds.InvalidInput, ValueError):
    """What the client sent can't be taken."""

    def __init__(self, reason: Any) -> None:
        super().__init__(str(reason))
        self.reason = reason


class ModelNotFound(kinds.NotFound):
    """There is no model of that name."""

    def __init__(self, model_name: str | None = None) -> None:
        self.reason = f"Model with name {model_name} does not exist."
        super().__init__(self.reason)


class WorkersShouldBeLessThanMaxWorkersError(Exception):
    """More workers are asked for than there may be."""

    def __init__(self, max_workers: int | None = None) -> None:
        self.reason = f"Workers cannot be greater than {max_workers}"
        super().__init__(self.reason)


class _Unready(kinds.NotReady, RuntimeError):
    """``detail`` follows what is always said."""

    def __init__(self, text: str, detail: str | None) -> None:
        self.error_msg = f"{text} {detail}" if detail else text
        super().__init__(self.error_msg)


class ModelNotReady(_Unready):
    """The model is there and can't answer now."""

    def __init__(self, model_name: str, detail: str | None = None) -> None:
        super().__init__(f"Model with name {model_name} is not ready.", detail)
        self.model_name = model_name


class ServerNotReady(_Unready):
    def __init__(self, detail: str | None = None) -> None:
        super().__init__("Server is not ready.", detail)


class ServerNotLive(_Unready):
    def __init__(self, detail: str | None = None) -> None:
        super().__init__("Server is not live.", detail)


class NoModelReady(RuntimeError):
    """A server was to start, and none of its models is ready."""

    def __init__(self, models: Sequence[Any], detail: str | None = None) -> None:
        names = [model.name for model in models]
        told = (
            f"Model with name {names[0]} is not ready."
            if len(names) == 1
            else f"Models with names {','.join(names)} are not ready."
        )
        self.models = models
        self.detail = detail
        self.error_msg = f"{told} {detail}" if detail else told
        super().__init__(self.error_msg)


class UnsupportedProtocol(kinds.Unsupported):
    """A client was asked for a protocol that it doesn't speak."""

    def __init__(self, protocol_version: Any = None) -> None:
        self.reason = f"Unsupported protocol {protocol_version}."
        super().__init__(self.reason)
