"""What a handler knows of its model and of the requests it is given. Knows no wire and no library."""

import os
from collections.abc import Callable
from typing import Any


class RequestProcessor:
    """One request's headers, and the status and headers that the handler wants for its answer."""

    def __init__(self, request_header: dict[str, Any]) -> None:
        self._request_header = request_header
        self._response_header: dict[str, str] = {}
        self._status_code, self._reason_phrase = 200, ""

    def get_request_property(self, key: str) -> Any:
        return self._request_header.get(key)

    def get_request_properties(self) -> dict[str, Any]:
        return self._request_header

    def report_status(self, code: int, reason_phrase: str | None = None) -> None:
        self._status_code, self._reason_phrase = code, reason_phrase or ""

    def get_response_status_code(self) -> int:
        return self._status_code

    def get_response_status_phrase(self) -> str:
        return self._reason_phrase

    def add_response_property(self, key: str, value: str) -> None:
        self._response_header[key] = value

    def get_response_headers(self) -> dict[str, str]:
        return self._response_header

    def get_response_header(self, key: str) -> str | None:
        return self._response_header.get(key)


class Channel:
    """Stands where a handler expects the server's socket: takes the parts that ``create_predict_response`` made."""

    def __init__(self, take: Callable[[Any], None]) -> None:
        self._take = take

    def sendall(self, part: Any) -> None:
        self._take(part)

    send = sendall


class Context:
    """One per loaded model: its facts stay, the requests' part is new for every call of the handler.

    ``idx`` is a request's place in the batch. A handler may keep the context and set attributes of its own.
    """

    def __init__(
        self,
        model_name: str,
        model_dir: str,
        manifest: dict[str, Any],
        batch_size: int,
        gpu: int | None,
        mms_version: str,
        limit_max_image_pixels: bool = True,
        metrics: Any = None,
        model_yaml_config: dict[str, Any] | None = None,
    ) -> None:
        self.model_name = model_name
        self.manifest = manifest
        self.system_properties: dict[str, Any] = {
            "model_dir": model_dir,
            "gpu_id": gpu,
            "batch_size": batch_size,
            "server_name": "MMS",
            "server_version": mms_version,
            "limit_max_image_pixels": limit_max_image_pixels,
        }
        self.model_yaml_config: dict[str, Any] = {} if model_yaml_config is None else model_yaml_config
        self.metrics = metrics
        self.request_ids: dict[int, str] | None = None
        self.request_processor: list[RequestProcessor] = []
        self.cl_socket: Channel | None = None
        #: Continuous batching: for each request, a function of its latest output that is true when it is done.
        self.stopping_criteria: Any = None
        self.header_key_sequence_id = os.environ.get("TS_REQUEST_SEQUENCE_ID", "ts_request_sequence_id")
        self.header_key_sequence_start = os.environ.get(
            "TS_REQUEST_SEQUENCE_START", "ts_request_sequence_start"
        )
        self.header_key_sequence_end = os.environ.get("TS_REQUEST_SEQUENCE_END", "ts_request_sequence_end")

    @property
    def _system_properties(self) -> dict[str, Any]:
        return self.system_properties  # handlers of old look here

    @property
    def _request_processor(self) -> list[RequestProcessor]:
        return self.request_processor  # and here

    def get_request_id(self, idx: int = 0) -> str | None:
        return None if self.request_ids is None else self.request_ids.get(idx)

    def get_request_header(self, idx: int, key: str) -> Any:
        """The header called exactly ``key``: case counts. ``None`` when the request has none."""
        return self.request_processor[idx].get_request_property(key)

    def get_all_request_header(self, idx: int) -> dict[str, Any]:
        return self.request_processor[idx].get_request_properties()

    def get_sequence_id(self, idx: int = 0) -> str | None:
        found: str | None = self.get_request_header(idx, self.header_key_sequence_id)
        return found

    def is_sequence_start(self, idx: int = 0) -> bool:
        return _is_true(self.get_request_header(idx, self.header_key_sequence_start))

    def is_sequence_end(self, idx: int = 0) -> bool:
        return _is_true(self.get_request_header(idx, self.header_key_sequence_end))

    def set_response_header(self, idx: int, key: str, value: str) -> None:
        self.request_processor[idx].add_response_property(key, value)

    def get_response_headers(self, idx: int) -> dict[str, str]:
        return self.request_processor[idx].get_response_headers()

    def set_response_content_type(self, idx: int, value: str) -> None:
        self.set_response_header(idx, "content-type", value)

    def get_response_content_type(self, idx: int) -> str | None:
        return self.get_response_headers(idx).get("content-type")

    def set_response_status(self, code: int = 200, phrase: str = "", idx: int = 0) -> None:
        if idx < len(self.request_processor):  # there are none while the model loads
            self.request_processor[idx].report_status(code, phrase)

    def set_all_response_status(self, code: int = 200, phrase: str = "") -> None:
        for processor in self.request_processor:
            processor.report_status(code, phrase)

    def get_response_status(self, idx: int) -> tuple[int, str]:
        processor = self.request_processor[idx]
        return processor.get_response_status_code(), processor.get_response_status_phrase()


def _is_true(value: Any) -> bool:
    return str(value).lower() == "true"
