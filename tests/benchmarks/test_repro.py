"""`dvc repro` on one table: everything once, nothing twice, and after a change only what depends on it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
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
    del stages["figure"]
    gone = [f"{name}.csv" for name in stages_of("figure") + stages_of("report") if name not in (TABLE, OTHER)]
    stages["page"]["deps"] = [d for d in stages["page"]["deps"] if not d.endswith(tuple(gone))]
    (folder / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}))
    shutil.copy(ROOT / "params.yaml", folder)
    subprocess.run([sys.executable, "-m", "dvc", "init", "--no-scm", "-q"], cwd=folder, check=True)
    return folder


def stages_of(name: str) -> list[str]:
    """The members of a stage."""
    return list(yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"][name]["foreach"])


def repro(folder: Path, *words: str, status: int = 0) -> str:
    """What `dvc repro`, or another command of DVC, says."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, "PATH": path, "DVC_NO_ANALYTICS": "1", "OMP_NUM_THREADS": "1"}
    answer = subprocess.run(
        [sys.executable, "-m", "dvc", *(words or ("repro",))],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=900,
    )  # fmt: skip
    assert min(answer.returncode, 1) == status, answer.stdout[-2000:] + answer.stderr[-3000:]
    return answer.stdout + answer.stderr


def computed(folder: Path) -> dict[str, int]:
    """When each run of the store got its result."""
    return {path.parent.name: path.stat().st_mtime_ns for path in (folder / "runs").glob("*/metrics.json")}


def test_everything_once_nothing_twice_and_a_change_only_what_depends_on_it(copy: Path) -> None:
    repro(copy)
    first, tables = computed(copy), {p: p.read_bytes() for p in (copy / "results/smoke").glob("table_*")}
    assert len(tables) == 6
    said = repro(copy)
    assert "Running stage" not in said
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


def test_every_result_is_restored_and_a_hopeless_row_stops_only_the_last_stage(copy: Path) -> None:
    repro(copy)
    results = {p: p.read_bytes() for p in (copy / "results").rglob("*") if p.is_file()}
    shutil.rmtree(copy / "results")
    repro(copy, "checkout")
    assert {p: p.read_bytes() for p in (copy / "results").rglob("*") if p.is_file()} == results

    path = copy / f"sweeps/{TABLE}.yaml"
    sweep = yaml.safe_load(path.read_text())
    next(row for row in sweep["runs"]["each"] if row["row"] == "ii")["pretrain.method.views.keep_ratio"] = [7.0, 9.0]
    path.write_text(yaml.safe_dump(sweep, sort_keys=False))
    said = repro(copy, status=1)
    assert "failed to reproduce 'complete'" in said
    assert "failed" in (copy / f"results/smoke/{TABLE}.md").read_text()
    said = repro(copy, status=1)
    assert "Running stage 'runs@pretrain'" in said, "what failed is tried again"
    assert "Running stage 'report@" not in said
    path.write_text(path.read_text().replace("- 7.0", "- 0.3").replace("- 9.0", "- 0.5"))
    repro(copy)
    assert '"table_07_framework_ablation"' in repro(copy, "metrics", "show", "--json").replace("'", '"')
    assert (copy / "metrics/smoke.json").exists()
