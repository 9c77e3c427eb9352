import re
import ssl
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dragoman.repository.sources import Rules, Sources, parse_rules

from .hosts import Canary, Host


@pytest.fixture
def store(tmp_path: Path) -> Path:
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "old.mar").write_bytes(b"here before")
    return tmp_path / "store"


@pytest.fixture
def sources(store: Path) -> Sources:
    """Every URL, but of the private networks only 127.0.0.1."""
    return Sources(store, parse_rules(".*", ["127.0.0.1/32"]))


@pytest.fixture
def strict(store: Path) -> Sources:
    """Every URL, and only public addresses."""
    return Sources(store, Rules(urls=(re.compile(".*"),)))


@pytest.fixture
def canary() -> Iterator[Callable[..., Canary]]:
    """Makes canaries, and looks after them: none may have had a visitor in the end."""
    made: list[Canary] = []

    def make(address: str = "127.0.0.1") -> Canary:
        made.append(Canary(address))
        return made[-1]

    yield make
    visitors = [each.visitors() for each in made]
    for each in made:
        each.close()
    assert not any(visitors)


@pytest.fixture
def host() -> Iterator[Host]:
    host = Host()
    yield host
    host.close()


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One file with the certificate and the key of 127.0.0.1."""
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", folder / "both.pem", "-out", folder / "cert.pem"],
        check=True, capture_output=True,
    )  # fmt: skip
    (folder / "both.pem").write_bytes((folder / "both.pem").read_bytes() + (folder / "cert.pem").read_bytes())
    return folder / "both.pem"


@pytest.fixture
def secure(certificate: Path) -> Iterator[Host]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    host = Host(tls=context)
    yield host
    host.close()
