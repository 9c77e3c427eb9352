"""What a service tells of itself: whose it is, which run made its model, which paths it has. Knows no request."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from inspect import getdoc
from pathlib import Path
from typing import Any, Final

from dragoman.errors import ConfigError
from dragoman.runtimes.service import openapi
from dragoman.runtimes.service.endpoints import Endpoint
from dragoman.services import Functions, ServiceOptions

#: Beside the model, or in the folder above it: which training run made it.
RUN_ID: Final = "run_id.txt"


def complete(options: ServiceOptions, service: Any, name: str) -> ServiceOptions:
    """Title and description from the class, where they were not said."""
    functions = isinstance(service, Functions)
    words = "" if functions else (getdoc(service) or "")
    title = options.title or (name if functions else service.__name__)
    return replace(options, title=title, description=options.description or words)


def find_run(shown: Any, folder: Path | None) -> str:
    """The run's id: what the service shows as ``run_id``, else the file's content; empty where nobody says."""
    if shown is not None:
        return str(shown() if callable(shown) else shown)
    for place in () if folder is None else (folder, folder.parent):
        if (place / RUN_ID).is_file():
            return (place / RUN_ID).read_text("utf-8").strip()
    return ""


def describe(options: ServiceOptions, endpoints: Sequence[Endpoint], run: str) -> Mapping[str, Any]:
    """What the server has to know to put the service on its port."""
    try:
        document = openapi.describe(options, endpoints) if options.docs else None
    except (TypeError, ValueError) as error:
        raise ConfigError(f"the service can't be described: {error}") from error
    return {
        "kind": "service",
        "title": options.title,
        "path": options.path,
        "envelope": options.envelope,
        "run": run,
        "endpoints": [
            {"name": each.name, "method": each.options.method, "path": each.path} for each in endpoints
        ],
        "openapi": document,
    }
