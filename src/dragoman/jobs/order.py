"""What a job is to do, as it is kept. Pure.

Either one request for a path where models are asked, in the words of any protocol; or the rows of a file for a model.
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import orjson

#: Names of jobs, which callers may choose.
ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
#: Headers that are part of a request. Whatever else came may be a secret, and is not kept.
KEPT_HEADERS: Final = frozenset(
    {"accept", "cache-control", "content-type", "inference-header-content-length", "x-dragoman-version"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One request has a ``path`` and ``headers``; rows have a ``format``, and a ``file`` where they were not sent.

    ``stored`` rows are kept among the predictions made ahead, too.
    """

    model: str
    version: str = ""
    path: str = ""
    query: str = ""
    headers: Sequence[tuple[str, str]] = ()
    format: str = ""
    file: str = ""
    stored: bool = False

    @property
    def is_rows(self) -> bool:
        return bool(self.format)

    def encode(self) -> str:
        return orjson.dumps(asdict(self)).decode()

    @classmethod
    def decode(cls, text: str) -> "Order":
        document: dict[str, Any] = orjson.loads(text)
        document["headers"] = tuple((name, value) for name, value in document["headers"])
        return cls(**document)

    def digest(self, body: bytes | memoryview, webhook: str) -> str:
        """What two equal jobs have in common."""
        whole = hashlib.sha256()
        for part in (self.encode().encode(), webhook.encode(), bytes(body)):
            whole.update(len(part).to_bytes(8))
            whole.update(part)
        return whole.hexdigest()
