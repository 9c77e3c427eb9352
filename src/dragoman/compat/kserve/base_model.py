"""What every model is in KServe's API, before it has hooks: a name, a life, and whether it can answer."""

import inspect
from abc import ABC, abstractmethod
from collections.abc import Generator
from enum import Enum
from typing import Any

from dragoman.compat.kserve import dialect


class InferenceVerb(Enum):
    """What is asked of a model."""

    EXPLAIN = 1
    PREDICT = 2
    GENERATE = 3


class Answer(int):
    """A truth that may be awaited, for who asks ``if model.healthy()`` and who asks ``if await model.healthy()``."""

    def __await__(self) -> Generator[None, None, bool]:
        yield from ()
        return bool(self)

    def __repr__(self) -> str:
        return repr(bool(self))


class BaseKServeModel(ABC):
    """What a server needs of whatever it calls a model."""

    @abstractmethod
    def __init__(self, name: str) -> None:
        self.name = name
        self.ready = False
        self.engine = False

    def healthy(self) -> Any:
        """Whether the model can answer. May be overridden, as a coroutine function as well; see ``is_healthy``."""
        return self.ready if dialect.is_old() else Answer(bool(self.ready))

    def load(self) -> bool:
        """To be overridden: load what the model consists of, and set ``ready``."""
        self.ready = True
        return self.ready

    def start(self) -> None:
        """To be overridden: set up what the model needs while it is served."""
        self.ready = True

    async def start_engine(self) -> None:
        """To be overridden, by models with ``engine = True``: start it."""
        self.ready = True

    def stop(self) -> None:
        """To be overridden: give back what the model holds."""
        self.ready = False

    def stop_engine(self) -> None:
        """To be overridden, by models with ``engine = True``: stop it."""
        self.ready = False


class InferenceModel(BaseKServeModel):
    """A model that is called with a request."""

    @abstractmethod
    def __call__(self, body: Any, *more: Any, **named: Any) -> Any:
        """The response to ``body``; KServe's two APIs have the verb and the headers in another order."""

    def get_input_types(self) -> list[dict[str, Any]]:
        """To be overridden: ``[{"name": …, "datatype": …, "shape": […]}]``, for the model's metadata."""
        return []

    def get_output_types(self) -> list[dict[str, Any]]:
        """To be overridden: as ``get_input_types``."""
        return []


async def is_healthy(model: BaseKServeModel) -> bool:
    """What the model says of itself, whichever dialect it was written in."""
    answer = model.healthy()
    return bool(await answer if inspect.isawaitable(answer) else answer)
