"""A repository on disk, an engine, and a control between them, for tests that turn everything by hand."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import numpy as np

from dragoman.config import ModelSettings, ServerSettings, Settings
from dragoman.engine.control import Control, Dependents, no_dependents
from dragoman.engine.engine import Engine
from dragoman.engine.manager import Desired, Ledger, Manager
from dragoman.repository.offers import Repository
from dragoman.runtimes.table import guess
from dragoman.scheduling.scheduler import LoopClock
from dragoman.types import InferRequest, Tensor

#: Opened by tests; a model whose text names one waits for it while it loads or answers.
GATES: dict[str, threading.Event] = {}
#: What was loaded, in the order of it.
LOADS: list[str] = []

MODEL = """
from tests.engine.control import GATES, LOADS

class Model:
    inputs = {{"x": ("FP32", [-1])}}
    outputs = {{"x": ("FP32", [-1])}}

    def load(self, options):
        LOADS.append({answer!r})
        self.options = options
        wait({loading!r})
        {broken}

    def predict(self, x):
        wait({answering!r})
        return x * 0 + {answer}

def wait(gate):
    if gate:
        assert GATES[gate].wait(10)
"""


def gate(name: str) -> threading.Event:
    """A closed gate."""
    GATES[name] = threading.Event()
    return GATES[name]


class MemoryLedger:
    """What would be in a database, as a dictionary."""

    def __init__(self) -> None:
        self.desired: dict[str, Desired] = {}
        self.who: list[str] = []
        self.error: Exception | None = None

    def write(self, desired: Desired, what: str, who: str) -> None:
        if self.error is not None:
            raise self.error
        self.desired[desired.name] = desired
        self.who.append(who)

    def erase(self, name: str, who: str) -> None:
        self.desired.pop(name, None)
        self.who.append(who)


class Desk:
    """What a test has in its hands. ``models`` is the repository's folder."""

    def __init__(
        self,
        models: Path,
        mode: str,
        load_model: tuple[str, ...] = (),
        ledger: Ledger | None = None,
        dependents: Dependents = no_dependents,
        **server: Any,
    ) -> None:
        self.models = models
        said = ServerSettings(control=mode, load_model=load_model, **server)
        # Inline and on threads everything happens here, and models can be told of gates.
        defaults = ModelSettings(execution="thread")
        self.engine = Engine(LoopClock(asyncio.get_running_loop()))
        self.manager = Manager(self.engine, ledger)
        if isinstance(ledger, MemoryLedger):
            for desired in list(ledger.desired.values()):
                self.manager.adopt(desired)
        self.repository = Repository([str(models)], defaults, guess)
        settings = Settings(server=said, models=defaults)
        self.control = Control(
            self.engine, self.manager, settings, self.repository.read(), self.repository, dependents
        )

    async def ask(self, name: str = "m", version: str = "") -> float:
        """What a model answers: the number that its file says."""
        request = InferRequest(name, (Tensor("x", "FP32", np.zeros(1, np.float32)),), version)
        return float((await self.engine.ask(request, "test")).outputs[0].data[0])

    async def index(self) -> dict[str, str]:
        """The state of each version, by ``name/version``; after it the reason, if there is one."""
        return {
            f"{record.name}/{record.version}": f"{record.state.value} {record.reason}".strip()
            for record in await self.control.index()
        }

    async def look(self, times: int = 2) -> None:
        """Let as much time pass as so many looks of a server that polls take."""
        assert self.control.poller is not None
        for _ in range(times):
            await self.control.poller.look()

    async def __aenter__(self) -> "Desk":
        LOADS.clear()
        await self.control.start()
        self.engine.started()
        return self

    async def __aexit__(self, *_: object) -> None:
        for each in GATES.values():
            each.set()
        self.engine.stop()
        await self.control.stop()
        await self.engine.close()
        await self.control.close()


def write(
    models: Path,
    place: str = "m/1",
    answer: float = 1,
    *,
    loading: str = "",
    answering: str = "",
    broken: str = "pass",
) -> None:
    """A model that answers with a number. It waits at gates while it is loaded or asked, or fails to load."""
    folder = models / place
    folder.mkdir(parents=True, exist_ok=True)
    text = MODEL.format(answer=answer, loading=loading, answering=answering, broken=broken)
    (folder / "model.py").write_text(text)


def describe(models: Path, text: str, name: str = "m") -> None:
    """A model's ``model.toml``."""
    (models / name).mkdir(parents=True, exist_ok=True)
    (models / name / "model.toml").write_text(text)


def run(
    scenario: Callable[[Desk], Coroutine[Any, Any, None]], models: Path, mode: str, **options: Any
) -> None:
    """Play a scenario at a desk."""

    async def play() -> None:
        async with Desk(models, mode, **options) as desk:
            await scenario(desk)

    asyncio.run(play())
