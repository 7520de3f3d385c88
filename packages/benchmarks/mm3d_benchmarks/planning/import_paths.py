"""``_target_``s read as source text: where they live, what their constructors accept, which modules they reach.

Nothing is imported, so a plan that names a hundred networks costs no torch.
"""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from mm3d_core.errors import UserError

PROJECT = ("pointops", "mm3d_core", "mm3d_backbones", "mm3d_benchmarks")


@dataclass(frozen=True, eq=False)
class Module:
    """A module of the project: its dotted name, file and syntax tree."""

    name: str
    file: Path
    tree: ast.Module


def targets_in(config: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Every ``_target_`` below ``config``, as (dotted path of the key, import path)."""
    if isinstance(config, dict):
        for name, value in config.items():
            inner = f"{path}.{name}" if path else str(name)
            if name == "_target_":
                yield inner, str(value)
            else:
                yield from targets_in(value, inner)
    elif isinstance(config, list):
        for position, value in enumerate(config):
            yield from targets_in(value, f"{path}[{position}]")


@cache
def load_module(name: str) -> Module | None:
    """The project's module of that name, or None: not a module, or not ours."""
    package, *rest = name.split(".")
    root = _package_folder(package)
    if root is None:
        return None
    place = root.joinpath(*rest)
    for file in (place.with_suffix(".py") if rest else place / "__init__.py", place / "__init__.py"):
        if file.is_file():
            return Module(name, file, ast.parse(file.read_text(encoding="utf-8"), filename=str(file)))
    return None


@cache
def _package_folder(package: str) -> Path | None:
    """Where a top-level package of the project lies; finding it does not import it."""
    if package not in PROJECT:
        return None
    found = importlib.util.find_spec(package)
    places = [Path(found.origin).parent] if found and found.origin else []  # where its own __init__.py lies
    places += [Path(place) for place in (found.submodule_search_locations or [])] if found else []
    return next((place for place in places if place.is_dir()), None)


def module_of(target: str, key: str) -> Module | None:
    """The project's module that defines an import path; None when the target belongs to another library.

    Raises:
        UserError: the target is ours by name, but no such module or name exists.
    """
    if target.split(".")[0] not in PROJECT:
        return None
    parts = target.split(".")
    for length in range(len(parts) - 1, 0, -1):
        module = load_module(".".join(parts[:length]))
        if module is not None:
            if parts[length] not in _names_of(module):
                raise UserError(
                    f"{key}={target}: {module.file.name} defines no {parts[length]}; correct the import path"
                )
            return module
    raise UserError(f"{key}={target}: there is no such module; correct the import path")


def accepts(target: str, argument: str) -> bool | None:
    """Whether the constructor (or function) behind an import path takes ``argument``; None when that cannot be told."""
    parameters = parameters_of(target)
    return None if parameters is None else argument in parameters


@cache
def parameters_of(target: str) -> frozenset[str] | None:
    """Names that the callable behind an import path accepts, or None: foreign, ``**kwargs``, or inherited from afar."""
    module_name, _, name = target.rpartition(".")
    module = load_module(module_name)
    node = _definition(module, name) if module else None
    if isinstance(node, ast.FunctionDef):
        return _arguments(node)
    if isinstance(node, ast.ClassDef):
        return _constructor(module_name, node)
    return None


def _constructor(module_name: str, node: ast.ClassDef) -> frozenset[str] | None:
    """What a class's ``__init__``, its dataclass fields, or a base class in a project module accept."""
    for statement in node.body:
        if isinstance(statement, ast.FunctionDef) and statement.name == "__init__":
            return _arguments(statement)
    if any("dataclass" in ast.unparse(decorator) for decorator in node.decorator_list):
        fields = {s.target.id for s in node.body if isinstance(s, ast.AnnAssign) and isinstance(s.target, ast.Name)}
        inherited = [_base(module_name, base) for base in node.bases]
        return None if None in inherited else frozenset(fields.union(*(i for i in inherited if i is not None)))
    return _base(module_name, node.bases[0]) if len(node.bases) == 1 else None


def _base(module_name: str, base: ast.expr) -> frozenset[str] | None:
    """The constructor's names of a base class, if the project defines it."""
    name = ast.unparse(base)
    module = load_module(module_name)
    if module is None or not name.isidentifier():
        return None
    if _definition(module, name) is not None:
        return parameters_of(f"{module_name}.{name}")
    for statement in module.tree.body:
        if isinstance(statement, ast.ImportFrom) and any(alias.name == name for alias in statement.names):
            return parameters_of(f"{statement.module}.{name}")
    return None


def _arguments(function: ast.FunctionDef) -> frozenset[str] | None:
    arguments = function.args
    if arguments.kwarg is not None:
        return None
    names = {a.arg for a in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)}
    return frozenset(names - {"self"})


def _definition(module: Module, name: str) -> ast.AST | None:
    for statement in module.tree.body:
        if isinstance(statement, ast.FunctionDef | ast.ClassDef) and statement.name == name:
            return statement
    return None


@cache
def _names_of(module: Module) -> frozenset[str]:
    """Names bound at the top of a module: definitions, assignments and imports."""
    names: set[str] = set()
    for statement in module.tree.body:
        if isinstance(statement, ast.FunctionDef | ast.ClassDef):
            names.add(statement.name)
        elif isinstance(statement, ast.Assign):
            names.update(t.id for t in statement.targets if isinstance(t, ast.Name))
        elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            names.add(statement.target.id)
        elif isinstance(statement, ast.Import | ast.ImportFrom):
            names.update((alias.asname or alias.name).split(".")[0] for alias in statement.names)
    return frozenset(names)
