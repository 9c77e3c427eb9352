"""The envelope ``json``: ``{"instances": [...]}`` as TensorFlow Serving has it, ``{"b64": ...}`` decoded."""

import json
from base64 import b64decode
from typing import Any

from dragoman.compat.ts.torch_handler.request_envelope.base import Instances, body_of


class JSONEnvelope(Instances):
    """Instances in, ``{"predictions": [...]}`` out, as JSON text."""

    def parse_input(self, data: Any) -> Any:
        return self.join([self._rows(body_of(row) or row) for row in data])

    def format_output(self, data: Any) -> Any:
        return [json.dumps({"predictions": part}) for part in self.divide(data)]

    def _rows(self, body: Any) -> list[Any]:
        if isinstance(body, str | bytes | bytearray):
            body = json.loads(body)
        return [self._plain(row) for row in body["instances"]]

    def _plain(self, row: Any) -> Any:
        if not isinstance(row, dict):
            return row
        if row.keys() == {"b64"}:
            return b64decode(row["b64"])
        return {name: self._plain(value) for name, value in row.items()}
