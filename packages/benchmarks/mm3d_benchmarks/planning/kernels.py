"""The compiled code behind an operation, read as source text: a changed C++ kernel re-runs what calls it.

A Python module calls a kernel by name (``_native.call("pointops_knn", ...)``). The file that defines it counts, with
every ``.hpp`` that it includes, the ``.cpp`` beside each of these, and the build's options. ``.h`` files only declare
what lies elsewhere. Comments and layout do not count.
"""

from __future__ import annotations

import ast
import hashlib
import re
from functools import cache
from pathlib import Path

from mm3d_benchmarks.planning import import_paths
from mm3d_benchmarks.planning.import_paths import Module

FOLDER, BUILD = "csrc", "CMakeLists.txt"
_INCLUDE = re.compile(r'#\s*include\s+"([^"]+\.hpp)"')
_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)


@cache
def kernels_hash(module: Module) -> str:
    """A hash of the compiled code that a module calls; empty if it calls none, or its sources are not here."""
    folder = _folder(module)
    names = kernels_called(module) if folder else frozenset()
    if folder is None or not names:
        return ""
    files = _closure([path for path in sorted(folder.glob("*.cpp")) if names & _defined(path)])
    parts = [f"{path.name} {_meaning(path)}" for path in files]
    parts.append(re.sub(r"#[^\n]*", "", import_paths.source_of(folder.parent / BUILD).decode()))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


@cache
def kernels_called(module: Module) -> frozenset[str]:
    """Names of the kernels that a module calls."""
    calls = (node for node in ast.walk(module.tree) if isinstance(node, ast.Call) and node.args)
    first = (c.args[0] for c in calls if isinstance(c.func, ast.Attribute) and c.func.attr == "call")
    return frozenset(a.value for a in first if isinstance(a, ast.Constant) and isinstance(a.value, str))


def _folder(module: Module) -> Path | None:
    """Where the C++ sources of a module's package lie: in a checkout beside it, in an installation inside it."""
    package = module.file.parents[max(0, module.name.count(".") - 1)]
    places = (package.parent / FOLDER, package / "source" / FOLDER)
    return next((place for place in places if (place.parent / BUILD).is_file()), None)


def _closure(waiting: list[Path]) -> list[Path]:
    """Some sources, the headers they include and the sources beside these, sorted."""
    seen: set[Path] = set()
    while waiting:
        path = waiting.pop()
        if path in seen or not path.is_file():
            continue
        seen.add(path)
        waiting += [path.parent / name for name in _INCLUDE.findall(import_paths.source_of(path).decode())]
        waiting += [path.with_suffix(".cpp")]
    return sorted(seen)


def _defined(path: Path) -> frozenset[str]:
    """Names of the functions that a file defines or calls."""
    return _read(import_paths.source_of(path))[0]


def _meaning(path: Path) -> str:
    """A file's text without comments, each run of white space one space."""
    return _read(import_paths.source_of(path))[1]


@cache
def _read(source: bytes) -> tuple[frozenset[str], str]:
    text = " ".join(_COMMENT.sub(" ", source.decode()).split())
    return frozenset(re.findall(r"\b(\w+) ?\(", text)), text
