"""Log lines as they arrive on a stream."""

import io
import json
import logging
import subprocess
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dragoman import log
from dragoman.config import LogSettings


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Odd:
    """Can't be shown."""

    def __str__(self) -> str:
        raise RuntimeError("no")

    __repr__ = __str__


@pytest.fixture(autouse=True)
def _undo() -> Iterator[None]:
    root, access = logging.getLogger(), logging.getLogger("dragoman.access")
    before = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = before
    root.setLevel(before[1])
    access.disabled = False
    access.setLevel(logging.NOTSET)
    logging.captureWarnings(False)


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line, parse_constant=pytest.fail) for line in stream.getvalue().splitlines()]


def start(
    stream: io.StringIO | None = None, environ: dict[str, str] | None = None, **said: Any
) -> io.StringIO:
    stream = stream or io.StringIO()
    log.configure(LogSettings(**said), stream, environ or {})
    return stream


logger = logging.getLogger("dragoman.test")


def test_a_program_reads_one_json_object_a_line() -> None:
    stream = start()
    logger.info("model %s", "ready", extra={"model": "iris", "seconds": 0.5, "level": "x"})
    (line,) = lines(stream)
    assert line.pop("time").endswith("Z")
    assert line == {
        "level": "info",
        "event": "model ready",
        "logger": "dragoman.test",
        "model": "iris",
        "seconds": 0.5,
        "level_": "x",
    }


def test_a_person_reads_a_short_line() -> None:
    stream = start(format="console")
    logger.warning("queue full", extra={"model": "iris", "rows": 3, "said": "a b", "empty": "", "none": None})
    time, rest = stream.getvalue().split(" ", 1)
    assert len(time) == len("12:34:56.789")
    assert rest == 'warning queue full  model=iris rows=3 said="a b" empty="" none=null\n'


@pytest.mark.parametrize(
    ("stream", "format_", "environ", "people", "coloured"),
    [
        (Terminal, "auto", {}, True, True),
        (Terminal, "auto", {"NO_COLOR": "1"}, True, False),
        (Terminal, "auto", {"NO_COLOR": ""}, True, True),
        (Terminal, "auto", {"TERM": "dumb"}, True, False),
        (Terminal, "json", {}, False, False),
        (io.StringIO, "auto", {}, False, False),
        (io.StringIO, "console", {}, True, False),
    ],
)
def test_the_format_follows_the_terminal_and_colours_follow_no_color(
    stream: type[io.StringIO], format_: str, environ: dict[str, str], people: bool, coloured: bool
) -> None:
    written = start(stream(), environ, format=format_)
    logger.info("hello")
    assert (not written.getvalue().startswith("{")) is people
    assert ("\x1b[" in written.getvalue()) is coloured


def test_an_exception_is_a_field_for_programs_and_lines_for_people() -> None:
    for format_ in ("json", "console"):
        stream = start(format=format_)
        try:
            raise ValueError("bad \x1b[2J")
        except ValueError:
            logger.exception("failed")
        if format_ == "json":
            assert lines(stream)[0]["exception"].endswith("ValueError: bad \x1b[2J")
        else:
            assert stream.getvalue().endswith("\n  ValueError: bad \\x1b[2J\n")


def test_the_level_keeps_the_lesser_events_out() -> None:
    stream = start(level="warning")
    logger.info("no")
    logging.getLogger("someone.else").error("yes")
    assert [line["event"] for line in lines(stream)] == ["yes"]


def test_a_second_configure_replaces_the_first_and_leaves_other_handlers() -> None:
    other = logging.NullHandler()
    logging.getLogger().addHandler(other)
    first, second = start(), start()
    logger.info("once")
    assert (first.getvalue(), len(lines(second))) == ("", 1)
    assert other in logging.getLogger().handlers


def test_warnings_become_lines() -> None:
    stream = start()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(True)
        warnings.warn("old ways", DeprecationWarning, stacklevel=1)
    assert "DeprecationWarning: old ways" in lines(stream)[0]["event"]


# access


