"""Imports a library that a surface needs and Dragoman doesn't: says which package is missing, and for whom."""

import importlib
from typing import Any


def need(module: str, whose: str, package: str = "") -> Any:
    """The module, typed loosely: its library need not be there where types are checked."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        top = module.partition(".")[0]
        if (error.name or "").partition(".")[0] != top:
            raise
        text = f"{whose} needs the Python package {package or top!r}, which is not installed"
        raise ImportError(text, name=module) from error
