"""Certificates of clients, and renewed ones: the same over HTTP and gRPC."""

import http.client
import logging
import shutil
import socket
import ssl

import grpc
import pytest

from dragoman.errors import ConfigError
from dragoman.transport.tls import Certificates
from tests.transport import live as over_http
from tests.transport.authority import Authority, Pair
from tests.transport.grpc import live as over_grpc
from tests.transport.live import PATIENCE


@pytest.fixture(scope="module")
def ours(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("ours"), "ours")


@pytest.fixture(scope="module")
def theirs(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("theirs"), "theirs")


@pytest.fixture
def renewable(ours, tmp_path):
    """The server's files, which a test may write anew."""
    pair = Pair(tmp_path / "cert.pem", tmp_path / "key.pem")
    put(ours.sign("first"), pair)
    return pair


def put(new, pair):
    for source, target in zip(new, pair, strict=True):
        shutil.copy(source, target.with_suffix(".new"))
        target.with_suffix(".new").replace(target)


class Http:
    """A server over HTTPS."""

    serve = staticmethod(lambda certificates: over_http.serve(context=certificates.context))

    @staticmethod
    def ask(live, authority, pair=None):
        """Whether a good request is answered."""
        context = ssl.create_default_context(cafile=str(authority.cert))
        if pair is not None:
            context.load_cert_chain(*pair)
        connection = http.client.HTTPSConnection("127.0.0.1", live.port, timeout=PATIENCE, context=context)
        try:
            connection.request("POST", "/echo", b"good")
            return connection.getresponse().read() == b"good"
        except (ssl.SSLError, ConnectionError):
            return False
        finally:
            connection.close()


class Grpc:
    """A server over gRPC."""

    serve = staticmethod(lambda certificates: over_grpc.serve(certificates=certificates))

    @staticmethod
    def ask(live, authority, pair=None):
        files = [None, None] if pair is None else [pair.key.read_bytes(), pair.cert.read_bytes()]
        credentials = grpc.ssl_channel_credentials(authority.cert.read_bytes(), *files)
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0)]
        with grpc.secure_channel(live.address, credentials, options) as channel:
            try:
                return over_grpc.unary(channel, "Echo")(b"good", timeout=PATIENCE) == b"good"
            except grpc.RpcError as error:
                if error.code() is not grpc.StatusCode.UNAVAILABLE:
                    raise
                return False


both = pytest.mark.parametrize("transport", [Http, Grpc])


@both
def test_a_client_that_trusts_the_authority_is_served(transport, ours, theirs):
    with transport.serve(Certificates(*ours.sign("server"))) as live:
        assert transport.ask(live, ours)
        assert not transport.ask(live, theirs)


@both
def test_a_client_needs_a_certificate_of_the_right_authority_that_has_not_expired(transport, ours, theirs):
    with transport.serve(Certificates(*ours.sign("server"), client_ca=theirs.cert)) as live:
        assert not transport.ask(live, ours)
        assert not transport.ask(live, ours, ours.sign("client"))
        assert not transport.ask(live, ours, theirs.sign("late", days=-1))
        assert transport.ask(live, ours, theirs.sign("client"))


@both
def test_a_renewed_certificate_counts_from_the_next_handshake(transport, ours, theirs, renewable):
    now = [0.0]
    with transport.serve(Certificates(*renewable, clock=lambda: now[0])) as live:
        assert transport.ask(live, ours)
        put(theirs.sign("second"), renewable)
        assert transport.ask(live, ours)  # it has looked a moment ago
        now[0] += 1
        assert transport.ask(live, theirs)
        assert not transport.ask(live, ours)


@both
def test_an_authority_of_clients_may_be_renewed_too(transport, ours, theirs, tmp_path):
    now = [0.0]
    authorities = tmp_path / "authorities.pem"
    shutil.copy(ours.cert, authorities)
    certificates = Certificates(*ours.sign("server"), authorities, clock=lambda: now[0])
    with transport.serve(certificates) as live:
        assert transport.ask(live, ours, ours.sign("client"))
        shutil.copy(theirs.cert, authorities)
        now[0] += 1
        assert transport.ask(live, ours, theirs.sign("client"))
        assert not transport.ask(live, ours, ours.sign("client"))


