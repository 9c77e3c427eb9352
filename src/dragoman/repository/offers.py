"""What lies at the operator's targets, model by model, looked at again and again.

A look reads sizes and times; it reads models' descriptions again only where these say that something has changed.
Knows nothing of what is loaded.
"""

import logging
import os
import stat
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from dragoman.config import ModelSettings
from dragoman.errors import ConfigError
from dragoman.repository.fingerprint import Fingerprints
from dragoman.repository.layouts import (
    EMPTY,
    Configure,
    Found,
    Guess,
    read,
    read_archive,
    read_model,
)
from dragoman.repository.naming import split_name
from dragoman.repository.spec import Description, ModelSource, Problem
from dragoman.repository.versions import is_version, wanted

log = logging.getLogger("dragoman.repository")


@dataclass(frozen=True, slots=True)
class Version:
    """One version and what its files were when it was looked at. Equal ones would load the same."""

    source: ModelSource
    fingerprint: str = ""


@dataclass(frozen=True, slots=True)
class Offer:
    """What there is of one model: the versions that should be loaded, and what is in the way of others."""

    name: str
    versions: Mapping[str, Version] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()

    @property
    def folder(self) -> Path | None:
        """The model's own folder, where it has one."""
        places = [version.source.folder for version in self.versions.values()]
        places += [problem.folder for problem in self.problems]
        return next((place for place in places if place is not None), None)

    def only(self, versions: Iterable[str]) -> "Offer":
        """The same with these versions, which it has."""
        return replace(self, versions={version: self.versions[version] for version in versions})

    def tells_of(self, version: str) -> bool:
        """Whether there is anything to say of a version; "" is the model as a whole."""
        return version in self.versions or any(problem.version == version for problem in self.problems)


Offers = Mapping[str, Offer]
#: What was read, and the fingerprint of the files that it was read from.
_Read = tuple[ModelSource | Problem, str]


def offers(found: Iterable[ModelSource | Problem]) -> Offers:
    """What was found, by model; nobody will ask whether it has changed."""
    return _offers((entry, "") for entry in found)


def _offers(found: Iterable[_Read]) -> Offers:
    """What was found, by model, with the fingerprints of what it was found in."""
    result: dict[str, Offer] = {}
    for entry, fingerprint in found:
        offer = result.get(entry.name, Offer(entry.name))
        if isinstance(entry, Problem):
            offer = replace(offer, problems=(*offer.problems, entry))
        elif entry.version in offer.versions:
            offer = replace(offer, problems=(*offer.problems, _twice(entry)))
        else:
            version = Version(entry, fingerprint)
            offer = replace(offer, versions={**offer.versions, entry.version: version})
        result[entry.name] = offer
    return result


