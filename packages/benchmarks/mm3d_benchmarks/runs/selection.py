"""Which weights of a fine-tuning are scored: the last, or the snapshot that does best on the scored scenes themselves.

The second is what the released code of MM-3DScene did (``train_s3dis.py`` keeps the best on Area 5, and Area 5 is the
test). It is optimistic, by more the more snapshots there are, so it is an option, and tables say so.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mm3d_benchmarks.datasets.scene import PreparedDataset
from mm3d_benchmarks.evaluation.voxel_validation import VoxelValidation
from mm3d_benchmarks.runs.build import build_metric
from mm3d_benchmarks.runs.configuration import Evaluation
from mm3d_benchmarks.runs.training import weights_file
from mm3d_core.training.checkpoint import load_weights
from mm3d_core.errors import UserError
from mm3d_core.training.interruption import StopRequest
from mm3d_core.files.sealed import read_sealed, write_sealed
from mm3d_core.training.snapshots import snapshots_of

logger = logging.getLogger(__name__)

DECIDES = {"segmentation": "mIoU", "detection": "mAP@0.25"}
SELECTION_FILE = "selection.json"


def best_snapshot(
    config: Evaluation,
    source: Path,
    model: nn.Module,
    folder: Path,
    data: PreparedDataset,
    scenes: Sequence[str],
    device: torch.device,
) -> dict[str, Any]:
    """Score every snapshot by the quick validation and load the best one into ``model``.

    Values stand in the folder's ``selection.json`` as they come, so an interrupted choice goes on with the next
    snapshot. Of equal snapshots the first is chosen.

    Args:
        source: folder of the fine-tuning.

    Returns:
        What ``metrics.json`` records: ``step`` (the chosen one), ``metric``, ``protocol`` and ``values``, the value of
        each step (null where nothing could be scored).

    Raises:
        UserError: the fine-tuning kept no snapshots, or one is damaged.
        Preempted: a stop signal came; calling again continues.
    """
    files = snapshots_of(source) if source.is_dir() else {}
    if not files:
        raise UserError(
            f"evaluation.select=best: {source} has no snapshots to choose among; "
            "fine-tune with recipe.finetune.snapshots=10, say, or evaluate with evaluation.select=last"
        )
    validation, metric = quick(config.way), DECIDES[config.task]
    values: dict[str, Any] = (read_sealed(folder / SELECTION_FILE) or {}).get("values", {})
    with StopRequest() as stop:
        for step, path in files.items():
            if str(step) in values:
                continue
            load_weights(model, weights_file(source, path.name))
            values[str(step)] = _validate(config, model, validation, metric, data, scenes, device, stop)
            write_sealed(folder / SELECTION_FILE, {"values": values})
            logger.info("%s: snapshot of step %d has %s %s", folder.name, step, metric, values[str(step)])
    best = max(files, key=lambda step: (_rank(values[str(step)]), -step))
    load_weights(model, weights_file(source, files[best].name))
    return {
        "step": best,
        "metric": metric,
        "protocol": validation.name,
        "values": {str(step): values[str(step)] for step in files},
    }


def quick(protocol: Any) -> Any:
    """The validation that decides: voxel validation in place of voting, any other protocol itself."""
    return VoxelValidation(protocol.voxel) if protocol.name == "voting" else protocol


def _validate(
    config: Evaluation,
    model: nn.Module,
    validation: Any,
    name: str,
    data: PreparedDataset,
    scenes: Sequence[str],
    device: torch.device,
    stop: StopRequest,
) -> float | None:
    """The deciding metric of one snapshot over all scenes; None when it is not a number."""
    metric = build_metric(config)
    model.eval()
    for number, scene in enumerate(scenes):
        metric.update(*validation(model, data.load(scene), config.backbone.inputs, device))
        if stop.signal is not None:
            stop.hand_on(number + 1)
    scores = metric.compute()
    if name not in scores:
        raise UserError(
            f"evaluation.select=best: the metric has no {name}; keep 0.25 in evaluation.metric.iou_thresholds"
        )
    value = float(scores[name])
    return round(value, 6) if math.isfinite(value) else None


def _rank(value: float | None) -> float:
    return -math.inf if value is None else value
