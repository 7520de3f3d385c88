"""The code a run can reach, as twelve hex digits.

The fingerprint hashes the syntax trees, without comments, docstrings and formatting, of the project's and the user's
own modules in the import closure of a run's ``_target_``s and of its kind's own module. A typo in a docstring or an
edit of a network that the run does not build changes nothing; a changed loss changes the key.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any

from mm3d_benchmarks.planning.import_paths import PROJECT, Module, is_readable, load_module, module_of, targets_in
from mm3d_benchmarks.store.spec import KEY_LENGTH
from mm3d_core.errors import UserError

#: Modules that file, start, show or explain runs. They move no number, and editing them re-runs nothing.
MOVES_NO_NUMBER = (
    "mm3d_core.errors",
    "mm3d_core.files.atomic",
    *(f"mm3d_benchmarks.{name}" for name in (
        "commands", "launching", "planning", "reports", "results.collect", "results.inputs", "store", "synthetic",
        # what these read is hashed in the manifest of the prepared data
        "datasets.manifest", "datasets.prepare", "datasets.readers.base",
        "datasets.formats.pcd", "datasets.formats.ply",
    )),
)  # fmt: skip


def fingerprint(kind: str, config: dict[str, Any]) -> str:
    """The fingerprint of the code that a run of this kind and configuration can reach.

    Raises:
        UserError: a ``_target_`` that does not exist, or a module that does not parse.
    """
    roots = {f"mm3d_benchmarks.runs.{kind}"}
    for key, target in targets_in(config):
        module = module_of(target, key)
        if module is not None:
            roots.add(module.name)
    return _of_roots(frozenset(roots))


def closure(roots: Iterable[str]) -> list[str]:
    """Names of our modules that importing ``roots`` would import, sorted; libraries and bookkeeping left out."""
    seen: set[str] = set()
    waiting = list(roots)
    while waiting:
        name = waiting.pop()
        if name in seen or _is_bookkeeping(name):
            continue
        module = load_module(name)
        if module is None:
            continue
        seen.add(name)
        waiting.extend(_imports(module))
        waiting.extend(name.rsplit(".", depth)[0] for depth in range(1, name.count(".") + 1))
    return sorted(seen)


def tree_hash(tree: ast.AST) -> str:
    """A hash of what a syntax tree means, stable across Python versions.

    Positions, comments and docstrings do not count.
    """
    return hashlib.sha256(repr(_plain(tree)).encode()).hexdigest()


@cache
def _of_roots(roots: frozenset[str]) -> str:
    parts = [f"{name} {_module_hash(name)}" for name in closure(roots)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:KEY_LENGTH]


@cache
def _module_hash(name: str) -> str:
    module = load_module(name)
    assert module is not None
    return tree_hash(module.tree)


@cache
def _imports(module: Module) -> tuple[str, ...]:
    """Our modules that a module imports, at its top or inside functions; type-checking imports left out."""
    names: set[str] = set()
    for node in _walk_run_time(module.tree):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(module, node)
            names.add(base)
            names.update(f"{base}.{alias.name}" for alias in node.names)
    ours = module.name.split(".")[0] in PROJECT  # the project imports nothing of a user; only a ``_target_`` does
    return tuple(sorted(n for n in names if (p := n.split(".")[0]) in PROJECT or (not ours and is_readable(p))))


def _walk_run_time(tree: ast.AST) -> Iterator[ast.AST]:
    """All nodes except the bodies of ``if TYPE_CHECKING:``."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            waiting.extend(node.orelse)
        else:
            waiting.extend(ast.iter_child_nodes(node))


def _absolute(module: Module, node: ast.ImportFrom) -> str:
    """The module that an import statement names, relative ones resolved."""
    if node.level == 0:
        return node.module or ""
    is_package = module.file.name == "__init__.py"
    parts = module.name.split(".")
    parts = parts[: len(parts) - node.level + is_package]
    if not parts:
        raise UserError(f"{module.file}: a relative import leaves the package; use an absolute one")
    return ".".join([*parts, *([node.module] if node.module else [])])


def _plain(node: Any) -> Any:
    """A syntax tree as nested tuples. Empty fields are left out, since Python versions differ in which ones exist."""
    if isinstance(node, ast.AST):
        fields = []
        for name, value in ast.iter_fields(node):
            if name == "body" and isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                value = _without_docstring(value)
            if value not in (None, []) and name not in ("type_comment", "kind"):
                fields.append((name, _plain(value)))
        return (type(node).__name__, *fields)
    if isinstance(node, list):
        return tuple(_plain(item) for item in node)
    return repr(node)


def _without_docstring(body: list[ast.stmt]) -> list[ast.stmt]:
    first = body[0] if body else None
    is_text = (
        isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str)
    )
    return body[1:] if is_text else body


def _is_bookkeeping(name: str) -> bool:
    return any(name == entry or name.startswith((f"{entry}.", f"{entry}_")) for entry in MOVES_NO_NUMBER)
