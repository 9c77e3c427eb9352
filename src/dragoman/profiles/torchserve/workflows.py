"""Workflows: several models and functions behind one name, registered, asked and removed together.

A function of a workflow's handler is a model of its own, so that users' code runs in processes and nowhere else. What
goes where is the engine's ensemble's business.
"""

import asyncio
import logging
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath

from dragoman.engine.engine import Engine
from dragoman.engine.ensemble import Ensemble, StepFailed
from dragoman.errors import (
    ConfigError,
    DragomanError,
    NotReady,
    Overloaded,
    SourceError,
    SourceNotFound,
    StorageFailed,
    Unsupported,
    WorkerDied,
)
from dragoman.profiles.torchserve.obtaining import sources_of
from dragoman.profiles.torchserve.registrar import Registrar
from dragoman.profiles.torchserve.settings import Configuration
from dragoman.profiles.torchserve.store import register_function
from dragoman.profiles.torchserve.workflow_steps import encode, ensemble_of, part_name, show_dag
from dragoman.protocols.torchserve import errors
from dragoman.protocols.torchserve.http import DIALECT
from dragoman.protocols.torchserve.management import (
    Document,
    Page,
    Registration,
    Said,
    WorkflowRegistration,
    refusals,
)
from dragoman.repository.paths import InvalidArchive
from dragoman.repository.sources import fetch, local
from dragoman.repository.sources.location import is_url
from dragoman.repository.sources.staging import discard
from dragoman.repository.spec import check_name
from dragoman.repository.workflow_archive import Node, WorkflowArchive, open_workflow_archive
from dragoman.types import InferRequest

log = logging.getLogger("dragoman.torchserve")


@dataclass(eq=False, slots=True)
class Workflow:
    """One that can be asked. ``brought`` is the file that was fetched for it; ``running`` are requests it works on."""

    name: str
    url: str
    archive: WorkflowArchive
    ensemble: Ensemble
    brought: Path | None = None
    running: set[asyncio.Future[None]] = field(default_factory=set)


