"""A pre-training run: scenes without labels -> encoder.safetensors, and pictures of what the method saw."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mm3d_benchmarks.datasets.scene import PreparedDataset
from mm3d_benchmarks.loading.loading import Batch, ScenesToItems
from mm3d_benchmarks.loading.labels import object_segments
from mm3d_benchmarks.viewing.run_pictures import save_artefacts
from mm3d_benchmarks.runs.build import build_encoder, build_method, build_targets, build_task
from mm3d_benchmarks.runs.configuration import Pretraining
from mm3d_benchmarks.runs.controls import Control, leave_untrained, supervised_loss
from mm3d_benchmarks.runs.training import Training, device_of, finish, prepare_process, train
from mm3d_benchmarks.store.layout import EFFICIENCY, ENCODER_WEIGHTS
from mm3d_core.training import distributed
from mm3d_core.training.distributed import run_in_processes
from mm3d_core.observing.logfile import LOG_FILE, read_log
from mm3d_core.errors import UserError
from mm3d_core.seeding import seed_everything

logger = logging.getLogger(__name__)

NO_CROPS = (
    "in not one of %d logged steps did two crops of a scan overlap as pretrain.method.views asks (accepted_views is 0): both "
    "views were balls around one point; choose another crop (sphere, box), or a smaller overlap or min_share"
)


def run_pretrain(given: Mapping[str, Any], folder: Path, upstream: Mapping[str, Path] | None = None) -> None:
    """Pre-train an encoder; continues from the folder's checkpoint if there is one.

    Args:
        given: configuration, resolved and plain: seed, backbone, dataset, pretrain, recipe.pretrain, machine.
        folder: the run's folder; it gets log.jsonl, checkpoints, encoder.safetensors, artefacts.npz,
            reconstruction.png, efficiency.json and, last, metrics.json.
        upstream: not used; a pre-training starts from nothing.

    Raises:
        UserError: whatever is wrong with the configuration, the data or the training, named.
        Preempted: a stop signal came; calling again continues.
    """
    config = Pretraining.of(given)
    run_in_processes(_pretrain, (config, str(folder)), config.machine.processes, config.machine.device)


def _pretrain(config: Pretraining, where: str) -> None:
    folder = Path(where)
    prepare_process(config.machine)
    if config.control is not None and config.control.kind == "start":
        _keep_another_start(config, folder)
        return
    training = _training(config)
    train(folder, training)
    if distributed.is_main():
        method: Any = training.module
        sampling = training.items.sampling
        warn_of_crops(folder)
        if config.control is None:
            save_artefacts(folder, method, training.data, training.scenes[0], sampling, config.seed)
        finish(folder, "pretrain", folder / ENCODER_WEIGHTS, method.encoder, {"scenes": len(training.scenes)})
    distributed.barrier()


def training_of(given: Mapping[str, Any]) -> Training:
    """The method around a fresh encoder, and the scenes it learns from, of a resolved, plain configuration."""
    return _training(Pretraining.of(given))


def _training(config: Pretraining) -> Training:
    data = config.dataset.open()
    scenes = config.dataset.scenes(data, "pretrain")
    seed_everything(config.seed, "parameters")
    if config.control is not None:
        return _supervised(config, config.control, data, scenes)
    method = build_method(config.method, build_encoder(config.backbone)).to(device_of(config.machine))
    return Training("pretrain", config, config.recipe, method, _loss, data, scenes, items_of(config, method))


def items_of(config: Pretraining, method: Any) -> ScenesToItems:
    """What loader workers make of a scene for this method."""
    planned = getattr(method, "planned_views", None)
    return ScenesToItems(
        config.recipe.sampling(config.backbone.inputs),
        views=method.views,
        plan=config.machine.plan_spec(method.encoder),
        planned_views=None if planned is None else tuple(planned),
        plan_views=getattr(method, "plan_views", None),
        marked=object_segments(config.dataset.facts),
    )


def _supervised(config: Pretraining, control: Control, data: PreparedDataset, scenes: list[str]) -> Training:
    """The control ``oracle``: the task's network on the labels of the pre-training scenes.

    Raises:
        UserError: the data set has no labels for the task.
    """
    facts, task, recipe = config.dataset.facts, control.task, config.recipe
    if not (facts.num_detection_classes if task == "detection" else facts.num_segment_classes):
        raise UserError(
            f"pretrain={config.name} learns from labels, and data set {config.dataset.name} has none for {task}: "
            "this control is not defined there; leave its row out, or choose a labeled data set"
        )
    backbone = replace(config.backbone, heads=control.heads)
    model: Any = build_task(task, backbone, build_encoder(backbone), facts, data.manifest.get("mean_sizes"))
    model = model.to(device_of(config.machine))
    items = ScenesToItems(
        recipe.sampling(backbone.inputs),
        targets=build_targets(task, facts, control.votes or recipe.votes),
        plan=config.machine.plan_spec(model.encoder),
    )
    return Training("pretrain", config, recipe, model, supervised_loss, data, scenes, items)


def _keep_another_start(config: Pretraining, folder: Path) -> None:
    """The control ``random``: an encoder that starts from other values than those of this seed's rows."""
    seed_everything(config.seed, "another start")
    encoder = build_encoder(config.backbone)
    if distributed.is_main():
        leave_untrained(folder, encoder, LOG_FILE, EFFICIENCY)
        finish(folder, "pretrain", folder / ENCODER_WEIGHTS, encoder)
    distributed.barrier()


def warn_of_crops(folder: Path) -> bool:
    """Say so when the views of a contrastive method were never what its crops should make them; returns whether."""
    accepted = [record["accepted_views"] for record in read_log(folder) if "accepted_views" in record]
    never = bool(accepted) and not any(accepted)
    if never:
        logger.warning(f"{folder.name}: {NO_CROPS}", len(accepted))
    return never


def _loss(method: Any, batch: Batch, random: torch.Generator) -> dict[str, Tensor]:
    return method.loss(batch.views, random)
