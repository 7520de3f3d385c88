"""Snapshots: a training's weights at evenly spaced steps, for choosing among them afterwards."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from mm3d_core.training.checkpoint import save_weights

_NAME = re.compile(r"snapshot_(\d+)\.safetensors")


def snapshot_steps(steps: int, count: int) -> frozenset[int]:
    """The optimizer steps after which a training of ``steps`` keeps its weights: ``count`` of them, the last included.

    Fewer where the training has fewer steps.
    """
    return frozenset(number * steps // count for number in range(1, count + 1)) - {0}


def snapshot_file(step: int) -> str:
    """The file of the weights after ``step`` steps."""
    return f"snapshot_{step}.safetensors"


def save_snapshot(folder: Path, step: int, weights: Mapping[str, Tensor]) -> None:
    """Write the weights after ``step`` steps; equal weights give equal bytes.

    Raises:
        UserError: a full disk, or a folder that cannot be written.
    """
    save_weights(folder / snapshot_file(step), weights)


def snapshots_of(folder: Path) -> dict[int, Path]:
    """step -> file of a training's snapshots, in the order of the steps; empty when it kept none."""
    found = {int(match[1]): path for path in folder.glob("snapshot_*") if (match := _NAME.fullmatch(path.name))}
    return dict(sorted(found.items()))