class Workflows:
    """Every workflow that was registered and has not gone. Everything happens on the event loop's thread."""

    def __init__(self, engine: Engine, registrar: Registrar, configuration: Configuration) -> None:
        self._engine = engine
        self._registrar = registrar
        self._configuration = configuration
        self._sources = sources_of(configuration, configuration.workflow_store)
        self._workflows: dict[str, Workflow] = {}
        self._coming: set[str] = set()

    async def register(self, asked: WorkflowRegistration, who: str) -> Said:
        """Register its models and functions side by side. If one can't be, none is."""
        if asked.url is None:
            raise refusals.bad_request("Parameter url is required.")
        archive, brought = await self._obtain(asked.url)
        try:
            workflow = self._read(asked, archive, brought)
            self._coming.add(workflow.name)
            try:
                await self._register_parts(workflow, asked, who)
            finally:
                self._coming.discard(workflow.name)
        except BaseException:
            await _remove(brought)
            raise
        self._workflows[workflow.name] = workflow
        log.info("workflow registered", extra={"workflow": workflow.name, "who": who})
        return Said(200, f"Workflow {workflow.name} has been registered and scaled successfully.")

    async def unregister(self, name: str, who: str) -> Said:
        """What was accepted is answered; then its models go, and its file if it was fetched."""
        workflow = self._find(name)
        del self._workflows[name]
        if workflow.running:
            await asyncio.wait(workflow.running)
        await self._unregister_parts(name, list(workflow.archive.spec.nodes), who)
        await _remove(workflow.brought)
        log.info("workflow unregistered", extra={"workflow": name, "who": who})
        return Said(200, f'Workflow "{name}" unregistered')

    def listing(self, page: Page) -> Document:
        names = sorted(self._workflows)
        document: Document = {}
        if page.start + page.limit <= len(names):
            document["nextPageToken"] = str(page.start + page.limit)
        shown = names[page.start : page.start + page.limit]
        document["workflows"] = [
            {"workflowName": name, "workflowUrl": self._workflows[name].url} for name in shown
        ]
        return document

    def describe(self, name: str) -> list[Document]:
        workflow = self._find(name)
        spec, defaults = workflow.archive.spec, workflow.archive.spec.defaults
        return [
            {
                "workflowName": name,
                "workflowUrl": workflow.url,
                "minWorkers": defaults.min_workers,
                "maxWorkers": defaults.max_workers,
                "batchSize": defaults.batch_size,
                "maxBatchDelay": defaults.max_batch_delay,
                "workflowDag": show_dag(spec),
            }
        ]

    async def predict(self, request: InferRequest) -> bytes:
        """Raises Refused for a step that fails, and Overloaded where it is of use to come back."""
        workflow = self._find(request.model)
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        workflow.running.add(done)
        try:
            response = await workflow.ensemble.run(request, partial(self._engine.ask, dialect=DIALECT))
        except StepFailed as failed:
            raise _refusal(failed) from failed
        finally:
            workflow.running.discard(done)
            done.set_result(None)
        return encode(response.outputs)

    def _find(self, name: str) -> Workflow:
        found = self._workflows.get(name)
        if found is None:
            raise refusals.workflow_not_found(name)
        return found

    async def _obtain(self, location: str) -> tuple[WorkflowArchive, Path | None]:
        """The archive, and its file if it was fetched."""
        try:
            if not is_url(location):
                path = local.find(self._sources.store, location, self._sources.rules)
                if not path.is_file():
                    raise SourceNotFound("no workflow is there", location)
                return await asyncio.to_thread(open_workflow_archive, path), None
            opened: list[WorkflowArchive] = []
            fetched = await fetch(
                self._sources, location, check=lambda path: opened.append(open_workflow_archive(path))
            )
            if not fetched.new:
                raise SourceNotFound("no workflow is there", location)
            return opened[0], fetched.path
        except SourceError as error:
            log.warning("a workflow can't be had", extra={"reason": error.message})
            raise refusals.workflow_source_refused(error) from None
        except Unsupported as error:
            raise refusals.bad_request(error.message) from None
        except InvalidArchive as error:
            raise refusals.invalid_workflow(str(error)) from None
        except (ConfigError, OSError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise StorageFailed(f"the archive could not be unpacked: {reason}") from error

    def _read(self, asked: WorkflowRegistration, archive: WorkflowArchive, brought: Path | None) -> Workflow:
        """Raises Refused."""
        name = asked.workflow_name or archive.name
        if not name:
            raise refusals.invalid_workflow("Workflow name is not defined.")
        try:
            for each in (name, *(part_name(name, node) for node in archive.spec.nodes)):
                check_name(each)
        except ConfigError as error:
            raise refusals.invalid_workflow(str(error)) from None
        if name in self._workflows or name in self._coming:
            raise refusals.workflow_registered(name)
        try:
            ensemble = ensemble_of(name, archive.spec)
        except ConfigError as error:
            raise refusals.invalid_dag(str(error)) from None
        url = PurePosixPath((asked.url or "").partition("?")[0])
        return Workflow(name, url.name, archive, ensemble, brought)

    async def _register_parts(self, workflow: Workflow, asked: WorkflowRegistration, who: str) -> None:
        by_url: dict[str, list[Node]] = {}
        for node in workflow.archive.spec.nodes.values():
            by_url.setdefault(node.url, []).append(node)
        failures: dict[str, DragomanError] = {}
        there: list[str] = []

        async def add(node: Node, url: str) -> None:
            try:
                await self._add(workflow, node, url, asked, who)
                there.append(node.name)
            except DragomanError as error:
                failures[node.name] = error

        async def add_models(url: str, nodes: list[Node]) -> None:
            await add(nodes[0], url)
            # One file for all of them: what was fetched for the first lies in the store.
            known = PurePosixPath(url.partition("?")[0]).name if is_url(url) else url
            await asyncio.gather(*(add(node, known) for node in nodes[1:]))

        functions = [add(node, "") for node in by_url.pop("", [])]
        try:
            await asyncio.gather(*functions, *(add_models(url, nodes) for url, nodes in by_url.items()))
            if failures:
                parts = [part_name(workflow.name, node) for node in failures]
                raise refusals.workflow_failed(workflow.name, list(failures.values()), parts)
        except BaseException:
            await self._unregister_parts(workflow.name, there, who)
            raise

    async def _add(
        self, workflow: Workflow, node: Node, url: str, asked: WorkflowRegistration, who: str
    ) -> None:
        name = part_name(workflow.name, node.name)
        part = Registration(
            url=url,
            model_name=name,
            batch_size=node.batch_size,
            max_batch_delay=node.max_batch_delay,
            initial_workers=node.min_workers,
            most_workers=node.max_workers,
            response_timeout=asked.response_timeout,
            startup_timeout=asked.startup_timeout,
        )
        if url:
            await self._registrar.register(part, who, part_of=workflow.name)
            return
        configuration, archive = self._configuration, workflow.archive
        function = register_function(configuration, archive, node.name, part, workflow.name)
        await self._registrar.add(function, who)

    async def _unregister_parts(self, name: str, nodes: list[str], who: str) -> None:
        async def remove(node: str) -> None:
            try:
                await self._registrar.unregister(part_name(name, node), "", who)
            except errors.Refused as error:  # somebody has removed it by itself
                log.warning("a workflow's part was not there", extra={"node": node, "reason": error.message})

        await asyncio.gather(*(remove(node) for node in nodes))


def _refusal(failed: StepFailed) -> DragomanError:
    log.warning("a workflow's step has failed", extra={"step": failed.step, "reason": failed.cause.message})
    cause = failed.cause
    if isinstance(cause, Overloaded | NotReady) and not isinstance(cause, WorkerDied):
        retry_after = cause.retry_after if isinstance(cause, Overloaded) else 1
        return Overloaded(f"Error executing {failed.step}", retry_after)
    return refusals.step_failed(failed.step)


async def _remove(brought: Path | None) -> None:
    if brought is not None:
        await asyncio.to_thread(discard, brought)
