"""What a Python file has in it, a typed service or a model for Triton: read as text, never run."""

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


def is_triton_file(path: Path) -> bool:
    """Whether it has a class called ``TritonPythonModel``. A file that can't be read has none."""
    try:
        if path.stat().st_size > _BYTES:
            return False
        text = path.read_bytes()
        if b"TritonPythonModel" not in text:
            return False
        module = ast.parse(text)
    except (OSError, SyntaxError, ValueError):
        return False
    return any("TritonPythonModel" in _bound(statement) for statement in module.body)


def _bound(statement: ast.stmt) -> set[str]:
    """The names that a statement of a module gives something."""
    if isinstance(statement, ast.ClassDef):
        return {statement.name}
    if isinstance(statement, ast.ImportFrom):
        return {each.asname or each.name for each in statement.names}
    if isinstance(statement, ast.Assign):
        return {target.id for target in statement.targets if isinstance(target, ast.Name)}
    if isinstance(statement, ast.If | ast.Try):
        return {name for inner in statement.body for name in _bound(inner)}
    return set()


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
