"""Is there what gRPC needs? Asked before anything of it is imported: an installation may do without."""

import importlib.util
import logging
from typing import Final

log = logging.getLogger("dragoman.transport")

#: Modules that the extra ``grpc`` brings.
_MODULES: Final = ("grpc", "google.protobuf")


def installed() -> bool:
    """Whether gRPC can be served; where not, the log says what to install."""
    missing = [name for name in _MODULES if not _is_there(name)]
    if missing:
        log.info("gRPC is not served: it needs pip install 'dragoman[grpc]'", extra={"missing": missing})
    return not missing


def _is_there(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # the package that it would be in
        return False