class Repository:
    """The operator's targets. To be looked at by one thread at a time."""

    def __init__(self, targets: Sequence[str], defaults: ModelSettings, guess: Guess) -> None:
        self._targets = targets
        self._defaults = defaults
        self._guess = guess
        self._fingerprints = Fingerprints()
        self._archives = _Archives()
        #: By target: its fingerprint, and what was found there with the fingerprints of that.
        self._seen: dict[str, tuple[str, list[_Read]]] = {}
        self._lost: set[str] = set()
        self._offers: Offers = {}

    def read(self) -> Found:
        """Everything at the targets. Raises ConfigError where one of them holds nothing, or two the same."""
        reads = [self._read(target, self._stamp(target)) for target in self._targets]
        found = [entry for read in reads for entry, _ in read]
        seen: set[tuple[str, str]] = set()
        for entry in found:
            if isinstance(entry, ModelSource):
                if (entry.name, entry.version) in seen:
                    problem = _twice(entry)
                    raise ConfigError(problem.reason, hint=problem.hint)
                seen.add((entry.name, entry.version))
        return found

    def look(self) -> Offers:
        """What there is now. A target that can't be read is taken to hold what it has held."""
        self._fingerprints = Fingerprints(self._fingerprints)
        stamps = {target: self._stamp(target) for target in self._targets}
        if self._offers and all(self._is_known(target, stamp) for target, stamp in stamps.items()):
            return self._offers
        found = [pair for target, stamp in stamps.items() for pair in self._try(target, stamp)]
        self._offers = _offers(pair for pair in found if not _is_nothing(pair[0]))
        return self._offers

    def configured(self, name: str, configure: Configure) -> Offer | None:
        """The model read anew, with a configuration that has the last word; ``None`` where there is none."""
        offer = self.look().get(name)
        if offer is None:
            return None
        if offer.folder is not None:
            found = read_model(offer.folder, self._defaults, self._guess, configure)
            found = [
                replace(entry, name=name) for entry in found
            ]  # it may be called otherwise than its folder
        else:
            found = [_configured(version.source, configure) for version in offer.versions.values()]
            found += offer.problems
        return _offers(map(self._with_fingerprint, found)).get(name)

    def _stamp(self, target: str) -> str:
        # What is no path is a module's class, which is the same as long as the server runs.
        _, place = split_name(target)
        return self._fingerprints.of(Path(os.path.abspath(place))) if os.path.exists(place) else ""

    def _is_known(self, target: str, stamp: str) -> bool:
        return target in self._seen and self._seen[target][0] == stamp

    def _read(self, target: str, stamp: str) -> list[_Read]:
        if not self._is_known(target, stamp):
            found = read(target, self._defaults, self._guess, self._archives.read)
            self._seen[target] = stamp, [*map(self._with_fingerprint, found)]
        return self._seen[target][1]

    def _with_fingerprint(self, entry: ModelSource | Problem) -> _Read:
        return entry, "" if isinstance(entry, Problem) else _fingerprint(entry, self._fingerprints)

    def _try(self, target: str, stamp: str) -> list[_Read]:
        try:
            found = self._read(target, stamp)
        except ConfigError as error:
            if target not in self._lost:
                log.error(
                    "models can't be read any more, what is loaded of them stays",
                    extra={"target": target, "reason": str(error)},
                )
            self._lost.add(target)
            return self._seen.get(target, ("", []))[1]
        self._lost.discard(target)
        return found


class _Archives:
    """Reads an archive once: unpacking it again would mean to read all of it, to see that it is the same."""

    def __init__(self) -> None:
        self._read: dict[Path, tuple[tuple[int, ...], Found]] = {}
        self._names: dict[Path, str] = {}  # what the models were called

    def read(self, path: Path, defaults: ModelSettings) -> Found:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            return read_archive(path, defaults)
        times = found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
        known = self._read.get(path)
        if known is None or known[0] != times or not all(map(_is_there, known[1])):
            self._read[path] = times, [self._called(path, entry) for entry in read_archive(path, defaults)]
        return self._read[path][1]

    def _called(self, path: Path, entry: ModelSource | Problem) -> ModelSource | Problem:
        """A damaged archive can't say what it is called: what it was called before."""
        if isinstance(entry, Problem):
            return replace(entry, name=self._names.get(path, entry.name))
        self._names[path] = entry.name
        return entry


def _is_there(entry: ModelSource | Problem) -> bool:
    """Whether it needn't be tried again: what was unpacked could have been removed since."""
    return isinstance(entry, ModelSource) and entry.path is not None and entry.path.is_dir()


def _is_nothing(entry: ModelSource | Problem) -> bool:
    """An empty folder is no model that can't be read, but a place for models to come."""
    return isinstance(entry, Problem) and entry.reason == EMPTY


def _fingerprint(source: ModelSource, fingerprints: Fingerprints) -> str:
    folder = source.folder
    if folder is None:
        return "" if source.path is None else fingerprints.of(source.path)
    own = folder / source.version
    return fingerprints.of(own if is_version(source.version) and own.is_dir() else folder)


def _configured(source: ModelSource, configure: Configure) -> ModelSource | Problem:
    """A version that is no folder, with a configuration that has the last word."""
    said = Description(source.settings, "", source.entry, source.options, source.inputs, source.outputs)
    try:
        said = configure(said, None)
        if is_version(source.version) and not wanted([source.version], said.settings.versions):
            reason = f"version {source.version} is not wanted"
            return Problem(source.name, reason, version=source.version)
    except ConfigError as error:
        return Problem(source.name, str(error), error.hint)
    return replace(
        source, settings=said.settings, options=said.options, inputs=said.inputs, outputs=said.outputs
    )


def _twice(source: ModelSource) -> Problem:
    reason = f"model {source.name!r} version {source.version} is there twice"
    return Problem(source.name, reason, "rename one of the two folders or files", source.version)
