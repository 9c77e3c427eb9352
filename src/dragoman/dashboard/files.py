"""The page's files, read and compressed once, with what a browser has to be told of each. Knows no request."""

import hashlib
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

STATIC: Final = Path(__file__).with_name("static")
#: The page itself; everything else it asks for by name.
INDEX: Final = "index.html"
#: Only what has one of these is a file of the page.
TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_GZIP: Final = 31  # zlib's window bits for it
_LEVEL: Final = 9  # once for each start


@dataclass(frozen=True, slots=True)
class File:
    """A file and the same compressed, each with an ETag of its own, for they are different bytes."""

    content_type: str
    body: bytes
    tag: str
    small: bytes
    small_tag: str


def read_files(folder: Path = STATIC) -> dict[str, File]:
    """The files by name."""
    paths = sorted(path for path in folder.iterdir() if path.suffix in TYPES)
    return {path.name: _read(path) for path in paths}


def _read(path: Path) -> File:
    body = path.read_bytes()
    digest = hashlib.sha256(body).hexdigest()[:32]
    compressor = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP)
    small = compressor.compress(body) + compressor.flush()
    return File(TYPES[path.suffix], body, f'"{digest}"', small, f'"{digest}-gzip"')
