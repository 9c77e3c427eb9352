"""What the operator allows models to be fetched from. Pure: URLs and addresses in, yes or an error out."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_network

from dragoman.errors import ConfigError, UrlNotAllowed
from dragoman.repository.sources.addresses import Address, Network, is_allowed


@dataclass(frozen=True, slots=True)
class Rules:
    """``urls`` are matched against the whole URL; none, the default, allows none. ``networks`` may be entered
    although they are not public."""

    urls: tuple[re.Pattern[str], ...] = ()
    networks: tuple[Network, ...] = ()

    def check_url(self, url: str, location: str) -> None:
        """Raises UrlNotAllowed for a URL that no pattern matches; ``location`` is what was asked for."""
        if not any(pattern.fullmatch(url) for pattern in self.urls):
            raise UrlNotAllowed("the URL does not match any allowed URL", location)

    def allows(self, address: Address) -> bool:
        """Whether a connection may be made to the address."""
        return is_allowed(address, self.networks)


def parse_rules(allowed_urls: str, networks: Iterable[str] = ()) -> Rules:
    """Rules from an operator's texts: regular expressions with commas between them (as TorchServe has them, so
    that none can hold a comma itself), and networks such as ``10.1.0.0/16``. Raises ConfigError."""
    return Rules(
        tuple(_pattern(part.strip()) for part in allowed_urls.split(",") if part.strip()),
        tuple(_network(text) for text in networks),
    )


def _pattern(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except re.error as error:
        raise ConfigError(f"an allowed URL is no regular expression: {error}, got {text!r}") from None


def _network(text: str) -> Network:
    try:
        return ip_network(text)
    except ValueError as error:
        raise ConfigError(f"an allowed network must be like '10.1.0.0/16', got {text!r} ({error})") from None
