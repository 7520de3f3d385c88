"""The commit that a run notes: changed code is a change, what the suite itself writes is none."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from mm3d_benchmarks.store.provenance import commit


def git(folder: Path, *command: str) -> None:
    own = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "init.defaultBranch=main")
    subprocess.run(["git", "-C", str(folder), *own, *command], check=True, capture_output=True)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    for name in ("packages/code.py", "results/study/table.csv", "metrics/smoke.json", "dvc.lock"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("first")
    git(tmp_path, "init")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "first")
    commit.cache_clear()
    return tmp_path


@pytest.mark.parametrize("name", ["results/study/table.csv", "metrics/smoke.json", "dvc.lock"])
def test_what_a_reproduction_writes_is_no_change(checkout: Path, name: str) -> None:
    (checkout / name).write_text("second")
    found = commit(checkout / "packages")
    assert len(found["id"]) == 40
    assert found["dirty"] is False


def test_changed_code_is_a_change(checkout: Path) -> None:
    (checkout / "packages/code.py").write_text("second")
    assert commit(checkout / "packages")["dirty"] is True


def test_outside_a_checkout_there_is_no_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    commit.cache_clear()
    assert commit(tmp_path) == {"id": "", "dirty": False}
