"""Which URLs are taken, and that everybody reads the same in those that are."""

from urllib.parse import urlsplit

import pytest
import urllib3.util
from hypothesis import example, given
from hypothesis import strategies as st

from dragoman.errors import Code, RelativePath, SourceError, SourceNotFound, UrlNotAllowed
from dragoman.repository.sources.location import Url, is_name, is_url, parse_url

TAKEN = {
    "http://example.com/x.mar": ("http", "example.com", 80, "/x.mar", None),
    "https://example.com/a/b/x.mar": ("https", "example.com", 443, "/a/b/x.mar", None),
    "https://example.com:8443/x.mar": ("https", "example.com", 8443, "/x.mar", None),
    "https://a_b.example/x.mar?X-Amz=AKIA%2F1%2Fs3&b=/?": (
        "https", "a_b.example", 443, "/x.mar", "X-Amz=AKIA%2F1%2Fs3&b=/?",
    ),
    "http://192.0.2.7/x.mar": ("http", "192.0.2.7", 80, "/x.mar", None),
    "http://[2001:db8::1]:81/x.mar": ("http", "2001:db8::1", 81, "/x.mar", None),
    "http://[::ffff:127.0.0.1]/x.mar": ("http", "::ffff:127.0.0.1", 80, "/x.mar", None),
    "http://example.com/a%20b/%C3%BC/x.mar": ("http", "example.com", 80, "/a%20b/%C3%BC/x.mar", None),
    "http://example.com/@v1;a=b/x.mar": ("http", "example.com", 80, "/@v1;a=b/x.mar", None),
    "file:///models/x.mar": ("file", "", 0, "/models/x.mar", None),
    "s3://bucket/models/iris": ("s3", "bucket", 0, "/models/iris", None),
}  # fmt: skip

UP = [
    "http://example.com/../x.mar",
    "http://example.com/a/..",
    "http://example.com/..x.mar",
    "http://example.com/a..b/x.mar",
    "http://example.com/%2e%2e/x.mar",
    "http://example.com/%2E./x.mar",
    "http://example.com/.%2e/x.mar",
    "http://example.com/%252e%252e/x.mar",
    "http://example.com/..%2fx.mar",
    "http://example.com/..%5cx.mar",
    "http://example.com/..\\x.mar",
    "http://example.com/x.mar?a=../b",
    "file:///models/../etc/passwd",
    "file:///models/%2e%2e/etc/passwd",
    "s3://bucket/../other/x.mar",
    "FILE:///../etc/passwd",
    "https://../x.mar",
    "..://x",
]

