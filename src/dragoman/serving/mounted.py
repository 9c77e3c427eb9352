"""What KServe's runtime containers do: serve what lies in a folder, under the name of the InferenceService.

KServe has put the model there before the container starts, a file or a folder's content. Reads names, and no model.
"""

import argparse
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from dragoman.config import LimitSettings, ModelSettings
from dragoman.errors import ConfigError
from dragoman.repository.layouts import Guess, read
from dragoman.repository.spec import ModelSource, Problem
from dragoman.serving.parser import make_parser

#: Where KServe mounts models.
MOUNT: Final = "/mnt/models"
#: Where TorchServe's layout has the archives, below the mount.
MODEL_STORE: Final = "model-store"
#: Where an operator says otherwise who may.
_AUTH: Final = "DRAGOMAN_AUTH__MODE"
#: Flags that are for programs with models of their own, for transformers, or for another server's threads.
SILENT: Final = (
    "max_threads",
    "max_asyncio_workers",
    "enable_docs_url",
    "enable_latency_logging",
    "configure_logging",
    "log_config_file",
    "event_loop",
    "predictor_host",
    "protocol",
    "predictor_protocol",
    "predictor_use_ssl",
    "predictor_request_timeout_seconds",
    "predictor_request_retries",
    "enable_predictor_health_check",
)


def make_mounted_parser() -> argparse.ArgumentParser:
    """The flags of KServe's model servers, with ``--model_dir``."""
    parser = argparse.ArgumentParser(
        prog="dragoman kserve",
        parents=[make_parser()],
        description="Serve the model in a folder as KServe's runtimes do.",
        epilog="See docs/kubernetes.md.",
    )
    parser.add_argument("--model_dir", default=MOUNT, help="folder or file of the model")
    return parser


def flags_of(given: argparse.Namespace) -> dict[str, Any]:
    """What the flags say, by the settings' own names."""
    longest = max(given.grpc_max_send_message_length, given.grpc_max_receive_message_length)
    said = {
        "server.host": given.host,
        "server.port": given.http_port,
        "server.grpc": given.enable_grpc,
        "server.grpc_port": given.grpc_port,
        "server.processes": given.workers,
        "server.tls_cert": given.ssl_certfile,
        "server.tls_key": given.ssl_keyfile,
        "limits.idle_timeout": given.timeout_keep_alive,
        "limits.body_bytes": longest if longest > LimitSettings().body_bytes else None,
        "log.access": bool(given.access_log_format) or None,
        # As with KServe, whatever is in front of the server asks who may.
        "auth.mode": None if _AUTH in os.environ else "off",
    }
    return {name: _written(value) for name, value in said.items()}


def _written(value: Any) -> str | None:
    """As on a command line."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return None if value is None else str(value)


def find_target(name: str, place: str, guess: Guess) -> str:
    """What to serve of ``place``: the one model in it, called ``name``, or a repository, whose models have their own
    names. Raises ConfigError where nothing is there."""
    folder = Path(place)
    if not folder.exists():
        raise ConfigError(
            f"there is no model: {place} does not exist",
            hint="KServe's storage initializer fills it; --model_dir names another place",
        )
    if (folder / MODEL_STORE).is_dir():
        return str(folder / MODEL_STORE)
    found = read(place, ModelSettings(), guess)
    if len({entry.name for entry in found}) == 1 and not any(_has_a_folder(entry, folder) for entry in found):
        return f"{name}={place}"
    return place


def _has_a_folder(entry: ModelSource | Problem, mount: Path) -> bool:
    """Whether it lies in a folder of its own below the mount, which is its name then."""
    return entry.folder is not None and entry.folder != mount.absolute()


def explain(given: Mapping[str, Any]) -> list[str]:
    """A line for each flag that is accepted and has no meaning here."""
    defaults = vars(make_parser().parse_args([]))
    return [f"--{name} has no meaning here" for name in SILENT if given[name] != defaults[name]]
