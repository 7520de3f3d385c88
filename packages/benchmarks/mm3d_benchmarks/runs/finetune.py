"""A fine-tuning run: a pre-trained encoder (or none) and labelled scenes -> model.safetensors."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mm3d_benchmarks.loading.loading import Batch, SceneLoader, ScenesToItems, steps_per_epoch
from mm3d_benchmarks.datasets.scene import hash_file
from mm3d_benchmarks.supervision import batch_norm
from mm3d_benchmarks.supervision.point_lists import ListedPoints
from mm3d_benchmarks.supervision.probe import NeighborProbe, fingerprint
from mm3d_benchmarks.runs.build import build_network, build_targets
from mm3d_benchmarks.runs.configuration import Finetuning
from mm3d_benchmarks.runs.recipe import Recipe
from mm3d_benchmarks.runs.training import (
    Training,
    device_of,
    finish,
    prepare_process,
    train,
    weights_file,
)
from mm3d_benchmarks.store import layout
from mm3d_core.training import distributed
from mm3d_core.files.atomic import write_json, write_text
from mm3d_core.training.checkpoint import load_weights
from mm3d_core.training.distributed import run_in_processes
from mm3d_core.observing.efficiency import device_name
from mm3d_core.errors import UserError
from mm3d_core.seeding import generator, seed_everything
from mm3d_core.observing.logfile import LOG_FILE

logger = logging.getLogger(__name__)

TRANSFER_FILE = "transfer.json"


def run_finetune(given: Mapping[str, Any], folder: Path, upstream: Mapping[str, Path] | None = None) -> None:
    """Fine-tune a task network; continues from the folder's checkpoint if there is one.

    Args:
        given: configuration, resolved and plain: seed, task, backbone, dataset, recipe.finetune, protocol, machine.
        folder: the run's folder; it gets log.jsonl, checkpoints, transfer.json (what was taken over from the
            pre-training), snapshot_<step>.safetensors if the recipe wants them, model.safetensors, efficiency.json and, last, metrics.json.
        upstream: ``{"pretrain": folder}`` (or a weights file) to start from; without it the network starts from
            scratch.

    Raises:
        UserError: whatever is wrong with the configuration, the data, the weights or the training, named.
        Preempted: a stop signal came; calling again continues.
    """
    config, source = Finetuning.of(given), (upstream or {}).get("pretrain")
    arguments = (config, str(folder), None if source is None else str(source))
    run_in_processes(_finetune, arguments, config.machine.processes, config.machine.device)


def _finetune(config: Finetuning, where: str, source: str | None) -> None:
    folder, protocol = Path(where), config.protocol
    prepare_process(config.machine)
    training = _training(config)
    model: Any = training.module
    account = transfer(model, source, folder)
    norms = measured_norms(config, training) if training.frozen else None
    before = fingerprint(model.encoder)
    if isinstance(model, NeighborProbe):
        remember(folder, training, model)
    else:
        train(folder, training)
    if training.frozen and fingerprint(model.encoder) != before:
        raise RuntimeError(f"protocol.train={protocol.train}: the frozen encoder moved, so this was no probe")
    if distributed.is_main():
        more = {"scenes": len(training.scenes), "protocol": protocol.train, "loaded_tensors": len(account["loaded"])}
        proof: dict[str, Any] = {"frozen_encoder": before, "batch_norm": norms} if training.frozen else {}
        if protocol.point_list is not None:
            listed = Path(protocol.point_list)
            proof["point_list"] = {"file": listed.name, "sha256": hash_file(listed)}
        finish(folder, "finetune", folder / layout.MODEL_WEIGHTS, model, more | proof)
    distributed.barrier()


def training_of(given: Mapping[str, Any]) -> Training:
    """The task's network from scratch and the labelled scenes that the protocol shows it, of a plain configuration."""
    return _training(Finetuning.of(given))


