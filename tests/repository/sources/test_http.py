"""Files over HTTP: from hosts that behave, from hosts that don't, and never from hosts that nobody allowed."""

import errno
import fcntl
import hashlib
import os
import re
import resource
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest

from dragoman.errors import (
    AlreadyThere,
    Cancelled,
    DownloadFailed,
    DownloadTooLarge,
    InvalidInput,
    SourceError,
    StorageFailed,
    UrlNotAllowed,
)
from dragoman.repository.sources import Budget, Effort, Egress, Rules, Sources, connection
from dragoman.transport.status import STATUS

from .hosts import PATIENCE, Canary, Host, chunked, listing, moved, text, unchanged

FILE = bytes(range(256)) * 4_000
DIGEST = hashlib.sha256(FILE).hexdigest()
LOOPBACK = ip_network("127.0.0.0/8")


def test_a_file_is_brought_into_the_store(sources: Sources, host: Host, store: Path) -> None:
    host.answers["/models/x.mar?sig=secret"] = text(200, FILE)
    fetched = sources.fetch(f"{host.base}/models/x.mar?sig=secret")
    assert fetched.path == store / "x.mar"
    assert fetched.path.read_bytes() == FILE
    assert (fetched.digest, fetched.size, fetched.new) == (DIGEST, len(FILE), True)
    assert fetched.source == f"{host.base}/models/x.mar"
    assert sorted(listing(store)) == ["old.mar", "x.mar"]
    fetched.discard()
    assert sorted(listing(store)) == ["old.mar"]


def test_nothing_of_the_server_is_told_to_the_host(sources: Sources, host: Host) -> None:
    host.answers["/x.mar"] = moved("/y.mar", 302, "Set-Cookie: a=b")
    host.answers["/y.mar"] = text(200, FILE)
    sources.fetch(f"{host.base}/x.mar")
    for request, target in zip(host.requests, ("/x.mar", "/y.mar"), strict=True):
        first, *headers = request.decode().strip().split("\r\n")
        assert first == f"GET {target} HTTP/1.1"
        names = {header.partition(":")[0] for header in headers}
        assert names == {"Host", "User-Agent", "Accept", "Accept-Encoding", "Connection"}


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_followed_to_the_name_that_was_asked_for(
    sources: Sources, host: Host, store: Path, status: int
) -> None:
    host.answers["/a/x.mar"] = moved("../b/content-7?id=8", status)
    host.answers["/b/content-7?id=8"] = moved(f"{host.base}/c/z", status)
    host.answers["/c/z"] = chunked(FILE[:5], FILE[5:])
    assert sources.fetch(f"{host.base}/a/x.mar").digest == DIGEST
    assert (store / "x.mar").read_bytes() == FILE


#: Names of this machine and its networks in every spelling, other schemes, other readings.
INSIDE = r"""
http://127.0.0.1:{port}/x.mar          http://localhost:{port}/x.mar            http://[::1]:{six}/x.mar
http://[::ffff:127.0.0.1]:{port}/x.mar http://[::ffff:7f00:1]:{port}/x.mar      http://[::127.0.0.1]:{port}/x.mar
http://[64:ff9b::127.0.0.1]:{port}/x   http://[0:0:0:0:0:0:0:1]:{six}/x.mar     http://0.0.0.0:{port}/x.mar
http://[::]:{six}/x.mar                http://2130706433:{port}/x.mar           http://0:{port}/x.mar
http://0x7f000001:{port}/x.mar         http://0177.0.0.1:{port}/x.mar           http://127.1:{port}/x.mar
http://0x7f.0.0.1:{port}/x.mar         http://017700000001:{port}/x.mar         http://127.0.0.1.:{port}/x.mar
http://127.0.0.2:{port}/x.mar          http://169.254.169.254/latest/meta       http://100.100.100.200/latest/x
http://10.0.0.1/x.mar                  http://192.168.0.1/x.mar                 http://172.16.0.1/x.mar
http://[fe80::1]/x.mar                 http://[fd00:ec2::254]/latest/x          http://224.0.0.1/x.mar
http://255.255.255.255/x.mar           http://168.63.129.16/x.mar               http://[ff02::1]/x.mar
http://example.com@127.0.0.1:{port}/x  http://a:b@127.0.0.1:{port}/x.mar        http://a.com:80@127.0.0.1:{port}/x
http://127.0.0.1:{port}#@example.com/x http://127.0.0.1:{port}\@example.com/x   http://127.0.0.1:{port}\.a.com/x
http://127.0.0.1:{port}/x.mar#y        http:\\127.0.0.1:{port}\x.mar           http:/127.0.0.1:{port}/x.mar
http:127.0.0.1:{port}/x.mar            //127.0.0.1:{port}/x.mar                 ://127.0.0.1:{port}/x.mar
HTTP://127.0.0.1:{port}/x.mar          hTTp://127.0.0.1:{port}/x.mar            https://127.0.0.1:{port}/x.mar
http://127.0.0.1:{port}/../x.mar       http://127.0.0.1:{port}/%2e%2e/x.mar     http://127.0.0.1:{port}/%252e%252e/x
http://127%2e0.0.1:{port}/x.mar        http://①②⑦.⓪.⓪.①:{port}/x.mar            http://127。0。0。1:{port}/x.mar
gopher://127.0.0.1:{port}/x.mar        ftp://127.0.0.1:{port}/x.mar             dict://127.0.0.1:{port}/x.mar
ws://127.0.0.1:{port}/x.mar            FILE:///etc/passwd                       file:/etc/passwd
file://127.0.0.1/etc/passwd            file:///etc/../etc/passwd                file:///etc/%2e%2e/etc/passwd
"""


