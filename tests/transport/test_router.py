"""Paths and methods to handlers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dragoman.errors import InvalidInput
from dragoman.transport.request import HttpRequest
from dragoman.transport.router import CACHED_LENGTH, CACHED_PATHS, Router


def handler(request: HttpRequest) -> None:
    raise AssertionError("not called here")


def table() -> Router:
    router = Router()
    for methods, pattern in (
        ("GET", "/"),
        ("GET", "/v1/models/{}"),
        ("POST", "/v1/models/{}:predict"),
        ("POST", "/v1/models/{}:explain"),
        ("POST", "/v2/models/{}/infer"),
        ("POST", "/v2/models/{}/versions/{}/infer"),
        (("GET", "POST"), "/predictions/{}"),
        ("PUT", "/predictions/{}"),
        ("GET", "/models/{}/{}"),
        ("GET", "/models/{}/all"),
        ("POST", "/files/{*}"),
        ("POST", "/files/{}/special"),
        ("POST", "/{}/predict"),
        ("POST", "/{}/{}/predict"),
    ):
        router.add(methods, pattern, handler)
    return router


@pytest.mark.parametrize(
    ("method", "path", "pattern", "params"),
    [
        ("GET", "/", "/", ()),
        ("GET", "/v1/models/a", "/v1/models/{}", ("a",)),
        ("GET", "/v1/models/a.b-c_d", "/v1/models/{}", ("a.b-c_d",)),
        ("POST", "/v1/models/a:predict", "/v1/models/{}:predict", ("a",)),
        ("POST", "/v1/models/a:b:predict", "/v1/models/{}:predict", ("a:b",)),
        ("POST", "/v1/models/a%3Apredict:explain", "/v1/models/{}:explain", ("a:predict",)),
        ("POST", "/v2/models/a/infer", "/v2/models/{}/infer", ("a",)),
        ("POST", "/v2/models/a/versions/3/infer", "/v2/models/{}/versions/{}/infer", ("a", "3")),
        ("POST", "/v2/models/a%2Fb/infer", "/v2/models/{}/infer", ("a/b",)),
        ("POST", "/v2/models/a%252Fb/infer", "/v2/models/{}/infer", ("a%2Fb",)),
        ("POST", "/v2/models/%2e%2e/infer", "/v2/models/{}/infer", ("..",)),
        ("POST", "/v2/models/%C3%A9+/infer", "/v2/models/{}/infer", ("é+",)),
        ("PUT", "/predictions/a", "/predictions/{}", ("a",)),
        ("HEAD", "/predictions/a", "/predictions/{}", ("a",)),
        ("GET", "/models/a/1", "/models/{}/{}", ("a", "1")),
        ("GET", "/models/a/all", "/models/{}/all", ("a",)),
        ("POST", "/files/a", "/files/{*}", ("a",)),
        ("POST", "/files/a/b//c%2Fd/", "/files/{*}", ("a/b//c/d/",)),
        ("POST", "/files/a/special", "/files/{}/special", ("a",)),
        ("POST", "/files/a/b/special", "/files/{*}", ("a/b/special",)),
        ("POST", "/model/predict", "/{}/predict", ("model",)),
        ("POST", "/model/1/predict", "/{}/{}/predict", ("model", "1")),
        ("POST", "/files/1/predict", "/{}/{}/predict", ("files", "1")),
    ],
)
def test_a_path_finds_its_route(method: str, path: str, pattern: str, params: tuple[str, ...]) -> None:
    router = table()
    for _ in range(2):
        route, found = router.find(method, path)
        assert (route.pattern, found, route.handler) == (pattern, params, handler)


@pytest.mark.parametrize(
    "path",
    ["", "//", "/files", "/files/", "/v1/models/", "/v1/models/a/", "/v2/models//infer", "/v2/models/a/b/infer",
     "/V1/models/a", "/v1/models/:predict/x"],
)  # fmt: skip
def test_other_paths_find_nothing(path: str) -> None:
    assert table().find("GET", path)[0].pattern == ""


@pytest.mark.parametrize(
    ("method", "path", "status", "allow"),
    [
        ("GET", "/v2/models/a/infer", 405, "POST"),
        ("GET", "/v1/models/a:predict", 405, "POST"),
        ("DELETE", "/predictions/a", 405, "GET, HEAD, POST, PUT"),
        ("OPTIONS", "*", 204, "GET, HEAD, POST, PUT"),
    ],
)
def test_a_wrong_method_hears_of_the_right_ones(method: str, path: str, status: int, allow: str) -> None:
    answers = []

    class Request:
        def respond(self, status: int, body: bytes, *, headers: object) -> None:
            answers.append((status, headers))

    table().find(method, path)[0].handler(Request())  # type: ignore[arg-type]
    assert answers == [(status, (("Allow", allow),))]


def test_a_part_that_is_no_text_is_the_clients_mistake() -> None:
    with pytest.raises(InvalidInput):
        table().find("POST", "/v2/models/%ff/infer")


def test_a_path_has_one_route_for_a_method() -> None:
    router = table()
    with pytest.raises(ValueError, match="GET /predictions"):
        router.add(("GET", "DELETE"), "/predictions/{}", handler)
    with pytest.raises(ValueError):
        router.add("GET", "relative", handler)
    for pattern in ("/a/{*}/b", "/a{*}", "/{*}/{*}"):
        with pytest.raises(ValueError, match="last segment"):
            router.add("GET", pattern, handler)


def test_the_table_can_be_listed() -> None:
    assert table().routes()[6] == (("GET", "POST"), "/predictions/{}", "handler")


def test_only_what_is_found_and_short_is_remembered_and_not_without_end() -> None:
    router = table()
    for index in range(CACHED_PATHS + 10):
        router.find("GET", f"/v1/models/{index}")
        router.find("GET", f"/nowhere/{index}")
        router.find("PUT", f"/v1/models/{index}")
    router.find("GET", "/v1/models/" + "a" * CACHED_LENGTH)
    assert len(router._cache) <= CACHED_PATHS
    assert all(len(path) <= CACHED_LENGTH and method == "GET" for method, path in router._cache)


@given(st.text(min_size=1, max_size=20))
def test_any_name_comes_back_from_a_quoted_path(name: str) -> None:
    from urllib.parse import quote

    try:
        path = "/v2/models/" + quote(name, safe="") + "/infer"
    except UnicodeEncodeError:
        return
    assert table().find("POST", path)[1] == (name,)
