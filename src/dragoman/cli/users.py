"""``dragoman users``: people who log in with a name and a password."""

import sys
from typing import Annotated

import typer

from dragoman.cli.accounts import Models, Roles, Store, opened, operator, told, when
from dragoman.cli.failure import USAGE, Failure
from dragoman.cli.flags import AsJson, ConfigFile

_ADD = """
Examples:

dragoman users add ann --role read --role manage --store accounts.db

pass show dragoman/ann | dragoman users add ann --role infer --model 'iris-*' --password-stdin
"""
_LIST = "\nExamples:\n\ndragoman users list --store accounts.db\n"
_PASSWD = "\nExamples:\n\ndragoman users passwd ann --store accounts.db\n"
_CHANGE = "\nExamples:\n\ndragoman users change ann --role read --store accounts.db\n"
_DISABLE = "\nExamples:\n\ndragoman users disable ann --store accounts.db\n"
_ENABLE = "\nExamples:\n\ndragoman users enable ann --store accounts.db\n"
_REMOVE = "\nExamples:\n\ndragoman users remove ann --store accounts.db\n"

users = typer.Typer(no_args_is_help=True, help="People who log in with a name and a password.")

Name = Annotated[str, typer.Argument(metavar="NAME", help="The user's name.")]
Stdin = Annotated[
    bool, typer.Option("--password-stdin", help="Read the password from standard input instead of asking.")
]


@users.command("add", epilog=_ADD)
def add(
    name: Name,
    role: Roles = None,
    model: Models = None,
    password_stdin: Stdin = False,
    store: Store = "",
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Add a user; the password is asked for. Without --role for inference only."""
    from dragoman.protocols.accounts.codec import encode_user

    password = _password(password_stdin)
    with opened(store, config) as registrar:
        user = registrar.add_user(name, password, role or ["infer"], model or ["*"], operator())
    told(dict(encode_user(user)), f"{name} may {', '.join(sorted(user.roles))}", as_json)


@users.command("list", epilog=_LIST)
def list_users(store: Store = "", config: ConfigFile = None, as_json: AsJson = False) -> None:
    """List the users: roles, models, and who is disabled."""
    from dragoman.cli import output
    from dragoman.protocols.accounts.codec import encode_user

    with opened(store, config) as registrar:
        found = [user for _, user in sorted(registrar.look().users.items())]
    if as_json:
        output.print_json([encode_user(user) for user in found])
        return
    rows = [
        (
            user.name,
            " ".join(sorted(user.roles)),
            output.text(" ".join(user.models)),
            when(user.created),
            "disabled" if user.disabled else "",
        )
        for user in found
    ]
    output.console().print(output.table(("name", "roles", "models", "created", ""), rows))


@users.command("passwd", epilog=_PASSWD)
def passwd(
    name: Name,
    password_stdin: Stdin = False,
    store: Store = "",
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Give a user another password; whoever is logged in as it is out."""
    _change(name, f"{name} has another password", store, config, as_json, password=_password(password_stdin))


@users.command("change", epilog=_CHANGE)
def change(
    name: Name,
    role: Roles = None,
    model: Models = None,
    store: Store = "",
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Give a user other roles or models; it counts at once."""
    if not role and not model:
        raise Failure("change what?", hint="--role read, or --model 'iris-*'", code=USAGE)
    _change(name, f"{name} is changed", store, config, as_json, roles=role or None, models=model or None)


@users.command("disable", epilog=_DISABLE)
def disable(name: Name, store: Store = "", config: ConfigFile = None, as_json: AsJson = False) -> None:
    """Keep a user, and let it do nothing; whoever is logged in as it is out."""
    _change(name, f"{name} is disabled", store, config, as_json, disabled=True)


@users.command("enable", epilog=_ENABLE)
def enable(name: Name, store: Store = "", config: ConfigFile = None, as_json: AsJson = False) -> None:
    """Let a user log in again that was disabled."""
    _change(name, f"{name} is enabled", store, config, as_json, disabled=False)


@users.command("remove", epilog=_REMOVE)
def remove(name: Name, store: Store = "", config: ConfigFile = None, as_json: AsJson = False) -> None:
    """Remove a user; what it did stays in the audit."""
    with opened(store, config) as registrar:
        registrar.remove_user(name, operator())
    told({"name": name, "removed": True}, f"{name} is removed", as_json)


def _change(name: str, line: str, store: str, config: ConfigFile, as_json: bool, **wanted: object) -> None:
    from dragoman.protocols.accounts.codec import encode_user
    from dragoman.users.registrar import UserChange

    with opened(store, config) as registrar:
        user = registrar.change_user(name, UserChange(**wanted), operator())  # type: ignore[arg-type]
    told(dict(encode_user(user)), line, as_json)


def _password(from_stdin: bool) -> str:
    """Never from the command line, which every process of the machine can read."""
    if from_stdin or not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n")
    password: str = typer.prompt("Password", hide_input=True, confirmation_prompt=True)
    return password
