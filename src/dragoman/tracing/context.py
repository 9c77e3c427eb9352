"""W3C's ``traceparent``: who asks on behalf of what. Pure."""

import re
from dataclasses import dataclass
from typing import Final

# https://www.w3.org/TR/trace-context/#traceparent-header: a later version may have more fields.
_FORM: Final = re.compile(r"(?!ff)([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_SAMPLED: Final = 1


@dataclass(frozen=True, slots=True)
class Parent:
    """The span of whoever asks; ``sampled`` says that it is traced."""

    trace: int
    span: int
    sampled: bool


def parse(header: str | None) -> Parent | None:
    """``None`` where there is none, or one that can't be read: a new trace begins then."""
    match = _FORM.fullmatch(header or "")
    if match is None or (match[1] == "00" and match[5]):
        return None
    trace, span = int(match[2], 16), int(match[3], 16)
    return Parent(trace, span, bool(int(match[4], 16) & _SAMPLED)) if trace and span else None


def write(trace: int, span: int) -> str:
    """The header of a traced request."""
    return f"00-{trace:032x}-{span:016x}-01"
