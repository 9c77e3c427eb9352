"""What is wanted of models, in the words of the store: written with every change, read when the server starts.

Blocks its thread. Knows neither the database nor what is loaded.
"""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from dragoman.engine.desired import Desired, Wanted
from dragoman.engine.traffic import Traffic
from dragoman.store import Change, Model, Version

if TYPE_CHECKING:
    from dragoman.store.database import Store

#: How a change is called that goes back to an earlier default: what came after that one is not gone back to.
ROLL_BACK = "roll back"


class StoreLedger:
    """One server's view of a store. When another has changed a model in between, a change is a Conflict."""

    def __init__(self, store: "Store") -> None:
        self._store = store
        self._revisions: dict[str, int] = {}

    def read(self) -> list[Desired]:
        """What was wanted of every model when the last change was written."""
        models = self._store.models()
        self._revisions = {model.name: model.revision for model in models}
        return [to_desired(model, self._store.history(model.name, limit=1000)) for model in models]

    def write(self, desired: Desired, what: str, who: str) -> None:
        model = to_model(desired, self._revisions.get(desired.name, 0))
        self._revisions[desired.name] = self._store.save(model, who=who, what=what).revision

    def erase(self, name: str, who: str) -> None:
        model = self._store.model(name)
        if model is not None:
            self._store.remove(model, who=who)
        self._revisions.pop(name, None)

    def close(self) -> None:
        self._store.close()


def to_model(desired: Desired, revision: int) -> Model:
    """As the store has it."""
    versions = tuple(
        _to_version(wanted, desired.traffic.shares.get(wanted.version, 0))
        for wanted in desired.versions.values()
    )
    return Model(
        name=desired.name,
        versions=versions,
        default=desired.default,
        shadow=desired.traffic.shadow,
        revision=revision,
    )


def to_desired(model: Model, history: Sequence[Change]) -> Desired:
    """What was wanted; ``history`` has its changes, the latest first."""
    shares = {version.version: version.weight for version in model.versions if version.weight}
    return Desired(
        model.name,
        {version.version: _to_wanted(version) for version in model.versions},
        model.default,
        earlier_defaults(reversed(history)),
        Traffic(shares, model.shadow),
    )


def earlier_defaults(changes: Iterable[Change]) -> tuple[str, ...]:
    """The defaults that could be gone back to, the newest last. ``changes`` are of one model, oldest first."""
    earlier: list[str] = []
    now = ""
    for change in changes:
        if change.after is None:
            earlier, now = [], ""
            continue
        default = change.after.default
        if default == now:
            continue
        if change.what.startswith(ROLL_BACK) and default in earlier:
            place = len(earlier) - 1 - earlier[::-1].index(default)
            del earlier[place:]
        elif now:
            earlier.append(now)
        now = default
    return tuple(earlier)


def _to_version(wanted: Wanted, share: int) -> Version:
    said = wanted.document
    return Version(
        version=wanted.version,
        source=str(said.get("source", "")),
        digest=str(said.get("digest", "")),
        path=str(said.get("path", "")),
        settings=dict(said),
        loaded=wanted.loaded,
        min_instances=wanted.minimum,
        max_instances=max(wanted.minimum, wanted.maximum),
        weight=share,
    )


def _to_wanted(version: Version) -> Wanted:
    most = version.max_instances if version.max_instances > version.min_instances else 0
    return Wanted(version.version, dict(version.settings), version.min_instances, most, version.loaded)
