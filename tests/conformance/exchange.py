"""Recorded exchanges as cases: read from TOML, sent as raw bytes over a socket, compared with what is promised.

A file tells ``original``, the server that was recorded, and has many cases::

    [[case]]
    name = "a number too large for UINT8 is refused"
    request = "POST /v2/models/identity_uint8/infer"
    headers = {Accept-Encoding = "gzip"}      # optional
    body = '{"inputs": ...}'                  # optional
    raw = "00 00 80 3f"                       # optional: in hexadecimal, after the body
    coding = "gzip"                           # optional: the body is sent in this coding

    [case.original]
    status = 200                              # 0: the connection was closed without an answer
    type = "application/json"                 # Content-Type
    headers = {Allow = "GET"}                 # optional: further headers that are promised
    body = '{"model_name": ...}'              # every byte is promised
    raw = "00 00 80 3f"                       # optional: after the body

    [case.ours]                               # only where we answer otherwise: what differs
    status = 400
    body = '{"error": ...}'                   # or matches = '...', a regular expression
    rows = ["integer-range"]                  # the rows of docs/compatibility.md that give the reason

``send`` instead of ``request`` is the whole request as text, in which ``{a*100}`` stands for a hundred a's.
A coding of the answer is undone before bodies are compared; how small it is, is not promised.
"""

import re
import socket
import tomllib
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dragoman.transport.status import REASONS

WINDOW = {"gzip": 31, "deflate": 15, "raw deflate": -15}
DIFFERENCES = {"status", "reason", "type", "headers", "body", "raw", "matches"}


@dataclass(frozen=True)
class Answer:
    """What came back over the socket. Header names are in lower case."""

    version: str
    status: int
    reason: str
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class Case:
    """One exchange, and what is promised of it."""

    file: str
    name: str
    request: dict[str, Any]
    original: dict[str, Any]
    ours: dict[str, Any] = field(default_factory=dict)
    rows: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        return f"{self.file}: {self.name}"

    @property
    def expected(self) -> dict[str, Any]:
        """What we promise: the original's answer with our differences on top."""
        return {**self.original, **self.ours}

    @property
    def body(self) -> bytes:
        """The request's body before any coding."""
        return _bytes(self.request)

    def header(self, name: str) -> str | None:
        return self.request.get("headers", {}).get(name)


def read_cases(folder: Path) -> list[Case]:
    """Every case of every file in ``folder``."""
    return [case for path in sorted(folder.glob("*.toml")) for case in _read(path)]


def _read(path: Path) -> list[Case]:
    with path.open("rb") as file:
        document = tomllib.load(file)
    cases = []
    for entry in document["case"]:
        ours = entry.pop("ours", {})
        rows = tuple(ours.pop("rows", ()))
        cases.append(Case(path.stem, entry.pop("name"), entry, entry.pop("original"), ours, rows))
    return cases


def to_bytes(case: Case) -> bytes:
    """The case's request as it goes over the wire."""
    request = case.request
    if "send" in request:
        text = re.sub(r"\{(.)\*(\d+)\}", lambda match: match[1] * int(match[2]), request["send"])
        return text.replace("\n", "\r\n").encode()
    body = case.body
    headers = {"Host": "localhost", **request.get("headers", {})}
    if coding := request.get("coding"):
        compressor = zlib.compressobj(wbits=WINDOW[coding])
        body = compressor.compress(body) + compressor.flush()
        headers["Content-Encoding"] = coding.removeprefix("raw ")
    if "cut" in request:
        body = body[: -request["cut"]]
    if body or not request["request"].startswith(("GET", "HEAD", "OPTIONS", "DELETE")):
        headers["Content-Length"] = str(len(body))
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"{request['request']} HTTP/1.1\r\n{head}\r\n".encode() + body


def send(port: int, request: bytes, *, head_only: bool = False) -> Answer:
    """The first answer to these bytes that is not an interim one."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(request)
        with connection.makefile("rb") as stream:
            status = 100
            while status == 100:
                line = stream.readline().decode().rstrip("\r\n")
                version, code, reason = line.split(" ", 2)
                status = int(code)
                headers = {}
                while line := stream.readline().decode().rstrip("\r\n"):
                    name, _, value = line.partition(":")
                    headers[name.lower()] = value.strip()
            if headers.get("transfer-encoding") == "chunked":
                return Answer(version, status, reason, headers, _read_chunks(stream))
            size = 0 if head_only else int(headers["content-length"])
            return Answer(version, status, reason, headers, stream.read(size))


def _read_chunks(stream: Any) -> bytes:
    body = b""
    while size := int(stream.readline(), 16):
        body += stream.read(size)
        stream.readline()
    return body


def differences(answer: Answer, expected: dict[str, Any]) -> list[str]:
    """In words, how an answer differs from what was expected; nothing when it doesn't."""
    status = expected["status"]
    pairs = [
        ("status", answer.status, status),
        ("reason", answer.reason, expected.get("reason", REASONS.get(status))),
        ("content-type", answer.headers.get("content-type"), expected.get("type")),
    ]
    for name, value in expected.get("headers", {}).items():
        pairs.append((name, answer.headers.get(name.lower()), value))
    body = answer.body
    if coding := answer.headers.get("content-encoding"):
        pairs.append(("content-encoding", coding, expected.get("headers", {}).get("Content-Encoding")))
        body = zlib.decompress(body, WINDOW[coding])
    if "matches" in expected:
        if not re.fullmatch(expected["matches"], body.decode(), re.DOTALL):
            pairs.append(("body", body, expected["matches"]))
    else:
        pairs.append(("body", body, _bytes(expected)))
    return [f"{what} is {got!r}, expected {want!r}" for what, got, want in pairs if got != want]


def _bytes(table: dict[str, Any]) -> bytes:
    return table.get("body", "").encode() + bytes.fromhex(table.get("raw", ""))
