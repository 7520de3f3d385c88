"""No operation is dispatched more often because a scene has more points: nothing is sampled point by point."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from benchmarks.small_runs import write_rooms
from device.pretend import pretended
from device.small import Steps, settings

from mm3d_benchmarks.planning.compose import available
from mm3d_benchmarks.runs.evaluate import run_evaluate
from mm3d_benchmarks.runs.finetune import run_finetune
from mm3d_benchmarks.runs.pretrain import run_pretrain
from pointops.triton import sampling

IN_THE_STEP = [
    "mm3dscene_official",
    "mm3dscene_paper",
    "statistic_first_layer",
    "masked_scene_contrast",
]  # plans that no loader makes
METHODS = [name for name in available("pretrain") if name not in ("none", "random", "file")]  # these take no step


def operations(backbone: str, pretrain: str, points: int, folder: Path, monkeypatch) -> Counter[str]:
    """What one pre-training step dispatches on rooms of so many points, all too large for the sampling kernel."""
    chain = settings(
        backbone, write_rooms(folder / "rooms", points=points), pretrain, recipe__pretrain__steps=1,
        recipe__pretrain__voxel=0.01, recipe__pretrain__max_points=100_000,
    )  # fmt: skip
    with monkeypatch.context() as patch, pretended(patch) as ledger:
        patch.setattr(sampling, "LARGEST", 64)
        steps = Steps(patch, ledger)
        run_pretrain(chain["pretrain"], folder / "run", {})
        assert not ledger.mixed, ledger.mixed
        for waits, blocking in zip(steps.waits, steps.blocking, strict=True):
            assert waits.total() <= 12, waits
            assert not blocking, blocking
    return steps.operations[0]


def check_growth(backbone: str, pretrain: str, tmp_path: Path, monkeypatch) -> None:
    few = operations(backbone, pretrain, 800, tmp_path / "few", monkeypatch)
    many = operations(backbone, pretrain, 1600, tmp_path / "many", monkeypatch)
    more = {name: (few[name], count) for name, count in many.items() if count > few[name] + 40}
    assert not more, more  # a scene more in a draw is some operations, a loop over samples hundreds


@pytest.mark.parametrize("pretrain", IN_THE_STEP)
def test_plans_made_in_the_step(pretrain: str, tmp_path: Path, monkeypatch):
    check_growth("point_transformer", pretrain, tmp_path, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("pretrain", [name for name in METHODS if name not in IN_THE_STEP])
def test_every_pretraining(pretrain: str, tmp_path: Path, monkeypatch):
    check_growth("point_transformer", pretrain, tmp_path, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize(
    "pretrain",
    [
        "mm3dscene_official_detection",
        "masked_scene_contrast",
        "random_rooms",
        "four_d_contrast",
        "contrastive_scene_contexts",
    ],
)
def test_detectors(pretrain: str, tmp_path: Path, monkeypatch):
    check_growth("votenet_color_height", pretrain, tmp_path, monkeypatch)


def test_an_evaluation_of_a_detector_gets_its_plan_made_for_it(tmp_path: Path, monkeypatch):
    chain = settings("votenet_color_height", write_rooms(tmp_path / "rooms", val=1), recipe__finetune__steps=1)
    with pretended(monkeypatch) as ledger:
        monkeypatch.setattr(sampling, "LARGEST", 512)  # the rooms are larger, the votes are not
        run_finetune(chain["finetune"], tmp_path / "finetune", {})
        ledger.operations.clear()
        run_evaluate(chain["evaluate"], tmp_path / "evaluate", {"finetune": tmp_path / "finetune"})
    assert ledger.operations["pointops::farthest_point_sampling"] == 1  # the clusters' alone
    assert ledger.operations["pointops::ball"] == 1
