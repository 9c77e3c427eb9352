"""The envelope ``body``: the handler gets what was sent, without the dict around it."""

from typing import Any

from dragoman.compat.ts.torch_handler.request_envelope.base import BaseEnvelope, body_of


class BodyEnvelope(BaseEnvelope):
    """Each request's ``data`` or ``body``."""

    def parse_input(self, data: Any) -> Any:
        return [body_of(row) for row in data]

    def format_output(self, data: Any) -> Any:
        return data
