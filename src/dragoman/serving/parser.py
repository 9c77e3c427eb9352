"""The command line of a program that is a server: KServe's flags, for ``argparse.ArgumentParser(parents=[parser])``.

Read when this module is imported, as in KServe: what it leaves alone is the program's own.
"""

import argparse
import os
from collections.abc import Mapping
from typing import Final

#: KServe listens everywhere, for a pod is asked from outside; a laptop need not be.
HOST: Final = "0.0.0.0" if "KUBERNETES_SERVICE_HOST" in os.environ else "127.0.0.1"

_YES: Final = ("y", "yes", "t", "true", "on", "1")
_NO: Final = ("n", "no", "f", "false", "off", "0")


def read_bool(text: str) -> bool:
    """``true`` or ``false``, in one of the ways in which people write them."""
    if text.lower() in _YES:
        return True
    if text.lower() in _NO:
        return False
    raise argparse.ArgumentTypeError(f"expected true or false, got {text!r}")


def openai_route_prefix(environ: Mapping[str, str] = os.environ) -> str:
    """KServe's variable for where OpenAI's API is: ``/openai`` unless somebody sets it; empty is none."""
    prefix = environ.get("KSERVE_OPENAI_ROUTE_PREFIX", "/openai").strip("/")
    return f"/{prefix}" if prefix else ""


def make_parser() -> argparse.ArgumentParser:
    """KServe 0.21's flags and defaults, and ``--host``, which is ours."""
    parser = argparse.ArgumentParser(add_help=False)
    add = parser.add_argument
    add("--host", default=HOST, help="address to listen on: all in a pod of Kubernetes, else loopback")
    add("--http_port", default=8080, type=int, help="port for REST")
    add("--grpc_port", default=8081, type=int, help="port for gRPC")
    add("--workers", default=1, type=int, help="processes that serve one port together")
    add("--max_threads", default=4, type=int, help="accepted: gRPC calls need no threads here")
    add(
        "--max_asyncio_workers",
        default=None,
        type=int,
        help="threads for what the program itself runs on some",
    )
    add("--enable_grpc", default=True, type=read_bool, help="whether gRPC is served")
    add("--enable_docs_url", default=False, type=read_bool, help="whether /docs describes the server")
    add("--enable_latency_logging", default=True, type=read_bool, help="a line of times for each request")
    add("--configure_logging", default=True, type=read_bool, help="whether logging is configured")
    add("--log_config_file", default=None, help="logging's configuration: JSON, YAML or INI")
    add("--access_log_format", default=None, help="a format for lines about requests; turns them on")
    add("--event-loop", dest="event_loop", default="auto", help="auto, asyncio or uvloop")
    add("--timeout-keep-alive", dest="timeout_keep_alive", default=65, type=int, help="seconds")
    add("--model_name", default="model", help="what the model is called")
    add("--predictor_host", default=None, help="where predictions are made, for a transformer")
    # Two names of one thing; the older one goes away.
    add("--protocol", default="v1", choices=("v1", "v2", "grpc-v2"), help="as --predictor_protocol")
    add(
        "--predictor_protocol", default="v1", choices=("v1", "v2", "grpc-v2"), help="the predictor's protocol"
    )
    add("--predictor_use_ssl", default=False, type=read_bool, help="whether the predictor is asked over TLS")
    add("--predictor_request_timeout_seconds", default=600, type=int, help="how long the predictor may take")
    add("--predictor_request_retries", default=0, type=int, help="how often the predictor is asked again")
    add(
        "--enable_predictor_health_check",
        action="store_true",
        help="not ready while the predictor isn't",
    )
    add("--grpc_max_send_message_length", default=8388608, type=int, help="bytes of a gRPC message")
    add("--grpc_max_receive_message_length", default=8388608, type=int, help="bytes of a gRPC message")
    add("--ssl_certfile", default=os.environ.get("KSERVE_TLS_CERT_FILE"), help="certificate for TLS")
    add("--ssl_keyfile", default=os.environ.get("KSERVE_TLS_KEY_FILE"), help="key for TLS")
    return parser