def test_the_access_log_has_its_own_switch() -> None:
    stream = start()
    log.access("GET", "/v2", 200, 0.1, 1, 2)
    assert stream.getvalue() == ""
    stream = start(access=True, level="error")
    log.access("POST", "/v2/models/\x1b[2J\r\n\u202e\u2028é/infer", 200, 0.0012345678, 10, 20)
    (line,) = lines(stream)
    assert line["event"] == "request"
    assert line["path"] == "/v2/models/\\x1b[2J\\r\\n\\u202e\\u2028é/infer"
    assert (line["method"], line["status"], line["seconds"]) == ("POST", 200, 0.001235)
    assert (line["bytes_in"], line["bytes_out"]) == (10, 20)


# odd values


def endless() -> list[Any]:
    items: list[Any] = []
    items.append(items)
    return items


@pytest.mark.parametrize("format_", ["json", "console"])
@pytest.mark.parametrize(
    "value",
    [Odd(), {Odd(): Odd()}, [Odd()], endless(), float("nan"), float("-inf"), 10**5000, "\udc80",
     b"\xff" * 100_000, object(), "x" * 1_000_000, {1: {2, 3}}, list(range(10_000)), 20, "\n\x00\x1b"],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_no_value_is_too_odd(value: object, format_: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging.getLogger(), "handlers", [])  # pytest's own handlers raise
    stream = start(format=format_)
    logger.info("odd", extra={"value": value})
    logger.info(value)
    logger.info("%d and %s", value)
    written = stream.getvalue()
    assert written.count("\n") == 3
    assert len(written) < 100_000
    assert written.replace("\n", "").isprintable()
    if format_ == "json":
        assert lines(stream)[0]["event"] == "odd"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(-1e300, 1e300) | st.text(),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(), children, max_size=3),
    max_leaves=5,
)  # fmt: skip


@given(st.text(), st.dictionaries(st.text().map("field_".__add__), JSON, max_size=3))
def test_plain_values_come_back_from_json(event: str, fields: dict[str, Any]) -> None:
    record = logging.makeLogRecord({"name": "x", "msg": event, **fields})
    line = json.loads(log.JsonFormatter().format(record))
    assert line["event"] == event.rstrip()
    assert {key: line[key] for key in fields} == fields


def test_importing_the_log_brings_no_library() -> None:
    code = "import sys, dragoman.log; print(*{'numpy', 'asyncio', 'rich', 'orjson'} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.split() == []


class FakeLoop:
    """Remembers what is to be called later."""

    def __init__(self):
        self.later = []

    def call_later(self, seconds, callback):
        self.later.append(callback)


def trickled(settings=None, **more):
    stream = io.StringIO()
    log.configure(settings or LogSettings(format="json", **more), stream)
    logger = logging.getLogger("dragoman.tests.trickle")
    # Without those of whoever runs the tests.
    ours = next(each for each in logging.getLogger().handlers if isinstance(each, log._Handler))
    logger.handlers, logger.propagate = [ours], False
    return stream, logger, log.Trickle(logger)


def test_lines_that_trickle_are_written_together_and_look_like_all_others():
    stream, logger, trickle = trickled()
    loop = FakeLoop()
    trickle.write('first "%s"', "quoted", loop=lambda: loop)
    trickle.write("second \u202e line 100%\n", loop=lambda: loop)
    assert stream.getvalue() == ""
    assert len(loop.later) == 1
    loop.later[0]()
    logger.info('first "quoted"')
    first, second, usual = map(json.loads, stream.getvalue().splitlines())
    assert first.keys() == usual.keys()
    assert {**first, "time": 0} == {**usual, "time": 0}
    assert second["event"].startswith("second")


def test_lines_that_trickle_go_the_usual_way_where_others_listen():
    stream, logger, trickle = trickled()
    heard = []

    class Listener(logging.Handler):
        def emit(self, record):
            heard.append((record.getMessage(), record.levelname))

    listener = Listener()
    logger.addHandler(listener)
    try:
        trickle.write("told")
    finally:
        logger.removeHandler(listener)
    assert heard == [("told", "INFO")]
    assert json.loads(stream.getvalue())["event"] == "told"


def test_lines_that_nobody_wants_are_not_kept():
    stream, _, trickle = trickled(level="warning")
    loop = FakeLoop()
    trickle.write("unwanted", loop=lambda: loop)
    assert loop.later == []
    assert stream.getvalue() == ""
