"""Small helps for handlers: their own failures, classes in a module, labels of a classifier, YAML files."""

import inspect
import itertools
import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from dragoman.compat.need import need

logger = logging.getLogger(__name__)


class PredictionException(Exception):
    """A handler's own failure: the client gets ``message`` with the HTTP status ``error_code``."""

    def __init__(self, message: str, error_code: int = 500) -> None:
        super().__init__(message)
        self.message, self.error_code = message, error_code

    def __str__(self) -> str:
        return f"{self.message} : {self.error_code}"


def list_classes_from_module(module: ModuleType, parent_class: type | None = None) -> list[type]:
    """The classes written in ``module`` (not those it imports), of them only ``parent_class``'s own if given."""
    return [
        value
        for _, value in inspect.getmembers(module, inspect.isclass)
        if value.__module__ == module.__name__ and (parent_class is None or issubclass(value, parent_class))
    ]


def load_label_mapping(mapping_file_path: str | Path) -> dict[str, str] | None:
    """Class numbers, as text, to labels from an ``index_to_name.json``; ``None`` when there is no such file.

    A label may be a list (WordNet's id and the name): its last member counts. Object detectors' files have
    the mapping under ``object_type_names``.
    """
    path = Path(mapping_file_path)
    if not path.is_file():
        logger.info("there is no %s: classes have no names", path.name)
        return None
    mapping = json.loads(path.read_text())
    if not isinstance(mapping, dict):
        raise TypeError(f"{path.name} must hold an object of class number to label")
    if isinstance(mapping.get("object_type_names"), dict):
        mapping = mapping["object_type_names"]
    labels = {str(key): value[-1] if isinstance(value, list) else value for key, value in mapping.items()}
    for key, label in labels.items():
        if not isinstance(label, str):
            raise TypeError(f"{path.name}: the label of {key} must be text or a list that ends with text")
    return labels


def map_class_to_label(
    probs: Sequence[Sequence[Any]],
    mapping: Mapping[str, str] | None = None,
    lbl_classes: Sequence[Sequence[Any]] | None = None,
) -> list[dict[str, Any]]:
    """For each row, label to value. ``lbl_classes`` has the rows' class numbers; without it they are 0, 1, 2…"""
    if not isinstance(probs, list):
        raise TypeError(f"expected a list of rows, got {type(probs).__name__}")
    if mapping is not None and not isinstance(mapping, dict):
        raise TypeError(f"expected a dict of labels, got {type(mapping).__name__}")
    rows = itertools.repeat(range(len(probs[0]) if probs else 0)) if lbl_classes is None else lbl_classes
    return [
        {
            (str(number) if mapping is None else mapping[str(number)]): value
            for number, value in zip(numbers, values, strict=False)
        }
        for numbers, values in zip(rows, probs, strict=False)
    ]


def get_yaml_config(yaml_file_path: str | Path) -> dict[str, Any]:
    """What a YAML file says; nothing when it is empty."""
    yaml = need("yaml", "a YAML configuration file", "PyYAML")
    config = yaml.safe_load(Path(yaml_file_path).read_text()) or {}
    if not isinstance(config, dict):
        raise TypeError(f"{Path(yaml_file_path).name} must hold a mapping")
    return config


def check_valid_pt2_backend(backend: str) -> bool:
    """Whether ``torch.compile`` knows this backend here."""
    known = need("torch", "torch.compile").compiler.list_backends(exclude_tags=())
    if backend not in known:
        logger.warning("torch.compile has no backend %r here; it has: %s", backend, ", ".join(known))
    return backend in known
