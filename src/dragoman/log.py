"""Log lines with fields, on the standard library's ``logging``: short for people, JSON for programs.

Whatever logs through ``logging`` comes out the same, with the fields of its ``extra=``. Knows no request and
no model.

::

    14:02:11.038 info    model ready  model=iris version=1 seconds=0.012
    {"time": "2026-01-31T13:02:11.038Z", "level": "info", "event": "model ready", ...}
"""

import atexit
import json
import logging
import math
import os
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from enum import Enum
from functools import lru_cache
from itertools import islice
from json.encoder import encode_basestring_ascii
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, Final, TextIO

from dragoman.config import LogSettings

if TYPE_CHECKING:
    import asyncio

COLOURS: Final = {"debug": "2", "info": "32", "warning": "33", "error": "31", "critical": "1;31"}
#: What every record has: the rest came by ``extra=``.
STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
#: How many attributes a record has that brings no fields.
_USUAL: Final = len(vars(logging.makeLogRecord({})))
_A_MOMENT: Final = 0.1  # seconds
DEPTH: Final = 6  # levels of lists and tables that a field may show
ITEMS: Final = 100  # items of each of them
LENGTH: Final = 10_000  # characters of a text

_access = logging.getLogger("dragoman.access")


def configure(
    settings: LogSettings, stream: TextIO | None = None, environ: Mapping[str, str] = os.environ
) -> None:
    """Send every logger's lines to ``stream`` (standard error), in the place of what an earlier call set up.

    Handlers that others put on the root logger stay. ``environ`` is asked for ``NO_COLOR`` and ``TERM``.
    """
    stream = stream or sys.stderr
    terminal = stream.isatty()
    people = settings.format == "console" or (settings.format == "auto" and terminal)
    plain = not terminal or bool(environ.get("NO_COLOR")) or environ.get("TERM") == "dumb"
    handler = _Handler(stream)
    handler.setFormatter(ConsoleFormatter(colour=not plain) if people else JsonFormatter())
    root = logging.getLogger()
    for earlier in [each for each in root.handlers if isinstance(each, _Handler)]:
        root.removeHandler(earlier)
    root.addHandler(handler)
    root.setLevel(settings.level.upper())
    logging.captureWarnings(True)
    _access.disabled = not settings.access
    _access.setLevel(logging.INFO)  # asked for by its own switch, whatever the level of the others


def access(method: str, path: str, status: int, seconds: float, bytes_in: int, bytes_out: int) -> None:
    """One line for a request, if the operator wants them. ``path`` is the client's word, and escaped."""
    if not _access.isEnabledFor(logging.INFO):
        return
    fields = {
        "method": escape(method),
        "path": escape(path),
        "status": status,
        "seconds": round(seconds, 6),
        "bytes_in": bytes_in,
        "bytes_out": bytes_out,
    }
    _access.info("request", extra=fields)


class Trickle:
    """Lines that come with every request, without fields: written together a moment later, which is what they cost.

    Where somebody else listens to the logger, too, each line goes its usual way.
    """

    def __init__(self, logger: logging.Logger, level: int = logging.INFO) -> None:
        self._logger = logger
        self._level = level
        self._waiting: list[tuple[float, str, tuple[Any, ...]]] = []
        atexit.register(self.flush)

    def write(
        self, text: str, *values: Any, loop: "Callable[[], asyncio.AbstractEventLoop] | None" = None
    ) -> None:
        """Write a line, if anybody wants it: ``text % values``. ``loop`` tells the running event loop, if it is asked;
        without one the line is written at once."""
        if not self._logger.isEnabledFor(self._level):
            return
        self._waiting.append((time.time(), text, values))
        if len(self._waiting) > 1:
            return
        if loop is None or _only_handler(self._logger) is None:
            self.flush()
        else:
            loop().call_later(_A_MOMENT, self.flush)

    def flush(self) -> None:
        """Write what waits."""
        waiting, self._waiting = self._waiting, []
        handler = _only_handler(self._logger)
        if handler is not None and isinstance(handler.formatter, JsonFormatter):
            name, level = self._logger.name, logging.getLevelName(self._level).lower()
            handler.put("".join([_json_line(at, level, text, values, name) for at, text, values in waiting]))
            return
        for at, text, values in waiting:
            record = self._logger.makeRecord(self._logger.name, self._level, __file__, 0, text, values, None)
            record.created, record.msecs = at, at * 1000 % 1000
            self._logger.handle(record)


def _only_handler(logger: logging.Logger) -> "_Handler | None":
    """Ours, if no other gets the logger's lines."""
    found: list[logging.Handler] = []
    at: logging.Logger | None = logger
    while at is not None:
        found += at.handlers
        at = at.parent if at.propagate else None
    only = found[0] if len(found) == 1 and not logger.filters else None
    return only if isinstance(only, _Handler) else None