REFUSED = [
    "",
    "http:",
    "http://",
    "http:///x.mar",
    "http://example.com",
    "http://example.com/",
    "http:/example.com/x.mar",
    "http:example.com/x.mar",
    "//example.com/x.mar",
    "://example.com/x.mar",
    ":x.mar",
    "\\\\example.com\\x.mar",
    "http:\\\\example.com\\x.mar",
    "http://example.com\\x.mar",
    "http://example.com\\@127.0.0.1/x.mar",
    "http://127.0.0.1\\.example.com/x.mar",
    "http://user@example.com/x.mar",
    "http://user:secret@example.com/x.mar",
    "http://example.com@127.0.0.1/x.mar",
    "http://@127.0.0.1/x.mar",
    "http://example.com#@127.0.0.1/x.mar",
    "http://example.com/x.mar#",
    "http://example.com/x.mar#fragment",
    "http://example.com?/x.mar",
    "HTTP://example.com/x.mar",
    "Http://example.com/x.mar",
    "http://EXAMPLE.com/x.mar",
    "FILE:///etc/passwd",
    "File:///etc/passwd",
    "file:/etc/passwd",
    "file:etc/passwd",
    "file://etc/passwd",
    "file://localhost/etc/passwd",
    "file://example.com/etc/passwd",
    "file:////etc/passwd",
    "file:///etc//passwd",
    "file:///etc/passwd?",
    "file:///models/%00x.mar",
    "file:///models/./x.mar",
    "file:///models/%ffx.mar",
    "file:///models/%2fetc/x.mar",
    "file:///models/%c0%ae%c0%ae/x.mar",
    "http://2130706433/x.mar",
    "http://0/x.mar",
    "http://0x7f000001/x.mar",
    "http://0x7f.1/x.mar",
    "http://127.1/x.mar",
    "http://127.0.1/x.mar",
    "http://0177.0.0.1/x.mar",
    "http://127.0.0.01/x.mar",
    "http://127.0.0.0x1/x.mar",
    "http://127.0.0.1./x.mar",
    "http://017700000001/x.mar",
    "http://1.2.3.4.5/x.mar",
    "http://256.1.1.1/x.mar",
    "http://example.1/x.mar",
    "http://127。0。0。1/x.mar",
    "http://①②⑦.⓪.⓪.①/x.mar",
    "http://exämple.com/x.mar",
    "http://example.com./x.mar",
    "http://.example.com/x.mar",
    "http://a..b/x.mar",
    "http://-a.com/x.mar",
    "http://a%2ecom/x.mar",
    "http://127%2e0.0.1/x.mar",
    "http://[::1/x.mar",
    "http://::1/x.mar",
    "http://[::1%25lo]/x.mar",
    "http://[fe80::1%eth0]/x.mar",
    "http://[:::1]/x.mar",
    "http://[127.0.0.1]/x.mar",
    "http://[v1.a]/x.mar",
    "http://example.com:/x.mar",
    "http://example.com:0/x.mar",
    "http://example.com:080/x.mar",
    "http://example.com:65536/x.mar",
    "http://example.com:80:81/x.mar",
    "http://example.com:80@127.0.0.1:81/x.mar",
    "http://example.com:１/x.mar",
    "http://example.com//x.mar",
    "http://example.com/a//x.mar",
    "http://example.com/a/./x.mar",
    "http://example.com/a/",
    "http://example.com/a b/x.mar",
    "http://example.com/x.mar ",
    " http://example.com/x.mar",
    "http://example.com/x.mar\n",
    "http://example.com/x\r\nHost: y/x.mar",
    "http://example.com/\tx.mar",
    "http://example.com/\0x.mar",
    "http://example.com/x.mar\0",
    "http://example.com/a%2fb/x.mar",
    "http://example.com/a%5cb/x.mar",
    "http://example.com/a%25b/x.mar",
    "http://example.com/%252fx/x.mar",
    "http://example.com/a%0d%0ab/x.mar",
    "http://example.com/%7fa/x.mar",
    "http://example.com/%61/x.mar",
    "http://example.com/%zz/x.mar",
    "http://example.com/%/x.mar",
    "http://example.com/x.mar?a=%0d%0a",
    "http://example.com/x.mar?a=\\",
    "http://example.com/x.mar?a=%5c",
    "http://example.com/x.mar?a=b c",
    "http://example.com/{x}/x.mar",
    "http://example.com/<x>/x.mar",
    "s3://bucket/x.mar?versionId=1",
    "s3://bucket:80/x.mar",
    "s3:///x.mar",
    "s3://127.0.0.1/x.mar",
    "s3://[::1]/x.mar",
    "s3://key:secret@bucket/x.mar",
    "simplecache::s3://bucket/x.mar",
    "C:\\x.mar",
    "http://example.com/" + "a" * 9_000,
    "http://" + "a" * 64 + ".com/x.mar",
    "http://" + "a." * 150 + "com/x.mar",
]

UNKNOWN = [
    "ftp://example.com/x.mar",
    "gopher://example.com/x.mar",
    "sftp://example.com/x.mar",
    "dict://example.com/x.mar",
    "jar://example.com/x.mar",
    "local:///etc/passwd",
    "zip://x/y",
    "reference://x/y",
    "github://x/y",
    "data://x/y",
]


