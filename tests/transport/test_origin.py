"""Requests that pages of other sites make, and those that they don't."""

import pytest

from dragoman.errors import Forbidden
from dragoman.transport.origin import guard_from_browsers, is_loopback, is_own


def own(local: bool = True, **headers: str) -> bool:
    found = {name.replace("_", "-").encode(): value for name, value in headers.items()}
    return is_own(found.get, local=local)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"host": "localhost:8080"},
        {"host": "127.0.0.1:8080"},
        {"host": "[::1]:8080"},
        {"host": "LOCALHOST"},
        {"host": "models.localhost.:8080"},
        {"host": "127.9.9.9"},
        {"host": "localhost:8080", "origin": "http://localhost:8080"},
        {"host": "localhost", "origin": "http://localhost"},
        {"host": "localhost:80", "origin": "http://LOCALHOST"},
        {"host": "localhost:8080", "origin": "http://localhost:8080", "sec_fetch_site": "same-origin"},
        {"host": "localhost:8080", "sec_fetch_site": "none"},
    ],
)
def test_programs_and_the_servers_own_pages_are_let_in(headers: dict[str, str]) -> None:
    assert own(**headers)


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "localhost:8080", "origin": "http://evil.example"},
        {"host": "localhost:8080", "origin": "null"},
        {"host": "localhost:8080", "origin": ""},
        {"host": "localhost:8080", "origin": "http://localhost:3000"},
        {"host": "localhost:8080", "origin": "http://localhost"},
        {"host": "localhost:8080", "origin": "http://localhost.evil.example:8080"},
        {"host": "localhost:8080", "origin": "http://localhost:8080.evil.example"},
        {"host": "localhost:8080", "origin": "http://localhost:8080@evil.example"},
        {"host": "localhost:8080", "origin": "http://evil.example#localhost:8080"},
        {"host": "localhost:8080", "origin": "http://127.0.0.1:8080"},
        {"host": "localhost:8080", "origin": "file://localhost:8080"},
        {"host": "localhost:8080", "origin": "localhost:8080"},
        {"origin": "http://localhost:8080"},
        {"host": "localhost:8080", "sec_fetch_site": "cross-site"},
        {"host": "localhost:8080", "sec_fetch_site": "same-site"},
    ],
)
def test_pages_of_other_sites_are_not(headers: dict[str, str]) -> None:
    assert not own(**headers)
    assert not own(local=False, **headers)


@pytest.mark.parametrize(
    "host",
    [
        "evil.example", "evil.example:8080", "127.0.0.1.evil.example", "localhost.evil.example", "0.0.0.0:8080",
        "2130706433", "127.1", "0x7f.1", "[::]", "[::ffff:10.0.0.1]", "10.0.0.1", "", "a@localhost", "localhost/x",
        "localhost#", "localhost\\evil", "[::1", "localhost:80800000",
    ],
)  # fmt: skip
def test_where_only_this_machine_can_come_in_no_other_host_is_asked_for(host: str) -> None:
    assert not own(host=host)
    assert not own(host=host, origin=f"http://{host}")  # DNS rebinding: page and host agree


def test_where_others_can_come_in_their_names_for_the_server_are_not_known() -> None:
    assert own(local=False, host="models.example:8080")
    assert own(local=False, host="models.example", origin="https://models.example")
    assert not own(local=False, host="models.example", origin="https://other.example")


@pytest.mark.parametrize(
    ("address", "local"),
    [("127.0.0.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("::", False), ("", False)],
)
def test_an_address_is_this_machines_own_or_not(address: str, local: bool) -> None:
    assert is_loopback(address) is local


def test_the_guard_refuses() -> None:
    class Request:
        def header(self, name: bytes) -> str | None:
            return {b"host": "localhost:1", b"origin": "http://evil.example"}.get(name)

    with pytest.raises(Forbidden, match="another site"):
        guard_from_browsers("127.0.0.1")(Request())  # type: ignore[arg-type]
