"""Which model a client means, and what TorchServe says where there is none. Knows no wire."""

from dragoman.engine.engine import Engine
from dragoman.engine.lifecycle import State
from dragoman.engine.model import Model
from dragoman.engine.registry import Headers
from dragoman.errors import NotFound, Overloaded
from dragoman.protocols.torchserve import errors


def find(engine: Engine, name: str, version: str, dialect: str, headers: Headers | None = None) -> Model:
    """The model that answers for this name; without a version the default one. Raises Refused, Overloaded.

    The ``headers`` are those of a request that is to be answered, as for ``Engine.find``.
    """
    try:
        return engine.find(name, version, headers)
    except NotFound as error:
        engine.refuse(dialect, error)
        check_known(engine, name, version)
        raise Overloaded(errors.no_worker(name, version)) from None  # it loads, or could not


def check_known(engine: Engine, name: str, version: str) -> None:
    """Raise Refused unless there is such a model, be it that it can answer or not."""
    records = engine.lifecycle.records.values()
    gone = (State.DRAINING, State.UNLOADED)
    known = {r.version for r in records if r.name == name and r.state not in gone}
    if not known:
        raise errors.model_not_found(name)
    if version and version not in known:
        raise errors.version_not_found(name, version)
