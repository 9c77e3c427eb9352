"""Models and changes as rows of the tables, read and written within somebody else's transaction.

What is read is held against its seal: rows that say something else than what was written are damage, never a model.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import fields
from itertools import groupby
from typing import Any, Final

import sqlalchemy as sa

from dragoman.errors import Conflict, StorageFailed
from dragoman.store.documents import decode_model, decode_time, encode_model, encode_time, seal
from dragoman.store.history import Change, Step
from dragoman.store.schema import changes, models, versions
from dragoman.store.state import Model, Version

_PLAIN: Final = [field.name for field in fields(Version) if field.name not in ("settings", "changed_at")]
_CHANGE: Final = ("model", "revision", "at", "who", "what", "restored")


class Damaged(StorageFailed):
    """What was read is not what was written."""

    def __init__(self, what: str) -> None:
        super().__init__(f"the state is damaged: {what} is not what was written")


def read_models(connection: sa.Connection, name: str | None = None) -> list[Model]:
    """The models there are, by name; or the one of that name. Raises Damaged."""
    # One statement: two could see two states, where a database doesn't keep a reader's picture.
    query = sa.select(models, *(column.label(f"v_{column.name}") for column in versions.c))
    query = query.join_from(models, versions, isouter=True).order_by(models.c.name, versions.c.place)
    if name is not None:
        query = query.where(models.c.name == name)
    found = connection.execute(query).mappings()
    groups = ((head, list(group)) for head, group in groupby(found, key=lambda row: str(row["name"])))
    return [model for head, group in groups if (model := _model(head, group)) is not None]


def read_revision(connection: sa.Connection, name: str) -> int:
    """How many changes the name has seen; 0 for one that never was a model."""
    return connection.scalar(sa.select(models.c.revision).where(models.c.name == name)) or 0


def write_model(connection: sa.Connection, name: str, revision: int, after: Model | None) -> None:
    """Make what there is of the name, at ``revision`` until now, what ``after`` says. Raises Conflict."""
    head = {
        "name": name,
        "revision": revision + 1,
        "default_version": after.default if after else "",
        "shadow_version": after.shadow if after else "",
        "seal": seal(encode_model(after)) if after else "",
    }
    if revision:
        same = (models.c.name == name) & (models.c.revision == revision)
        if connection.execute(sa.update(models).where(same).values(head)).rowcount != 1:
            raise Conflict(f"somebody else changed model {name!r} in between: look at it again")
    else:
        connection.execute(sa.insert(models).values(head))
    connection.execute(sa.delete(versions).where(versions.c.model == name))
    if after is not None:
        connection.execute(sa.insert(versions), list(_version_rows(after)))


def add_change(connection: sa.Connection, change: Change) -> None:
    """One more row in the history; its number is the database's to give."""
    row = {name: getattr(change, name) for name in _CHANGE} | {"at": encode_time(change.at)}
    documents = {"before": _document(change.before), "after": _document(change.after)}
    texts = {name: None if it is None else json.dumps(it) for name, it in documents.items()}
    connection.execute(sa.insert(changes).values(row | texts | {"seal": seal(row | documents)}))


def read_changes(connection: sa.Connection, query: sa.Select[Any]) -> list[Change]:
    """The changes that a query of the whole table selects. Raises Damaged."""
    return [_change(row) for row in connection.execute(query).mappings()]


def read_steps(connection: sa.Connection, name: str) -> list[Step]:
    """A model's changes from the first to the last, as far as rolling back is concerned."""
    exists = changes.c.after.is_not(None)
    query = sa.select(changes.c.number, changes.c.restored, exists).where(changes.c.model == name)
    found = connection.execute(query.order_by(changes.c.revision))
    return [Step(number, restored, bool(there)) for number, restored, there in found]


def check_all(connection: sa.Connection) -> None:
    """Raises Damaged unless every model can be read and is what its last change made of it."""
    read_models(connection)
    query = sa.select(models.c.name, models.c.revision, models.c.seal).order_by(models.c.name)
    last = sa.select(changes).join(
        models, (changes.c.model == models.c.name) & (changes.c.revision == models.c.revision)
    )
    made = {change.model: change for change in read_changes(connection, last)}
    heads = connection.execute(query).all()
    for name, revision, sealed in heads:
        change = made.get(name)
        if change is None or change.revision != revision or sealed != _seal_of(change.after):
            raise Damaged(f"model {name!r}")
    newest = sa.select(changes.c.model, sa.func.max(changes.c.revision)).group_by(changes.c.model)
    if {(name, revision) for name, revision, _ in heads} != set(map(tuple, connection.execute(newest))):
        raise Damaged("the history")


def _model(name: str, group: Sequence[sa.RowMapping]) -> Model | None:
    head = group[0]
    if not head["seal"] and head["v_version"] is None:
        return None
    try:
        model = Model(
            name=name,
            versions=tuple(_version(row) for row in group),
            default=head["default_version"],
            shadow=head["shadow_version"],
            revision=head["revision"],
        )
        whole = seal(encode_model(model)) == head["seal"]
    except (ValueError, TypeError, OverflowError, RecursionError):
        whole = False
    if not whole:
        raise Damaged(f"model {name!r}")
    return model


def _version(row: sa.RowMapping) -> Version:
    plain = {name: row[f"v_{name}"] for name in _PLAIN}
    return Version(
        **plain, settings=json.loads(row["v_settings"]), changed_at=decode_time(row["v_changed_at"])
    )


def _version_rows(model: Model) -> Iterator[dict[str, Any]]:
    for place, version in enumerate(model.versions):
        yield {name: getattr(version, name) for name in _PLAIN} | {
            "model": model.name,
            "place": place,
            "settings": json.dumps(version.settings),
            "changed_at": encode_time(version.changed_at),
        }


def _change(row: sa.RowMapping) -> Change:
    try:
        documents = {
            name: None if row[name] is None else json.loads(row[name]) for name in ("before", "after")
        }
        if seal({name: row[name] for name in _CHANGE} | documents) != row["seal"]:
            raise ValueError
        at = decode_time(row["at"])
        assert at is not None
        models_ = {name: None if it is None else decode_model(it) for name, it in documents.items()}
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise Damaged(f"change {row['number']}") from error
    return Change(
        number=row["number"],
        model=row["model"],
        revision=row["revision"],
        at=at,
        who=row["who"],
        what=row["what"],
        before=models_["before"],
        after=models_["after"],
        restored=row["restored"],
    )


def _document(model: Model | None) -> dict[str, Any] | None:
    return None if model is None else encode_model(model)


def _seal_of(model: Model | None) -> str:
    return "" if model is None else seal(encode_model(model))
