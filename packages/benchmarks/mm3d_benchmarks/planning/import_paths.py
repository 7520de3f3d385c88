"""``_target_``s read as source text: where they live, what their constructors accept, which modules they reach.

Nothing is imported, so a plan that names a hundred networks costs no torch. Read are the project's modules and those of
its user: whatever a ``_target_`` names that is neither installed (in ``site-packages``) nor Python's own.
"""

from __future__ import annotations

import ast
import importlib.util
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

from mm3d_core.errors import UserError

PROJECT = ("pointops", "mm3d_core", "mm3d_backbones", "mm3d_benchmarks")
LIBRARIES = ("numpy", "scipy", "torch")  # never a user's own, also where they are installed from a checkout
INSTALLED = ("site-packages", "dist-packages")  # folders whose modules are libraries


@dataclass(frozen=True, eq=False)
class Module:
    """A module of the project or of its user: its dotted name, file and syntax tree."""

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
    """The project's or the user's module of that name, or None: not a module, or a library's.

    Raises:
        UserError: it does not parse.
    """
    package, *rest = name.split(".")
    for place in _places(package):
        path = place.joinpath(*rest)
        for file in (path.with_name(f"{path.name}.py"), path / "__init__.py"):
            if file.is_file():
                return _parsed(name, file, source_of(file))
    return None


def source_of(file: Path) -> bytes:
    """A source file's bytes: the one place where code that counts is read."""
    return file.read_bytes()


@cache
def _parsed(name: str, file: Path, source: bytes) -> Module:
    try:
        return Module(name, file, ast.parse(source, filename=str(file)))
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None)
        where = f"{file}:{line}" if line else str(file)
        raise UserError(f"{where}: does not parse ({' '.join(str(error).split())}); correct it") from error


def is_readable(package: str) -> bool:
    """Whether a top-level package is the project's or the user's own: its source counts."""
    return bool(_places(package))


def places_of(package: str) -> tuple[Path, ...]:
    """Where a top-level package of the project or the user lies; empty for libraries and what is not there."""
    return _places(package)


@cache
def _places(package: str) -> tuple[Path, ...]:
    """Where a top-level package or module lies, its own name included; finding it does not import it.

    Empty for libraries, for Python's own, and for what is not there.
    """
    if package in LIBRARIES or package in sys.stdlib_module_names or not package.isidentifier():
        return ()
    found = _found(package)
    origin = Path(found.origin) if found and found.origin and found.origin.endswith(".py") else None
    places = [origin.parent if origin.name == "__init__.py" else origin.with_suffix("")] if origin else []
    places += [Path(place) for place in (found.submodule_search_locations or [])] if found else []
    if package not in PROJECT:
        places = [place for place in places if not set(INSTALLED) & set(place.resolve().parts)]
    return tuple(place for place in places if place.is_dir() or place.with_suffix(".py").is_file())


def _found(package: str) -> ModuleSpec | None:
    try:
        return importlib.util.find_spec(package)
    except (ImportError, ValueError, AttributeError):
        return None


def module_of(target: str, key: str) -> Module | None:
    """The project's or the user's module that defines an import path; None when the target belongs to a library.

    Raises:
        UserError: no such module or name exists.
    """
    package, *names = target.split(".")
    if not is_readable(package):
        if package in LIBRARIES or package in sys.stdlib_module_names or _found(package) is not None:
            return None
        raise UserError(f"{key}={target}: there is no module {package}; correct it, or put its folder on PYTHONPATH")
    parts = [package, *names]
    for length in range(len(parts) - 1, 0, -1):
        module = load_module(".".join(parts[:length]))
        if module is not None:
            if parts[length] not in _names_of(module) and "*" not in _names_of(module):
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
    """Names bound at the top of a module, also under conditions; ``*`` where others may come to it."""
    names: set[str] = set()
    waiting: list[ast.AST] = list(module.tree.body)
    while waiting:
        statement = waiting.pop()
        if isinstance(statement, ast.FunctionDef | ast.ClassDef):
            names.add(statement.name)
            names |= {"*"} if statement.name == "__getattr__" else set()
        elif isinstance(statement, ast.Assign):
            names.update(n.id for t in statement.targets for n in ast.walk(t) if isinstance(n, ast.Name))
        elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            names.add(statement.target.id)
        elif isinstance(statement, ast.Import | ast.ImportFrom):
            names.update((alias.asname or alias.name).split(".")[0] for alias in statement.names)
        elif isinstance(statement, ast.If | ast.Try | ast.With | ast.For | ast.ExceptHandler):
            waiting.extend(ast.iter_child_nodes(statement))
    return frozenset(names)
