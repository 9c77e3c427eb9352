"""Marks: what may be said of a service and an endpoint, and that nothing of a class is changed by it."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import dragoman
from dragoman.services import ENDPOINT_MARK, MARK, EndpointOptions, Functions, ServiceOptions


def test_a_marked_class_is_the_class():
    class Mine:
        @dragoman.endpoint("/there", method="PUT", status=202, tags=["a"])
        def ask(self, x: int) -> int:
            return x

    marked = dragoman.service(title="T", envelope=False)(Mine)
    assert marked is Mine
    assert Mine().ask(3) == 3
    assert getattr(Mine, MARK) == ServiceOptions(title="T", envelope=False)
    assert getattr(Mine.ask, ENDPOINT_MARK) == EndpointOptions(
        path="/there", method="PUT", status=202, tags=["a"]
    )


def test_a_service_of_one_function_is_called_as_it():
    @dragoman.service
    def double(x: int) -> int:
        return 2 * x

    assert isinstance(double, Functions)
    assert double(4) == 8


@pytest.mark.parametrize(
    ("make", "error", "reason"),
    [
        (lambda: dragoman.service(titel="x"), TypeError, "'titel' is unknown here; known are title,"),
        (lambda: dragoman.service(path="x")(object), ValueError, "a path starts with a slash"),
        (lambda: dragoman.service(startup=print), TypeError, "a class has startup itself"),
        (lambda: dragoman.service(1), TypeError, "a service is made of functions, got 1"),
        (lambda: dragoman.service(int, str), TypeError, "a service is one class, or some functions"),
        (lambda: dragoman.service(title="x")(len), TypeError, "service decorates a class"),
        (lambda: dragoman.endpoint(method="FETCH"), ValueError, "one of GET, POST, PUT, PATCH, DELETE"),
        (lambda: dragoman.endpoint(status=404), ValueError, "200 to 299, got 404"),
        (lambda: dragoman.endpoint("a b?"), ValueError, "a path starts with a slash"),
    ],
)
def test_what_makes_no_sense_is_refused_where_it_is_written(make, error, reason):
    with pytest.raises(error, match=reason):
        make()


def test_type_checkers_are_told_of_every_public_name():
    stub = Path(dragoman.__file__).with_suffix(".pyi").read_text()
    told = set(re.findall(r"import (\w+) as \1$", stub, re.MULTILINE)) | {"__version__"}
    assert told == set(dragoman.__all__)
    for name in ("asgi", "endpoint", "service"):
        assert callable(getattr(dragoman, name))
        assert name in dir(dragoman)


def test_a_server_starts_without_pydantic_and_without_the_pages():
    code = (
        "import sys, dragoman.app, dragoman.cli; dragoman.service; "
        "print([m for m in ('pydantic', 'fastapi', 'fastapi_offline', 'uvicorn') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
