"""The tables, as the queries know them. How they came to be is told by ``migrations``.

::

    dragoman_models    a row for every name that ever was one; without versions there is no model now
    dragoman_versions  the versions that there are
    dragoman_changes   what was changed, by whom and when, before and after: rows are added, never changed

``seal`` is the seal of a model's document, "" where there is no model: what the rows say must be what was written.
"""

from typing import Final

import sqlalchemy as sa

metadata: Final = sa.MetaData()

schema: Final = sa.Table(
    "dragoman_schema",
    metadata,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("applied_at", sa.BigInteger, nullable=False),
)

models: Final = sa.Table(
    "dragoman_models",
    metadata,
    sa.Column("name", sa.String(255), primary_key=True),
    sa.Column("revision", sa.Integer, nullable=False),
    sa.Column("default_version", sa.String(255), nullable=False),
    sa.Column("shadow_version", sa.String(255), nullable=False),
    sa.Column("seal", sa.String(64), nullable=False),
)

versions: Final = sa.Table(
    "dragoman_versions",
    metadata,
    sa.Column("model", sa.String(255), sa.ForeignKey("dragoman_models.name"), primary_key=True),
    sa.Column("version", sa.String(255), primary_key=True),
    sa.Column("place", sa.Integer, nullable=False),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("digest", sa.Text, nullable=False),
    sa.Column("path", sa.Text, nullable=False),
    sa.Column("runtime", sa.Text, nullable=False),
    sa.Column("handler", sa.Text, nullable=False),
    sa.Column("settings", sa.Text, nullable=False),
    sa.Column("loaded", sa.Boolean, nullable=False),
    sa.Column("min_instances", sa.Integer, nullable=False),
    sa.Column("max_instances", sa.Integer, nullable=False),
    sa.Column("weight", sa.Integer, nullable=False),
    sa.Column("changed_by", sa.Text, nullable=False),
    sa.Column("changed_at", sa.BigInteger),
)

changes: Final = sa.Table(
    "dragoman_changes",
    metadata,
    sa.Column(
        "number", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True
    ),
    sa.Column("model", sa.String(255), nullable=False),
    sa.Column("revision", sa.Integer, nullable=False),
    sa.Column("at", sa.BigInteger, nullable=False),
    sa.Column("who", sa.Text, nullable=False),
    sa.Column("what", sa.Text, nullable=False),
    sa.Column("before", sa.Text),
    sa.Column("after", sa.Text),
    sa.Column("restored", sa.BigInteger().with_variant(sa.Integer, "sqlite")),
    sa.Column("seal", sa.String(64), nullable=False),
    sa.UniqueConstraint("model", "revision", name="dragoman_changes_once"),
    sqlite_autoincrement=True,
)
