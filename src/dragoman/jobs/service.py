"""Everything that can be done to jobs, for whatever protocol asks. Knows no wire."""

import secrets
from pathlib import Path

from dragoman.config import JobSettings, PredictionSettings
from dragoman.engine.engine import Engine
from dragoman.errors import InvalidInput, NotFound, Unsupported
from dragoman.jobs.order import ID, Order
from dragoman.jobs.runner import Database, Runner
from dragoman.jobs.running import locate
from dragoman.jobs.webhooks import Webhooks
from dragoman.rows.reading import READERS
from dragoman.store import open_jobs, open_predictions
from dragoman.store.job import STATES, Job, Result
from dragoman.transport.router import Route, Router

#: What a route must be for, that a job's request may go there.
_OPERATION = "inference"


class Jobs:
    """The jobs of one server; without a store there are none, and every call says so.

    Raises ConfigError. Needs the running event loop.
    """

    def __init__(
        self, engine: Engine, router: Router, settings: JobSettings, predictions: PredictionSettings
    ) -> None:
        self._engine = engine
        self._router = router
        self._settings = settings
        self._webhooks = Webhooks(settings.webhook_urls, settings.webhook_networks, settings.webhook_secret)
        self._stores_predictions = bool(predictions.store)
        self._database: Database | None = None
        self._runner: Runner | None = None
        if settings.store:
            self._database = Database(open_jobs(settings.store))
            kept = open_predictions(predictions.store) if predictions.store else None
            self._runner = Runner(self._database, engine, router, settings, self._webhooks, kept)
            self._predictions = kept

    def start(self) -> None:
        """Run what there is: the models can be asked."""
        if self._runner is not None:
            self._runner.start()

    async def stop(self, grace: float) -> None:
        if self._runner is not None:
            await self._runner.stop(grace)

    async def close(self) -> None:
        """Give the database back."""
        if self._database is not None:
            await self._database.close()
            if self._predictions is not None:
                self._predictions.close()

    # What callers want.

    def route(self, path: str) -> tuple[Route, tuple[str, ...]]:
        """The route that a job's request would take. Raises InvalidInput for a path where no model is asked."""
        route, params = self._router.find("POST", path)
        asks = route.operation == _OPERATION and "POST" in route.methods and not route.streaming
        if not asks or route.pattern.startswith("/jobs"):
            raise InvalidInput(
                f"{path!r:.200} is no path at which a model is asked, such as /v2/models/iris/infer"
            )
        return route, params

    async def submit(self, order: Order, body: bytes | memoryview, id: str, webhook: str) -> tuple[Job, bool]:  # noqa: A002
        """Accept a job: it is kept when this returns. Tells whether it is new; an empty ``id`` is made up.

        Raises InvalidInput, NotFound, Conflict, Overloaded, SourceError for a webhook that is not allowed.
        """
        database = self._there()
        if id and ID.fullmatch(id) is None:
            raise InvalidInput(f"a job's id has up to 128 letters, digits, '.', '_' and '-', got {id!r:.200}")
        self._check(order, len(body))
        if webhook:
            self._webhooks.check(webhook)
        job = Job(
            id=id or secrets.token_hex(16),
            digest=order.digest(body, webhook),
            order=order.encode(),
            webhook=webhook,
        )
        accepted, new = await database.call(database.store.add, job, bytes(body), self._settings.waiting)
        if new:
            self._engine.stats.jobs.accepted += 1
            if self._runner is not None:
                self._runner.wake()
        return accepted, new

    async def find(self, id: str) -> Job:  # noqa: A002
        """Raises NotFound."""
        database = self._there()
        return await database.call(database.store.get, id)

    async def newest(self, state: str = "", limit: int = 100, before: float = 0.0) -> list[Job]:
        """Raises InvalidInput for a state that is none."""
        database = self._there()
        if state and state not in STATES:
            raise InvalidInput(f"a job's state is one of {', '.join(STATES)}, got {state!r:.50}")
        return await database.call(database.store.newest, state, limit, before)

    async def result(self, id: str) -> tuple[Job, Result]:  # noqa: A002
        """Raises NotFound."""
        database = self._there()
        return await database.call(database.store.result, id)

    async def cancel(self, id: str) -> Job:  # noqa: A002
        """Cancel it, or forget it if it has ended; tells how it was. Raises NotFound."""
        database = self._there()
        job = await database.call(database.store.cancel, id)
        if job.state in ("queued", "running"):
            self._engine.stats.jobs.ended["cancelled"] += 1
            if self._runner is not None:
                self._runner.cancel(id)
                self._runner.wake()
        return job

    def _there(self) -> Database:
        if self._database is None:
            raise Unsupported("this server takes no jobs: it has no place to keep them (setting jobs.store)")
        return self._database

    def _check(self, order: Order, size: int) -> None:
        # Where a path names no model, the body does: who reads it says whether there is such a one.
        if (order.model or order.is_rows) and not self._engine.registry.knows(order.model):
            raise NotFound(f"Request for unknown model: '{order.model}' is not found")
        if not order.is_rows:
            return
        if order.format not in READERS:
            raise InvalidInput(f"rows are read from {', '.join(READERS)}, got {order.format!r:.50}")
        if order.stored and not self._stores_predictions:
            raise Unsupported("this server keeps no predictions (setting predictions.store)")
        if order.file:
            if size:
                raise InvalidInput("rows are sent, or named with file=, not both")
            locate(order.file, Path(self._settings.folder))
        elif not size:
            raise InvalidInput("there are no rows: send them, or name a file with file=")
