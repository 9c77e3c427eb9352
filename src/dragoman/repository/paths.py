"""Names out of archives, made into paths that stay below a directory. Pure: touches no file."""

import re
import unicodedata
from typing import Final

from dragoman.errors import ConfigError

DRIVE: Final = re.compile(r"[A-Za-z]:")
LONGEST_SHOWN: Final = 100
COMPONENT_BYTES: Final = 255  # what ext4, xfs and APFS take


class InvalidArchive(ConfigError):
    """An archive that can't be served: broken, hostile, or not a model's. The text may be shown to clients."""


def shown(name: str) -> str:
    """A name from an archive as a message may show it: one line, and not a long one."""
    return repr(name if len(name) <= LONGEST_SHOWN else name[: LONGEST_SHOWN - 1] + "…")


def split_path(name: str, depth: int = 64) -> tuple[str, ...]:
    """The components of a name inside an archive; none for ``.`` and ``./``.

    Raises InvalidArchive for every name that some system could read as another place: absolute, with ``..``,
    a backslash, a drive letter, a control character, or of more than ``depth`` components.
    """
    if not name or any(unicodedata.category(character) in ("Cc", "Cs") for character in name):
        raise InvalidArchive(f"the archive holds a name that can't be a file's: {shown(name)}")
    if name.startswith("/") or "\\" in name:
        raise InvalidArchive(f"the archive holds a name outside its own folder: {shown(name)}")
    parts = tuple(part for part in name.split("/") if part not in ("", "."))
    if ".." in parts or any(DRIVE.match(part) for part in parts):
        raise InvalidArchive(f"the archive holds a name outside its own folder: {shown(name)}")
    if len(parts) > depth:
        raise InvalidArchive(f"the archive holds folders in more than {depth} levels")
    if any(len(part.encode()) > COMPONENT_BYTES for part in parts):
        raise InvalidArchive(f"the archive holds a name of more than {COMPONENT_BYTES} bytes: {shown(name)}")
    return parts


def fold(parts: tuple[str, ...]) -> tuple[str, ...]:
    """What is equal for names that a file system blind to case or to Unicode's forms would take for one."""
    return tuple(
        unicodedata.normalize("NFC", unicodedata.normalize("NFC", part).casefold()) for part in parts
    )
