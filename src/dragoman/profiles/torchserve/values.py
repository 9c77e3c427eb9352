"""The texts of a configuration as what their keys take, or the sentence that says what was expected. Pure."""

import json
import re
from collections.abc import Mapping
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Any, Final

from dragoman.errors import ConfigError
from dragoman.profiles.torchserve.keys import BY_NAME

Network = IPv4Network | IPv6Network

#: Switches that open or close something: whoever misspells ``true`` there should know.
_SWITCHES: Final = ("disable_token_authorization", "enable_model_api", "enable_envvars_config")


def truth(text: str) -> bool:
    """As Java's parseBoolean, but blind to blanks around the word."""
    return text.strip().lower() == "true"


class Values:
    """Values by the type their reader wants; a key that isn't there has the table's default."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values
        self.warnings: list[str] = []
        for name in _SWITCHES:
            if self.text(name).lower() not in ("true", "false", ""):
                self.warnings.append(f"{name}={self.text(name)} means false: only true means true")

    def text(self, name: str) -> str:
        return self._values.get(name, BY_NAME[name].default).strip()

    def path(self, name: str, directory: Path) -> str:
        return str(directory / self.text(name)) if self.text(name) else ""

    def boolean(self, name: str) -> bool:
        return truth(self.text(name))

    def integer(self, name: str, empty: int | None = None, *, least: int = 0) -> int:
        text = self.text(name)
        if not text and empty is not None:
            return empty
        if re.fullmatch(r"[+-]?[0-9]{1,10}", text) is None or int(text) < least:
            raise ConfigError(f"{name} must be a whole number, at least {least}, got {text!r}")
        return int(text)

    def number(self, name: str) -> float:
        text = self.text(name)
        if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{0,12})?", text) is None:
            raise ConfigError(f"{name} must be a number, at least 0, got {text!r}")
        return float(text)

    def choice(self, name: str, choices: tuple[str, ...]) -> str:
        text = self.text(name)
        if text.lower() not in choices:
            known = ", ".join(choice for choice in choices if choice)
            raise ConfigError(f"{name} must be one of {known}, got {text!r}")
        return text.lower()

    def header(self, name: str) -> str:
        """The name of an HTTP header: a token of RFC 9110."""
        text = self.text(name)
        if re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", text) is None:
            raise ConfigError(f"{name} must be the name of a header, got {text!r}")
        return text

    def pattern(self, name: str) -> re.Pattern[str] | None:
        return _compile(name, self.text(name)) if self.text(name) else None

    def patterns(self, name: str) -> tuple[re.Pattern[str], ...]:
        return tuple(_compile(name, part.strip()) for part in self.text(name).split(",") if part.strip())

    def networks(self, name: str) -> tuple[Network, ...]:
        texts = [part.strip() for part in self.text(name).split(",") if part.strip()]
        try:
            return tuple(ip_network(text) for text in texts)
        except ValueError as error:
            raise ConfigError(f"{name} must be networks such as 10.1.0.0/16, by commas: {error}") from None

    def table(self, name: str) -> dict[str, Any]:
        text = self.text(name)
        if not text:
            return {}
        try:
            table = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ConfigError(f"{name} is not JSON: {error}") from None
        if not isinstance(table, dict):
            raise ConfigError(f"{name} must be a JSON object, got {text[:40]!r}")
        return table


def _compile(name: str, expression: str) -> re.Pattern[str]:
    try:
        return re.compile(expression)
    except re.error as error:
        raise ConfigError(f"{name} is no regular expression: {error}, got {expression!r}") from None
