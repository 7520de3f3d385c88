"""Controls: rows that say what a table could have shown. They stand in the place of a pre-training.

    pretrain    control      the encoder that fine-tuning gets
    oracle      supervised   trained with the labels of the pre-training scenes, by the recipe's pre-training: head-room
    random      start        another initialization and no step: the spread that a start alone makes
    shuffled    (a method)   PointContrast* whose matches are exchanged: what training as such does
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mm3d_benchmarks.loading.loading import Batch
from mm3d_core.encoder import Encoder
from mm3d_core.errors import UserError
from mm3d_core.files.atomic import write_json, write_text

CONTROLS = ("supervised", "start")


@dataclass(frozen=True)
class Control:
    """The section ``pretrain.control``.

    Attributes:
        kind: one of ``CONTROLS``.
        task, heads: of the supervised one: what it learns, and the networks of the tasks, which a pre-training does
            not see.
        votes: what points vote for, of a detector; None: as the recipe says.
    """

    kind: str
    task: str = ""
    heads: Mapping[str, Any] = field(default_factory=dict)
    votes: str | None = None

    def __post_init__(self) -> None:
        if self.kind not in CONTROLS:
            raise UserError(f"pretrain.control.kind={self.kind}: choose one of {', '.join(CONTROLS)}")


def supervised_loss(model: Any, batch: Batch, _: torch.Generator) -> dict[str, Tensor]:
    """The task's own loss."""
    return model.loss(batch.points, batch.labels)


def leave_untrained(folder: Path, encoder: Encoder, log: str, efficiency: str) -> None:
    """What a training of no steps leaves beside its weights: a log of one line, and costs of nothing."""
    size = sum(parameter.numel() for parameter in encoder.parameters())
    write_text(folder / log, json.dumps({"step": 0, "parameters": float(size)}) + "\n")
    write_json(folder / efficiency, {"seconds_total": 0.0, "parameters_trainable": 0, "parameters_beside_encoder": 0})
