"""From where a client says a model is to a path in the store: checked, fetched, counted, hashed; or an error and no
trace.

Blocks its thread; ``background`` is the same for an event loop.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from dragoman.errors import DownloadFailed, InvalidInput, SourceNotFound, UrlNotAllowed
from dragoman.repository.sources import http, local, objects
from dragoman.repository.sources.connection import Egress
from dragoman.repository.sources.effort import Effort
from dragoman.repository.sources.location import OBJECT_STORES, Url, is_name, is_url, parse_url
from dragoman.repository.sources.rules import Rules
from dragoman.repository.sources.staging import Budget, Progress, Staging, discard

#: Looks at what was fetched before it gets its name in the store; whatever it raises is the end of it.
Check = Callable[[Path], object]

_DIGEST: Final = re.compile(r"(?:sha256:)?([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class Fetched:
    """A model's file or folder. ``source`` is the location without what may be secret in it. ``digest`` (SHA-256,
    hexadecimal) and ``size`` are "" and 0 for a folder that was there before. ``new`` is what the fetch has brought.
    """

    path: Path
    source: str
    digest: str
    size: int
    new: bool

    def discard(self) -> None:
        """Remove from the store what this fetch has brought, and nothing else."""
        if self.new:
            discard(self.path)


@dataclass(frozen=True, slots=True)
class Sources:
    """The ways into one model store, which is a folder that exists."""

    store: Path
    rules: Rules = field(default_factory=Rules)
    budget: Budget = field(default_factory=Budget)
    egress: Egress = field(default_factory=Egress)

    def effort(self) -> Effort:
        """The time that a fetch has from now on; to be handed to ``fetch`` by whoever wants to cancel it."""
        return Effort(self.budget.seconds, self.budget.idle)

    def fetch(
        self,
        location: str,
        *,
        digest: str = "",
        progress: Progress | None = None,
        check: Check | None = None,
        effort: Effort | None = None,
    ) -> Fetched:
        """The model at ``location``: a name in the store, a folder, or a URL whose file is brought into the store.

        ``digest`` is the SHA-256 it must have. ``progress`` is called at most ten times a second, in this thread.
        ``check`` sees what was brought before anybody else can. Raises SourceError, StorageFailed, Unsupported,
        Cancelled, InvalidInput for a digest that is none, and what ``check`` raises.
        """
        effort = effort or self.effort()
        wanted = _read_digest(digest)
        if not is_url(location):
            return self._lies(
                local.find(self.store, location, self.rules), location, location, wanted, effort
            )
        url = parse_url(location)
        self.rules.check_url(url.text, location)
        if url.scheme == "file" and (folder := local.find_folder(url, self.rules)) is not None:
            return self._lies(folder, location, url.shown, wanted, effort)
        if not is_name(url.name):
            raise UrlNotAllowed("the URL must end with the plain name of a file", location)
        with Staging(self.store, url.name, location, self.budget, progress) as staging:
            self._bring(url, staging, effort, sized=not wanted)
            _compare(wanted, staging.digest, location)
            if check is not None:
                check(staging.path)
            effort.check()
            return Fetched(staging.publish(), url.shown, staging.digest, staging.size, new=True)

    def _bring(self, url: Url, staging: Staging, effort: Effort, *, sized: bool) -> None:
        if url.scheme in OBJECT_STORES:
            objects.download(url, staging, effort)
        elif url.scheme == "file":
            local.copy(url, staging, self.rules, effort)
        else:
            http.download(url, staging, self.rules, self.egress, effort, sized=sized)

    def _lies(self, path: Path, location: str, source: str, wanted: str, effort: Effort) -> Fetched:
        """What is there already, and stays where it is."""
        if path.is_dir():
            if wanted:
                raise InvalidInput("a folder on this machine has no digest to compare")
            return Fetched(path, source, "", 0, new=False)
        if not path.is_file():
            raise SourceNotFound("no model is there", location)
        digest, size = local.digest_of(path, location, effort)
        _compare(wanted, digest, location)
        return Fetched(path, source, digest, size, new=False)


def _read_digest(text: str) -> str:
    match = _DIGEST.fullmatch(text.lower())
    if text and match is None:
        raise InvalidInput("a digest must be SHA-256, 64 hexadecimal digits")
    return match[1] if match else ""


def _compare(wanted: str, digest: str, location: str) -> None:
    if wanted and digest != wanted:
        raise DownloadFailed(f"its SHA-256 is {digest}, not what was expected", location)