@pytest.mark.parametrize("url", INSIDE.split())
def test_no_spelling_leads_into_the_servers_own_network(
    strict: Sources, store: Path, canary: Callable[..., Canary], url: str
) -> None:
    location = url.format(port=canary().port, six=canary("::1").port)
    with unchanged(store), pytest.raises(SourceError) as refused:
        strict.fetch(location)
    assert not isinstance(refused.value, DownloadFailed)
    assert 400 <= STATUS[refused.value.code] < 500
    assert "127.0.0" not in refused.value.message
    with pytest.raises(SourceError):
        strict.fetch("x.mar")


@pytest.mark.parametrize(
    "to",
    [
        "http://127.0.0.2:{port}/x.mar",
        "//127.0.0.2:{port}/x.mar",
        "http://[::ffff:127.0.0.2]:{port}/x.mar",
        "http://2130706434:{port}/x.mar",
        "http://127.2:{port}/x.mar",
        "http://0x7f000002:{port}/x.mar",
        "http://127.0.0.1@127.0.0.2:{port}/x.mar",
        "HTTP://127.0.0.2:{port}/x.mar",
        "http:\\\\127.0.0.2:{port}\\x.mar",
        "http://127.0.0.2:{port}/x.mar#y",
        "http://[::1]:{six}/x.mar",
        "http://0.0.0.0:{port}/x.mar",
        "http://169.254.169.254/latest/x",
        "ftp://127.0.0.2:{port}/x.mar",
        "file:///etc/passwd",
        "file:/etc/passwd",
        "s3://bucket/x.mar",
        "memory://bucket/x.mar",
        "data:,x",
        "",
    ],
)
def test_a_redirect_leads_nowhere_that_is_not_allowed(
    sources: Sources, host: Host, store: Path, canary: Callable[..., Canary], to: str
) -> None:
    target = to.format(port=canary("127.0.0.2").port, six=canary("::1").port)
    host.answers["/x.mar"] = moved(target)
    with unchanged(store), pytest.raises(UrlNotAllowed if to else SourceError) as refused:
        sources.fetch(f"{host.base}/x.mar")
    assert refused.value.location == f"{host.base}/x.mar"
    assert not to or "127.0.0.2" not in refused.value.message


def test_a_redirect_must_match_the_allowed_urls_too(
    host: Host, store: Path, canary: Callable[..., Canary]
) -> None:
    other = canary()
    rules = Rules((re.compile(re.escape(host.base) + "/.*"),), (LOOPBACK,))
    host.answers["/x.mar"] = moved(f"http://127.0.0.1:{other.port}/x.mar")
    with unchanged(store), pytest.raises(UrlNotAllowed):
        Sources(store, rules).fetch(f"{host.base}/x.mar")


def test_redirects_end_somewhere(sources: Sources, host: Host, store: Path) -> None:
    host.answers["/x.mar"] = moved("/x.mar")
    with unchanged(store), pytest.raises(DownloadFailed, match="redirected more than 5 times"):
        sources.fetch(f"{host.base}/x.mar")
    assert len(host.requests) == 6


