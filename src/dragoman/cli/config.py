"""``dragoman config``: the settings as a server would take them, and the schema of their file."""

import json
import os
from typing import Annotated, Any, Final

import typer

from dragoman.cli.flags import AsJson, ConfigFile
from dragoman.config import Loaded, Setting, Settings, describe, json_schema, load, without_password

SHOW_EXAMPLES = """
Examples:

dragoman config show --origin

dragoman config show > dragoman.toml
"""
SCHEMA_EXAMPLES = """
Examples:

dragoman config schema > dragoman.schema.json
"""
#: In the place of secrets.
_HIDDEN: Final = "(hidden)"

config = typer.Typer(no_args_is_help=True, help="Show the settings, and the schema of their file.")


@config.command("show", epilog=SHOW_EXAMPLES)
def show(
    origin: Annotated[bool, typer.Option("--origin", help="Say where each value came from.")] = False,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Print every setting, from defaults, file and environment, as a TOML file."""
    loaded = load(config, os.environ, {})
    if as_json:
        print(json.dumps(_document(loaded, origin), indent=2))
    else:
        print(_toml(loaded, origin))


@config.command("schema", epilog=SCHEMA_EXAMPLES)
def schema() -> None:
    """Print the JSON Schema of dragoman.toml, for editors."""
    print(json.dumps(json_schema(), indent=2))


def _document(loaded: Loaded, origin: bool) -> dict[str, Any]:
    document: dict[str, Any] = {}
    for section, key, value, where in _walk(loaded):
        table = document.setdefault(section, {})
        table[key] = {"value": value, "origin": where} if origin else value
    return document


def _toml(loaded: Loaded, origin: bool) -> str:
    lines: list[str] = []
    last = ""
    for section, key, value, where in _walk(loaded):
        if section != last:
            lines += ["", f"[{section}]"] if last else [f"[{section}]"]
            last = section
        line = _line(key, value)
        lines.append(f"{line:<40} # {where}" if origin else line)
    return "\n".join(lines)


def _line(key: str, value: Any) -> str:
    """JSON's texts, numbers, booleans and lists are TOML's; what is unset has no value in TOML."""
    if value is None:
        return f"# {key} is unset"
    if value is _HIDDEN:
        return f"# {key} is set, and not shown"
    return f"{key} = {json.dumps(value, ensure_ascii=False)}"


def _walk(loaded: Loaded) -> list[tuple[str, str, Any, str]]:
    return [
        (entry.section, entry.key, _value(entry, loaded.settings), loaded.origin[entry.name])
        for entry in describe()
    ]


def _value(entry: Setting, settings: Settings) -> Any:
    value = getattr(getattr(settings, entry.section), entry.key)
    if entry.secret and value:
        return _HIDDEN
    return without_password(value) if isinstance(value, str) else value
