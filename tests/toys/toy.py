"""Runs that cost nothing: they count to ``steps`` with a checkpoint after each,
and misbehave where they are told to.
"""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

from mm3d_benchmarks.store.spec import RunSpec
from mm3d_core.files.atomic import write_json
from mm3d_core.training.interruption import StopRequest


def run(config: dict[str, Any], folder: Path, upstream: dict[str, Path]) -> dict[str, Any]:
    """Count, from the checkpoint on; the result is a sum over the run and what it starts from."""
    checkpoint = folder / "checkpoint.json"
    done = json.loads(checkpoint.read_text())["step"] if checkpoint.exists() else 0
    with (folder / "starts.txt").open("a") as stream:
        stream.write(f"{os.getpid()} {done}\n")
    (folder / "visible.txt").write_text(os.environ.get("CUDA_VISIBLE_DEVICES", ""))
    with StopRequest() as stop:
        for step in range(done, config.get("steps", 1)):
            time.sleep(config.get("seconds", 0.0))
            if step == config.get("raise_at"):
                raise ValueError("this run was made to fail")
            if step == config.get("kill_at") and not (folder / "killed").exists():
                (folder / "killed").touch()
                os.kill(os.getpid(), signal.SIGKILL)
            write_json(checkpoint, {"step": step + 1})
            with (folder / "log.jsonl").open("a") as stream:
                stream.write(json.dumps({"step": step + 1, "loss": 1.0 / (step + 1), "seconds_per_step": 0.1}) + "\n")
            if stop.signal is not None:
                stop.hand_on(step + 1)
    before = sum(json.loads((place / "metrics.json").read_text())["metrics"]["mIoU"] for place in upstream.values())
    return {"metrics": {"mIoU": before + config["value"], "mAcc": config["value"] / 2}}


def run_group(config: dict[str, Any], folder: Path, upstream: dict[str, Path]) -> dict[str, Any]:
    """A sum over the processes of a group."""
    import torch
    import torch.distributed as dist

    total = torch.tensor(float(dist.get_rank() + 1))
    dist.all_reduce(total)
    return {"metrics": {"sum": float(total), "processes": dist.get_world_size()}}


def run_group_that_breaks(config: dict[str, Any], folder: Path, upstream: dict[str, Path]) -> dict[str, Any]:
    """The second process fails; the first waits as on a GPU, where nobody notices."""
    import torch.distributed as dist

    if dist.get_rank() == 1:
        raise ValueError("this process was made to fail")
    time.sleep(3600)
    return {}


def evaluate_in_group(config: dict[str, Any], folder: Path, upstream: dict[str, Path]) -> dict[str, Any]:
    """The first process works, the others have nothing to do."""
    import torch.distributed as dist

    if dist.get_rank() == 0:
        time.sleep(config.get("seconds", 0.0))
    return {"metrics": {"mIoU": config["value"]}}


def spec(
    kind: str = "pretrain", upstream: dict[str, str] | None = None, function: str = "toy.run", **config: Any
) -> RunSpec:
    """A spec of such a run."""
    config = {"value": 1.0, "backbone": {"name": "toy"}, "dataset": {"name": "none"}, **config}
    return RunSpec(kind, config, upstream or {}, {}, "", {"function": function, "machine": {}})


def starts(folder: Path) -> int:
    """How often the run was started."""
    path = folder / "starts.txt"
    return len(path.read_text().splitlines()) if path.exists() else 0


def few_labels(config: dict[str, Any], folder: Path, upstream: dict[str, Path]) -> dict[str, Any]:
    """A score that grows with the share of labeled scenes; a fine-tuning on a fifth of them fails."""
    if config["kind"] != "finetune":
        return {"metrics": {}}
    if config["protocol"]["scenes"] == 0.2:
        raise ValueError("this run was made to fail")
    return {"metrics": {"mIoU": 10.0 + 20 * config["protocol"]["scenes"]}}
