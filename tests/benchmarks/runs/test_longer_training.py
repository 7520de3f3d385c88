"""A training from scratch can take the steps of the pre-training on top, in steps or in epochs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from benchmarks.small_runs import config, write_rooms

from mm3d_benchmarks.runs.finetune import pretraining_steps, run_finetune
from mm3d_benchmarks.runs.recipe import Recipe


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_rooms(tmp_path_factory.mktemp("rooms"))


def test_the_pre_trainings_steps_are_added(root: Path, tmp_path: Path):
    given = config(root, protocol={"longer": True}, recipe__pretrain__steps=3)
    run_finetune(given, tmp_path)
    assert json.loads((tmp_path / "metrics.json").read_text())["steps"] == 6 + 3


@pytest.mark.parametrize(("drop_last", "steps"), [(True, 5 * 4), (False, 5 * 5)])
def test_epochs_of_the_pre_training_are_counted_in_its_own_batches(root: Path, drop_last: bool, steps: int):
    epochs = {"steps": None, "epochs": 5, "loop": 3, "batch": 2, "drop_last": drop_last}  # 9 scans an epoch
    given = config(root, **{f"recipe__pretrain__{name}": value for name, value in epochs.items()})
    assert pretraining_steps(Recipe.of(given, "pretrain"), scenes=3) == steps
