"""HTTPS: the same server behind TLS, and files that are not what they should be."""

import asyncio
import contextlib
import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from dragoman.errors import ConfigError
from dragoman.transport import http
from dragoman.transport.tls import server_context

from .live import PATIENCE, Client, Live, serve


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("tls")
    cert, key = folder / "cert.pem", folder / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out", cert],
        check=True, capture_output=True,
    )  # fmt: skip
    return cert, key


@pytest.fixture(params=["asyncio", "uvloop"])
def live(request: pytest.FixtureRequest, files: tuple[Path, Path]) -> Iterator[Live]:
    with serve(request.param, context=server_context(*files)) as live:
        yield live


@contextlib.contextmanager
def client(
    live: Live, files: tuple[Path, Path], version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3
) -> Iterator[Client]:
    context = ssl.create_default_context(cafile=str(files[0]))
    context.minimum_version = context.maximum_version = version
    with (
        socket.create_connection(("127.0.0.1", live.port), PATIENCE) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as sock,
    ):
        yield Client(sock)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_requests_small_and_big_are_answered(
    live: Live, files: tuple[Path, Path], version: ssl.TLSVersion
) -> None:
    seen = []
    live.router.add("GET", "/scheme", lambda request: (seen.append(request.scheme), request.respond(200))[0])
    with client(live, files, version) as tls:
        for size in (3, 3, 65_536, 1_000_000, 1_000_000):
            tls.send(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size)
            assert tls.answer().body == b"x" * size
        tls.send(b"GET /scheme HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert tls.answer().status == 200
        assert tls.closed()
    assert seen == ["https"]


def test_a_refusal_is_read(live: Live, files: tuple[Path, Path]) -> None:
    with client(live, files) as tls:
        tls.send(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\n\r\n" + b"x" * 1_000_000)
        assert tls.answer().status == 413


def test_an_old_version_is_refused(live: Live) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    with (
        socket.create_connection(("127.0.0.1", live.port), PATIENCE) as plain,
        pytest.raises((ssl.SSLError, ConnectionResetError)),
    ):
        context.wrap_socket(plain)


def test_a_handshake_that_does_not_go_on_is_cut(
    files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "_HANDSHAKE", 0.2)
    with serve(context=server_context(*files)) as live:
        half = live.connect()
        half.send(b"\x16\x03\x01")
        with contextlib.suppress(ConnectionResetError):
            assert half.closed()
        with client(live, files) as tls:
            tls.send(b"GET /echo HTTP/1.1\r\nHost: a\r\n\r\n")
            assert tls.answer().status == 200


def test_files_that_do_not_serve_are_named(files: tuple[Path, Path], tmp_path: Path) -> None:
    cert, key = files
    nonsense = tmp_path / "nonsense.pem"
    nonsense.write_text("nonsense")
    for pair, name in (
        ((tmp_path / "none.pem", key), "none.pem"),
        ((cert, tmp_path / "none.pem"), "none.pem"),
        ((nonsense, key), "nonsense.pem"),
        ((cert, nonsense), "nonsense.pem"),
        ((cert, None), "cert.pem"),
    ):
        with pytest.raises(ConfigError, match=name):
            server_context(*pair)


def test_a_key_may_be_in_the_certificate_s_file(files: tuple[Path, Path], tmp_path: Path) -> None:
    both = tmp_path / "both.pem"
    both.write_bytes(files[0].read_bytes() + files[1].read_bytes())
    assert asyncio.run(_serves(server_context(both)))


async def _serves(context: ssl.SSLContext) -> bool:
    return context.minimum_version == ssl.TLSVersion.TLSv1_2
