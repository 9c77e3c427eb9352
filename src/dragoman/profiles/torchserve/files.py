"""Files that are written as a whole or not at all, and are nobody else's to read."""

import os
import secrets
from pathlib import Path

from dragoman.repository.sources.staging import sync_folder


def write_private(file: Path, content: bytes) -> None:
    """Put a file there, on the disk for good. It is nobody else's to read from its first moment, whatever the umask.

    Raises OSError, and what was there before still is.
    """
    new = file.with_name(f".{file.name}.{secrets.token_hex(8)}")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with open(descriptor, "wb") as opened:
            os.fchmod(descriptor, 0o600)  # a umask can take away more than it should, never give
            opened.write(content)
            opened.flush()
            os.fsync(descriptor)
        os.replace(new, file)
        sync_folder(file.parent)
    except BaseException:
        new.unlink(missing_ok=True)
        raise
