"""A model as a request to load it wants it: the repository's with another configuration, or made of files that came.

Reads files and never changes the repository. Knows nothing of what is loaded.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from dragoman.config import ModelSettings
from dragoman.errors import ConfigError, Unreadable
from dragoman.repository.fields import Document
from dragoman.repository.layouts import Found, Guess, read_versions
from dragoman.repository.offers import Offer, Repository, offers
from dragoman.repository.spec import Description, ModelSource, Problem
from dragoman.repository.triton_config import configure, parse_config
from dragoman.repository.uploads import Upload, Uploads

log = logging.getLogger("dragoman.repository")


@dataclass(frozen=True, slots=True)
class Overrides:
    """A configuration in Triton's words, as JSON, and files by their paths below the model's folder."""

    config: str = ""
    files: Mapping[str, bytes] = field(default_factory=dict)


NONE: Final = Overrides()


def read_configured(repository: Repository, name: str, config: str) -> Offer | None:
    """The repository's model with another configuration; ``None`` where there is none of that name.

    Raises Unreadable for a configuration that is none.
    """
    fields = _parse(config)
    told: set[tuple[str, str]] = set()

    def with_config(said: Description, folder: Path | None) -> Description:
        return _configure(fields, name, said, folder, told)

    return repository.configured(name, with_config)


def read_upload(
    uploads: Uploads, name: str, overrides: Overrides, defaults: ModelSettings, guess: Guess, *, trusted: bool
) -> tuple[Offer, Upload]:
    """The model that is made of the files that came, and these files, to be released.

    They are the whole model: nothing of the repository is taken. Raises Unreadable where they come without a
    configuration, or can't all be there; and as ``Uploads.stage`` does.
    """
    if not overrides.config:
        raise Unreadable("files need a configuration beside them")
    fields = _parse(overrides.config)
    try:
        upload = uploads.stage(name, overrides.files)
    except ConfigError as error:
        raise Unreadable(_told(error)) from None
    try:
        return _read(upload.folder, name, fields, defaults, guess, trusted=trusted), upload
    except BaseException:
        upload.release()
        raise


def _read(
    folder: Path, name: str, fields: Document, defaults: ModelSettings, guess: Guess, *, trusted: bool
) -> Offer:
    found: Found
    try:
        description = _configure(fields, name, Description(defaults), folder, set())
        found = [
            replace(entry, trusted=trusted) if isinstance(entry, ModelSource) else entry
            for entry in read_versions(folder, description, guess)
        ]
    except ConfigError as error:
        found = [Problem(name, str(error), error.hint)]
    return offers(found).get(name, Offer(name))


def _parse(config: str) -> Document:
    try:
        return parse_config(config)
    except ConfigError as error:
        raise Unreadable(_told(error)) from None


def _configure(
    fields: Document, name: str, said: Description, folder: Path | None, told: set[tuple[str, str]]
) -> Description:
    """The description with the fields' words on top; what has no effect is told once."""
    configured = configure(fields, name, said, folder)
    for remark in configured.remarks:
        if (remark.field, remark.consequence) not in told:
            told.add((remark.field, remark.consequence))
            log.warning(
                "a part of a model's configuration has no effect",
                extra={"model": name, "field": remark.field, "instead": remark.consequence},
            )
    return configured.description


def _told(error: ConfigError) -> str:
    return f"{error} ({error.hint})" if error.hint else str(error)
