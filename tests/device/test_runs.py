"""Every backbone's whole chain of runs on a pretended GPU: no mixed devices, no blocking copy, hardly a wait."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from benchmarks.small_runs import write_rooms
from device.pretend import Ledger, pretended
from device.small import BACKBONES, Steps, settings

from mm3d_benchmarks.runs.evaluate import run_evaluate
from mm3d_benchmarks.runs.finetune import run_finetune
from mm3d_benchmarks.runs.pretrain import run_pretrain
from pointops.memory import keep_freed_memory

MOST_WAITS = 12  # of the host in one training step of four scenes
SEGMENTORS = BACKBONES[:3]


@pytest.fixture(scope="module", autouse=True)
def kept_memory() -> None:
    keep_freed_memory()


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_rooms(tmp_path_factory.mktemp("rooms"), val=1, points=1200)


def check_steps(steps: Steps, ledger: Ledger) -> None:
    """No step may block, and none may wait more often than allowed."""
    assert not ledger.mixed, ledger.mixed
    assert steps.waits, "no step was taken"
    for waits, blocking in zip(steps.waits, steps.blocking, strict=True):
        assert not blocking, blocking
        assert waits.total() <= MOST_WAITS, waits


def check_evaluation(ledger: Ledger) -> None:
    """Weights are sent to the device as they come, scenes through page-locked memory."""
    assert not ledger.mixed, ledger.mixed
    assert not [place for place in ledger.blocking if "runs/" not in place and "checkpoint" not in place]


@pytest.mark.parametrize("backbone", BACKBONES)
def test_pretraining_finetuning_and_evaluation(backbone: str, root: Path, tmp_path: Path, monkeypatch):
    chain = settings(backbone, root)
    with pretended(monkeypatch) as ledger:
        steps = Steps(monkeypatch, ledger)
        run_pretrain(chain["pretrain"], tmp_path / "pretrain", {})
        run_finetune(chain["finetune"], tmp_path / "finetune", {"pretrain": tmp_path / "pretrain"})
        check_steps(steps, ledger)
        for column in (ledger.waits, ledger.blocking):
            column.clear()
        run_evaluate(chain["evaluate"], tmp_path / "evaluate", {"finetune": tmp_path / "finetune"})
        check_evaluation(ledger)
        assert ledger.waits.total() <= 12, ledger.waits  # one scene
    assert (tmp_path / "evaluate/metrics.json").is_file()


@pytest.mark.parametrize("backbone", BACKBONES)
def test_under_autocast(backbone: str, root: Path, tmp_path: Path, monkeypatch):
    half = {"recipe__pretrain__precision": "bf16", "recipe__finetune__precision": "bf16"}
    chain = settings(backbone, root, recipe__pretrain__steps=1, recipe__finetune__steps=1, **half)
    with pretended(monkeypatch) as ledger:
        steps = Steps(monkeypatch, ledger)
        run_pretrain(chain["pretrain"], tmp_path / "pretrain", {})
        run_finetune(chain["finetune"], tmp_path / "finetune", {"pretrain": tmp_path / "pretrain"})
        check_steps(steps, ledger)


@pytest.mark.parametrize("backbone", ["point_transformer", "point_transformer_v3"])
def test_self_distillation(backbone: str, root: Path, tmp_path: Path, monkeypatch):
    chain = settings(backbone, root, pretrain="sonata")
    with pretended(monkeypatch) as ledger:
        steps = Steps(monkeypatch, ledger)
        run_pretrain(chain["pretrain"], tmp_path / "pretrain", {})
        check_steps(steps, ledger)


@pytest.mark.parametrize("form", ["head", "levels", "neighbors"])
def test_probes(form: str, root: Path, tmp_path: Path, monkeypatch):
    chain = settings("point_transformer", root, recipe__finetune__steps=1, protocol={"train": form})
    with pretended(monkeypatch) as ledger:
        steps = Steps(monkeypatch, ledger)
        run_finetune(chain["finetune"], tmp_path / "finetune", {})
        if form != "neighbors":  # which takes no steps
            check_steps(steps, ledger)
        run_evaluate(chain["evaluate"], tmp_path / "evaluate", {"finetune": tmp_path / "finetune"})
        check_evaluation(ledger)


def test_voting_on_crops(root: Path, tmp_path: Path, monkeypatch):
    voting = {"_target_": "mm3d_benchmarks.evaluation.voting.Voting", "voxel": 0.2, "max_points": 300}
    chain = settings("point_transformer", root, recipe__finetune__steps=1, evaluation__protocol=voting)
    with pretended(monkeypatch) as ledger:
        run_finetune(chain["finetune"], tmp_path / "finetune", {})
        ledger.waits.clear()
        run_evaluate(chain["evaluate"], tmp_path / "evaluate", {"finetune": tmp_path / "finetune"})
        check_evaluation(ledger)
    assert (tmp_path / "evaluate/metrics.json").is_file()


def test_what_breaks_on_a_gpu_is_found(monkeypatch):
    """The pretended GPU itself: it sees what it is there to see."""
    import torch

    with pretended(monkeypatch) as ledger:
        there = torch.arange(6, device="cuda:0").float()
        assert there.device.type == "cuda"
        assert float((there * 2).sum()) == 30
        assert ledger.waits
        assert not ledger.mixed
        _ = there + torch.ones(6)
        _ = there[there > 2]
        _ = torch.ones(6).to("cuda:0", non_blocking=True)
        _ = torch.ones(6).pin_memory().to("cuda:0", non_blocking=True)
        weight = there.clone().requires_grad_()
        (weight * 3).sum().backward()
        assert weight.grad is not None
        assert weight.grad.is_cuda
    assert ledger.mixed.total() == 1
    assert ledger.blocking.total() == 1
    assert sum(count for what, count in ledger.waits.items() if "by a mask" in what) == 1
    assert torch.tensor([1]).device.type == "cpu"
    assert isinstance(ledger.operations, Counter)