def _json_line(at: float, level: str, text: str, values: tuple[Any, ...], name: str) -> str:
    """What ``JsonFormatter`` makes of a record without fields."""
    template = _template(level, text if values else text.replace("%", "%%"), name)
    said = [encode_basestring_ascii(_short(each))[1:-1] if type(each) is str else each for each in values]
    return template % (_second(int(at)), int(at * 1000) % 1000, *said)


@lru_cache(maxsize=64)
def _template(level: str, text: str, name: str) -> str:
    event = encode_basestring_ascii(_short(text.rstrip()))
    return f'{{"time": "%s.%03dZ", "level": "{level}", "event": {event}, "logger": "{name}"}}\n'


def escape(text: str) -> str:
    """The text with every control, direction and other unseen character as ``\\x1b`` or ``\\u202e``."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


class JsonFormatter(logging.Formatter):
    """One JSON object: time, level, event, logger, the fields, and a traceback as ``exception``."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": f"{_second(int(record.created))}.{_millis(record):03}Z",
            "level": record.levelname.lower(),
            "event": _event(record),
            "logger": record.name,
        }
        if len(vars(record)) > _USUAL:
            for key, value in _fields(record).items():
                line[f"{key}_" if key in line or key == "exception" else key] = _plain(value)
        if trace := _exception(self, record):
            line["exception"] = trace
        return json.dumps(line)


class ConsoleFormatter(logging.Formatter):
    """Local time, level, event, ``key=value``; a traceback below."""

    def __init__(self, colour: bool) -> None:
        super().__init__()
        self._colour = colour

    def format(self, record: logging.LogRecord) -> str:
        level = record.levelname.lower()
        clock = time.strftime("%H:%M:%S", time.localtime(record.created)) + f".{_millis(record):03}"
        fields = " ".join(
            f"{self._paint('2', escape(key) + '=')}{_shown(value)}" for key, value in _fields(record).items()
        )
        line = f"{self._paint('2', clock)} {self._paint(COLOURS.get(level, '1'), f'{level:<7}')} "
        line += escape(_event(record)) + (f"  {fields}" if fields else "")
        trace = _exception(self, record)
        return "\n  ".join([line, *map(escape, trace.splitlines())])

    def _paint(self, code: str, text: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._colour else text


class _Handler(logging.StreamHandler[TextIO]):
    """Known by its class, so that a second ``configure`` finds the first one's handler."""

    def put(self, lines: str) -> None:
        """Write lines that are formatted already; nothing to a stream that somebody has closed."""
        if self.stream.closed:
            return
        with self.lock or nullcontext():
            try:
                self.stream.write(lines)
                self.flush()
            except Exception:  # as ``emit`` does: a full disk must not stop the server
                self.handleError(logging.makeLogRecord({}))


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    return {str(key): value for key, value in vars(record).items() if key not in STANDARD}


def _event(record: logging.LogRecord) -> str:
    try:
        return _short(record.getMessage().rstrip())
    except Exception:  # the caller's "%d" and arguments don't fit, or an argument can't be shown
        return f"{_plain(record.msg)} {_plain(record.args)}"


def _exception(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    """The traceback and the stack of the record; empty when it has none."""
    try:
        trace = (
            formatter.formatException(record.exc_info)
            if record.exc_info and record.exc_info[0]
            else record.exc_text or ""
        )
        return "\n".join(part for part in (trace, record.stack_info) if part)
    except Exception as error:  # an exception that can't even be shown
        return f"{type(error).__name__} while the traceback was written"


@lru_cache(maxsize=1)
def _second(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))


def _millis(record: logging.LogRecord) -> int:
    return int(record.created * 1000) % 1000


def _plain(value: Any) -> Any:
    """What JSON can say of the value: never raises, never endless, always valid."""
    try:
        return _reduce(value, DEPTH)
    except Exception:  # whatever a stranger's class does when it is asked to show itself
        return f"<{type(value).__name__}>"


def _reduce(value: Any, depth: int) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, Enum):
        return _plain(value.value)
    if isinstance(value, Integral) and abs(int(value)) < 2**64:
        return int(value)
    if isinstance(value, Real) and math.isfinite(value):
        return float(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return _short(repr(bytes(value[:LENGTH])))
    if depth and isinstance(value, dict):
        return {_short(str(key)): _reduce(item, depth - 1) for key, item in islice(value.items(), ITEMS)}
    if depth and isinstance(value, list | tuple | set | frozenset):
        return [_reduce(item, depth - 1) for item in islice(value, ITEMS)]
    return _short(str(value))


def _short(text: str) -> str:
    return text if len(text) <= LENGTH else text[:LENGTH] + "..."


def _shown(value: Any) -> str:
    plain = _plain(value)
    text = plain if isinstance(plain, str) else json.dumps(plain, ensure_ascii=False)
    if isinstance(plain, str) and (not text or any(c in ' "=' or c.isspace() for c in text)):
        text = json.dumps(text, ensure_ascii=False)
    return escape(text)
