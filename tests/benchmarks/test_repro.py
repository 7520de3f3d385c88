"""`dvc repro` on one table: everything once, nothing twice, and after a change only what depends on it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
TABLE, OTHER = "table_07_framework_ablation", "table_05_s3dis_segmentation"
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pipeline with two tables on one data set, in a folder of its own."""
    folder = tmp_path_factory.mktemp("repro")
    shutil.copytree(ROOT / "packages/benchmarks/mm3d_benchmarks", folder / "packages/benchmarks/mm3d_benchmarks")
    shutil.copytree(ROOT / "docs", folder / "docs", ignore=shutil.ignore_patterns("pictures"))
    (folder / "sweeps").mkdir()
    for name in (TABLE, OTHER):
        shutil.copy(ROOT / f"sweeps/{name}.yaml", folder / "sweeps")
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    for stage in ("generate", "prepare"):
        stages[stage]["foreach"] = ["s3dis"]
    stages["plan"]["deps"] = [d for d in stages["plan"]["deps"] if "scannet" not in d and "sunrgbd" not in d]
    stages["report"]["foreach"] = [TABLE, OTHER]
    del stages["page"]
    (folder / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}))
    shutil.copy(ROOT / "params.yaml", folder)
    subprocess.run([sys.executable, "-m", "dvc", "init", "--no-scm", "-q"], cwd=folder, check=True)
    return folder


def repro(folder: Path) -> str:
    """What `dvc repro` says."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, "PATH": path, "DVC_NO_ANALYTICS": "1", "OMP_NUM_THREADS": "1"}
    answer = subprocess.run(
        [sys.executable, "-m", "dvc", "repro"], cwd=folder, env=environment, capture_output=True, text=True, timeout=900
    )
    assert answer.returncode == 0, answer.stdout[-2000:] + answer.stderr[-3000:]
    return answer.stdout + answer.stderr


def computed(folder: Path) -> dict[str, int]:
    """When each run of the store got its result."""
    return {path.parent.name: path.stat().st_mtime_ns for path in (folder / "runs").glob("*/metrics.json")}


def test_everything_once_nothing_twice_and_a_change_only_what_depends_on_it(copy: Path) -> None:
    repro(copy)
    first, tables = computed(copy), {p: p.read_bytes() for p in (copy / "results/smoke").glob("table_*")}
    assert len(tables) == 6
    before = time.monotonic()
    said = repro(copy)
    assert "Running stage" not in said
    assert time.monotonic() - before < 15
    assert {p: p.read_bytes() for p in tables} == tables

    path = copy / f"sweeps/{TABLE}.yaml"
    sweep = yaml.safe_load(path.read_text())
    next(row for row in sweep["runs"]["each"] if row["row"] == "ii")["pretrain.method.views.keep_ratio"] = [0.3, 0.5]
    path.write_text(yaml.safe_dump(sweep, sort_keys=False))
    said = repro(copy)
    second = computed(copy)
    assert len(set(second) - set(first)) == 3, "the pre-training, its fine-tuning and its evaluation"
    assert all(second[key] == first[key] for key in first)
    assert f"Running stage 'report@{TABLE}'" in said
    assert f"Running stage 'report@{OTHER}'" not in said
