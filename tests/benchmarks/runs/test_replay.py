"""A step whose numbers went bad can be taken again alone."""

from __future__ import annotations

import json
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


class Exploding(torch.optim.SGD):
    """Makes a parameter infinite in its third step."""

    taken = 0

    def step(self, closure=None):
        result = super().step(closure)
        self.taken += 1
        if self.taken == 3:
            self.param_groups[0]["params"][0].data.flatten()[0] = float("inf")
        return result


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