@pytest.mark.parametrize("text", TAKEN)
def test_a_plain_url_is_taken_apart_as_it_stands(text: str) -> None:
    url = parse_url(text)
    assert (url.scheme, url.host, url.port, url.path, url.query) == TAKEN[text]
    assert url.text == text


@pytest.mark.parametrize("text", UP)
def test_a_url_that_goes_up_is_refused_as_such(text: str) -> None:
    with pytest.raises(RelativePath) as refused:
        parse_url(text)
    assert refused.value.location == text


@pytest.mark.parametrize("text", REFUSED)
def test_a_url_that_could_be_read_otherwise_is_refused(text: str) -> None:
    with pytest.raises(SourceError) as refused:
        parse_url(text)
    assert isinstance(refused.value, UrlNotAllowed | RelativePath)
    assert refused.value.code in (Code.FORBIDDEN, Code.INVALID_INPUT)


@pytest.mark.parametrize("text", UNKNOWN)
def test_a_scheme_that_nobody_knows_has_nothing(text: str) -> None:
    with pytest.raises(SourceNotFound):
        parse_url(text)


@pytest.mark.parametrize("text", [*TAKEN, *UP, *UNKNOWN, *(text for text in REFUSED if text)])
def test_whatever_looks_like_a_url_is_never_taken_for_a_name(text: str) -> None:
    assert is_url(text) or not is_name(text)


def test_what_may_be_secret_in_a_url_is_not_shown() -> None:
    url = parse_url("https://example.com/a/x.mar?sig=secret")
    assert url.shown == "https://example.com/a/x.mar"
    assert url.target == "/a/x.mar?sig=secret"
    assert url.name == "x.mar"


PIECES = st.sampled_from(
    ["http", "https", "file", "s3", "://", ":", "/", "//", "\\", "@", "#", "?", "&", "=", "%", "%2e", "%2F", "%25",
     "%c3%bc", "%41", "..", ".", "127.0.0.1", "2130706433", "0x7f", "017", "[", "]", "[::1]", "::ffff:127.0.0.1",
     "example.com", "EXAMPLE", "x.mar", "a", "-", "_", "~", "+", " ", "\n", "\t", "\0", "é", "８", "。", "80", "65536"]
)  # fmt: skip
URLS = st.one_of(
    st.builds("{}://{}{}/{}".format, st.sampled_from(["http", "https"]), st.sampled_from(["a.b", "[::1]", "1.2.3.4"]),
              st.sampled_from(["", ":1", ":65535"]), st.lists(PIECES, max_size=8).map("".join)),
    st.lists(PIECES, max_size=12).map("".join),
    st.text(max_size=40).map("http://example.com/{}".format),
)  # fmt: skip


@given(URLS)
@example("http://a.b/x.mar?/@:")
def test_whatever_is_taken_means_the_same_to_other_parsers(text: str) -> None:
    try:
        url = parse_url(text)
    except SourceError:
        return
    assert url.text == text
    assert text.isascii()
    assert text.isprintable()
    assert not set(text) & set(' \\#"<>^`{|}')
    assert ".." not in text
    if url.scheme in ("http", "https"):
        standard, other = urlsplit(text), urllib3.util.parse_url(text)
        assert (standard.scheme, standard.username, standard.fragment) == (url.scheme, None, "")
        assert standard.hostname == url.host == (other.host or "").strip("[]")
        assert (standard.port or url.port) == (other.port or url.port) == url.port
        assert standard.path == url.path
        assert (standard.query or "") == (url.query or "")
        assert other.request_uri.lower().rstrip("?") == url.target.lower().rstrip("?")


@given(st.text(max_size=30))
def test_names_in_a_store_stay_in_it(name: str) -> None:
    if is_name(name):
        assert "/" not in name
        assert "\\" not in name
        assert ".." not in name
        assert not name.startswith((".", "-"))
        assert name.isascii()
        assert name.isprintable()


def test_a_url_is_a_value() -> None:
    assert parse_url("http://a/x") == Url("http://a/x", "http", "a", 80, "/x", None)
