"""A run is the same run after a kill, with any number of loader workers, and in another process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from benchmarks.small_runs import config, write_rooms

from mm3d_benchmarks.runs.evaluate import run_evaluate
from mm3d_benchmarks.runs.finetune import run_finetune
from mm3d_benchmarks.runs.pretrain import run_pretrain
from mm3d_core.observing.logfile import read_log

CODE = """
import json, sys, torch
from pathlib import Path
torch.set_num_threads(1)
from mm3d_benchmarks.runs.{kind} import run_{kind}
settings, folder, upstream = json.loads(sys.stdin.read())
run_{kind}(settings, Path(folder), {{name: Path(value) for name, value in upstream.items()}})
"""


def start(kind: str, settings: dict, folder: Path, upstream: dict[str, str]) -> subprocess.Popen:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", CODE.format(kind=kind)]
    process = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdin is not None
    process.stdin.write(json.dumps([settings, str(folder), upstream]))
    process.stdin.close()
    return process


def wait_for_step(folder: Path, step: int, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + 60
    while not any(record["step"] >= step for record in read_log(folder)):
        assert process.poll() is None, process.stderr.read() if process.stderr else ""
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("resume")
    write_rooms(folder / "data")
    return folder


def settings(base: Path, **changes) -> dict:
    """Long enough to be interrupted; a checkpoint every 4 steps."""
    defaults = {"recipe__pretrain__steps": 24, "recipe__finetune__steps": 24, "machine__checkpoint_every": 4}
    return config(base / "data", **{**defaults, **changes})


@pytest.fixture(scope="module")
def undisturbed(base: Path) -> Path:
    run_pretrain(settings(base), base / "whole_pretrain", {})
    run_finetune(settings(base), base / "whole_finetune", {"pretrain": base / "whole_pretrain"})
    return base


def same_result(base: Path, kind: str, folder: Path) -> bool:
    return (base / f"whole_{kind}/metrics.json").read_bytes() == (folder / "metrics.json").read_bytes()


def test_a_pretraining_killed_in_its_middle_ends_with_the_same_bytes(undisturbed: Path, tmp_path: Path):
    process = start("pretrain", settings(undisturbed, machine__workers=1), tmp_path / "run", {})
    wait_for_step(tmp_path / "run", 10, process)
    process.kill()
    process.wait()
    assert not (tmp_path / "run/metrics.json").exists()
    run_pretrain(settings(undisturbed), tmp_path / "run", {})
    assert same_result(undisturbed, "pretrain", tmp_path / "run")
    whole, cut = (
        {
            path.name: path.read_bytes()
            for path in folder.glob("*.[nps]*")
            if path.suffix in (".npz", ".png", ".safetensors")
        }
        for folder in (undisturbed / "whole_pretrain", tmp_path / "run")
    )
    assert whole == cut
    assert len(whole) == 3


def test_a_finetuning_stopped_by_the_cluster_ends_with_the_same_bytes(undisturbed: Path, tmp_path: Path):
    upstream = {"pretrain": str(undisturbed / "whole_pretrain")}
    process = start("finetune", settings(undisturbed, machine__workers=2), tmp_path / "run", upstream)
    wait_for_step(tmp_path / "run", 6, process)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    for child in (*children, str(process.pid)):  # Slurm signals every process of a step
        os.kill(int(child), signal.SIGUSR2)
    process.wait(timeout=60)
    assert process.returncode == 75
    run_finetune(settings(undisturbed), tmp_path / "run", {"pretrain": undisturbed / "whole_pretrain"})
    assert same_result(undisturbed, "finetune", tmp_path / "run")


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=[pytest.mark.short, pytest.mark.slow])])
def test_loader_workers_change_no_byte_of_a_result(undisturbed: Path, tmp_path: Path, workers: int):
    run_pretrain(settings(undisturbed, machine__workers=workers), tmp_path / "run", {})
    assert same_result(undisturbed, "pretrain", tmp_path / "run")


def test_what_ran_before_in_the_same_process_changes_no_byte_of_a_result(undisturbed: Path, tmp_path: Path):
    run_pretrain(settings(undisturbed, seed=5, recipe__pretrain__steps=2), tmp_path / "other", {})
    run_pretrain(settings(undisturbed), tmp_path / "run", {})
    assert same_result(undisturbed, "pretrain", tmp_path / "run")


def test_an_evaluation_goes_on_after_the_last_finished_scene(
    undisturbed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from mm3d_benchmarks.evaluation.voxel_validation import VoxelValidation

    upstream = {"finetune": undisturbed / "whole_finetune"}
    run_evaluate(settings(undisturbed), tmp_path / "whole", upstream)
    seen: list[str] = []
    original = VoxelValidation.__call__

    def counted(self, model, scene, *rest):
        if len(seen) == 1 and not (tmp_path / "again").exists():
            (tmp_path / "again").touch()
            raise KeyboardInterrupt
        seen.append(scene.name)
        return original(self, model, scene, *rest)

    monkeypatch.setattr(VoxelValidation, "__call__", counted)
    with pytest.raises(KeyboardInterrupt):
        run_evaluate(settings(undisturbed), tmp_path / "cut", upstream)
    run_evaluate(settings(undisturbed), tmp_path / "cut", upstream)
    assert seen == ["held_0", "held_1"]
    for name in ("metrics.json", "scenes.json"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "cut" / name).read_bytes()


def test_an_evaluation_cut_inside_its_metric_counts_no_scene_twice(
    undisturbed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from mm3d_benchmarks.evaluation.segmentation_metric import SegmentationMetric

    upstream = {"finetune": undisturbed / "whole_finetune"}
    run_evaluate(settings(undisturbed), tmp_path / "whole", upstream)
    calls: list[int] = []
    original = SegmentationMetric.update

    def cut(self, prediction, labels) -> None:
        original(self, prediction, labels)
        calls.append(1)
        if len(calls) == 4:  # the second scene: first by itself, then in the total
            raise KeyboardInterrupt

    monkeypatch.setattr(SegmentationMetric, "update", cut)
    with pytest.raises(KeyboardInterrupt):
        run_evaluate(settings(undisturbed), tmp_path / "cut", upstream)
    run_evaluate(settings(undisturbed), tmp_path / "cut", upstream)
    assert (tmp_path / "whole/metrics.json").read_bytes() == (tmp_path / "cut/metrics.json").read_bytes()


@pytest.mark.short
@pytest.mark.slow
def test_a_pretraining_on_two_processes_ends_near_one_on_one(undisturbed: Path, tmp_path: Path):
    run_pretrain(settings(undisturbed, machine__processes=2, recipe__pretrain__steps=4), tmp_path / "two", {})
    run_pretrain(settings(undisturbed, recipe__pretrain__steps=4), tmp_path / "one", {})
    one, two = ([record["loss"] for record in read_log(tmp_path / name)] for name in ("one", "two"))
    assert len(two) == 4
    assert two == pytest.approx(one, rel=0.5)  # batch norm sees half of the scenes, so only the size can agree
