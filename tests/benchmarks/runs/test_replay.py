"""A step whose numbers went bad can be taken again alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from benchmarks.small_runs import config, write_rooms

from mm3d_benchmarks.runs.finetune import run_finetune
from mm3d_benchmarks.runs.pretrain import run_pretrain
from mm3d_benchmarks.runs.replay import replay
from mm3d_core.errors import UserError
from mm3d_core.methods.mm3dscene import MM3DScene
from mm3d_core.training import distributed


class Exploding(torch.optim.SGD):
    """Makes a parameter infinite in its third step."""

    taken = 0

    def step(self, closure=None):
        result = super().step(closure)
        self.taken += 1
        if self.taken == 3:
            self.param_groups[0]["params"][0].data.flatten()[0] = float("inf")
        return result


class Refusing(MM3DScene):
    """Refuses the second batch of the second process."""

    taken = 0

    def loss(self, views, generator):
        self.taken += 1
        if distributed.rank() == 1 and self.taken == 2:
            raise ValueError("too few points")
        return super().loss(views, generator)


@pytest.mark.filterwarnings("ignore::UserWarning")  # torch's trace of the bad operation
@pytest.mark.parametrize("kind", ["pretrain", "finetune"])
def test_a_run_that_went_bad_names_everything_needed_and_can_be_replayed(tmp_path: Path, kind: str):
    optimizer = {"_target_": "benchmarks.runs.test_replay.Exploding", "lr": 0.01}
    settings = config(write_rooms(tmp_path / "data"), **{f"recipe__{kind}__optimizer": optimizer})
    run = {"pretrain": run_pretrain, "finetune": run_finetune}[kind]
    sys.modules.setdefault("benchmarks.runs.test_replay", sys.modules[__name__])
    with pytest.raises(UserError, match=r"step 4: .*scenes room_\d.*mm3d_benchmarks\.runs\.replay"):
        run(settings, tmp_path / "run", {})
    assert not (tmp_path / "run/metrics.json").exists()
    lines = replay(tmp_path / "run")
    assert lines[0] == f"step 4 of a {kind} run"
    assert any("parameter" in line and "is not finite" in line for line in lines)
    names = json.loads((tmp_path / "run/failure/step.json").read_text())["scenes"]
    assert all(any(name in line for line in lines) for name in names)
    command = [sys.executable, "-m", "mm3d_benchmarks.runs.replay", str(tmp_path)]
    other = subprocess.run(command, capture_output=True, text=True, check=False)
    assert other.returncode == 1
    assert "no failed step" in other.stderr


@pytest.mark.short
@pytest.mark.slow
def test_a_batch_that_the_second_process_refused_can_be_replayed_from_its_share(tmp_path: Path):
    method = {"pretrain__method___target_": "benchmarks.runs.test_replay.Refusing", "machine__processes": 2}
    settings = config(write_rooms(tmp_path / "data", train=4), **method)
    sys.modules.setdefault("benchmarks.runs.test_replay", sys.modules[__name__])
    with pytest.raises(UserError, match=r"step 2: too few points, scenes (room_\d); .*mm3d_benchmarks\.runs\.replay"):
        run_pretrain(settings, tmp_path / "run", {})
    failed = json.loads((tmp_path / "run/failure/step.json").read_text())
    assert (failed["rank"], failed["processes"], len(failed["scenes"])) == (1, 2, 1)
    command = [sys.executable, "-m", "mm3d_benchmarks.runs.replay", str(tmp_path / "run")]
    places = os.pathsep.join(filter(None, sys.path))
    told = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, "PYTHONPATH": places})
    lines = told.stdout.splitlines()
    assert lines[0] == "step 2 of a pretrain run"
    assert any(line.startswith(f"  {failed['scenes'][0]}, ") for line in lines)
    assert any(line.startswith("  loss = ") for line in lines)
