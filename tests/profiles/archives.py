"""Small archives for a model store, with handlers that need no library."""

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path

ECHO = """
import os


def handle(data, context):
    if data is None:
        return None
    rows = [row.get("body", row.get("data")) for row in data]
    if rows == [b"environment"] or rows == ["environment"]:
        return [sorted(os.environ)]
    texts = [row if isinstance(row, str) else bytes(row).decode() for row in rows]
    return [{"got": text, "kind": type(row).__name__} for text, row in zip(texts, rows)]
"""
BROKEN = "raise RuntimeError('no such luck')\n"


def write_archive(
    store: Path,
    name: str,
    handler: str = ECHO,
    *,
    version: str = "1.0",
    file: str = "",
    yaml: str = "",
    files: Mapping[str, str | bytes] | None = None,
    manifest: Mapping[str, str] | None = None,
) -> Path:
    """``store/name.mar``, with more ``files`` and more words of its ``manifest``."""
    model = {"modelName": name, "handler": "my_handler.py", "modelVersion": version, **(manifest or {})}
    if yaml:
        model["configFile"] = "model-config.yaml"
    document = {
        "createdOn": "21/11/2026 22:40:00",
        "runtime": "python",
        "model": model,
        "archiverVersion": "0.12.0",
    }
    path = store / (file or f"{name}.mar")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("MAR-INF/MANIFEST.json", json.dumps(document))
        archive.writestr("my_handler.py", handler)
        if yaml:
            archive.writestr("model-config.yaml", yaml)
        for path_in_archive, content in (files or {}).items():
            archive.writestr(path_in_archive, content)
    return path
