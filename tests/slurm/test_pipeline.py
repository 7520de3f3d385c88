"""A table of the smoke profile through a real Slurm: the same bytes as from the local pool."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from slurm.local_cluster import Cluster

ROOT = Path(__file__).resolve().parents[2]
pytestmark = [pytest.mark.slurm, pytest.mark.slow]
MACHINE = "launcher: {minutes: 30, poll_seconds: 0.5, runs_per_job: 2, signal_seconds: 10}\n"


def mm3d(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a folder."""
    command = [sys.executable, "-m", "mm3d_benchmarks.commands.main", *arguments]
    return subprocess.run(command, cwd=folder, env=os.environ, capture_output=True, text=True, timeout=600)


def test_a_table_through_slurm_has_the_bytes_of_the_local_pool(cluster: Cluster, tmp_path: Path) -> None:
    (tmp_path / "sweeps").symlink_to(ROOT / "sweeps")
    (tmp_path / "machine.yaml").write_text(MACHINE)
    assert mm3d(tmp_path, "generate", "--dataset", "s3dis").returncode == 0
    assert mm3d(tmp_path, "prepare", "dataset=s3dis", "--profile", "smoke").returncode == 0
    for launcher in ("local", "slurm"):
        places = ("--store", f"{launcher}-runs", "--results", launcher)
        answer = mm3d(tmp_path, "sweep", "table_07", "--launcher", launcher, "--machine", "machine.yaml", *places)
        assert answer.returncode == 0, answer.stderr
    name = "smoke/inputs/table_07_framework_ablation.csv"
    assert (tmp_path / "slurm" / name).read_bytes() == (tmp_path / "local" / name).read_bytes()

    (tmp_path / "machine.yaml").write_text("launcher: {minutes: 30, poll_seconds: 0.5, nodes: 2}\n")
    words = ("kind=pretrain", "profile=smoke", "dataset=s3dis", "pretrain=mm3dscene", "seed=7")
    answer = mm3d(tmp_path, "run", *words, "--launcher", "slurm", "--machine", "machine.yaml", "--store", "two-nodes")
    assert answer.returncode == 0, answer.stderr
    [record] = (tmp_path / "two-nodes").glob("*/efficiency.json")
    assert json.loads(record.read_text())["processes"] == 2


def test_a_partition_that_does_not_exist_is_one_sentence(cluster: Cluster, tmp_path: Path) -> None:
    (tmp_path / "sweeps").mkdir()
    text = "runs: {base: {dataset: s3dis, pretrain: none}, each: [{row: r}]}\ntable: {columns: [mIoU]}\n"
    (tmp_path / "sweeps/a.yaml").write_text(text)
    manifest = tmp_path / "data/smoke/prepared/s3dis/manifest.json"
    manifest.parent.mkdir(parents=True)
    manifest.write_text("{}")
    (tmp_path / "machine.yaml").write_text("launcher: {partition: gpus}\n")
    answer = mm3d(tmp_path, "sweep", "a", "--launcher", "slurm", "--machine", "machine.yaml")
    assert answer.returncode == 1
    assert "launcher.partition=gpus: there is no such partition; choose one of main, urgent" in answer.stderr
    assert "Traceback" not in answer.stderr
