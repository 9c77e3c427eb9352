"""Jobs over HTTP. Thin: the codec knows the wire, the service the jobs.

::

    POST   /jobs?to=PATH            accept a request for that path: 202, with its place in Location
    PUT    /jobs/{id}?to=PATH       the same with an id of the caller's: as often as need be, it is done once
    GET    /jobs?state=S            the newest
    GET    /jobs/{id}               how far it is
    GET    /jobs/{id}/result        what the model has answered, as it would have answered at PATH
    DELETE /jobs/{id}               cancel it, or forget it
"""

import asyncio
from collections.abc import Awaitable, Callable

from dragoman.engine.engine import Engine
from dragoman.errors import Conflict
from dragoman.jobs.order import Order
from dragoman.jobs.service import Jobs
from dragoman.protocols.jobs import codec
from dragoman.store.job import CANCELLED, ENDED
from dragoman.transport.request import Guard, HttpRequest
from dragoman.transport.router import Router
from dragoman.transport.status import error_body, respond_failure


class Http:
    """Handlers over one server's jobs."""

    def __init__(self, jobs: Jobs, engine: Engine) -> None:
        self._jobs = jobs
        self._engine = engine
        self._tasks: set[asyncio.Task[None]] = set()

    def add_routes(self, router: Router, guard: Guard) -> None:
        """``guard`` keeps pages of other sites out."""
        for method, pattern, handler in (
            ("POST", "/jobs", self.submit),
            ("PUT", "/jobs/{}", self.submit),
            ("GET", "/jobs", self.newest),
            ("GET", "/jobs/{}", self.job),
            ("GET", "/jobs/{}/result", self.result),
            ("DELETE", "/jobs/{}", self.cancel),
        ):
            router.add(method, pattern, handler, guard=guard, operation="inference", tapped=False)

    def submit(self, http: HttpRequest) -> None:
        """Accept a job: 202 when it is kept, with its place in Location; 200 for one that has ended already."""
        order, webhook = self._decode(http), http.header(codec.WEBHOOK) or ""
        id_ = http.params[0] if http.params else ""

        async def work() -> None:
            job, _ = await self._jobs.submit(order, http.body, id_, webhook)
            headers = (("Location", f"/jobs/{job.id}"),)
            http.respond(200 if job.state in ENDED else 202, codec.encode_job(job), headers=headers)

        self._answer(http, work)

    def newest(self, http: HttpRequest) -> None:
        """The newest jobs, of one state or of all."""
        state, limit, before = codec.decode_list(http.query)

        async def work() -> None:
            http.respond(200, codec.encode_jobs(await self._jobs.newest(state, limit, before)))

        self._answer(http, work)

    def job(self, http: HttpRequest) -> None:
        """How far a job is."""

        async def work() -> None:
            http.respond(200, codec.encode_job(await self._jobs.find(http.params[0])))

        self._answer(http, work)

    def result(self, http: HttpRequest) -> None:
        """What came of a job, as its protocol has it; 409 while nothing has."""

        async def work() -> None:
            job, result = await self._jobs.result(http.params[0])
            if job.state not in ENDED:
                body = error_body(f"job {job.id!r} is {job.state}: it has no result yet")
                http.respond(409, body, headers=(("Retry-After", "1"),))
            elif job.state == CANCELLED:
                raise Conflict(f"job {job.id!r} was cancelled: it has no result")
            elif not result.pieces and not job.rows_total:
                http.respond(job.status or 500, error_body(job.error))
            else:
                headers = codec.decode_headers(result.headers)
                http.respond(job.status, result.pieces, result.content_type, headers, compress=True)

        self._answer(http, work)

    def cancel(self, http: HttpRequest) -> None:
        """Cancel a job, or forget one that has ended; answers how it was."""

        async def work() -> None:
            http.respond(200, codec.encode_job(await self._jobs.cancel(http.params[0])))

        self._answer(http, work)

    def _decode(self, http: HttpRequest) -> Order:
        path, query = codec.decode_target(http.query)
        if not path:
            said = codec.decode_rows(http.query, "")
            # All rows are asked of one version, whatever answers by then.
            return codec.decode_rows(http.query, self._engine.find(said.model, said.version).version)
        route, params = self._jobs.route(path)
        if route.guard is not None:
            route.guard(http)  # who may not ask now may not ask later
        return codec.decode_request(path, query, params, http.headers)

    def _answer(self, http: HttpRequest, work: Callable[[], Awaitable[None]]) -> None:
        async def run() -> None:
            try:
                await work()
            except Exception as error:
                respond_failure(http, error)

        task = asyncio.get_running_loop().create_task(run())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
