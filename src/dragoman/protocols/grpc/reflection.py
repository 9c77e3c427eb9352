"""grpc.reflection: which services there are and what their messages look like, for tools such as grpcurl.

Knows the definitions of every protocol by their schemas, and none by its meaning.
"""

from collections.abc import Sequence
from typing import Any, Final

from google.protobuf.message import DecodeError

from dragoman.protobuf.schema import Schema
from dragoman.protocols.grpc.health import SCHEMA
from dragoman.transport.auth import About
from dragoman.transport.grpc.call import Call, Shape, Status
from dragoman.transport.grpc.routes import Routes

#: The same service under two names: clients ask for the newer one first.
PACKAGES: Final = ("grpc.reflection.v1", "grpc.reflection.v1alpha")


class Reflection:
    """Tells of ``routes``, whose definitions are in ``schemas``."""

    def __init__(self, routes: Routes, schemas: Sequence[Schema]) -> None:
        self._routes = routes
        self._schemas = (*schemas, SCHEMA)

    def add_services(self, routes: Routes) -> None:
        for package in PACKAGES:
            request, response = (
                SCHEMA.message(f"{package}.ServerReflection{kind}") for kind in ("Request", "Response")
            )

            def handle(call: Call, request: Any = request, response: Any = response) -> None:
                _Conversation(self, call, request, response).ask()

            service = f"{package}.ServerReflection"
            method = "ServerReflectionInfo"
            routes.add(service, method, Shape.BIDI, handle, "metadata", permit=False, about=About.SERVER)

    def answer(self, request: Any, response: Any) -> None:
        """Fill in what is asked for."""
        response.valid_host = request.host
        response.original_request.CopyFrom(request)
        match request.WhichOneof("message_request"):
            case "list_services":
                for name in self._routes.services():
                    response.list_services_response.service.add(name=name)
            case "file_by_filename":
                self._add_files(response, request.file_by_filename, request.file_by_filename)
            case "file_containing_symbol":
                symbol = request.file_containing_symbol
                found = (schema.file_of(symbol) for schema in self._schemas)
                self._add_files(response, next(filter(None, found), None), symbol)
            case _:
                response.error_response.error_code = Status.UNIMPLEMENTED
                response.error_response.error_message = "there are no extensions"

    def _add_files(self, response: Any, file: str | None, asked: str) -> None:
        for schema in self._schemas:
            if file is not None and file in schema.files:
                response.file_descriptor_response.file_descriptor_proto.extend(schema.with_imports(file))
                return
        response.error_response.error_code = Status.NOT_FOUND
        response.error_response.error_message = f"nothing is known of {asked}"


class _Conversation:
    """One call: an answer for each request, in order."""

    def __init__(self, reflection: Reflection, call: Call, request: Any, response: Any) -> None:
        self._reflection = reflection
        self._call = call
        self._request = request
        self._response = response

    def ask(self) -> None:
        self._call.receive(self._take)

    def _take(self, message: bytes | None) -> None:
        if message is None:
            self._call.end()
            return
        try:
            request = self._request.FromString(message)
        except DecodeError:
            self._call.fail(Status.INVALID_ARGUMENT, "Unable to parse request")
            return
        response = self._response()
        self._reflection.answer(request, response)
        self._call.send(response.SerializeToString())
        self.ask()
