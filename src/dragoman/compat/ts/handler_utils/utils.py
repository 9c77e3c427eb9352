"""Sending a part of an answer, and finding a class by its name."""

import importlib
from typing import Any

from dragoman.compat.ts.protocol.otf_message_handler import (
    create_predict_response,
    send_intermediate_predict_response,
)

__all__ = ["create_predict_response", "import_class", "send_intermediate_predict_response"]


def import_class(class_name: str, module_prefix: str | None = None) -> type[Any]:
    """The class ``package.module.Class``; ``module_prefix`` is put before a name that isn't found alone."""
    module_name, _, name = class_name.rpartition(".")
    try:
        module = importlib.import_module(module_name)
    except (ImportError, ValueError):
        if module_prefix is None:
            raise
        module = importlib.import_module(f"{module_prefix}.{module_name}".rstrip("."))
    found: type[Any] = getattr(module, name)
    return found
