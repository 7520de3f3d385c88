"""What pre-training and fine-tuning runs have in common: a recipe, a loader, the loop, and the files at the end."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mm3d_benchmarks.datasets.loading import SceneLoader, ScenesToItems
from mm3d_benchmarks.datasets.scene import PreparedDataset
from mm3d_benchmarks.runs.build import Machine, Recipe
from mm3d_core import distributed
from mm3d_core.atomic import write_json
from mm3d_core.checkpoint import save_weights
from mm3d_core.seeding import set_deterministic
from mm3d_core.training import Objective, fit
from mm3d_core.training_log import read_log

logger = logging.getLogger(__name__)

METRICS_FILE, EFFICIENCY_FILE, PROGRESS_FILE = "metrics.json", "efficiency.json", "progress.json"
NOT_RESULTS = ("step", "epoch", "lr", "seconds_per_step")  # of a log record


def device_of(machine: Machine) -> torch.device:
    """This process's device."""
    return torch.device("cuda", distributed.rank()) if machine.device == "cuda" else torch.device("cpu")


def prepare_process(machine: Machine) -> None:
    """Settings of the whole process, before anything is built."""
    set_deterministic(machine.deterministic)
    if machine.device == "cpu":
        note = keep_memory()
        if note and distributed.is_main():
            logger.info(note)


def keep_memory() -> str:
    """Ask the C library to keep freed memory, which large CPU trainings otherwise pay for at every step.

    Returns:
        What was done, for the log, or "" where pointops offers nothing here.
    """
    try:
        from pointops import memory  # pyright: ignore[reportAttributeAccessIssue]
    except ImportError:
        return ""
    return str(memory.keep_freed_memory())


def train(
    config: Mapping[str, Any],
    folder: Path,
    recipe: Recipe,
    module: nn.Module,
    objective: Objective,
    data: PreparedDataset,
    scenes: Sequence[str],
    items: ScenesToItems,
    frozen: Sequence[nn.Module] = (),
) -> dict[str, Any]:
    """Train ``module`` (already on its device) by a recipe, from the folder's checkpoint if there is one.

    Returns:
        The efficiency record; it is also written to ``efficiency.json``.

    Raises:
        UserError, Preempted: as :func:`mm3d_core.training.fit`.
    """
    machine, seed = Machine.of(config), int(config["seed"])
    device = device_of(machine)
    loader = SceneLoader(
        data,
        scenes,
        items,
        batch=recipe.batch,
        seed=seed,
        loop=recipe.loop,
        drop_last=recipe.drop_last,
        accumulation=recipe.accumulation,
        max_batch_points=recipe.max_batch_points,
        rank=distributed.rank(),
        world_size=distributed.world_size(),
        workers=machine.workers,
        pin_memory=device.type == "cuda",
    )
    schedule, batch_norm = recipe.schedules()
    settings = recipe.settings(loader.steps_per_epoch, seed)
    if distributed.is_main():
        write_json(folder / PROGRESS_FILE, {"steps": settings.steps, "steps_per_epoch": loader.steps_per_epoch})
    record = fit(
        module,
        objective,
        loader,
        recipe.build_optimizer(module),
        folder,
        settings,
        schedule,
        batch_norm=batch_norm,
        frozen=frozen,
        reporting=machine.reporting(folder),
        device=device,
    )
    record |= {"processes": distributed.world_size(), "workers": machine.workers, "scenes_per_step": recipe.batch}
    if distributed.is_main():
        write_json(folder / EFFICIENCY_FILE, record)
    return record


def finish(folder: Path, kind: str, weights: Path, module: nn.Module, more: Mapping[str, Any] | None = None) -> None:
    """Write the weights, then ``metrics.json``, whose presence means that the run is done."""
    save_weights(weights, module.state_dict())
    last = read_log(folder)[-1]
    metrics = {name: value for name, value in last.items() if name not in NOT_RESULTS}
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    result = {
        "kind": kind,
        "metrics": metrics,
        "steps": last["step"],
        "weights": {weights.name: digest},
        **(more or {}),
    }
    write_json(folder / METRICS_FILE, result)
