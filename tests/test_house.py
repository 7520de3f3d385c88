"""The house holds: no circle of modules, no room too full, a sign on each door; import-linter keeps the floors."""

from __future__ import annotations

import ast
import graphlib
import subprocess
import sys
import tomllib
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = {
    "pointops": ROOT / "packages/pointops",
    "mm3d_core": ROOT / "packages/core",
    "mm3d_backbones": ROOT / "packages/backbones",
    "mm3d_benchmarks": ROOT / "packages/benchmarks",
}
MODULES = {
    ".".join(path.relative_to(base).with_suffix("").parts).removesuffix(".__init__"): path
    for package, base in PACKAGES.items()
    for path in (base / package).rglob("*.py")
}


def imports(name: str, modules: dict[str, str]) -> set[str]:
    """The modules that a module imports anywhere: at its top, in functions, for the type checker alone."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(modules[name])):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}: imports are absolute here"
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= (inner & modules.keys()) or {str(node.module)}
    return (found & modules.keys()) - {name}


def circle(modules: dict[str, str]) -> list[str]:
    """The names of a circle of imports, the first one twice; empty if there is none."""
    try:
        graphlib.TopologicalSorter({name: imports(name, modules) for name in modules}).prepare()
    except graphlib.CycleError as error:
        return list(error.args[1])
    return []


def test_no_circle_of_modules_exists() -> None:
    assert circle({name: path.read_text(encoding="utf-8") for name, path in MODULES.items()}) == []


@pytest.mark.parametrize(
    "back",
    ["import p.a", "def f():\n    from p import a", "if TYPE_CHECKING:\n    from p.a import A"],
)
def test_a_circle_is_found_wherever_its_imports_stand(back: str) -> None:
    assert circle({"p.a": "from p.b import B", "p.b": back, "p.c": "from p import a, b"})
    assert not circle({"p.a": "from p.b import B", "p.b": "import os", "p.c": back})


def test_no_file_is_long_and_no_folder_is_full() -> None:
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in MODULES.values()}
    assert {name: lines for name, lines in lengths.items() if lines > 400} == {}
    full = Counter(path.parent for path in MODULES.values() if path.name != "__init__.py")
    flat = PACKAGES["pointops"] / "pointops"  # its flat names are its interface
    assert {folder: files for folder, files in full.items() if files > 20 and folder != flat} == {}


def test_every_folder_has_its_sign_and_every_package_says_where_to_start() -> None:
    unsigned = [name for name, path in MODULES.items() if not ast.get_docstring(ast.parse(path.read_text()))]
    assert unsigned == []
    assert [base for base in PACKAGES.values() if not (base / "README.md").is_file()] == []


def test_every_module_postpones_annotations() -> None:
    line = "from __future__ import annotations"
    code = ast.FunctionDef | ast.ClassDef | ast.Import | ast.ImportFrom
    texts = {name: path.read_text(encoding="utf-8") for name, path in MODULES.items()}
    without = [
        name
        for name, text in texts.items()
        if line not in text and any(isinstance(n, code) for n in ast.parse(text).body)
    ]
    assert without == []


def test_the_floors_name_every_folder() -> None:
    """import-linter's contracts go by folder: a list of modules would forget the next one."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    named = [name for contract in contracts for name in contract.get("source_modules", ())]
    assert [name for name in named if MODULES[name].name != "__init__.py"] == []


def test_help_is_quick() -> None:
    """``mm3d --help`` imports nothing but the parser: 0.1 s, where torch alone takes seconds."""
    code = (
        "import sys; from mm3d_benchmarks.commands.main import make_parser; make_parser().format_help(); "
        "print(*sorted({name.split('.')[0] for name in sys.modules}))"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    modules = answer.stdout.split()
    assert not {"torch", "numpy", "pandas", "hydra", "submitit", "yaml"} & set(modules)
