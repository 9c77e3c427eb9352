"""The settings as a list that can be walked: for loading, ``config show``, the docs and the JSON Schema.

Reads the dataclasses of ``settings`` and nothing else.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any, Final, get_type_hints

from dragoman.config.settings import Settings

#: What a setting's annotation is called where people read it.
KINDS: Final[dict[Any, str]] = {
    bool: "boolean",
    bool | None: "boolean or unset",
    int: "integer",
    int | None: "integer or unset",
    float: "number",
    str: "string",
    tuple[int, ...]: "list of integers",
    tuple[str, ...]: "list of strings",
}
#: A URL up to the end of its password.
PASSWORD: Final = re.compile(r"(://[^/?#@:]*:)[^/?#@]*@")
UNITS: Final = {"bytes": "size", "seconds": "duration"}


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting: ``type`` is a word of ``KINDS`` or ``UNITS``, the rest is what ``setting`` was told."""

    section: str
    key: str
    type: str
    default: Any
    help: str
    least: float | None = None
    most: float | None = None
    choices: tuple[str, ...] = ()
    secret: bool = False

    @property
    def name(self) -> str:
        """As in ``server.port``."""
        return f"{self.section}.{self.key}"


def sections() -> dict[str, type[Any]]:
    """The class of each section, in the order of the docs."""
    return get_type_hints(Settings)


def describe() -> Iterator[Setting]:
    """Every setting, section by section."""
    for section, group in sections().items():
        hints = get_type_hints(group)
        for field in fields(group):
            told = field.metadata
            yield Setting(
                section,
                field.name,
                UNITS[told["unit"]] if told["unit"] else KINDS[hints[field.name]],
                field.default,
                told["help"],
                told["least"],
                told["most"],
                told["choices"],
                told["secret"],
            )


def variable_name(section: str, key: str) -> str:
    """The environment variable of a setting: ``DRAGOMAN_SERVER__PORT``."""
    return f"DRAGOMAN_{section}__{key}".upper()


def secret_variables(environ: Mapping[str, str]) -> list[str]:
    """The variables of the environment that hold secrets, URLs with a password in them among these."""
    names = {variable_name(entry.section, entry.key): entry.secret for entry in describe()}
    return [
        name
        for name, secret in names.items()
        if name in environ and (secret or without_password(environ[name]) != environ[name])
    ]


def without_password(text: str) -> str:
    """A URL as it can be shown: ``postgresql://user:***@host/name``. Other texts stay as they are."""
    return PASSWORD.sub(r"\1***@", text)


def flag_name(section: str, key: str) -> str:
    """The flag of a setting: ``--port``, ``--max-batch``; of the other sections ``--log-level``."""
    words = key if section in ("server", "models") else f"{section}-{key}"
    return "--" + words.replace("_", "-")
