"""A part of an answer, made and sent while the handler goes on. The server's side of the channel is a runtime's."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Part:
    """One item for each of some requests. ``code`` other than 200 says that the part is a failure."""

    items: Any
    request_ids: Mapping[int, str]
    message: str
    code: int


def create_predict_response(
    ret: Any,
    req_id_map: Mapping[int, str],
    message: str,
    code: int,
    context: Any = None,
    ts_stream_next: bool = False,
) -> Part:
    """A part for ``context.cl_socket.sendall``: ``ret[idx]`` is the item of the request ``req_id_map[idx]``."""
    return Part(ret, dict(req_id_map), message, code)


def send_intermediate_predict_response(
    ret: Any, req_id_map: Mapping[int, str], message: str, code: int, context: Any = None
) -> None:
    """Send these items to their clients at once; what the handler returns in the end is the answers' last part.

    Where one model runs in several processes only the first (``LOCAL_RANK`` 0) speaks.
    """
    if int(os.environ.get("LOCAL_RANK", "0")) != 0:
        return
    if context is None or context.cl_socket is None:
        raise RuntimeError("a part of an answer can only be sent while a request is handled")
    context.cl_socket.sendall(create_predict_response(ret, req_id_map, message, code, context, True))
