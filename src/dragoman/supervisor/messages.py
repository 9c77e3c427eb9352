"""What parent and child tell each other: JSON objects behind their length, each kind with fields of its own.

Knows bytes and streams, not what a message makes anybody do.
"""

import asyncio
import contextlib
import json
import socket
from collections.abc import Mapping
from typing import Any, Final

#: The kinds of message and their fields.
FIELDS: Final[Mapping[str, frozenset[str]]] = {
    # from the parent
    "serve": frozenset(
        {"settings", "targets", "serving", "changes"}
    ),  # first: what to serve, whether others do already, and what clients have changed since they began
    "go": frozenset(),  # answers "loaded": every process has tried its models
    "collect": frozenset({"serial"}),  # asks for "numbers"
    "merged": frozenset({"serial", "stats", "in_flight", "started"}),  # answers "gather"
    "told": frozenset({"serial", "action", "name"}),  # another process was asked for a change: make it, too
    "followed": frozenset(
        {"serial", "failures"}
    ),  # answers "tell": every other process has made it, or failed
    # from a child
    "numbers": frozenset({"serial", "stats", "in_flight"}),  # serial 0: unasked
    "loaded": frozenset({"models"}),
    "serving": frozenset(),  # answers "go"
    "refused": frozenset({"message", "hint"}),  # the configuration makes no sense: nothing will be served
    "tell": frozenset(
        {"serial", "action", "name"}
    ),  # a client has changed something here: let the others follow
    "done": frozenset({"serial", "failure"}),  # answers "told": empty where it could be made
    "gather": frozenset({"serial"}),  # asks for the numbers of all processes
}
LARGEST: Final = 64 * 2**20
_LENGTH: Final = 4

Message = dict[str, Any]


def encode(kind: str, **fields: Any) -> bytes:
    """The bytes of a message. Raises ValueError for fields that aren't the kind's."""
    if FIELDS[kind] != fields.keys():
        raise ValueError(f"a message {kind!r} has the fields {sorted(FIELDS[kind])}, not {sorted(fields)}")
    body = json.dumps({"kind": kind, **fields}).encode()
    return len(body).to_bytes(_LENGTH) + body


def decode(body: bytes) -> Message:
    """The message in ``body``, its length taken off. Raises ValueError for what is none."""
    message: Message = json.loads(body)
    kind = message.get("kind", "") if isinstance(message, dict) else ""
    if not isinstance(kind, str) or kind not in FIELDS or message.keys() != FIELDS[kind] | {"kind"}:
        raise ValueError("a message of no known kind")
    return message


class Channel:
    """One end of a socket between parent and child."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, sock: socket.socket) -> "Channel":
        """Takes the socket over."""
        return cls(*await asyncio.open_unix_connection(sock=sock))

    def send(self, kind: str, **fields: Any) -> None:
        """Hand a message over; to an end that is closed, nothing happens."""
        if not self._writer.is_closing():
            self._writer.write(encode(kind, **fields))

    async def receive(self) -> Message | None:
        """The next message; ``None`` when the other end is closed. Raises ValueError for what is no message."""
        try:
            length = int.from_bytes(await self._reader.readexactly(_LENGTH))
            if length > LARGEST:
                raise ValueError(f"a message of {length} bytes")
            return decode(await self._reader.readexactly(length))
        except (asyncio.IncompleteReadError, ConnectionError):
            return None

    def abort(self) -> None:
        """Close at once; ``receive`` then tells of an end."""
        self._writer.transport.abort()

    async def close(self) -> None:
        """Send what was handed over, then close."""
        self._writer.close()
        with contextlib.suppress(ConnectionError):
            await self._writer.wait_closed()
