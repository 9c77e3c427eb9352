"""The addresses of a configuration: ``http://host:port``, ``https://...`` and ``unix:/path``. Pure."""

import ipaddress
import re
from dataclasses import dataclass
from typing import Final

from dragoman.errors import ConfigError

_ADDRESS: Final = re.compile(
    r"(?P<scheme>https?)://(?P<host>\[[0-9A-Fa-f:.]+\]|[^:/\[\]\s]+)(?::(?P<port>[0-9]{1,5}))?/?|unix:(?P<path>/\S.*)",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen: a host and port, or else the ``path`` of a Unix socket. Equal ones share a listener."""

    host: str = ""
    port: int = 0
    path: str = ""
    tls: bool = False

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"unix:{self.path}" if self.path else f"{'https' if self.tls else 'http'}://{host}:{self.port}"

    @property
    def free(self) -> bool:
        """Any port will do: so it is no other's."""
        return not self.path and self.port == 0

    @property
    def local(self) -> bool:
        """Only this machine gets here."""
        try:
            return bool(self.path) or self.host == "localhost" or ipaddress.ip_address(self.host).is_loopback
        except ValueError:  # a name: nobody knows where it leads
            return False


def parse_address(text: str, key: str, ports: tuple[int, int]) -> Address:
    """``ports`` are those of http and of https, for an address that names none. Raises ConfigError."""
    match = _ADDRESS.fullmatch(text)
    port = int(match["port"] or -1) if match else -1
    if match is None or port > 65_535:
        raise ConfigError(f"{key} is no address: {text!r}", hint="write http://127.0.0.1:8080 or unix:/path")
    if match["path"]:
        return Address(path=match["path"])
    tls = match["scheme"].lower() == "https"
    return Address(match["host"].strip("[]"), ports[tls] if port < 0 else port, tls=tls)
