"""``dragoman keys``: keys for programs, and the keys that sign access tokens."""

import time
from typing import Annotated

import typer

from dragoman.cli.accounts import Models, Roles, Store, opened, operator, told, when
from dragoman.cli.failure import USAGE, Failure
from dragoman.cli.flags import AsJson, ConfigFile

_CREATE = """
Examples:

dragoman keys create --store accounts.db --name ci --role infer --model 'iris-*' --rate 50 --expires 90d

dragoman keys create --role read --name prometheus
"""
_LIST = "\nExamples:\n\ndragoman keys list --store accounts.db\n"
_REVOKE = "\nExamples:\n\ndragoman keys revoke 14a92581 --store accounts.db\n"
_ROTATE = "\nExamples:\n\ndragoman keys rotate --store accounts.db --at-once\n"

keys = typer.Typer(no_args_is_help=True, help="Keys for programs, and the keys that sign access tokens.")


@keys.command("create", epilog=_CREATE)
def create(
    role: Roles = None,
    model: Models = None,
    name: Annotated[str, typer.Option(metavar="NAME", help="What it is for; for people.")] = "",
    expires: Annotated[str, typer.Option(metavar="TIME", help="Good for so long, as in 90d or 12h.")] = "",
    rate: Annotated[float, typer.Option(metavar="N", min=0, help="Requests a second; 0 is no limit.")] = 0.0,
    burst: Annotated[int, typer.Option(metavar="N", min=0, help="Of them at once; 0 is a second's.")] = 0,
    daily: Annotated[int, typer.Option(metavar="N", min=0, help="Requests a day, UTC; 0 is no limit.")] = 0,
    monthly: Annotated[int, typer.Option(metavar="N", min=0, help="Requests a month; 0 is no limit.")] = 0,
    store: Store = "",
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Make a key and print it, once: only its digest is kept. Without --role it is for inference."""
    from dragoman.cli import output
    from dragoman.protocols.accounts.codec import encode_key
    from dragoman.store.accounts import Key

    wanted = Key(
        name=name,
        roles=frozenset(role or ["infer"]),
        models=tuple(model or ["*"]),
        expires=time.time() + _seconds(expires) if expires else 0.0,
        rate=rate,
        burst=burst,
        daily=daily,
        monthly=monthly,
    )
    with opened(store, config) as registrar:
        key, text = registrar.create_key(wanted, operator())
    if as_json:
        output.print_json({**encode_key(key), "key": text})
    else:
        print(text)


@keys.command("list", epilog=_LIST)
def list_keys(store: Store = "", config: ConfigFile = None, as_json: AsJson = False) -> None:
    """List the keys: what each is for, its limits, when it was used last. None of them is shown."""
    from dragoman.cli import output
    from dragoman.protocols.accounts.codec import encode_key

    with opened(store, config) as registrar:
        found = registrar.look().keys
    if as_json:
        output.print_json([encode_key(key) for key in found])
        return
    rows = [
        (
            key.id,
            output.text(key.name),
            " ".join(sorted(key.roles)),
            output.text(" ".join(key.models)),
            when(key.created),
            "revoked" if key.revoked else when(key.expires) or "never",
            when(key.used) or "never",
        )
        for key in found
    ]
    columns = ("id", "name", "roles", "models", "created", "expires", "used")
    output.console().print(output.table(columns, rows))


@keys.command("revoke", epilog=_REVOKE)
def revoke(
    id_: Annotated[str, typer.Argument(metavar="ID", help="The key's id, which is its second part.")],
    store: Store = "",
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Let a key open nothing any more; servers hear of it within a second."""
    with opened(store, config) as registrar:
        registrar.revoke_key(id_, operator())
    told({"id": id_, "revoked": True}, f"{id_} is revoked", as_json)


@keys.command("rotate", epilog=_ROTATE)
def rotate(
    at_once: Annotated[
        bool, typer.Option("--at-once", help="Tokens that are out are worth nothing, too: after a leak.")
    ] = False,
    store: Store = "",
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Sign access tokens with a new key. Without --at-once those that are out stay good until they expire."""
    with opened(store, config) as registrar:
        key = registrar.rotate(operator(), at_once=at_once)
    told({"id": key.id}, f"access tokens are signed with the new key {key.id}", as_json)


def _seconds(text: str) -> float:
    from dragoman.config.values import duration

    try:
        return duration(text)
    except ValueError:
        raise Failure(f"--expires takes a time such as 90d or 12h, got {text!r}", code=USAGE) from None
