"""Options that commands share, and a flag for every setting, made from the settings' own table.

Knows no command.
"""

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from dragoman.config import Setting, describe, flag_name

#: Where ``--help`` lists the flags of a section.
PANELS: Final = {
    "server": "Server",
    "models": "Models (defaults; a model.toml beside a model wins)",
    "management": "Management",
    "auth": "Who may",
    "openai": "OpenAI's API",
    "payloads": "Payload log",
    "log": "Log",
    "limits": "Limits",
    "grpc": "gRPC",
    "cache": "Cache of answers",
    "predictions": "Stored predictions",
    "jobs": "Jobs",
    "monitoring": "Monitoring",
    "tracing": "Tracing",
}
#: Flags that people type under another name as well.
ALIASES: Final[Mapping[str, str]] = {"log.access": "--access-log"}

DEFAULT_URL: Final = "http://127.0.0.1:8080"

Flags = dict[str, Any]
Url = Annotated[str, typer.Option(metavar="URL", help="Address of a running server.")]
Key = Annotated[
    str,
    typer.Option(
        metavar="SECRET",
        help="The server's management.key.",
        envvar="DRAGOMAN_MANAGEMENT__KEY",
        show_envvar=True,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
ConfigFile = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="TOML file of settings; without it dragoman.toml, if there is one."),
]


def with_settings(command: Callable[..., None]) -> Callable[..., None]:
    """Gives ``command`` an option for each setting, and calls it with ``flags`` as ``config.load`` takes them."""
    entries = {f"{entry.section}_{entry.key}": entry for entry in _entries()}

    def run(**values: Any) -> None:
        flags = {entry.name: _joined(values.pop(name)) for name, entry in entries.items()}
        command(flags=flags, **values)

    signature = inspect.signature(command, eval_str=True)
    own = [parameter for parameter in signature.parameters.values() if parameter.name != "flags"]
    options = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=_option(entry))
        for name, entry in entries.items()
    ]
    run.__signature__ = signature.replace(parameters=[*own, *options])  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in (*own, *options)}
    run.__name__, run.__doc__ = command.__name__, command.__doc__
    return run


def _entries() -> list[Setting]:
    return sorted(describe(), key=lambda entry: list(PANELS).index(entry.section))


def _option(entry: Setting) -> Any:
    name = flag_name(entry.section, entry.key)
    boolean = entry.type.startswith("boolean")
    names = [f"{name}/--no-{name.removeprefix('--')}" if boolean else name]
    if entry.name in ALIASES:
        names.append(ALIASES[entry.name])
    option = typer.Option(
        *names,
        help=entry.help,
        rich_help_panel=PANELS[entry.section],
        metavar=None if boolean else _metavar(entry),
        show_default=_default(entry),
    )
    if entry.type == "list of strings":
        return Annotated[list[str] | None, option]
    return Annotated[(bool if boolean else str) | None, option]


def _joined(value: Any) -> Any:
    """A flag that may be given again and again is as one with commas."""
    return (",".join(value) or None) if isinstance(value, list) else value


def _metavar(entry: Setting) -> str:
    if entry.choices:
        return entry.key.upper()
    return {"list of integers": "1,2,…", "list of strings": "NAME"}.get(entry.type, entry.type).upper()


def _default(entry: Setting) -> str | bool:
    if entry.default in ("", (), None):
        return False
    if isinstance(entry.default, bool):
        return "on" if entry.default else "off"
    return f"{entry.default:g}" if isinstance(entry.default, float) else str(entry.default)
