"""The code a run can reach, as twelve hex digits.

The fingerprint hashes the syntax trees, without comments, docstrings and formatting, of the project's and the user's
own modules in the import closure of a run's ``_target_``s and of its kind's own module, and the C++ sources that these
call. A typo in a docstring or an edit of a network that the run does not build changes nothing; a changed loss changes
the key.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable
from functools import cache
from typing import Any

from mm3d_benchmarks.planning.import_paths import Module, load_module, module_of, targets_in
from mm3d_benchmarks.planning.kernels import kernels_hash
from mm3d_benchmarks.planning.reach import is_face, reach_of
from mm3d_benchmarks.planning.remembered import Remembered
from mm3d_benchmarks.store.spec import KEY_LENGTH

#: Folders whose modules file, plan, start, log, time, draw or explain runs. They move no number.
MOVES_NO_NUMBER = (
    "mm3d_core.files",
    "mm3d_core.observing",
    *(f"mm3d_benchmarks.{folder}" for folder in (
        "commands", "launching", "planning", "pretrained", "reports", "results", "store", "synthetic", "viewing",
        "datasets.readers", "datasets.formats",  # what they read is hashed in the manifest of the prepared data
    )),
)  # fmt: skip


def fingerprint(kind: str, config: dict[str, Any], remembered: Remembered | None = None) -> str:
    """The fingerprint of the code that a run of this kind and configuration can reach.

    Args:
        remembered: fingerprints of earlier commands, used where no source has changed since.

    Raises:
        UserError: a ``_target_`` that does not exist, or a module that does not parse.
    """
    roots = {f"mm3d_benchmarks.runs.{kind}"}
    for key, target in targets_in(config):
        module = module_of(target, key)
        if module is not None:
            roots.add(module.name)
    if remembered is not None:
        return remembered.fingerprint(frozenset(roots), closure, _of_roots)
    return _of_roots(frozenset(roots))


def closure(roots: Iterable[str]) -> list[str]:
    """Names of our modules that importing ``roots`` would run, sorted; libraries and bookkeeping left out.

    A package above a module counts if its ``__init__.py`` has code of its own.
    """
    seen: set[str] = set()
    waiting = list(roots)
    while waiting:
        name = waiting.pop()
        module = None if name in seen or _is_bookkeeping(name) else load_module(name)
        if module is None:
            continue
        seen.add(name)
        waiting.extend(reach_of(module).modules)
        above = (name.rsplit(".", depth)[0] for depth in range(1, name.count(".") + 1))
        waiting.extend(p for p in above if (package := load_module(p)) is not None and not is_face(package))
    return sorted(seen)


def tree_hash(tree: ast.AST) -> str:
    """A hash of what a syntax tree means, stable across Python versions.

    Positions, comments and docstrings do not count.
    """
    return hashlib.sha256(repr(_plain(tree)).encode()).hexdigest()


@cache
def _of_roots(roots: frozenset[str]) -> str:
    parts: set[str] = set()
    for module in map(load_module, closure(roots)):
        assert module is not None
        parts |= {f"{module.name} {_module_hash(module)} {kernels_hash(module)}", *reach_of(module).through_faces}
    return hashlib.sha256("\n".join(sorted(parts)).encode()).hexdigest()[:KEY_LENGTH]


@cache
def _module_hash(module: Module) -> str:
    return tree_hash(module.tree)


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
    return any(name == folder or name.startswith(f"{folder}.") for folder in MOVES_NO_NUMBER)
