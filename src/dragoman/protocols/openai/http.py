"""OpenAI's API over HTTP. Thin: the codec knows the wire, the models know the answers.

::

    POST {prefix}/v1/completions   /v1/chat/completions   /v1/embeddings   /v1/rerank
    GET  {prefix}/v1/models[/{model}]
"""

import asyncio
import re
from collections.abc import Coroutine
from typing import Any, Final

from dragoman.config import LimitSettings
from dragoman.engine.engine import Engine
from dragoman.errors import ConfigError, DragomanError, NotReady
from dragoman.protocols.openai import codec, serving
from dragoman.protocols.openai.answering import DIALECT, Answering
from dragoman.protocols.openai.errors import Failure, describe
from dragoman.protocols.openai.serving import Operation, Serving, Target
from dragoman.tensors import dump_json
from dragoman.transport.auth import About
from dragoman.transport.request import HttpRequest
from dragoman.transport.router import Router

_PREFIX: Final = re.compile(r"(/[\w.~-]+)+", re.ASCII)


class Http:
    """Handlers over the models that speak the API. An answer may take ``timeout`` seconds; 0 is no limit."""

    def __init__(self, engine: Engine, served: Serving, limits: LimitSettings, timeout: float = 0.0) -> None:
        self._engine = engine
        self._served = served
        self._limits = limits
        self._timeout = timeout
        self._tasks: set[asyncio.Task[None]] = set()

    def add_routes(self, router: Router, prefix: str = "/openai") -> None:
        """Under ``prefix``, and without it what belongs to no other dialect: the list of models does.

        Raises ConfigError for a prefix that is no path.
        """
        if prefix and not _PREFIX.fullmatch(prefix):
            raise ConfigError(
                f"openai.prefix is no path: {prefix!r}", hint="write it as in /openai, or leave it empty"
            )
        for start in dict.fromkeys((prefix, "")):
            for path, handler in (
                ("/v1/completions", self.completions),
                ("/v1/chat/completions", self.chat_completions),
                ("/v1/embeddings", self.embeddings),
                ("/v1/rerank", self.rerank),
            ):
                router.add("POST", start + path, handler, operation="inference", about=About.HANDLER)
        if prefix:
            router.add("GET", f"{prefix}/v1/models", self.models, operation="metadata", about=About.HANDLER)
            one = f"{prefix}/v1/models/{{}}"
            router.add("GET", one, self.model, permit=False, operation="health", about=0)

    def completions(self, http: HttpRequest) -> None:
        self._ask(http, serving.COMPLETIONS)

    def chat_completions(self, http: HttpRequest) -> None:
        self._ask(http, serving.CHAT)

    def embeddings(self, http: HttpRequest) -> None:
        self._ask(http, serving.EMBEDDINGS)

    def rerank(self, http: HttpRequest) -> None:
        self._ask(http, serving.RERANK)

    def models(self, http: HttpRequest) -> None:
        created = int(self._engine.stats.started)
        names = filter(http.caller.allows, self._served.names())
        http.respond(200, codec.encode_models([(name, created) for name in names]))

    def model(self, http: HttpRequest) -> None:
        """A line of the list, if the model says that it is well."""
        try:
            target = self._served.find(http.params[0])
        except DragomanError as error:
            respond_failure(http, describe(error))
        else:
            self._start(self._tell_health(http, target))

    def _ask(self, http: HttpRequest, operation: Operation) -> None:
        """Find the model at once; it answers in a task of its own, which ends with the client."""
        target: Target | None = None
        try:
            document, name = codec.decode_document(http.body, self._limits.json_depth)
            http.caller.check(name)
            target = self._served.find(name)
            target.check(operation)
            request = codec.decode_request(document, operation.request)
        except DragomanError as error:
            if target is None:
                self._engine.refuse(DIALECT, error)
            else:
                numbers = self._engine.stats.of(target.name, target.version)
                numbers.answers[DIALECT, error.code.value] += 1
            respond_failure(http, describe(error))
            return
        answering = Answering(http, target, operation, request, self._engine)
        task = self._start(answering.run(self._timeout))
        http.on_disconnect = answering.leaving(task.cancel)

    async def _tell_health(self, http: HttpRequest, target: Target) -> None:
        try:
            healthy = await target.is_healthy()
        except NotReady:
            healthy = False
        except Exception as error:
            respond_failure(http, describe(error))
            return
        if healthy:
            http.respond(200, codec.encode_model(target.name, int(self._engine.stats.started)))
        else:
            respond_failure(http, describe(NotReady(f"Model with name {target.name} is not ready.")))

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def respond_failure(http: HttpRequest, failure: Failure) -> None:
    """Answer with an error."""
    http.respond(failure.status, dump_json(failure.document), headers=failure.headers)