@pytest.mark.parametrize("answer", [text(302, b""), text(302, b"", "Location: /a", "Location: /b")])
def test_a_redirect_names_one_place(sources: Sources, host: Host, store: Path, answer: bytes) -> None:
    host.answers["/x.mar"] = answer
    with unchanged(store), pytest.raises(DownloadFailed, match="without a place"):
        sources.fetch(f"{host.base}/x.mar")


class Resolver:
    """Gives a different answer every time it is asked."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self._answers = iter(answers)
        self.asked: list[str] = []

    def __call__(self, host: str) -> list[Any]:
        self.asked.append(host)
        return [ip_address(address) for address in next(self._answers)]


def test_a_name_is_looked_up_once_and_means_that(
    sources: Sources, host: Host, canary: Callable[..., Canary]
) -> None:
    canary("127.0.0.2")
    resolver = Resolver(["127.0.0.1"], ["127.0.0.2"])
    host.answers["/x.mar"] = text(200, FILE)
    bound = replace(sources, egress=Egress(resolver))
    assert bound.fetch(f"http://rebind.example:{host.port}/x.mar").digest == DIGEST
    assert resolver.asked == ["rebind.example"]
    assert b"Host: rebind.example:%d\r\n" % host.port in host.requests[0]


def test_a_name_that_means_something_else_after_a_redirect_is_judged_again(
    sources: Sources, host: Host, store: Path, canary: Callable[..., Canary]
) -> None:
    trap = canary("127.0.0.2")
    host.answers["/x.mar"] = moved(f"http://rebind.example:{trap.port}/x.mar")
    bound = replace(sources, egress=Egress(Resolver(["127.0.0.1"], ["127.0.0.2"])))
    with unchanged(store), pytest.raises(UrlNotAllowed):
        bound.fetch(f"http://rebind.example:{host.port}/x.mar")


@pytest.mark.parametrize("addresses", [["127.0.0.1", "127.0.0.2"], ["127.0.0.2", "127.0.0.1"]])
def test_one_address_that_is_not_allowed_is_one_too_many(
    sources: Sources, store: Path, canary: Callable[..., Canary], addresses: list[str]
) -> None:
    bound = replace(sources, egress=Egress(Resolver(addresses)))
    with unchanged(store), pytest.raises(UrlNotAllowed):
        bound.fetch(f"http://mixed.example:{canary().port}/x.mar")


def test_who_is_at_the_other_end_is_asked_of_the_socket(
    sources: Sources, host: Host, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = Host("127.0.0.2")
    try:
        dialed = socket.create_connection(("127.0.0.2", elsewhere.port))
        monkeypatch.setattr(connection, "_dial", lambda *_: dialed)
        with unchanged(store), pytest.raises(UrlNotAllowed):
            sources.fetch(f"{host.base}/x.mar")
        assert dialed.fileno() == -1
    finally:
        elsewhere.close()
    assert elsewhere.requests in ([], [b""])


def test_addresses_are_tried_in_turn(sources: Sources, host: Host) -> None:
    rules = Rules(sources.rules.urls, (LOOPBACK,))
    host.answers["/x.mar"] = text(200, FILE)
    bound = replace(sources, rules=rules, egress=Egress(Resolver(["127.0.0.3", "127.0.0.1"])))
    assert bound.fetch(f"http://two.example:{host.port}/x.mar").digest == DIGEST


def nobody(host: str) -> list[Any]:
    raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")


@pytest.mark.parametrize("resolve", [Resolver([]), nobody])
def test_a_host_without_an_address_is_no_source(sources: Sources, store: Path, resolve: Any) -> None:
    bound = replace(sources, egress=Egress(resolve))
    with unchanged(store), pytest.raises(DownloadFailed, match="no address"):
        bound.fetch("http://nowhere.example/x.mar")


@pytest.mark.parametrize("variable", ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"])
def test_proxies_of_the_environment_are_not_used(
    sources: Sources,
    host: Host,
    canary: Callable[..., Canary],
    variable: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(variable, f"http://127.0.0.1:{canary().port}")
    host.answers["/x.mar"] = text(200, FILE)
    assert sources.fetch(f"{host.base}/x.mar").digest == DIGEST


# Hosts that don't behave


def send(*pieces: bytes) -> Callable[[socket.socket], None]:
    def answer(connection: socket.socket) -> None:
        for piece in pieces:
            connection.sendall(piece)

    return answer


HEAD = b"HTTP/1.1 200 OK\r\n"
BROKEN = {
    "short": HEAD + b"Content-Length: 100\r\n\r\n" + b"x" * 50,
    "empty": HEAD + b"Content-Length: 100\r\n\r\n",
    "no end of chunks": HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n",
    "short chunk": HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nabc",
    "bad chunk": HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n0\r\n\r\n",
    "long chunk line": HEAD + b"Transfer-Encoding: chunked\r\n\r\n1;" + b"a" * 100_000,
    "no length": HEAD + b"\r\nall of it?",
    "two lengths": HEAD + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
    "list of lengths": HEAD + b"Content-Length: 3, 3\r\n\r\nabc",
    "negative": HEAD + b"Content-Length: -1\r\n\r\nabc",
    "plus": HEAD + b"Content-Length: +3\r\n\r\nabc",
    "words": HEAD + b"Content-Length: three\r\n\r\nabc",
    "astronomic": HEAD + b"Content-Length: " + b"9" * 5_000 + b"\r\n\r\nabc",
    "length and chunks": HEAD
    + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    "gzip, chunked": HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "identity": HEAD + b"Transfer-Encoding: identity\r\n\r\nabc",
    "204": b"HTTP/1.1 204 No Content\r\n\r\n",
    "206": b"HTTP/1.1 206 Partial\r\nContent-Length: 3\r\nContent-Range: bytes 0-2/9\r\n\r\nabc",
    "304": b"HTTP/1.1 304 Not Modified\r\n\r\n",
    "401": text(401, b"", "WWW-Authenticate: Basic"),
    "404": text(404, b"gone"),
    "407": text(407, b"", "Proxy-Authenticate: Basic"),
    "500": text(500, b"oops"),
    "no HTTP": b"SSH-2.0-OpenSSH_9.2\r\n",
    "HTTP/0.9": b"hello",
    "nothing": b"",
    "many headers": HEAD + b"a: b\r\n" * 1_000 + b"\r\n",
    "long header": HEAD + b"a: " + b"b" * 200_000 + b"\r\n\r\n",
    "strange status": b"HTTP/1.1 9999 What\r\n\r\n",
}


@pytest.mark.parametrize("broken", BROKEN)
def test_what_is_not_known_to_be_whole_is_not_kept(
    sources: Sources, host: Host, store: Path, broken: str
) -> None:
    host.answers["/x.mar"] = BROKEN[broken]
    with unchanged(store), pytest.raises(DownloadFailed) as failed:
        sources.fetch(f"{host.base}/x.mar")
    assert STATUS[failed.value.code] == 400
    assert failed.value.location == f"{host.base}/x.mar"


def test_a_digest_tells_the_whole_where_the_host_does_not(sources: Sources, host: Host, store: Path) -> None:
    host.answers["/x.mar"] = HEAD + b"\r\n" + FILE
    with unchanged(store), pytest.raises(DownloadFailed, match="SHA-256"):
        sources.fetch(f"{host.base}/x.mar", digest=hashlib.sha256(FILE + b"x").hexdigest())
    assert sources.fetch(f"{host.base}/x.mar", digest=f"sha256:{DIGEST.upper()}").size == len(FILE)


def test_another_file_than_the_digest_says_is_not_kept(sources: Sources, host: Host, store: Path) -> None:
    host.answers["/x.mar"] = text(200, FILE[1:])
    with unchanged(store), pytest.raises(DownloadFailed, match="SHA-256"):
        sources.fetch(f"{host.base}/x.mar", digest=DIGEST)


@pytest.mark.parametrize("digest", ["abc", "md5:" + "a" * 32, "sha256:" + "g" * 64, DIGEST + "0"])
def test_a_digest_that_is_none_is_refused_before_anything(
    sources: Sources, canary: Callable[..., Canary], digest: str
) -> None:
    with pytest.raises(InvalidInput, match="SHA-256"):
        sources.fetch(f"http://127.0.0.1:{canary().port}/x.mar", digest=digest)


def endless(connection: socket.socket) -> None:
    connection.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
    while True:
        connection.sendall(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")


@pytest.mark.parametrize(
    "answer", [text(200, b"x" * 100_001), endless, HEAD + b"Content-Length: 10000000000000\r\n\r\n"]
)
def test_a_file_that_is_too_large_is_cut_off(sources: Sources, host: Host, store: Path, answer: Any) -> None:
    host.answers["/x.mar"] = answer
    small = replace(sources, budget=Budget(bytes=100_000))
    with unchanged(store), pytest.raises(DownloadTooLarge, match="100000 bytes") as failed:
        small.fetch(f"{host.base}/x.mar")
    assert STATUS[failed.value.code] == 413


def test_a_file_of_just_the_allowed_size_is_taken(sources: Sources, host: Host) -> None:
    host.answers["/x.mar"] = text(200, FILE)
    assert replace(sources, budget=Budget(bytes=len(FILE))).fetch(f"{host.base}/x.mar").size == len(FILE)


def trickle(host: Host, head: bytes, piece: bytes) -> Callable[[socket.socket], None]:
    def answer(connection: socket.socket) -> None:
        connection.sendall(head)
        while not host.closing.wait(0.01):
            connection.sendall(piece)

    return answer


@pytest.mark.parametrize(
    ("head", "piece"),
    [
        (HEAD + b"Content-Length: 1000000\r\n\r\n", b"x"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n1;", b"x"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", b"a: b\r\n"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (HEAD + b"a: ", b"b"),
        (b"H", b"T"),
    ],
)
def test_a_host_that_takes_for_ever_is_left(
    sources: Sources, host: Host, store: Path, head: bytes, piece: bytes
) -> None:
    host.answers["/x.mar"] = trickle(host, head, piece)
    with unchanged(store), pytest.raises(DownloadFailed, match="takes too long"):
        replace(sources, budget=Budget(seconds=0.3)).fetch(f"{host.base}/x.mar")


def test_a_host_that_says_nothing_is_left(sources: Sources, host: Host, store: Path) -> None:
    host.answers["/x.mar"] = lambda connection: host.closing.wait(PATIENCE)
    with unchanged(store), pytest.raises(DownloadFailed, match="takes too long"):
        replace(sources, budget=Budget(idle=0.2)).fetch(f"{host.base}/x.mar")


def test_a_host_that_nobody_can_reach_is_told_so(sources: Sources, store: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with unchanged(store), pytest.raises(DownloadFailed, match="connection to its host failed"):
        sources.fetch(f"http://127.0.0.1:{port}/x.mar")


def test_a_name_that_nobody_answers_for_in_time_is_left(sources: Sources, store: Path) -> None:
    released = threading.Event()
    slow = Egress(lambda host: [ip_address("127.0.0.1")] if released.wait(PATIENCE) else [])
    try:
        with unchanged(store), pytest.raises(DownloadFailed, match="takes too long"):
            replace(sources, egress=slow, budget=Budget(seconds=0.2)).fetch("http://slow.example/x.mar")
    finally:
        released.set()


# TLS


@pytest.fixture
def trusting(sources: Sources, certificate: Path) -> Sources:
    return replace(sources, egress=Egress(tls=ssl.create_default_context(cafile=str(certificate))))


def test_https_brings_a_file_too(trusting: Sources, secure: Host) -> None:
    secure.answers["/x.mar"] = text(200, FILE)
    secure.answers["/y.mar"] = chunked(FILE)
    assert trusting.fetch(f"{secure.base}/x.mar").digest == DIGEST
    assert trusting.fetch(f"{secure.base}/y.mar").digest == DIGEST


def test_a_certificate_of_somebody_else_is_refused(sources: Sources, secure: Host, store: Path) -> None:
    with unchanged(store), pytest.raises(DownloadFailed, match="certificate"):
        sources.fetch(f"{secure.base}/x.mar")
    assert not any(secure.requests)


def test_a_certificate_must_be_of_the_host_that_was_named(trusting: Sources, secure: Host) -> None:
    egress = replace(trusting.egress, resolve=Resolver(["127.0.0.1"]))
    with pytest.raises(DownloadFailed, match="certificate"):
        replace(trusting, egress=egress).fetch(f"https://other.example:{secure.port}/x.mar")


def test_a_redirect_must_not_leave_tls(
    trusting: Sources, secure: Host, store: Path, canary: Callable[..., Canary]
) -> None:
    secure.answers["/x.mar"] = moved(f"http://127.0.0.1:{canary().port}/x.mar")
    with unchanged(store), pytest.raises(UrlNotAllowed):
        trusting.fetch(f"{secure.base}/x.mar")


def test_a_redirect_may_enter_tls(trusting: Sources, host: Host, secure: Host) -> None:
    secure.answers["/x.mar"] = text(200, FILE)
    host.answers["/x.mar"] = moved(f"{secure.base}/x.mar")
    assert trusting.fetch(f"{host.base}/x.mar").digest == DIGEST


def test_a_stream_that_is_cut_below_tls_is_no_end(trusting: Sources, secure: Host, store: Path) -> None:
    def cut(connection: socket.socket) -> None:
        connection.sendall(HEAD + b"\r\n" + FILE)
        socket.socket.shutdown(connection, socket.SHUT_RDWR)  # without TLS's own end

    secure.answers["/x.mar"] = cut
    with unchanged(store), pytest.raises(DownloadFailed, match="broke off"):
        trusting.fetch(f"{secure.base}/x.mar", digest=DIGEST)


def test_what_speaks_no_tls_is_no_https(trusting: Sources, host: Host, store: Path) -> None:
    with unchanged(store), pytest.raises(DownloadFailed):
        trusting.fetch(f"https://127.0.0.1:{host.port}/x.mar")


# The store


def test_a_name_that_is_taken_is_a_conflict_before_anybody_is_asked(
    sources: Sources, store: Path, canary: Callable[..., Canary]
) -> None:
    (store / "broken.mar").symlink_to("nowhere")
    for name in ("old.mar", "broken.mar"):
        with unchanged(store), pytest.raises(AlreadyThere, match=name) as refused:
            sources.fetch(f"http://127.0.0.1:{canary().port}/a/{name}")
        assert STATUS[refused.value.code] == 409


def test_of_two_downloads_of_one_name_one_is_kept(sources: Sources, host: Host, store: Path) -> None:
    def meanwhile(connection: socket.socket) -> None:
        host.answers["/x.mar"] = text(200, FILE)
        sources.fetch(f"{host.base}/x.mar")
        connection.sendall(text(200, b"other"))

    host.answers["/x.mar"] = meanwhile
    with pytest.raises(AlreadyThere):
        sources.fetch(f"{host.base}/x.mar")
    assert {name: content for name, (content, _) in listing(store).items()} == {
        "old.mar": b"here before",
        "x.mar": FILE,
    }


@pytest.mark.parametrize("name", [".x.mar", "-x.mar", "%20x.mar", "x%20.mar", "x;y.mar", "~x", "x" * 201])
def test_a_name_that_would_be_odd_in_the_store_is_refused(
    sources: Sources, store: Path, canary: Callable[..., Canary], name: str
) -> None:
    with unchanged(store), pytest.raises(UrlNotAllowed, match="plain name"):
        sources.fetch(f"http://127.0.0.1:{canary().port}/{name}")


def test_what_is_brought_can_be_looked_at_before_it_is_there(
    sources: Sources, host: Host, store: Path
) -> None:
    host.answers["/x.mar"] = text(200, FILE)

    def check(path: Path) -> None:
        assert path.name == "x.mar"
        assert path.read_bytes() == FILE
        assert not (store / "x.mar").exists()
        raise InvalidInput("no model at all")

    with unchanged(store), pytest.raises(InvalidInput, match="no model at all"):
        sources.fetch(f"{host.base}/x.mar", check=check)
    assert sources.fetch(f"{host.base}/x.mar", check=lambda path: None).new


def test_progress_is_told_from_nothing_to_everything(sources: Sources, host: Host) -> None:
    host.answers["/x.mar"] = text(200, FILE)
    told: list[tuple[int, int | None]] = []
    sources.fetch(f"{host.base}/x.mar", progress=lambda done, total: told.append((done, total)))
    assert told[0] == (0, len(FILE))
    assert told[-1] == (len(FILE), len(FILE))
    assert told == sorted(told)
    host.answers["/y.mar"] = chunked(FILE)
    told.clear()
    sources.fetch(f"{host.base}/y.mar", progress=lambda done, total: told.append((done, total)))
    assert (told[0], told[-1]) == ((0, None), (len(FILE), None))


def test_a_cancelled_fetch_does_not_begin(
    sources: Sources, store: Path, canary: Callable[..., Canary]
) -> None:
    effort = sources.effort()
    effort.cancel()
    with unchanged(store), pytest.raises(Cancelled):
        sources.fetch(f"http://127.0.0.1:{canary().port}/x.mar", effort=effort)


@pytest.mark.parametrize("digest", ["", DIGEST])
def test_a_fetch_that_is_cancelled_meanwhile_says_so(
    sources: Sources, host: Host, store: Path, digest: str
) -> None:
    effort = sources.effort()

    def stop(connection: socket.socket) -> None:
        connection.sendall(HEAD + (b"\r\nhalf" if digest else b"Content-Length: 100\r\n\r\nhalf"))
        threading.Timer(0.05, effort.cancel).start()  # most likely while it waits for the rest
        connection.recv(1)

    host.answers["/x.mar"] = stop
    with unchanged(store), pytest.raises(Cancelled):
        sources.fetch(f"{host.base}/x.mar", digest=digest, effort=effort)


def test_a_connection_that_nobody_takes_can_be_cancelled(
    sources: Sources, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    effort = Effort(seconds=PATIENCE * 10, idle=PATIENCE * 10)
    real = socket.socket.connect

    def connect(sock: socket.socket, address: Any) -> None:
        threading.Timer(0.05, effort.cancel).start()
        real(sock, address)

    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener, ExitStack() as waiting:
        for _ in range(3):  # the kernel has no room for more, and answers nobody
            sock = waiting.enter_context(socket.socket())
            sock.setblocking(False)
            sock.connect_ex(listener.getsockname())
        monkeypatch.setattr(socket.socket, "connect", connect)
        begun = time.monotonic()
        with unchanged(store), pytest.raises(Cancelled):
            sources.fetch(f"http://127.0.0.1:{listener.getsockname()[1]}/x.mar", effort=effort)
        assert time.monotonic() - begun < PATIENCE


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """What the kernel lets this process write into one file. (Python ignores SIGXFSZ.)"""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_disk_that_takes_no_more_is_told_and_left_as_it_was(
    sources: Sources, host: Host, store: Path
) -> None:
    host.answers["/x.mar"] = text(200, FILE)
    with unchanged(store), pytest.raises(StorageFailed) as failed, file_size_limit(100_000):
        sources.fetch(f"{host.base}/x.mar")
    assert STATUS[failed.value.code] == 507
    assert sources.fetch(f"{host.base}/x.mar").digest == DIGEST


@pytest.mark.parametrize("call", ["fsync", "link"])
def test_a_disk_that_fails_at_the_end_is_told_too(
    sources: Sources, host: Host, store: Path, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, call, fail)
    monkeypatch.setattr(Path, "rename", fail)
    host.answers["/x.mar"] = text(200, FILE)
    with unchanged(store), pytest.raises(StorageFailed):
        sources.fetch(f"{host.base}/x.mar")


def test_a_file_system_without_links_will_do(
    sources: Sources, host: Host, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", fail)
    host.answers["/x.mar"] = text(200, FILE)
    assert sources.fetch(f"{host.base}/x.mar").path.read_bytes() == FILE
    assert sorted(listing(store)) == ["old.mar", "x.mar"]


def test_a_store_that_is_gone_is_told(sources: Sources, host: Host, store: Path) -> None:
    host.answers["/x.mar"] = text(200, FILE)
    with pytest.raises(StorageFailed):
        replace(sources, store=store / "gone").fetch(f"{host.base}/x.mar")


def test_what_a_killed_process_left_is_swept_away_and_what_another_writes_is_not(
    sources: Sources, host: Host, store: Path
) -> None:
    for name in ("dead", "alive"):
        (store / f".incoming-{name}").mkdir()
        (store / f".incoming-{name}" / "x.mar").write_bytes(b"half")
    alive = os.open(store / ".incoming-alive", os.O_RDONLY)
    fcntl.flock(alive, fcntl.LOCK_EX)
    host.answers["/x.mar"] = text(200, FILE)
    sources.fetch(f"{host.base}/x.mar")
    os.close(alive)
    assert sorted(listing(store)) == [".incoming-alive", ".incoming-alive/x.mar", "old.mar", "x.mar"]
