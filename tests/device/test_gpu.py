"""On a real GPU: steps, scores, half precision, as on the CPU. ``make gpu`` runs these and the kernels' own tests."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from benchmarks.small_runs import write_rooms
from device.agreement import largest_differences, take_step
from device.small import BACKBONES, settings

from mm3d_benchmarks.commands.main import main
from mm3d_benchmarks.runs.evaluate import run_evaluate
from mm3d_benchmarks.runs.finetune import run_finetune
from mm3d_benchmarks.runs.pretrain import run_pretrain

on_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
LOSSES, GRADIENTS = 1e-4, 1e-3  # allowed between devices
SCORES = 0.1  # percent points: ties may fall otherwise


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_rooms(tmp_path_factory.mktemp("rooms"), val=1, points=1200)


@pytest.fixture
def exact() -> Iterator[None]:
    """No TF32, which has ten bits."""
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    yield
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


@pytest.mark.parametrize("kind", ["pretrain", "finetune"])
def test_the_comparison_sees_equal_and_unequal_steps(kind: str, root: Path):
    config = settings("point_transformer", root)[kind]
    one = take_step(config, kind, "cpu")
    assert largest_differences(one, take_step(config, kind, "cpu")) == (0.0, 0.0)
    losses, gradients = largest_differences(one, take_step(config, kind, "cpu", add=1e-2))
    assert losses > LOSSES
    assert gradients > GRADIENTS


@pytest.mark.gpu
@on_gpu
@pytest.mark.parametrize("kind", ["pretrain", "finetune"])
@pytest.mark.parametrize("backbone", BACKBONES)
def test_a_step_agrees_with_the_cpu(backbone: str, kind: str, root: Path, exact):
    config = settings(backbone, root)[kind]
    losses, gradients = largest_differences(take_step(config, kind, "cpu"), take_step(config, kind, "cuda"))
    assert losses < LOSSES
    assert gradients < GRADIENTS


@pytest.mark.gpu
@on_gpu
@pytest.mark.parametrize("precision", ["bf16", "fp16"])
@pytest.mark.parametrize("backbone", BACKBONES)
def test_half_precision_stays_finite(backbone: str, precision: str, root: Path, tmp_path: Path):
    half = {f"recipe__{kind}__precision": precision for kind in ("pretrain", "finetune")}
    chain = settings(backbone, root, **half)
    run_pretrain(chain["pretrain"], tmp_path / "pretrain", {})
    run_finetune(chain["finetune"], tmp_path / "finetune", {"pretrain": tmp_path / "pretrain"})
    for kind in ("pretrain", "finetune"):
        lines = (tmp_path / kind / "log.jsonl").read_text(encoding="utf-8").splitlines()
        assert lines
        assert all(torch.tensor(json.loads(line)["loss"]).isfinite() for line in lines)


@pytest.mark.gpu
@on_gpu
@pytest.mark.parametrize("backbone", BACKBONES)
def test_scores_are_those_of_the_cpu(backbone: str, root: Path, tmp_path: Path, exact):
    chain = settings(backbone, root)
    run_finetune(on_the("cpu", chain["finetune"]), tmp_path / "finetune", {})
    found = {}
    for device in ("cpu", "cuda"):
        run_evaluate(on_the(device, chain["evaluate"]), tmp_path / device, {"finetune": tmp_path / "finetune"})
        found[device] = json.loads((tmp_path / device / "metrics.json").read_text(encoding="utf-8"))["metrics"]
    assert found["cuda"].keys() == found["cpu"].keys()
    for name, value in found["cpu"].items():
        if isinstance(value, int | float):
            assert found["cuda"][name] == pytest.approx(value, abs=SCORES, nan_ok=True), name


@pytest.mark.gpu
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="fewer than two CUDA devices")
def test_two_gpus_train_one_run(root: Path, tmp_path: Path):
    config = settings("point_transformer", root, machine__processes=2)["pretrain"]
    run_pretrain(config, tmp_path / "pretrain", {})
    record = json.loads((tmp_path / "pretrain" / "efficiency.json").read_text(encoding="utf-8"))
    assert record["processes"] == 2


@pytest.mark.gpu
@on_gpu
def test_the_doctor_finds_this_machine_ready(capsys):
    assert main(["doctor"]) == 0
    assert torch.cuda.get_device_name() in capsys.readouterr().out


def on_the(device: str, config: dict[str, Any]) -> dict[str, Any]:
    """The configuration with another device."""
    return {**config, "machine": {**config["machine"], "device": device}}
