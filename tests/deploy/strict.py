"""Checks Kubernetes' documents against the models of its and KServe's own Python clients, and takes nothing unknown."""

import re
from collections.abc import Iterator
from typing import Any

import kserve.models
import kubernetes.client.models

#: Where a quantity, a number or a name of a port may stand.
_FREE = {"object", "dict(str, object)"}
_PLAIN = {"str": str, "bool": bool, "int": int, "float": float}


def problems(document: Any, kind: str, where: str = "") -> Iterator[str]:
    """Everything that the type of this name doesn't allow, with its place."""
    if kind in _FREE:
        return
    if kind in _PLAIN:
        if not isinstance(document, _PLAIN[kind]) or (kind == "int" and isinstance(document, bool)):
            yield f"{where}: {document!r} is no {kind}"
        return
    container = list if kind.startswith("list[") else dict
    if not isinstance(document, container) and (container is list or kind.startswith("dict(")):
        yield f"{where}: {document!r} is no {kind}"
        return
    if found := re.fullmatch(r"list\[(.+)\]", kind):
        for place, item in enumerate(document):
            yield from problems(item, found[1], f"{where}[{place}]")
        return
    if found := re.fullmatch(r"dict\(str, (.+)\)", kind):
        for key, item in document.items():
            yield from problems(item, found[1], f"{where}.{key}")
        return
    yield from _problems_of_object(document, kind, where)


def _problems_of_object(document: Any, kind: str, where: str) -> Iterator[str]:
    model = _model(kind)
    if model is None:  # resource.Quantity and its like: text or number
        return
    if not isinstance(document, dict):
        yield f"{where}: {document!r} is no {kind}"
        return
    names = {written: name for name, written in model.attribute_map.items()}
    for key, value in document.items():
        if key not in names:
            yield f"{where}: {kind} has no {key!r}"
        else:
            yield from problems(value, model.openapi_types[names[key]], f"{where}.{key}")
    # A container of a model has its name from KServe.
    given = {names[key]: value for key, value in document.items() if key in names}
    try:
        model(**given)
    except ValueError as error:
        if "must not be `None`" in str(error) and not (kind == "V1Container" and "`name`" in str(error)):
            yield f"{where}: {error}"


def _model(kind: str) -> Any:
    for module in (kserve.models, kubernetes.client.models):
        found = getattr(module, kind, None)
        if found is not None and hasattr(found, "openapi_types"):
            return found
    return None


def check(document: dict[str, Any], kind: str) -> None:
    """Fail with all problems of a document."""
    found = list(problems(document, kind, document["kind"]))
    assert not found, "\n".join(found)
