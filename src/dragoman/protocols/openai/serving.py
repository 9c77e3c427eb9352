"""The models that speak OpenAI's API, by name. Anything with the right methods is one; knows no class and no wire."""

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, Final, NamedTuple

from dragoman.errors import NotFound, NotReady, Unsupported
from dragoman.protocols.openai.errors import BadParameter


class Operation(NamedTuple):
    """Something that a client asks of a model: the method that answers it, its name, and the type of its requests."""

    method: str
    api: str
    request: str


COMPLETIONS: Final = Operation("create_completion", "Completions API", "CompletionRequest")
CHAT: Final = Operation("create_chat_completion", "Chat Completion API", "ChatCompletionRequest")
EMBEDDINGS: Final = Operation("create_embedding", "Embeddings API", "EmbeddingRequest")
RERANK: Final = Operation("create_rerank", "Rerank API", "RerankRequest")
OPERATIONS: Final = (COMPLETIONS, CHAT, EMBEDDINGS, RERANK)


class _Method(NamedTuple):
    """A model's method, and how it wants to be called."""

    call: Callable[..., Any]
    keywords: frozenset[str]
    blocks: bool


class Target:
    """One model. Its methods are looked at once, when it is added."""

    def __init__(self, name: str, model: object, version: str) -> None:
        self.name = name
        self.version = version
        self.model = model
        self._methods = {
            operation: _look_at(method)
            for operation in OPERATIONS
            if callable(method := getattr(model, operation.method, None))
        }

    def check(self, operation: Operation) -> None:
        """Raises BadParameter where the model has no such method, NotReady while it can't answer."""
        if operation not in self._methods:
            raise BadParameter(f"Model {self.name} does not support {operation.api}", "model")
        self.check_ready()

    def check_ready(self) -> None:
        """Raises NotReady while the model says that it can't answer."""
        if not getattr(self.model, "ready", True):
            raise NotReady(f"Model with name {self.name} is not ready.")

    async def ask(self, operation: Operation, request: Any, raw: object, context: dict[str, Any]) -> Any:
        """An answer, an error, or an asynchronous iterator of chunks.

        A method that is no coroutine runs on a thread: it may take its time.
        """
        method = self._methods[operation]
        more = {"raw_request": raw, "context": context}
        keywords = {key: more[key] for key in method.keywords}
        if method.blocks:
            answer = await asyncio.to_thread(method.call, request, **keywords)
        else:
            answer = method.call(request, **keywords)
        return await answer if inspect.isawaitable(answer) else answer

    async def is_healthy(self) -> bool:
        """What the model itself says, which may ask others for it."""
        self.check_ready()
        healthy = getattr(self.model, "healthy", None)
        if healthy is None:
            return True
        answer = healthy()
        return bool(await answer if inspect.isawaitable(answer) else answer)


class Serving:
    """Read by every request, on the event loop's thread; changed there, too."""

    def __init__(self) -> None:
        self._targets: dict[str, Target] = {}

    def add(self, name: str, model: object, version: str = "1") -> None:
        """From now on requests find this model. ``version`` is what its numbers are counted under.

        Raises Unsupported for an object that has none of the methods.
        """
        if not speaks(model):
            known = ", ".join(operation.method for operation in OPERATIONS)
            raise Unsupported(f"the model {name!r} has none of the methods of OpenAI's API: {known}")
        import dragoman.compat.kserve.protocol.rest.openai.types  # noqa: F401  # now, and not with the first request

        self._targets[name] = Target(name, model, version)

    def remove(self, name: str) -> None:
        """From now on they don't. Requests that have found it are answered."""
        self._targets.pop(name, None)

    def find(self, name: str) -> Target:
        """Raises NotFound."""
        target = self._targets.get(name)
        if target is None:
            raise NotFound(f"Model with name {name} does not exist.")
        return target

    def names(self) -> Sequence[str]:
        """Every model, by name."""
        return sorted(self._targets)


def speaks(model: object) -> bool:
    """Whether the object has any of the methods."""
    return any(callable(getattr(model, operation.method, None)) for operation in OPERATIONS)


def is_stream(answer: object) -> bool:
    """Whether a model's answer comes in parts."""
    return isinstance(answer, AsyncIterator) or hasattr(answer, "__aiter__")


def _look_at(method: Callable[..., Any]) -> _Method:
    """Who takes only the request, as models for KServe 0.13 do, is given only that."""
    parameters = inspect.signature(method).parameters.values()
    everything = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)
    named = {parameter.name for parameter in parameters}
    keywords = frozenset(key for key in ("raw_request", "context") if everything or key in named)
    blocks = not inspect.iscoroutinefunction(method) and not inspect.isasyncgenfunction(method)
    return _Method(method, keywords, blocks)
