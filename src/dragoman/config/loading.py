"""One TOML file, then the environment, then flags: the later wins, and each value knows where it came from.

Pure apart from reading the one file: the environment and the flags are handed in.
"""

import difflib
import re
import tomllib
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from dragoman.config.description import describe, flag_name, sections, variable_name
from dragoman.config.settings import ModelSettings, Settings
from dragoman.config.values import convert
from dragoman.errors import ConfigError

PREFIX: Final = "DRAGOMAN_"
#: Read from the working directory when the operator names no file.
DEFAULT_FILE: Final = Path("dragoman.toml")

Found = tuple[str, Any, str]  # "server.port", its value, where it came from


@dataclass(frozen=True, slots=True)
class Loaded:
    """The settings, and for each ("server.port") where it came from: "default", "file dragoman.toml",
    "environment DRAGOMAN_SERVER__PORT" or "flag --port"."""

    settings: Settings
    origin: dict[str, str]


def load(file: Path | None, environ: Mapping[str, str], flags: Mapping[str, Any]) -> Loaded:
    """Everything the operator said, on top of the defaults.

    ``flags`` is keyed as ``server.port``; a flag that is ``None`` was not given. Raises ConfigError for a
    file that can't be read, a name that isn't known and a value that isn't what the setting takes.
    """
    values = {entry.name: entry.default for entry in describe()}
    origin = dict.fromkeys(values, "default")
    for source in (_from_file(file), _from_environment(environ), _from_flags(flags)):
        for name, value, where in source:
            values[name], origin[name] = value, where
    groups = {
        section: group(**{entry.key: values[entry.name] for entry in describe() if entry.section == section})
        for section, group in sections().items()
    }
    settings = Settings(**groups)
    _check_together(settings)
    return Loaded(settings, origin)


def model_settings(
    table: Mapping[str, Any], defaults: ModelSettings, where: str, also: Collection[str] = ()
) -> ModelSettings:
    """``defaults`` overridden by the keys of a ``model.toml``, which may hold the keys ``also`` as well."""
    known = {entry.key: entry for entry in describe() if entry.section == "models"}
    changes = {}
    for key, raw in table.items():
        if key not in known:
            raise ConfigError(f"unknown key {key!r} ({where})", hint=suggest(key, [*known, *also]))
        changes[key] = convert(replace(known[key], section="model"), raw, where)
    return replace(defaults, **changes)


def suggest(word: str, known: Iterable[str]) -> str:
    """``did you mean 'port'?`` or what there is."""
    names = list(known)
    near = difflib.get_close_matches(word, names, n=1)
    return f"did you mean {near[0]!r}?" if near else "known: " + ", ".join(names)


def parse_toml(file: Path, where: str) -> dict[str, Any]:
    """The file's tables, or a ConfigError that says what is wrong with it."""
    try:
        return tomllib.loads(file.read_bytes().decode())
    except OSError as error:
        raise ConfigError(f"can't read {where}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{where} is not UTF-8 text") from error
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError(f"{where} is not TOML: {error}") from error


def _from_file(file: Path | None) -> Iterator[Found]:
    if file is None and not DEFAULT_FILE.is_file():
        return
    where = f"file {file or DEFAULT_FILE}"
    for section, table in parse_toml(file or DEFAULT_FILE, where).items():
        _check_section(section, where)
        if not isinstance(table, dict):
            raise ConfigError(
                f"{section} must be a table, got {table!r} ({where})", hint=f"write [{section}]"
            )
        for key, raw in table.items():
            yield _read(section, key, raw, where)


def _from_environment(environ: Mapping[str, str]) -> Iterator[Found]:
    for variable, raw in sorted(environ.items()):
        if not variable.startswith(PREFIX) or "__" not in variable:
            continue
        section, _, key = variable.removeprefix(PREFIX).partition("__")
        where = f"environment {variable}"
        known = [variable_name(entry.section, entry.key) for entry in describe()]
        if variable not in known:
            raise ConfigError(f"unknown setting ({where})", hint=suggest(variable, known))
        yield _read(section.lower(), key.lower(), raw, where, text=True)


def _from_flags(flags: Mapping[str, Any]) -> Iterator[Found]:
    for name, raw in flags.items():
        section, _, key = name.partition(".")
        where = f"flag {flag_name(section, key)}"
        if raw is not None:
            _check_section(section, where)
            yield _read(section, key, raw, where, text=True)


def _check_section(section: str, where: str) -> None:
    if section in sections():
        return
    homes = [entry.section for entry in describe() if entry.key == section]
    hint = f"{section!r} belongs in [{homes[0]}]" if homes else suggest(section, sections())
    raise ConfigError(f"unknown section {section!r} ({where})", hint=hint)


def _read(section: str, key: str, raw: Any, where: str, *, text: bool = False) -> Found:
    known = {entry.key: entry for entry in describe() if entry.section == section}
    if key not in known:
        raise ConfigError(f"unknown key {section}.{key} ({where})", hint=suggest(key, known))
    return f"{section}.{key}", convert(known[key], raw, where, text=text), where


def _check_together(settings: Settings) -> None:
    if bool(settings.server.tls_cert) != bool(settings.server.tls_key):
        given, lacking = ("tls_cert", "tls_key") if settings.server.tls_cert else ("tls_key", "tls_cert")
        raise ConfigError(f"server.{given} needs server.{lacking} too")
    server = settings.server
    if server.load_model and server.control != "explicit":
        raise ConfigError(
            "server.load_model is for server.control = 'explicit'", hint="all models are loaded otherwise"
        )
    if "*" in server.load_model and len(server.load_model) > 1:
        raise ConfigError("server.load_model is '*' or names, not both")
    if server.control == "explicit" and server.processes > 1:
        raise ConfigError(
            "server.control = 'explicit' needs server.processes = 1",
            hint="a request to load a model reaches one process only; use control = 'poll' with several",
        )
    if server.client_shm and server.processes > 1:
        raise ConfigError(
            "server.client_shm needs server.processes = 1",
            hint="a request to register memory reaches one process only",
        )
    if settings.models.execution == "ray" and server.processes > 1:
        raise ConfigError(
            "models.execution = 'ray' needs server.processes = 1",
            hint="each process would have replicas of its own; give the one process more instances",
        )
    if re.search(r"\s", settings.management.key):
        raise ConfigError("management.key has a blank in it, which no client can send")
    if settings.server.tls_client_ca and not settings.server.tls_cert:
        raise ConfigError("server.tls_client_ca needs server.tls_cert and server.tls_key too")
