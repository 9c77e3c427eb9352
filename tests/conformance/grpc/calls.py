"""Recorded calls as cases: read from TOML, made over a real channel, compared with what is promised.

A file tells ``original``, the server that was recorded, and has many cases. Messages are protocol buffers' text::

    [[case]]
    name = "raw in"
    method = "ModelInfer"
    metadata = {triton_grpc_error = "true"}   # optional
    request = '''model_name: "add_sub" ...''' # optional: empty; for streams ``requests``, a list

    [case.original]
    status = "OK"
    details = ""                              # of any other status
    response = '''...'''                      # optional: empty; for streams ``responses``

    [case.ours]                               # only where we answer otherwise: what differs
    status = "INVALID_ARGUMENT"
    details = "..."                           # or matches = '...', a regular expression of them or of the response
    rows = ["raw-count"]                      # the rows of the compatibility page that give the reason
"""

import re
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import text_format

from dragoman.protobuf.schema import Schema

DIFFERENCES = {"status", "details", "matches", "response", "responses"}
PATIENCE = 60


@dataclass(frozen=True)
class Case:
    """One call, and what is promised of it."""

    file: str
    name: str
    method: str
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


def read_cases(folder: Path) -> list[Case]:
    """Every case of every file in ``folder``."""
    return [case for path in sorted(folder.glob("*.toml")) for case in _read(path)]


def _read(path: Path) -> list[Case]:
    cases = []
    for entry in tomllib.loads(path.read_text("utf-8"))["case"]:
        ours = entry.pop("ours", {})
        rows = tuple(ours.pop("rows", ()))
        name, method, original = entry.pop("name"), entry.pop("method"), entry.pop("original")
        cases.append(Case(path.stem, name, method, entry, original, ours, rows))
    return cases


@dataclass(frozen=True)
class Service:
    """A service by its full name, and the names of its methods' messages."""

    name: str
    schema: Schema
    messages: Callable[[str], tuple[str, str]]

    def classes(self, method: str) -> tuple[Any, Any]:
        """Those of request and response."""
        request, response = self.messages(method)
        return self.schema.message(request), self.schema.message(response)


def make(channel: grpc.Channel, service: Service, case: Case) -> dict[str, Any]:
    """What came back: ``status``, ``details``, and ``responses`` as messages."""
    request, response = service.classes(case.method)
    texts = case.request.get("requests", [case.request.get("request", "")])
    requests = [text_format.Parse(text, request()).SerializeToString() for text in texts]
    metadata = list(case.request.get("metadata", {}).items())
    came: dict[str, Any] = {"status": "OK", "details": "", "responses": []}
    path = f"/{service.name}/{case.method}"
    if "requests" in case.request:
        call = channel.stream_stream(path, response_deserializer=response.FromString)
        answers = call(iter(requests), metadata=metadata, timeout=PATIENCE)
    else:
        call = channel.unary_stream(path, response_deserializer=response.FromString)
        answers = call(requests[0], metadata=metadata, timeout=PATIENCE)
    try:
        for message in answers:
            came["responses"].append(message)
    except grpc.RpcError as error:
        came |= {"status": error.code().name, "details": error.details()}
    return came


def differences(came: dict[str, Any], service: Service, case: Case) -> list[str]:
    """In words, how an answer differs from what was expected; nothing when it doesn't."""
    expected = case.expected
    found: list[tuple[str, Any, Any]] = [("status", came["status"], expected["status"])]
    if "matches" in expected:
        text = came["details"] or text_format.MessageToString(came["responses"][0], as_one_line=True)
        if not re.fullmatch(expected["matches"], text, re.DOTALL):
            found.append(("answer", text, expected["matches"]))
    else:
        _, response = service.classes(case.method)
        texts = [expected.get("response", "")] if expected["status"] == "OK" else []
        wanted = [text_format.Parse(text, response()) for text in expected.get("responses", texts)]
        found.append(("details", came["details"], expected.get("details", "")))
        found.append(("responses", came["responses"], wanted))
    return [f"{what} is {got!r}, expected {want!r}" for what, got, want in found if got != want]
