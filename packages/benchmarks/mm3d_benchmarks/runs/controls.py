"""Controls: rows that say what a table could have shown. They stand in the place of a pre-training.

    pretrain    control      the encoder that fine-tuning gets
    oracle      supervised   trained with the labels of the pre-training scenes, by the recipe's pre-training: head-room
    random      start        another initialization and no step: the spread that a start alone makes
    shuffled    (a method)   PointContrast* whose matches are exchanged: what training as such does
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mm3d_benchmarks.loading.loading import Batch
from mm3d_core.errors import UserError
from mm3d_core.files.atomic import write_json, write_text

CONTROLS = ("supervised", "start")


def control_of(config: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The section ``pretrain.control`` of a configuration, or None for a method.

    Raises:
        UserError: an unknown kind of control.
    """
    control = (config.get("pretrain") or {}).get("control")
    if control is not None and control.get("kind") not in CONTROLS:
        raise UserError(f"pretrain.control.kind={control.get('kind')}: choose one of {', '.join(CONTROLS)}")
    return control


def supervised_config(config: Mapping[str, Any], control: Mapping[str, Any], labels: int) -> dict[str, Any]:
    """The configuration with the task and the heads that the control names, which a pre-training does not see.

    Args:
        labels: classes of the task that the data set has.

    Raises:
        UserError: the data set has no labels for the task.
    """
    name = (config.get("pretrain") or {}).get("name")
    if not labels:
        raise UserError(
            f"pretrain={name} learns from labels, and data set {config['dataset']['name']} has none for "
            f"{control['task']}: this control is not defined there; leave its row out, or choose a labeled data set"
        )
    return {**config, "task": control["task"], "backbone": {**config["backbone"], "task": control["heads"]}}


def supervised_loss(model: Any, batch: Batch, _: torch.Generator) -> dict[str, Tensor]:
    """The task's own loss."""
    return model.loss(batch.points, batch.labels)


def leave_untrained(folder: Path, encoder: nn.Module, log: str, efficiency: str) -> None:
    """What a training of no steps leaves beside its weights: a log of one line, and costs of nothing."""
    size = sum(parameter.numel() for parameter in encoder.parameters())
    write_text(folder / log, json.dumps({"step": 0, "parameters": float(size)}) + "\n")
    write_json(folder / efficiency, {"seconds_total": 0.0, "parameters_trainable": 0, "parameters_beside_encoder": 0})
