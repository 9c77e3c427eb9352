"""Snapshots of what is wanted, in ``logs/config``: written with every change, and read at the next start.

::

    20261121224046766-startup.cfg     20261121224109474-snapshot.cfg     20261121224257329-shutdown.cfg

The newest one is a configuration of its own, so that a server comes back with the models it had. What a file's text is
made of is in ``snapshot``.
"""

import logging
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path, PurePosixPath
from threading import Lock
from typing import Any, Final

from dragoman.engine.desired import Desired, Wanted
from dragoman.errors import StorageFailed
from dragoman.profiles.torchserve.files import write_private
from dragoman.profiles.torchserve.snapshot import Snapshot, snapshot_name, write_snapshot
from dragoman.store.state import Model, Version

log = logging.getLogger("dragoman.torchserve")

#: Parts of a workflow come and go with it, and workflows are in no snapshot.
PART_OF: Final = "partOf"
#: What a version's document says, where it doesn't.
_DEFAULTS: Final[Mapping[str, Any]] = {
    "url": "",
    "digest": "",
    "runtimeType": "python",
    "batchSize": 1,
    "maxBatchDelay": 100,
    "responseTimeout": 120,
    "startupTimeout": 120,
}


class Snapshots:
    """A ledger whose every page is the whole of it. ``properties`` are the configuration's own.

    Nothing is written before ``start``, nor after a ``start`` that failed.
    """

    def __init__(self, folder: Path, properties: Mapping[str, str]) -> None:
        self._folder = folder
        self._properties = dict(properties)
        self._desired: dict[str, Desired] = {}
        self._last = datetime.fromtimestamp(0, UTC)
        self._started = False
        self._lock = Lock()

    def start(self, desired: Mapping[str, Desired]) -> None:
        """Write down what the server starts with. Raises StorageFailed."""
        self._desired = dict(desired)
        self._save(self._desired, "startup")
        self._started = True

    def stop(self) -> None:
        """Write down what it had in the end. Raises StorageFailed."""
        if self._started:
            self._save(self._desired, "shutdown")

    def write(self, desired: Desired, what: str, who: str) -> None:
        with self._lock:
            self._change({**self._desired, desired.name: desired})

    def erase(self, name: str, who: str) -> None:
        with self._lock:
            self._change({key: desired for key, desired in self._desired.items() if key != name})

    def _change(self, desired: dict[str, Desired]) -> None:
        if self._started and _models(desired) != _models(self._desired):
            self._save(desired, "snapshot")
        self._desired = desired

    def _save(self, desired: Mapping[str, Desired], kind: str) -> None:
        moment = max(
            datetime.now(UTC), self._last + timedelta(milliseconds=1)
        )  # names sort by time, whatever clocks do
        created = moment.replace(microsecond=moment.microsecond // 1000 * 1000)
        name = snapshot_name(created, kind)
        snapshot = Snapshot(name=name, created=created, models=_models(desired), properties=self._properties)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            write_private(self._folder / name, write_snapshot(snapshot).encode())
        except OSError as error:
            raise StorageFailed(f"the snapshot could not be written: {error.strerror}") from error
        self._last = created


def _models(desired: Mapping[str, Desired]) -> tuple[Model, ...]:
    found = []
    for name, wanted in desired.items():
        versions = [_version(each) for each in wanted.versions.values() if not each.document.get(PART_OF)]
        if versions:
            numbers = [version.version for version in versions]
            default = wanted.default if wanted.default in numbers else numbers[0]
            found.append(Model(name=name, versions=tuple(versions), default=default))
    return tuple(found)


def _version(wanted: Wanted) -> Version:
    said = {**_DEFAULTS, **wanted.document}
    return Version(
        version=wanted.version,
        source=PurePosixPath(said["url"]).name,
        digest=said["digest"],
        runtime="torchserve",
        min_instances=wanted.minimum,
        max_instances=max(wanted.minimum, wanted.maximum),
        settings={
            "max_batch": said["batchSize"],
            "max_delay": said["maxBatchDelay"] / 1000,
            "response_timeout": float(said["responseTimeout"]),
            "options": {name: said[name] for name in ("startupTimeout", "runtimeType")},
        },
    )
