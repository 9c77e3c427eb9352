"""What every inference over HTTP begins with: the model of its path, and the deadline among its parameters."""

from dragoman.engine.engine import Engine
from dragoman.engine.model import Model
from dragoman.engine.registry import Headers
from dragoman.errors import NotFound
from dragoman.scheduling.scheduler import Clock
from dragoman.transport.request import HttpRequest
from dragoman.types import InferRequest


def find(engine: Engine, http: HttpRequest, dialect: str, headers: Headers | None = None) -> Model:
    """The model that a path names. Raises NotFound, which is counted under the dialect."""
    try:
        return engine.registry.find(*names_of(http), headers)
    except NotFound as error:
        engine.refuse(dialect, error)
        raise


def names_of(http: HttpRequest) -> tuple[str, str]:
    """The model's name and the version, which may be empty."""
    name, version = (*http.params, "")[:2]
    return name, version


def set_deadline(request: InferRequest, clock: Clock) -> None:
    """Take out of the parameters what the scheduler uses.

    It isn't an argument of the model: requests that differ in it may be joined.
    """
    if parameters := request.parameters:
        parameters.pop("priority", None)
        if timeout := parameters.pop("timeout", 0):  # microseconds; 0 is none
            request.timeout = timeout
            request.deadline = clock.time() + timeout / 1e6


def headers_of(http: HttpRequest, note: str) -> dict[str, str]:
    """The request's headers as a model sees them. Shared by requests with the same head: not to be changed.

    ``note`` is the name under which it is remembered.
    """
    headers: dict[str, str] | None = http.notes.get(note)
    if headers is None:
        pairs = http.raw_headers()
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in pairs}
        http.notes[note] = headers
    return headers