def _training(config: Finetuning) -> Training:
    recipe, protocol, facts = config.recipe, config.protocol, config.dataset.facts
    data = config.dataset.open()
    scenes, limits = protocol.chosen(config.dataset.scenes(data, "train")), protocol.limits()
    for listed in (limit for limit in limits if isinstance(limit, ListedPoints)):
        listed.check({name: int(data.manifest["scenes"][name]["points"]) for name in scenes})
    # One seed for all rows of a table: from scratch or not, everything new starts from the same values.
    seed_everything(config.seed, "parameters")
    model: Any = build_network(config, data).to(device_of(config.machine))
    items = ScenesToItems(
        recipe.sampling(config.backbone.inputs, limits),
        targets=build_targets(config.task, facts, recipe.votes),
        plan=config.machine.plan_spec(model.encoder),
    )
    if config.pretraining is not None:
        more = pretraining_steps(config.pretraining, len(config.dataset.scenes(data, "pretrain")))
        recipe = replace(recipe, extra_steps=recipe.extra_steps + more)
    frozen = [] if protocol.train == "all" else [model.encoder]
    return Training("finetune", config, recipe, model, _loss, data, scenes, items, frozen)


def pretraining_steps(recipe: Recipe, scenes: int) -> int:
    """Optimizer steps of a recipe of pre-training over so many scenes."""
    return recipe.total_steps(steps_per_epoch(scenes * recipe.loop, recipe.batch, recipe.drop_last))


def transfer(model: nn.Module, source: str | None, folder: Path) -> dict[str, Any]:
    """Load a pre-trained encoder into the model, whole or not at all; print and keep the account.

    Returns:
        The account: ``loaded``, ``fresh``, ``unused`` and ``mismatched`` tensor names.

    Raises:
        UserError: missing, damaged or of another network.
    """
    encoder: Any = model.encoder
    outside = sorted(set(model.state_dict()) - {f"encoder.{name}" for name in encoder.state_dict()})
    if source is None:
        account: dict[str, Any] = {"source": None, "loaded": [], "fresh": sorted(model.state_dict())}
        text = f"{folder.name}: from scratch, {len(account['fresh'])} tensors start from their initial values"
    else:
        report = load_weights(encoder, weights_file(Path(source), layout.ENCODER_WEIGHTS))
        account = {**report.as_dict(), "fresh": outside}
        text = f"{report.describe()}\n  the head starts fresh: {len(outside)} tensors"
    if distributed.is_main():
        logger.info(text)
        write_json(folder / TRANSFER_FILE, account)
    return account


def measured_norms(config: Finetuning, training: Training) -> str:
    """Give a probe's frozen encoder the statistics that the protocol asks for; says which they are.

    They do not depend on the labels: the scenes are spread over all training scenes, not over the labeled ones.
    """
    encoder: Any = training.module.encoder
    if config.protocol.batch_norm == "carried":
        return "carried out of the pre-training"
    items = training.items
    sampling = replace(items.sampling, augmentation=(), crop=None, labels=())
    if sampling.max_points is not None:
        sampling = replace(sampling, max_points=batch_norm.MAX_POINTS)
    whole = replace(items, sampling=sampling, targets=None)
    scenes = batch_norm.spread_over(config.dataset.scenes(training.data, "train"))
    device = next(encoder.parameters()).device
    batches = (whole(training.data.load(name), 0, "batch norm", name) for name in scenes)
    told = batch_norm.measure(encoder, (batch.points.sent_to(device) for batch in batches))
    logger.info("batch norm of the frozen encoder: %s", told)
    return told


def remember(folder: Path, training: Training, model: NeighborProbe) -> None:
    """The neighbors' probe learns nothing: show it every scene once, without augmentation."""
    sampling = replace(training.items.sampling, augmentation=(), crop=None)
    plain = replace(training.items, sampling=sampling)
    device = next(model.encoder.parameters()).device
    seed = training.config.seed
    machine = {"workers": training.config.machine.workers, "pin_memory": device.type == "cuda"}
    loader = SceneLoader(training.data, training.scenes, plain, batch=1, seed=seed, **machine)
    model.eval()
    for number, batch in enumerate(loader.stream(0, loader.steps_per_epoch)):
        shown = batch.to(device, non_blocking=True)
        model.remember(shown.points, shown.labels["segment"], generator(seed, "remember", number))
    record = {"step": 0, "remembered": float(model.filled.sum()), "loss": 0.0}
    write_text(folder / LOG_FILE, json.dumps(record) + "\n")
    write_json(folder / layout.EFFICIENCY, {"device": device_name(device), "parameters_trainable": 0})


def _loss(model: Any, batch: Batch, _: torch.Generator) -> dict[str, Tensor]:
    if batch.points.num_points == 0:
        raise UserError(f"scenes {', '.join(batch.names)}: the batch has no points")
    return model.loss(batch.points, batch.labels)
