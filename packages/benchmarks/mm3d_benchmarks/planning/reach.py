"""What a module imports, each name followed to the module that owns it.

``from pointops import knn_query`` reads the package's face (an ``__init__.py`` that only imports) and leads to
``pointops.knn``, not to everything that the face offers.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from mm3d_benchmarks.planning.import_paths import PROJECT, Module, is_readable, load_module
from mm3d_core.errors import UserError


@dataclass(frozen=True)
class Reach:
    """What a module imports.

    Attributes:
        modules: names of our modules.
        through_faces: ``pointops.knn_query = pointops.knn.knn_query``: where names come from that a face hands on.
    """

    modules: frozenset[str]
    through_faces: frozenset[str]


@cache
def reach_of(module: Module) -> Reach:
    """Our modules that a module imports, at its top or inside functions; type-checking imports left out.

    Raises:
        UserError: a relative import that leaves the package.
    """
    modules, handed_on = set(), set()
    ours = module.name.split(".")[0] in PROJECT  # the project imports nothing of a user; only a ``_target_`` does
    for base, name in _imported(module):
        package = base.split(".")[0]
        if package not in PROJECT and (ours or not is_readable(package)):
            continue
        owner, its_name = owner_of(base, name)
        modules.add(owner)
        if owner not in (base, f"{base}.{name}"):
            handed_on.add(f"{base}.{name} = {owner}.{its_name}")
    return Reach(frozenset(modules - {module.name}), frozenset(handed_on))


def owner_of(base: str, name: str) -> tuple[str, str]:
    """The module that defines what ``from base import name`` gives, and its name there (empty: the module itself)."""
    package = load_module(base)
    if name and package is not None and is_face(package):
        for statement in package.tree.body:
            for alias in statement.names if isinstance(statement, ast.ImportFrom) else ():
                if (alias.asname or alias.name) == name:
                    return owner_of(_absolute(package, statement), alias.name)  # type: ignore[arg-type]
    inner = f"{base}.{name}"
    return (inner, "") if name and load_module(inner) is not None else (base, name)


def is_face(module: Module) -> bool:
    """Whether a package's ``__init__.py`` has nothing of its own: a docstring, imports, and names such as __all__."""
    return module.file.name == "__init__.py" and all(_is_of_a_face(statement) for statement in module.tree.body)


def _is_of_a_face(statement: ast.stmt) -> bool:
    if isinstance(statement, ast.Assign):
        return all(isinstance(t, ast.Name) and t.id.startswith("__") for t in statement.targets)
    return isinstance(statement, ast.Import | ast.ImportFrom) or (
        # a bare call, as of what warns at import, gives no name to hand on
        isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant | ast.Call)
    )


def _imported(module: Module) -> Iterator[tuple[str, str]]:
    """(module, name of it or empty) for each thing that a module imports."""
    for node in _walk_run_time(module.tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(module, node)
            yield from ((base, "" if alias.name == "*" else alias.name) for alias in node.names)


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
