"""What turned out to be true, held against what was predicted: how many of a request's predictions were right. Pure."""

from dataclasses import dataclass
from typing import Any

from dragoman.errors import InvalidInput
from dragoman.monitoring.values import rows_of, whole


@dataclass(frozen=True, slots=True)
class Label:
    """``values`` has one for each row. ``output`` is the one that predicts it, the first where none is named. Numbers
    are right that are not farther away than ``within``; of several values in a row the greatest one's place counts,
    or its name in ``classes``."""

    values: tuple[Any, ...]
    output: str = ""
    within: float = 0.0
    classes: tuple[str, ...] = ()


def judge(label: Label, response: Any) -> int:
    """How many predictions of a kept answer were right. Raises InvalidInput where that can't be told."""
    tensor = _output(label.output, response)
    rows = rows_of(tensor)
    if len(rows) != len(label.values):
        raise InvalidInput(f"the answer has {len(rows)} rows, got {len(label.values)} labels")
    return sum(_is_right(row, value, label) for row, value in zip(rows, label.values, strict=True))


def _output(name: str, response: Any) -> dict[str, Any]:
    outputs = response.get("outputs") if isinstance(response, dict) else None
    if not outputs:
        raise InvalidInput(
            "what was predicted is no one answer of tensors, and can't be compared with a label"
        )
    known = {each["name"]: each for each in outputs}
    if name and name not in known:
        raise InvalidInput(f"the answer has no output {name!r:.100}, it has {', '.join(known)}")
    found: dict[str, Any] = known[name] if name else outputs[0]
    if not whole([found]):
        raise InvalidInput(
            f"output {found['name']!r} was cut short or redacted when it was kept, and can't be compared"
            " (settings monitoring.entry_bytes, monitoring.redact)"
        )
    return found


def _is_right(predicted: Any, true: Any, label: Label) -> bool:
    if isinstance(predicted, list) and not isinstance(true, list):
        if not all(isinstance(each, int | float) for each in predicted):
            raise InvalidInput("a row of several texts has no greatest one; name another output")
        place = max(range(len(predicted)), key=predicted.__getitem__)
        if isinstance(true, str):
            if not label.classes:
                raise InvalidInput("the model doesn't name its classes: label them with their numbers")
            return place < len(label.classes) and label.classes[place] == true
        return bool(place == true)
    if _is_number(predicted) and _is_number(true):
        return bool(abs(predicted - true) <= label.within)
    if isinstance(predicted, list) and isinstance(true, list) and len(predicted) == len(true):
        return all(_is_right(one, other, label) for one, other in zip(predicted, true, strict=True))
    return bool(predicted == true)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
