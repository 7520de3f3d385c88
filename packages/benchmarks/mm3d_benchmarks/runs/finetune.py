"""A fine-tuning run: a pre-trained encoder (or none) and labelled scenes -> model.safetensors."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mm3d_benchmarks.datasets.loading import Batch, ScenesToItems
from mm3d_benchmarks.runs.build import (
    Machine,
    Recipe,
    build_encoder,
    build_facts,
    build_targets,
    build_task,
    open_data,
    part,
    split_scenes,
)
from mm3d_benchmarks.runs.training_run import device_of, finish, prepare_process, train
from mm3d_core import distributed
from mm3d_core.atomic import write_json
from mm3d_core.checkpoint import load_weights
from mm3d_core.distributed import run_in_processes
from mm3d_core.errors import UserError
from mm3d_core.seeding import seed_everything

logger = logging.getLogger(__name__)

WEIGHTS, ENCODER_WEIGHTS, TRANSFER_FILE = "model.safetensors", "encoder.safetensors", "transfer.json"


def run_finetune(config: Mapping[str, Any], folder: Path, upstream: Mapping[str, Path] | None = None) -> None:
    """Fine-tune a task network; continues from the folder's checkpoint if there is one.

    Args:
        config: resolved and plain: seed, task, backbone, dataset, recipe.finetune, protocol, machine.
        folder: the run's folder; it gets log.jsonl, checkpoints, transfer.json (what was taken over from the pre-training),
            model.safetensors, efficiency.json and, last, metrics.json.
        upstream: ``{"pretrain": folder}`` (or a weights file) to start from; without it the network starts from scratch.

    Raises:
        UserError: whatever is wrong with the configuration, the data, the weights or the training, named.
        Preempted: a stop signal came; calling again continues.
    """
    machine = Machine.of(config)
    source = (upstream or {}).get("pretrain")
    arguments = (dict(config), str(folder), None if source is None else str(source))
    run_in_processes(_finetune, arguments, machine.processes, machine.device)


def _finetune(config: dict[str, Any], where: str, source: str | None) -> None:
    folder, machine = Path(where), Machine.of(config)
    prepare_process(machine)
    recipe = Recipe.of(config, "finetune")
    data, facts = open_data(config), build_facts(config)
    scenes = split_scenes(config, data, "train")
    # One seed for all rows of a table: from scratch or not, everything new starts from the same values.
    seed_everything(int(config["seed"]), "parameters")
    model = build_task(config, build_encoder(config), facts, data)
    transfer(model, source, folder)
    model = model.to(device_of(machine))
    items = ScenesToItems(
        recipe.sampling(part(config, "backbone.input")),
        targets=build_targets(config, facts, recipe.votes),
        plan=model.encoder.plan_spec(),  # pyright: ignore[reportCallIssue]
    )
    train(config, folder, recipe, model, _loss, data, scenes, items)
    if distributed.is_main():
        finish(folder, "finetune", folder / WEIGHTS, model, {"scenes": len(scenes)})
    distributed.barrier()


def transfer(model: nn.Module, source: str | None, folder: Path) -> None:
    """Load a pre-trained encoder into the model, whole or not at all; print and keep the account.

    Raises:
        UserError: missing, damaged or of another network.
    """
    encoder: Any = model.encoder
    outside = sorted(set(model.state_dict()) - {f"encoder.{name}" for name in encoder.state_dict()})
    if source is None:
        account: dict[str, Any] = {"source": None, "loaded": [], "fresh": sorted(model.state_dict())}
        text = f"{folder.name}: from scratch, {len(account['fresh'])} tensors start from their initial values"
    else:
        path = Path(source)
        report = load_weights(encoder, path / ENCODER_WEIGHTS if path.is_dir() or not path.suffix else path)
        account = {**report.as_dict(), "fresh": outside}
        text = f"{report.describe()}\n  the head starts fresh: {len(outside)} tensors"
    if distributed.is_main():
        logger.info(text)
        write_json(folder / TRANSFER_FILE, account)


def _loss(model: Any, batch: Batch, _: torch.Generator) -> dict[str, Tensor]:
    if batch.points.num_points == 0:
        raise UserError(f"scenes {', '.join(batch.names)}: the batch has no points")
    return model.loss(batch.points, batch.labels)
