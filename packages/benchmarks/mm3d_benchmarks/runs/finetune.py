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
from mm3d_benchmarks.datasets.scene import PreparedDataset, hash_file
from mm3d_benchmarks.supervision import batch_norm
from mm3d_benchmarks.supervision.protocol import Protocol
from mm3d_benchmarks.supervision.point_lists import ListedPoints
from mm3d_benchmarks.supervision.probe import NeighborProbe, fingerprint
from mm3d_benchmarks.runs.build import (
    Machine,
    Recipe,
    build_facts,
    build_network,
    build_targets,
    open_data,
    part,
    split_scenes,
)
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


def run_finetune(config: Mapping[str, Any], folder: Path, upstream: Mapping[str, Path] | None = None) -> None:
    """Fine-tune a task network; continues from the folder's checkpoint if there is one.

    Args:
        config: resolved and plain: seed, task, backbone, dataset, recipe.finetune, protocol, machine.
        folder: the run's folder; it gets log.jsonl, checkpoints, transfer.json (what was taken over from the
            pre-training), snapshot_<step>.safetensors if the recipe wants them, model.safetensors, efficiency.json and, last, metrics.json.
        upstream: ``{"pretrain": folder}`` (or a weights file) to start from; without it the network starts from
            scratch.

    Raises:
        UserError: whatever is wrong with the configuration, the data, the weights or the training, named.
        Preempted: a stop signal came; calling again continues.
    """
    machine = Machine.of(config)
    source = (upstream or {}).get("pretrain")
    arguments = (dict(config), str(folder), None if source is None else str(source))
    run_in_processes(_finetune, arguments, machine.processes, machine.device)


def _finetune(config: dict[str, Any], where: str, source: str | None) -> None:
    folder, protocol = Path(where), Protocol.of(config)
    prepare_process(Machine.of(config))
    training = training_of(config)
    model: Any = training.module
    account = transfer(model, source, folder)
    norms = measured_norms(config, training, protocol) if training.frozen else None
    before = fingerprint(model.encoder)
    if isinstance(model, NeighborProbe):
        remember(config, folder, training, model)
    else:
        train(config, folder, training)
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


def training_of(config: Mapping[str, Any]) -> Training:
    """The task's network from scratch, and the labelled scenes that the protocol shows it."""
    recipe, protocol = Recipe.of(config, "finetune"), Protocol.of(config)
    data, facts = open_data(config), build_facts(config)
    scenes, limits = protocol.chosen(split_scenes(config, data, "train")), protocol.limits()
    for listed in (limit for limit in limits if isinstance(limit, ListedPoints)):
        listed.check({name: int(data.manifest["scenes"][name]["points"]) for name in scenes})
    # One seed for all rows of a table: from scratch or not, everything new starts from the same values.
    seed_everything(int(config["seed"]), "parameters")
    model: Any = build_network(config, facts, data).to(device_of(Machine.of(config)))
    items = ScenesToItems(
        recipe.sampling(part(config, "backbone.input"), limits),
        targets=build_targets(config, facts, recipe.votes),
        plan=Machine.of(config).plan_spec(model.encoder),
    )
    if protocol.longer:
        recipe = replace(recipe, extra_steps=recipe.extra_steps + pretraining_steps(config, data))
    frozen = [] if protocol.train == "all" else [model.encoder]
    return Training("finetune", recipe, model, _loss, data, scenes, items, frozen)


def pretraining_steps(config: Mapping[str, Any], data: PreparedDataset) -> int:
    """Optimizer steps of the recipe's pre-training on this data set."""
    recipe = Recipe.of(config, "pretrain")
    count = len(split_scenes(config, data, "pretrain")) * recipe.loop
    return recipe.total_steps(steps_per_epoch(count, recipe.batch, recipe.drop_last))


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


def measured_norms(config: Mapping[str, Any], training: Training, protocol: Protocol) -> str:
    """Give a probe's frozen encoder the statistics that the protocol asks for; says which they are.

    They do not depend on the labels: the scenes are spread over all training scenes, not over the labeled ones.
    """
    encoder: Any = training.module.encoder
    if protocol.batch_norm == "carried":
        return "carried out of the pre-training"
    items = training.items
    sampling = replace(items.sampling, augmentation=(), crop=None, labels=())
    if sampling.max_points is not None:
        sampling = replace(sampling, max_points=batch_norm.MAX_POINTS)
    whole = replace(items, sampling=sampling, targets=None)
    scenes = batch_norm.spread_over(split_scenes(config, training.data, "train"))
    device = next(encoder.parameters()).device
    batches = (whole(training.data.load(name), 0, "batch norm", name) for name in scenes)
    told = batch_norm.measure(encoder, (batch.points.sent_to(device) for batch in batches))
    logger.info("batch norm of the frozen encoder: %s", told)
    return told


def remember(config: Mapping[str, Any], folder: Path, training: Training, model: NeighborProbe) -> None:
    """The neighbors' probe learns nothing: show it every scene once, without augmentation."""
    sampling = replace(training.items.sampling, augmentation=(), crop=None)
    plain = replace(training.items, sampling=sampling)
    device = next(model.encoder.parameters()).device
    machine = {"workers": Machine.of(config).workers, "pin_memory": device.type == "cuda"}
    loader = SceneLoader(training.data, training.scenes, plain, batch=1, seed=int(config["seed"]), **machine)
    model.eval()
    for number, batch in enumerate(loader.stream(0, loader.steps_per_epoch)):
        shown = batch.to(device, non_blocking=True)
        model.remember(shown.points, shown.labels["segment"], generator(int(config["seed"]), "remember", number))
    record = {"step": 0, "remembered": float(model.filled.sum()), "loss": 0.0}
    write_text(folder / LOG_FILE, json.dumps(record) + "\n")
    write_json(folder / layout.EFFICIENCY, {"device": device_name(device), "parameters_trainable": 0})


def _loss(model: Any, batch: Batch, _: torch.Generator) -> dict[str, Tensor]:
    if batch.points.num_points == 0:
        raise UserError(f"scenes {', '.join(batch.names)}: the batch has no points")
    return model.loss(batch.points, batch.labels)
