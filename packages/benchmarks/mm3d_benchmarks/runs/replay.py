"""Take the one step again at which a training stopped, and say which number went bad first.

    python -m mm3d_benchmarks.runs.replay runs/<key>

A training that meets a NaN or infinite loss keeps the state before that step in ``runs/<key>/failure``. Batches and
random numbers depend on the step alone, so the step can be repeated by itself, here with torch's anomaly detection.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import torch

from mm3d_benchmarks.store.spec import KINDS
from mm3d_benchmarks.store.layout import read_json
from mm3d_benchmarks.runs.training import REPLAY_FILE, Training
from mm3d_core.training.checkpoint import load_checkpoint
from mm3d_core.errors import UserError
from mm3d_core.seeding import generator, seed_everything
from mm3d_core.training.fit import FAILURE_FOLDER


def replay(folder: Path) -> list[str]:
    """Repeat the failed step of a run on the CPU, without mixed precision.

    Returns:
        Lines of a report: each scene of the batch with the ranges of what was read, the losses, and the first operation
        whose gradient is not finite.

    Raises:
        UserError: the folder holds no failed step.
    """
    state = load_checkpoint(folder / FAILURE_FOLDER)
    request = folder / FAILURE_FOLDER / REPLAY_FILE
    if state is None or not request.is_file():
        raise UserError(
            f"{folder / FAILURE_FOLDER}: no failed step is kept there; give the folder of a run that stopped"
        )
    asked = read_json(request) or {}
    if asked.get("kind") not in KINDS or not isinstance(asked.get("config"), dict):
        raise UserError(f"{request}: damaged; delete the folder of the run and run it again")
    here = {"device": "cpu", "workers": 0, "processes": 1}
    config = {**asked["config"], "machine": {**asked["config"].get("machine", {}), **here}}
    kind = importlib.import_module(f"mm3d_benchmarks.runs.{asked['kind']}")
    training: Training = kind.training_of(config)
    training.module.load_state_dict(state["module"])
    training.module.train()
    for part in training.frozen:
        part.eval()
    share = int(asked.get("rank", 0)), max(1, int(asked.get("processes", 1)))
    return _report(training, int(state["step"]), share)


def _report(training: Training, step: int, share: tuple[int, int]) -> list[str]:
    lines = [f"step {step + 1} of a {training.kind} run"]
    lines += [f"  parameter {n} is not finite" for n, p in training.module.named_parameters() if not p.isfinite().all()]
    keys = (training.config.seed, "step", step, share[0])
    seed_everything(*keys)
    random = generator(*keys, "objective")
    for batch in training.loader(share).stream(step, step + 1):
        for name, view in batch.views.items():
            for scene, rows in zip(batch.names, view.scenes(), strict=True):
                lines.append(f"  {scene}, {name}: {rows.stop - rows.start} points, feat {_range(view.feat[rows])}")
        with torch.autograd.set_detect_anomaly(True):
            try:
                losses = training.objective(training.module, batch, random)
                lines += [f"  {name} = {float(value.detach()):g}" for name, value in losses.items()]
                losses["loss"].backward()
            except (RuntimeError, ValueError) as error:
                lines.append(f"  {type(error).__name__}: {error}")
        gradients = ((n, p.grad) for n, p in training.module.named_parameters() if p.grad is not None)
        lines += [f"  gradient of {n} is not finite" for n, g in gradients if not g.isfinite().all()]
    return lines


def _range(values: torch.Tensor) -> str:
    if values.numel() == 0:
        return "empty"
    bad = int((~values.isfinite()).sum())
    return f"{float(values.nan_to_num().min()):g} to {float(values.nan_to_num().max()):g}, {bad} values not finite"


def main() -> int:
    """Command line."""
    if len(sys.argv) != 2:
        print("usage: python -m mm3d_benchmarks.runs.replay runs/<key>", file=sys.stderr)
        return 2
    try:
        print("\n".join(replay(Path(sys.argv[1]))))
    except UserError as error:
        print(f"mm3d replay: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
