"""A pre-training run: scenes without labels -> encoder.safetensors, and pictures of what the method saw."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mm3d_benchmarks.datasets.scene import PreparedDataset
from mm3d_benchmarks.loading.loading import Batch, ScenesToItems
from mm3d_benchmarks.loading.labels import object_segments
from mm3d_benchmarks.viewing.run_pictures import save_artefacts
from mm3d_benchmarks.runs.build import (
    Machine,
    Recipe,
    build_encoder,
    build_facts,
    build_method,
    build_targets,
    build_task,
    open_data,
    part,
    split_scenes,
)
from mm3d_benchmarks.runs.controls import control_of, leave_untrained, supervised_config, supervised_loss
from mm3d_benchmarks.runs.training import Training, device_of, finish, prepare_process, train
from mm3d_benchmarks.store.layout import EFFICIENCY, ENCODER_WEIGHTS
from mm3d_core.training import distributed
from mm3d_core.training.distributed import run_in_processes
from mm3d_core.observing.logfile import LOG_FILE, read_log
from mm3d_core.seeding import seed_everything

logger = logging.getLogger(__name__)

NO_CROPS = (
    "in not one of %d logged steps did two crops of a scan overlap as pretrain.method.views asks (accepted_views is 0): both "
    "views were balls around one point; choose another crop (sphere, box), or a smaller overlap or min_share"
)


def run_pretrain(config: Mapping[str, Any], folder: Path, upstream: Mapping[str, Path] | None = None) -> None:
    """Pre-train an encoder; continues from the folder's checkpoint if there is one.

    Args:
        config: resolved and plain: seed, backbone, dataset, pretrain, recipe.pretrain, machine.
        folder: the run's folder; it gets log.jsonl, checkpoints, encoder.safetensors, artefacts.npz,
            reconstruction.png, efficiency.json and, last, metrics.json.
        upstream: not used; a pre-training starts from nothing.

    Raises:
        UserError: whatever is wrong with the configuration, the data or the training, named.
        Preempted: a stop signal came; calling again continues.
    """
    machine = Machine.of(config)
    run_in_processes(_pretrain, (dict(config), str(folder)), machine.processes, machine.device)


def _pretrain(config: dict[str, Any], where: str) -> None:
    folder = Path(where)
    prepare_process(Machine.of(config))
    if (control_of(config) or {}).get("kind") == "start":
        _keep_another_start(config, folder)
        return
    training = training_of(config)
    train(config, folder, training)
    if distributed.is_main():
        method: Any = training.module
        sampling = training.items.sampling
        warn_of_crops(folder)
        if control_of(config) is None:
            save_artefacts(folder, method, training.data, training.scenes[0], sampling, int(config["seed"]))
        finish(folder, "pretrain", folder / ENCODER_WEIGHTS, method.encoder, {"scenes": len(training.scenes)})
    distributed.barrier()


def training_of(config: Mapping[str, Any]) -> Training:
    """The method around a fresh encoder, and the scenes it learns from."""
    recipe, data = Recipe.of(config, "pretrain"), open_data(config)
    scenes = split_scenes(config, data, "pretrain")
    seed_everything(int(config["seed"]), "parameters")
    control = control_of(config)
    if control is not None:
        return _supervised(config, control, recipe, data, scenes)
    method = build_method(config, build_encoder(config)).to(device_of(Machine.of(config)))
    return Training("pretrain", recipe, method, _loss, data, scenes, items_of(config, recipe, method))


def items_of(config: Mapping[str, Any], recipe: Recipe, method: nn.Module) -> ScenesToItems:
    """What loader workers make of a scene for this method."""
    planned = getattr(method, "planned_views", None)
    return ScenesToItems(
        recipe.sampling(part(config, "backbone.input")),
        views=method.views,  # pyright: ignore[reportArgumentType]
        plan=Machine.of(config).plan_spec(method.encoder),
        planned_views=None if planned is None else tuple(planned),
        plan_views=getattr(method, "plan_views", None),
        marked=object_segments(build_facts(config)),
    )


def _supervised(
    config: Mapping[str, Any], control: Mapping[str, Any], recipe: Recipe, data: PreparedDataset, scenes: list[str]
) -> Training:
    """The control ``oracle``: the task's network on the labels of the pre-training scenes."""
    facts = build_facts(config)
    classes = facts.num_detection_classes if control["task"] == "detection" else facts.num_segment_classes
    seen = supervised_config(config, control, classes)
    machine = Machine.of(config)
    model: Any = build_task(seen, build_encoder(seen), facts, data).to(device_of(machine))
    items = ScenesToItems(
        recipe.sampling(part(config, "backbone.input")),
        targets=build_targets(seen, facts, str(control.get("votes", recipe.votes))),
        plan=machine.plan_spec(model.encoder),
    )
    return Training("pretrain", recipe, model, supervised_loss, data, scenes, items)


def _keep_another_start(config: Mapping[str, Any], folder: Path) -> None:
    """The control ``random``: an encoder that starts from other values than those of this seed's rows."""
    seed_everything(int(config["seed"]), "another start")
    encoder = build_encoder(config)
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
