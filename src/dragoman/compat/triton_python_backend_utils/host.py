"""What stands behind the module: whoever runs a model lets it ask others, measure, and be known by its name.

Models call functions of a module, so the module has to know for whom. A process of its own has one model; where several
share one, the thread that runs a model says which it is.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

from dragoman.compat.triton_python_backend_utils.errors import TritonModelException
from dragoman.errors import DragomanError
from dragoman.model_metrics import Pending
from dragoman.types import InferRequest, InferResponse

Outcome = InferResponse | DragomanError
#: Takes each part of an answer, in order; ``final`` or an error is the last.
Take = Callable[[Outcome], None]
#: Asks another model; what it gives back takes the question back.
Ask = Callable[[InferRequest, Take], Callable[[], None]]


@dataclass(slots=True)
class Host:
    """Of one model. ``ask`` is ``None`` as long as it can't ask others."""

    model: str
    pending: Pending = field(default_factory=Pending)
    ask: Ask | None = None


_current: ContextVar[Host | None] = ContextVar("triton_python_host", default=None)
_newest: list[Host] = []


@contextmanager
def hosted(host: Host) -> Iterator[None]:
    """What this thread does is the model's doing. Threads that it starts are its own, too, where it is the newest."""
    if not _newest or _newest[-1] is not host:
        _newest[:] = [host]
    token = _current.set(host)
    try:
        yield
    finally:
        _current.reset(token)


def current() -> Host:
    """Whose code is running. Raises TritonModelException outside of a server."""
    found = _current.get() or (_newest[-1] if _newest else None)
    if found is None:
        raise TritonModelException("no model is being run here")
    return found
