"""The envelope ``kserve``: ``{"instances": [...]}`` in, ``predictions`` or ``explanations`` out."""

import json
from typing import Any

from dragoman.compat.ts.torch_handler.request_envelope.base import Instances, body_of


class KServeEnvelope(Instances):
    """Each instance is a row of the handler's."""

    def parse_input(self, data: Any) -> Any:
        return self.join([self._rows(body_of(row)) for row in data])

    def format_output(self, data: Any) -> Any:
        explains = self.context.get_request_header(0, "explain") == "True"
        return [{"explanations" if explains else "predictions": part} for part in self.divide(data)]

    def _rows(self, body: Any) -> list[Any]:
        if isinstance(body, str | bytes | bytearray):
            body = json.loads(body)
        rows = body["instances"]
        if not isinstance(rows, list):
            raise TypeError("instances must be a list")
        return rows
