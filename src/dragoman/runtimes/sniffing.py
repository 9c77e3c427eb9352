"""Whether a Python file has a typed service in it: read as text, never run."""

import ast
from pathlib import Path
from typing import Final

#: A bigger file is no service that somebody wrote.
_BYTES: Final = 1 << 20


def is_service_file(path: Path) -> bool:
    """Whether it decorates a class with ``dragoman.service``, or calls that. A file that can't be read is none."""
    try:
        if path.stat().st_size > _BYTES:
            return False
        text = path.read_bytes()
        if b"dragoman" not in text or b"service" not in text:
            return False
        module = ast.parse(text)
    except (OSError, SyntaxError, ValueError):
        return False
    names = _names(module)
    return any(_means_service(node, names) for statement in module.body for node in _marks(statement))


def _names(module: ast.Module) -> set[str]:
    """What ``dragoman.service`` is called in the module."""
    names = set()
    for node in module.body:
        if isinstance(node, ast.Import):
            names |= {f"{each.asname or each.name}.service" for each in node.names if each.name == "dragoman"}
        elif isinstance(node, ast.ImportFrom) and node.module == "dragoman":
            names |= {each.asname or each.name for each in node.names if each.name == "service"}
    return names


def _marks(statement: ast.stmt) -> list[ast.expr]:
    if isinstance(statement, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        return statement.decorator_list
    if isinstance(statement, ast.Assign | ast.AnnAssign) and statement.value is not None:
        return [statement.value] if isinstance(statement.value, ast.Call) else []
    return []


def _means_service(node: ast.expr, names: set[str]) -> bool:
    return ast.unparse(node.func if isinstance(node, ast.Call) else node) in names
