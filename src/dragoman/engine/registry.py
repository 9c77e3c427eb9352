"""The loaded models, by name and version. A request finds here, or is told why not."""

from collections.abc import Callable, Iterator
from typing import Final

from dragoman.engine.model import Model
from dragoman.engine.shadow import Mirror, Report
from dragoman.engine.traffic import Rotation, Traffic
from dragoman.errors import NotFound

#: A client may name a version in this header where the path names none and traffic is split.
PIN: Final = b"x-dragoman-version"
#: Gives a request's headers, by their names in lower case.
Headers = Callable[[bytes], str | None]


class Registry:
    """Versions that can answer now. Written by the lifecycle, read by every request, on the event loop's thread.

    A request that names no version gets the default: the newest, unless somebody has set another.
    """

    def __init__(self) -> None:
        self._models: dict[str, dict[str, Model]] = {}
        self._defaults: dict[str, Model] = {}  # what answers who names no version
        self._set: dict[str, str] = {}  # what ``set_default`` was told
        self._traffic: dict[str, Traffic] = {}
        self._rotations: dict[str, Rotation] = {}
        self._known: set[str] = set()
        self.changes = (
            0  #: grows with every model that comes or goes: who has made something of them looks again
        )

    def forget(self, name: str) -> None:
        """This model, of which no version is loaded, has never existed."""
        self._known.discard(name)
        for kept in (self._models, self._set, self._traffic, self._rotations):
            kept.pop(name, None)

    def know(self, name: str) -> None:
        """This model exists, whether or not a version of it ever answers."""
        self._known.add(name)

    def publish(self, model: Model) -> Model | None:
        """From now on requests find this model. Returns the one it takes the place of."""
        self._known.add(model.name)
        versions = self._models.setdefault(model.name, {})
        before = versions.get(model.version)
        versions[model.version] = model
        self._choose(model.name)
        return before

    def unpublish(self, name: str, version: str) -> Model | None:
        """From now on requests don't find it. Returns it, still to be drained."""
        versions = self._models.get(name, {})
        model = versions.pop(version, None)
        self._choose(name)
        return model

    def set_default(self, name: str, version: str) -> None:
        """From now on this version answers who names none, and no other does while it can't. "" is the newest again.

        It need not be known yet: who loads several side by side decides first.
        """
        self._set[name] = version
        self._choose(name)

    def default(self, name: str) -> str:
        """The version that answers who names none; "" where there is none."""
        model = self._defaults.get(name)
        return self._set.get(name) or ("" if model is None else model.version)

    def find(self, name: str, version: str = "", headers: Headers | None = None) -> Model:
        """The model that answers for this name; without a version the default. Raises NotFound.

        With the ``headers`` of a request that is to be answered, its share of a split traffic counts, unless the
        client has named a version in the header ``PIN``.
        """
        if headers is not None and not version and name in self._rotations:
            version = headers(PIN) or self._turn(name)
        model = self._models.get(name, {}).get(version) if version else self._defaults.get(name)
        if model is not None:
            return model
        if name not in self._known:
            if (face := self._face(name, version, headers)) is not None:
                return face
            raise NotFound(f"Request for unknown model: '{name}' is not found")
        if version and self._models.get(name):
            raise NotFound(f"Request for unknown model: '{name}' version {version} is not found")
        raise NotFound(f"Request for unknown model: '{name}' has no available versions")

    def _face(self, name: str, version: str, headers: Headers | None) -> Model | None:
        """What ``model.name`` means where no model is called so: another question to that model."""
        base, _, face = name.rpartition(".")
        return self.find(base, version, headers).face(face) if base in self._known else None

    def set_traffic(self, name: str, traffic: Traffic) -> None:
        """Split the traffic of a model between its versions, or copy it to one of them. Raises NotFound."""
        for version in (*traffic.shares, *filter(None, [traffic.shadow])):
            self.find(name, version)
        self._traffic[name] = traffic
        self._rotations.pop(name, None)
        if traffic.shares:
            self._rotations[name] = Rotation(traffic.shares)
        self._cast_shadow(name)

    def traffic(self, name: str) -> Traffic:
        """How the traffic of a model is split."""
        return self._traffic.get(name, Traffic())

    def shadow_report(self, name: str) -> Report | None:
        """What has come of the copies; ``None`` where there are none."""
        mirrors = [model.mirror for model in self._models.get(name, {}).values() if model.mirror is not None]
        return mirrors[0].report if mirrors else None

    def _turn(self, name: str) -> str:
        """The version whose turn it is; "" while it can't answer."""
        version = self._rotations[name].next()
        return version if version in self._models.get(name, {}) else ""

    def _cast_shadow(self, name: str) -> None:
        """Let every other version's requests be copied to the shadow, or none."""
        versions = self._models.get(name, {})
        shadow = versions.get(self.traffic(name).shadow)
        current = next((model.mirror for model in versions.values() if model.mirror is not None), None)
        mirror = None
        if shadow is not None:
            mirror = current if current is not None and current.shadow is shadow else Mirror(shadow)
        for model in versions.values():
            model.mirror = None if model is shadow else mirror

    def versions(self, name: str) -> list[str]:
        """The versions of a model that can answer, in numeric order."""
        return [model.version for model in sorted(self._models.get(name, {}).values(), key=_number)]

    def names(self) -> list[str]:
        """Every known model, by name."""
        return sorted(self._known)

    def knows(self, name: str) -> bool:
        return name in self._known

    def __iter__(self) -> Iterator[Model]:
        for name in sorted(self._models):
            yield from sorted(self._models[name].values(), key=_number)

    def _choose(self, name: str) -> None:
        """Settle which of the versions that can answer is the default, once and not with every request."""
        self.changes += 1
        versions, wanted = self._models.get(name, {}), self._set.get(name)
        model = versions.get(wanted) if wanted else max(versions.values(), key=_number, default=None)
        if model is None:
            self._defaults.pop(name, None)
        else:
            self._defaults[name] = model
        self._cast_shadow(name)


def _number(model: Model) -> tuple[int, str]:
    return (int(model.version), "") if model.version.isdigit() else (-1, model.version)