@both
def test_a_renewal_that_can_not_be_used_changes_nothing_and_is_told_once(
    transport, ours, theirs, renewable, caplog
):
    now = [0.0]
    with transport.serve(Certificates(*renewable, clock=lambda: now[0])) as live:
        good = renewable.cert.read_bytes(), renewable.key.read_bytes()
        for cert, key in (
            (theirs.sign("second").cert.read_bytes(), good[1]),  # the key is not there yet
            (b"nonsense", good[1]),
            (good[0], None),  # nor is any
        ):
            caplog.clear()
            renewable.cert.write_bytes(cert)
            if key is None:
                renewable.key.unlink()
            for _ in range(2):
                now[0] += 1
                assert transport.ask(live, ours)
            messages = [record.message for record in caplog.records if record.levelno == logging.ERROR]
            assert messages == ["a renewed certificate can't be used, the old one is"]
        put(theirs.sign("second"), renewable)
        now[0] += 1
        assert transport.ask(live, theirs)


def test_what_is_open_stays_open_through_a_renewal(ours, theirs, renewable):
    now = [0.0]
    certificates = Certificates(*renewable, clock=lambda: now[0])
    with over_grpc.serve(certificates=certificates) as live:
        credentials = grpc.ssl_channel_credentials(ours.cert.read_bytes())
        with grpc.secure_channel(live.address, credentials) as channel:
            echo = over_grpc.unary(channel, "Echo")
            assert echo(b"1", timeout=PATIENCE) == b"1"
            put(theirs.sign("second"), renewable)
            now[0] += 1
            assert Grpc.ask(live, theirs)
            assert echo(b"2", timeout=PATIENCE) == b"2"


@both
def test_one_file_may_hold_both(transport, ours, tmp_path):
    together = tmp_path / "both.pem"
    pair = ours.sign("server")
    together.write_bytes(pair.key.read_bytes() + pair.cert.read_bytes())
    with transport.serve(Certificates(together)) as live:
        assert transport.ask(live, ours)


def test_authorities_that_do_not_serve_are_named(ours, tmp_path):
    nonsense = tmp_path / "nonsense.pem"
    nonsense.write_text("nonsense")
    for path in (nonsense, tmp_path / "none.pem"):
        with pytest.raises(ConfigError, match=path.name):
            Certificates(*ours.sign("server"), path)


@pytest.mark.parametrize("first", [b"", b"\x16\x03\x01", b"GET / HTTP/1.1\r\n\r\n", b"\x00" * 100])
def test_a_handshake_that_does_not_go_on_is_cut(first, ours):
    with over_grpc.serve(certificates=Certificates(*ours.sign("server")), header_timeout=0.2) as live:
        with socket.create_connection(("127.0.0.1", live.port), PATIENCE) as half:
            half.sendall(first)
            try:
                while half.recv(4096):
                    pass
            except ConnectionResetError:
                pass
        assert Grpc.ask(live, ours)


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
def test_grpc_speaks_the_versions_that_http_does(version, ours):
    with over_grpc.serve(certificates=Certificates(*ours.sign("server"))) as live:
        context = ssl.create_default_context(cafile=str(ours.cert))
        context.set_alpn_protocols(["h2"])
        context.minimum_version = context.maximum_version = ssl.TLSVersion[version]
        with (
            socket.create_connection(("127.0.0.1", live.port), PATIENCE) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as sock,
        ):
            assert (sock.version(), sock.selected_alpn_protocol()) == (version.replace("_", "."), "h2")


def test_grpc_refuses_old_versions(ours):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    with (
        over_grpc.serve(certificates=Certificates(*ours.sign("server"))) as live,
        socket.create_connection(("127.0.0.1", live.port), PATIENCE) as plain,
        pytest.raises((ssl.SSLError, ConnectionResetError)),
    ):
        context.wrap_socket(plain)
