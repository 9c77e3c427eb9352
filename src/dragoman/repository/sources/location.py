"""What a client said a model is to be had from, read once. Pure: resolves no name and opens no file.

A URL is taken only in a form that can't be read in two ways: what the rules see is, character for character,
what is fetched. So there is no user, no fragment, no backslash, no ``..``, nothing encoded that needn't be or that
would be something else when it is decoded again; scheme and host are lower case, an address is written the usual way.
"""

import re
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Final
from urllib.parse import unquote

from dragoman.errors import RelativePath, SourceNotFound, UrlNotAllowed

#: Schemes that fsspec fetches, and the extra that brings each one's library.
OBJECT_STORES: Final = {
    "s3": "s3",
    "gs": "gs",
    "gcs": "gs",
    "az": "az",
    "abfs": "az",
    "memory": "remote",
}
PORTS: Final = {"http": 80, "https": 443}
SCHEMES: Final = ("file", *PORTS, *OBJECT_STORES)
LONGEST: Final = 8_192

#: RFC 3986: pchar is unreserved, sub-delims, ":", "@" or an encoded octet.
_PCHAR: Final = r"(?:[A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2})"
_URL: Final = re.compile(
    rf"(?P<scheme>[a-z][a-z0-9+.-]*)://(?P<host>[a-z0-9._-]*|\[[0-9a-f:.]+\])(?::(?P<port>[1-9][0-9]{{0,4}}))?"
    rf"(?P<path>(?:/{_PCHAR}+)+)(?:\?(?P<query>(?:{_PCHAR}|[/?])*))?"
)
_LABEL: Final = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
#: What WHATWG's URL standard takes for an address: the last part is a number, of whatever base.
_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")
#: Encoded, these would be a separator, an encoding or the end of something once they are decoded.
_NEVER_ENCODED: Final = re.compile(r"[A-Za-z0-9._~/\\%\x00-\x1f\x7f-]")
#: A file's name in the store: not hidden, and nothing that has a meaning in a path, a shell or a URL.
_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+=@-]{0,199}")
_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:|:|//")


@dataclass(frozen=True, slots=True)
class Url:
    """A URL that was taken. ``text`` is all of it, as written; ``host`` has no brackets; ``port`` 0 is none."""

    text: str
    scheme: str
    host: str
    port: int
    path: str
    query: str | None

    @property
    def name(self) -> str:
        """What it will be called in the store."""
        return self.path.rpartition("/")[2]

    @property
    def shown(self) -> str:
        """The URL without its query, which may be a signature: for logs, messages and the records."""
        return self.text.partition("?")[0]

    @property
    def target(self) -> str:
        """What is asked of an HTTP server."""
        return self.path if self.query is None else f"{self.path}?{self.query}"


def is_url(location: str) -> bool:
    """Whether the location is meant as a URL, even a strange one; otherwise it is a name or a path."""
    return _SCHEME.match(location) is not None or "://" in location


def is_name(name: str) -> bool:
    """Whether something in the store may be called so."""
    return _NAME.fullmatch(name) is not None and ".." not in name


def parse_url(location: str) -> Url:
    """The URL in its parts. Raises RelativePath, UrlNotAllowed, or SourceNotFound for a scheme nobody knows."""
    refused = UrlNotAllowed("the URL is not written the way this server takes it", location)
    if len(location) > LONGEST:
        raise UrlNotAllowed(f"the URL has more than {LONGEST} characters", location)
    if goes_up(location):
        raise RelativePath("the location must not have '..' in it", location)
    match = _URL.fullmatch(location)
    if match is None:
        raise refused
    url = Url(
        location,
        match["scheme"],
        match["host"].strip("[]"),
        int(match["port"] or 0),
        match["path"],
        match["query"],
    )
    if url.scheme not in SCHEMES:
        raise SourceNotFound(f"models are not fetched by {url.scheme}", location)
    if not (_host_fits(url, match["host"]) and _port_fits(url) and _path_fits(url)):
        raise refused
    return Url(location, url.scheme, url.host, url.port or PORTS.get(url.scheme, 0), url.path, url.query)


def goes_up(location: str) -> bool:
    """Whether it has ``..`` in it, as it stands or decoded. (An encoded ``%`` is refused by itself.)"""
    return ".." in location or ".." in unquote(location) or ".." in unquote(unquote(location))


def _host_fits(url: Url, written: str) -> bool:
    if url.scheme == "file":
        return not written
    if written.startswith("["):
        return url.scheme in PORTS and _is_address(IPv6Address, url.host)
    labels = url.host.split(".")
    if _NUMBER.fullmatch(labels[-1]):
        return url.scheme in PORTS and _is_address(IPv4Address, url.host)
    return len(url.host) <= 253 and all(_LABEL.fullmatch(label) for label in labels)


def _is_address(kind: type[IPv4Address] | type[IPv6Address], host: str) -> bool:
    try:
        kind(host)
    except AddressValueError:
        return False
    return True


def _port_fits(url: Url) -> bool:
    """Ports and queries are for HTTP; elsewhere they would be part of a name, or of nothing."""
    return url.port <= 65_535 if url.scheme in PORTS else not url.port and url.query is None


def _path_fits(url: Url) -> bool:
    encoded = re.findall("%[0-9A-Fa-f]{2}", url.path)
    in_query = re.findall("%[0-9A-Fa-f]{2}", url.query or "")
    return (
        not any(_NEVER_ENCODED.fullmatch(_octet(one)) for one in encoded)
        and not any(_octet(one) < " " or _octet(one) in "\x7f\\" for one in in_query)
        and "." not in url.path.split("/")
        and _is_text(url.path)
    )


def _is_text(path: str) -> bool:
    try:
        unquote(path, errors="strict")
    except UnicodeDecodeError:
        return False
    return True


def _octet(encoded: str) -> str:
    return chr(int(encoded[1:], 16))
