"""Fingerprints of earlier commands: they hold exactly as long as no source has changed."""

from __future__ import annotations

from pathlib import Path

import pytest

from mm3d_benchmarks.planning import import_paths
from mm3d_benchmarks.planning.remembered import Remembered


class Computed:
    """Counts how often a fingerprint had to be computed."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, roots: frozenset[str]) -> str:
        self.count += 1
        return f"{self.count:012x}"


@pytest.fixture
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package of two modules with a compiled kernel beside it, in the place of mm3d_core."""
    folder = tmp_path / "clone" / "mm3d_core"
    (folder.parent / "csrc").mkdir(parents=True)
    folder.mkdir()
    for path, text in (
        ("__init__.py", ""),
        ("a.py", "x = 1\n"),
        ("../csrc/knn.cpp", "int f();"),
        ("../CMakeLists.txt", ""),
    ):
        (folder / path).write_text(text)
    monkeypatch.setattr(import_paths, "_places", lambda package: (folder,) if package == "mm3d_core" else ())
    return folder


def ask(tmp_path: Path, compute: Computed) -> str:
    """What a new command is told."""
    return Remembered(tmp_path / "cache").fingerprint(frozenset(["mm3d_core.a"]), lambda roots: list(roots), compute)


def test_a_second_command_computes_nothing(tmp_path, sources):
    compute = Computed()
    assert ask(tmp_path, compute) == ask(tmp_path, compute)
    assert compute.count == 1


@pytest.mark.parametrize(
    "path", ["a.py", "new.py", "inner/__init__.py", "../csrc/knn.cpp", "../csrc/new.hpp", "../CMakeLists.txt"]
)
def test_any_source_that_changes_or_comes_is_noticed(tmp_path, sources, path: str):
    compute = Computed()
    ask(tmp_path, compute)
    (sources / path).parent.mkdir(exist_ok=True)
    (sources / path).write_text("y = 2\n")
    ask(tmp_path, compute)
    assert compute.count == 2


def test_a_source_that_goes_is_noticed(tmp_path, sources):
    compute = Computed()
    ask(tmp_path, compute)
    (sources / "a.py").unlink()
    ask(tmp_path, compute)
    assert compute.count == 2


@pytest.mark.parametrize(
    "damage", [b"", b"[]", b"{", b'{"packages": 3}', b'{"packages": ["mm3d_core"], "state": 1, "value": 2}']
)
def test_a_damaged_memory_is_computed_anew(tmp_path, sources, damage: bytes):
    compute = Computed()
    ask(tmp_path, compute)
    [kept] = (tmp_path / "cache" / "fingerprints").iterdir()
    kept.write_bytes(damage)
    ask(tmp_path, compute)
    assert compute.count == 2


def test_a_folder_that_cannot_be_written_costs_time_and_nothing_else(tmp_path, sources):
    (tmp_path / "cache").write_text("a file where the folder should be")
    compute = Computed()
    assert ask(tmp_path, compute) != ask(tmp_path, compute)
    assert compute.count == 2
