"""What is told of the settings outside the code: a JSON Schema for editors and the tables of the docs page.

Knows how to write settings down, not where they come from.
"""

import json
import re
from typing import Any, Final

from dragoman.config.description import Setting, describe, sections
from dragoman.config.values import BYTES, SECONDS

JSON_TYPES: Final = {
    "boolean": "boolean",
    "boolean or unset": "boolean",
    "integer": "integer",
    "integer or unset": "integer",
    "number": "number",
    "string": "string",
    "size": "integer",
    "duration": "number",
}
MARKS: Final = re.compile(r"(<!-- settings: (\w+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)


def json_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of ``dragoman.toml``."""
    tables = {
        section: {
            "type": "object",
            "description": group.__doc__,
            "additionalProperties": False,
            "properties": {entry.key: _schema(entry) for entry in describe() if entry.section == section},
        }
        for section, group in sections().items()
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "dragoman.toml",
        "type": "object",
        "additionalProperties": False,
        "properties": tables,
    }


def fill(page: str) -> str:
    """The page with every table between ``<!-- settings: server -->`` and ``<!-- end -->`` written anew."""
    return MARKS.sub(lambda match: f"{match[1]}\n{_table(match[2])}\n{match[4]}", page)


def _table(section: str) -> str:
    rows = ["| Key | Type | Default | Meaning |", "|---|---|---|---|"]
    for entry in describe():
        if entry.section == section:
            rows.append(f"| `{entry.key}` | {entry.type} | {_shown(entry.default)} | {entry.help} |")
    return "\n".join(rows) + "\n"


def _shown(default: Any) -> str:
    if default is None:
        return "unset"
    return f"`{json.dumps(default)}`"


def _schema(entry: Setting) -> dict[str, Any]:
    limits = {"minimum": entry.least, "maximum": entry.most, "enum": list(entry.choices) or None}
    bounds = {word: value for word, value in limits.items() if value is not None}
    default = {} if entry.default is None else {"default": _plain(entry.default)}
    told = {"description": entry.help, **default}
    if entry.type.startswith("list of "):
        item = {"type": entry.type.removeprefix("list of ").removesuffix("s"), **bounds}
        return {**told, "type": "array", "items": item}
    value = {"type": JSON_TYPES[entry.type], **bounds}
    if entry.type not in ("size", "duration"):
        return {**told, **value}
    units = "|".join(BYTES if entry.type == "size" else SECONDS)
    pattern = rf"^[0-9]+(\.[0-9]+)? ?({units})$"
    return {**told, "anyOf": [value, {"type": "string", "pattern": pattern}]}


def _plain(default: Any) -> Any:
    return list(default) if isinstance(default, tuple) else default
