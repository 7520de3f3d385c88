"""What pre-training and fine-tuning runs have in common: a recipe, a loader, the loop, and the files at the end."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mm3d_benchmarks.loading.loading import SceneLoader, ScenesToItems
from mm3d_benchmarks.datasets.scene import PreparedDataset, hash_file
from mm3d_benchmarks.runs.configuration import Configuration
from mm3d_benchmarks.runs.device import in_words
from mm3d_benchmarks.runs.machine import Machine
from mm3d_benchmarks.runs.recipe import Recipe
from mm3d_benchmarks.store import layout
from mm3d_core.training import distributed
from mm3d_core.files.atomic import write_json
from mm3d_core.training.checkpoint import save_weights
from mm3d_core.errors import UserError
from mm3d_core.seeding import set_deterministic
from mm3d_core.training.snapshots import snapshots_of
from mm3d_core.training.fit import FAILURE_FOLDER, STEP_FILE, Objective, fit
from mm3d_core.observing.logfile import LOG_FILE, read_log
from pointops.memory import keep_freed_memory

logger = logging.getLogger(__name__)

REPLAY_FILE = "replay.json"
NOT_RESULTS = ("step", "epoch", "lr", "seconds_per_step", "peak_memory_bytes")  # of a log record


def device_of(machine: Machine) -> torch.device:
    """This process's device (whoever made the process group chose the GPU)."""
    return torch.device("cuda", torch.cuda.current_device()) if machine.device == "cuda" else torch.device("cpu")


def prepare_process(machine: Machine) -> None:
    """Settings of the whole process, before anything is built."""
    if not logging.getLogger().hasHandlers():
        logging.basicConfig(format="%(message)s")
    for package in ("mm3d_core", "mm3d_benchmarks"):
        logging.getLogger(package).setLevel(logging.INFO)
    if distributed.is_main():
        logger.info(in_words(machine.device))
    set_deterministic(machine.deterministic)
    if machine.device == "cpu":
        note = keep_freed_memory()
        if distributed.is_main():
            logger.info(note)


@dataclass(frozen=True)
class Training:
    """What a configuration trains: made by ``pretrain.training_of`` and ``finetune.training_of``.

    Attributes:
        kind: ``pretrain`` or ``finetune``.
        config: of the whole run.
        recipe: its own, or one that is longer by the protocol.
        module: on its device.
        objective: (module, batch, generator) -> named losses.
        scenes: names to train on, of ``data``.
        items: what loader workers make of a scene.
        frozen: parts kept in evaluation mode.
    """

    kind: str
    config: Configuration
    recipe: Recipe
    module: nn.Module
    objective: Objective
    data: PreparedDataset
    scenes: Sequence[str]
    items: ScenesToItems
    frozen: Sequence[nn.Module] = ()

    def loader(self, share: tuple[int, int] | None = None) -> SceneLoader:
        """The batches of this process, or of another: ``share`` is its rank and how many processes there are."""
        rank, processes = share or (distributed.rank(), distributed.world_size())
        machine = self.config.machine
        return SceneLoader(
            self.data,
            self.scenes,
            self.items,
            batch=self.recipe.batch,
            seed=self.config.seed,
            loop=self.recipe.loop,
            drop_last=self.recipe.drop_last,
            accumulation=self.recipe.accumulation,
            max_batch_points=self.recipe.max_batch_points,
            mix=self.recipe.mix,
            rank=rank,
            world_size=processes,
            workers=machine.workers,
            pin_memory=machine.device == "cuda",
        )


def train(folder: Path, training: Training) -> dict[str, Any]:
    """Run a training, from the folder's checkpoint if there is one.

    Returns:
        The efficiency record; it is also written to ``efficiency.json``.

    Raises:
        UserError, Preempted: as :func:`mm3d_core.training.fit.fit`.
    """
    config, recipe = training.config, training.recipe
    machine, loader = config.machine, training.loader()
    settings = recipe.settings(loader.steps_per_epoch, config.seed)
    if distributed.is_main():
        layout.write_progress(folder, settings.steps)
    try:
        record = fit(
            training.module,
            training.objective,
            loader,
            recipe.build_optimizer(training.module),
            folder,
            settings,
            recipe.schedule,
            batch_norm=recipe.batch_norm,
            frozen=training.frozen,
            reporting=machine.reporting(folder),
            device=device_of(machine),
        )
    except UserError:
        failure = layout.read_json(folder / FAILURE_FOLDER / STEP_FILE) or {}
        if failure.get("rank") == distributed.rank():
            share = {"rank": distributed.rank(), "processes": distributed.world_size()}
            replay = {"kind": training.kind, "config": dict(config.given), **share}
            write_json(folder / FAILURE_FOLDER / REPLAY_FILE, replay)
        raise
    record |= {"processes": distributed.world_size(), "workers": machine.workers, "scenes_per_step": recipe.batch}
    record["parameters_beside_encoder"] = _trainable(training.module) - _trainable(training.module.encoder)
    if distributed.is_main():
        write_json(folder / layout.EFFICIENCY, record)
    return record


def _trainable(module: Any) -> int:
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)


def finish(folder: Path, kind: str, weights: Path, module: nn.Module, more: Mapping[str, Any] | None = None) -> None:
    """Write the weights, then ``metrics.json``, whose presence means that the run is done."""
    save_weights(weights, module.state_dict())
    records = read_log(folder)
    if not records:
        raise UserError(f"{folder / LOG_FILE}: lost its records; delete the run's folder and run it again")
    last = records[-1]
    metrics = {name: value for name, value in last.items() if name not in NOT_RESULTS}
    files = [weights, *snapshots_of(folder).values()]
    hashes = {path.name: hash_file(path) for path in files}
    layout.write_result(folder, kind, metrics, steps=last["step"], weights=hashes, **(more or {}))


def weights_file(source: Path, name: str) -> Path:
    """The weights that a finished run left, or a file that was given itself.

    Raises:
        UserError: the file is not the one that the run wrote: its checksum is in the run's result.
    """
    if source.suffix and not source.is_dir():
        return source
    path, result = source / name, layout.read_json(source / layout.METRICS) or {}
    recorded = result.get("weights")
    expected = recorded.get(name) if isinstance(recorded, dict) else None
    if expected is not None and path.is_file() and hash_file(path) != expected:
        raise UserError(
            f"{path}: damaged, or not what its run wrote (its checksum does not fit); "
            f"`mm3d store rm {source.name}`, then run again"
        )
    return path
