"""Counts the bytecodes that one request takes in each room of the server. Needs no quiet machine.

A bytecode in the midst of a request costs about 10 ns, what it calls in C included; their number, unlike any
time, is the same on every run of the same Python.
"""

import socket
import sys
from collections import Counter
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from wrk import Request

import dragoman
from dragoman.testing import TestClient

_PACKAGE = str(Path(dragoman.__file__).parent)
_SERVER = "127.0.0.1"


def count(request: Request, model: Path) -> list[dict[str, Any]]:
    """Bytecodes and calls of Python functions by room, for a request like the one before."""
    codes: Counter[CodeType] = Counter()
    calls: Counter[CodeType] = Counter()

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        if event == "call":
            frame.f_trace_opcodes, frame.f_trace_lines = True, False
            calls[frame.f_code] += 1
        elif event == "opcode":
            codes[frame.f_code] += 1
        return trace

    with TestClient(str(model)) as client, socket.create_connection((_SERVER, client.app.port)) as connection:
        for _ in range(3):
            _ask(connection, request)
        client.call(lambda: sys.settrace(trace))
        _ask(connection, request)
        client.call(lambda: sys.settrace(None))
    rooms: dict[str, list[int]] = {}
    for code, number in codes.items():
        if (room := _room(code)) is not None:
            found = rooms.setdefault(room, [0, 0])
            found[0] += number
            found[1] += calls[code]
    rooms["all"] = [sum(found[place] for found in rooms.values()) for place in (0, 1)]
    return [
        {"room": room, "bytecodes": found[0], "calls": found[1]}
        for room, found in sorted(rooms.items(), key=lambda item: -item[1][0])
    ]


def _room(code: CodeType) -> str | None:
    """The folder or module of the package; ``None`` for what belongs to the test client or to no room."""
    if code.co_filename == "<string>":
        return "types"  # what dataclasses write for themselves
    if not code.co_filename.startswith(_PACKAGE):
        return None
    room = Path(code.co_filename).relative_to(_PACKAGE).parts[0].removesuffix(".py")
    return None if room == "testing" else room


def _ask(connection: socket.socket, request: Request) -> None:
    """Sends the request in one piece, as wrk does, and reads the answer to its end."""
    headers = {"Host": _SERVER, **request.headers, "Content-Length": str(len(request.body))}
    lines = [f"POST {request.path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    connection.sendall("\r\n".join([*lines, "", ""]).encode() + request.body)
    answer = b""
    while b"\r\n\r\n" not in answer:
        answer += connection.recv(65_536)
    head, _, body = answer.partition(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
    while len(body) < length:
        body += connection.recv(65_536)
