"""From what an operator wrote to a setting's value, or the sentence that says what was expected.

Pure: knows no file and no environment, only that a text may have to stand for a number.
"""

import math
import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, Final

from dragoman.config.description import Setting
from dragoman.errors import ConfigError

BYTES: Final = {
    "": 1,
    "B": 1,
    "kB": 10**3,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
    "TiB": 2**40,
}
SECONDS: Final = {
    "": Decimal(1),
    "us": Decimal("1e-6"),
    "ms": Decimal("1e-3"),
    "s": Decimal(1),
    "m": Decimal(60),
    "h": Decimal(3600),
    "d": Decimal(86_400),
}
WORDS: Final = {
    "true": True,
    "yes": True,
    "on": True,
    "1": True,
    "false": False,
    "no": False,
    "off": False,
    "0": False,
}
QUANTITY: Final = re.compile(r"([0-9]{1,30}(?:\.[0-9]{1,30})?(?:e[+-]?[0-9]{1,3})?) ?([A-Za-z]*)")
#: Whole numbers stay within what every format and counter can hold.
LARGEST: Final = 2**63 - 1

EXPECTED: Final = {
    "boolean": "true or false",
    "boolean or unset": "true or false",
    "integer": "a whole number",
    "integer or unset": "a whole number",
    "number": "a number",
    "string": "a text",
    "size": 'a number of bytes or a text such as "64MiB"',
    "duration": 'a number of seconds or a text such as "500ms"',
    "list of integers": "a list of whole numbers",
    "list of strings": "a list of texts",
}


def convert(setting: Setting, raw: Any, where: str, *, text: bool = False) -> Any:
    """The value of ``setting`` that ``raw`` stands for; raises ConfigError naming ``where`` it came from.

    ``text`` says that ``raw`` could only be written as a text (the environment), so that "8080" is a number.
    """
    try:
        value = READERS[setting.type](raw, text)
        _check(setting, value)
    except (ValueError, TypeError, OverflowError):
        shown = repr(raw) if len(repr(raw)) <= 80 else repr(raw)[:77] + "..."
        shown = "something else" if setting.secret else shown
        raise ConfigError(f"{setting.name} must be {expected(setting)}, got {shown} ({where})") from None
    return value


def duration(text: str) -> float:
    """Seconds, of a text such as "90d" or "500ms". Raises ValueError."""
    return _duration(text, True)


def expected(setting: Setting) -> str:
    """What the setting takes, for people: "a whole number from 0 to 65535"."""
    if setting.choices:
        return "one of " + ", ".join(repr(choice) for choice in setting.choices)
    words = EXPECTED[setting.type]
    if setting.least is not None and setting.most is not None:
        return f"{words} from {setting.least:g} to {setting.most:.15g}"
    if setting.least is not None:
        return f"{words}, at least {setting.least:g}"
    return words


def _check(setting: Setting, value: Any) -> None:
    if value is None:
        return
    for item in value if isinstance(value, tuple) else (value,):
        if setting.choices and item not in setting.choices:
            raise ValueError
        if setting.least is not None and item < setting.least:
            raise ValueError
        if setting.most is not None and item > setting.most:
            raise ValueError


def _boolean(raw: Any, text: bool) -> bool:
    if isinstance(raw, bool):
        return raw
    if text and isinstance(raw, str) and raw.lower() in WORDS:
        return WORDS[raw.lower()]
    raise ValueError


def _integer(raw: Any, text: bool) -> int:
    if text and isinstance(raw, str) and re.fullmatch(r"-?[0-9]{1,19}", raw):
        raw = int(raw)
    if isinstance(raw, bool) or not isinstance(raw, int) or abs(raw) > LARGEST:
        raise ValueError
    return raw


def _number(raw: Any, text: bool) -> float:
    if text and isinstance(raw, str):
        raw = float(raw)
    if isinstance(raw, bool) or not isinstance(raw, int | float) or not math.isfinite(raw):
        raise ValueError
    return float(raw)


def _string(raw: Any, text: bool) -> str:
    if not isinstance(raw, str) or "\0" in raw:
        raise ValueError
    return raw


def _size(raw: Any, text: bool) -> int:
    if not isinstance(raw, str):
        return _integer(raw, text)
    size = _quantity(raw, BYTES)
    if size != size.to_integral_value() or size > LARGEST:
        raise ValueError
    return int(size)


def _duration(raw: Any, text: bool) -> float:
    if not isinstance(raw, str):
        return _number(raw, text)
    return _number(float(_quantity(raw, SECONDS)), text)


def _quantity(raw: str, units: Mapping[str, int | Decimal]) -> Decimal:
    match = QUANTITY.fullmatch(raw.strip())
    if match is None or match[2] not in units:
        raise ValueError
    return Decimal(match[1]) * units[match[2]]


def _integers(raw: Any, text: bool) -> tuple[int, ...]:
    return tuple(_integer(item, text) for item in _items(raw, text))


def _strings(raw: Any, text: bool) -> tuple[str, ...]:
    return tuple(_string(item, text) for item in _items(raw, text))


def _items(raw: Any, text: bool) -> list[Any]:
    if text and isinstance(raw, str):
        return [item.strip() for item in raw.split(",")] if raw.strip() else []
    if not isinstance(raw, list | tuple):
        raise ValueError
    return list(raw)


def _optional(read: Callable[[Any, bool], Any]) -> Callable[[Any, bool], Any]:
    return lambda raw, text: None if text and raw == "" else read(raw, text)


READERS: Final[dict[str, Callable[[Any, bool], Any]]] = {
    "boolean": _boolean,
    "boolean or unset": _optional(_boolean),
    "integer": _integer,
    "integer or unset": _optional(_integer),
    "number": _number,
    "string": _string,
    "size": _size,
    "duration": _duration,
    "list of integers": _integers,
    "list of strings": _strings,
}
