"""Runs of every backbone as the smoke profile shrinks it, on the small rooms of the tests, with batches of four."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks.small_runs import changed, config
from device.pretend import Ledger

from mm3d_benchmarks.planning.compose import Request, compose
from mm3d_core.training import fit

BACKBONES = ("point_transformer", "stratified_transformer", "point_transformer_v3", "votenet_color_height", "h3dnet")
BATCH, STEPS = 4, 2


def settings(backbone: str, root: Path, pretrain: str = "mm3dscene", **changes: Any) -> dict[str, dict[str, Any]]:
    """Configurations of a pre-training and of what follows, by kind. ``changes``: dotted keys with ``__`` for dots."""
    detector = backbone.startswith(("votenet", "h3dnet"))
    dataset = "scannet" if detector else "s3dis"
    choices = {"backbone": backbone, "dataset": dataset, "pretrain": pretrain, "recipe": f"{backbone}_{dataset}"}
    choices["evaluation"] = "detection" if detector else "segmentation_voting"
    small, found = config(root), {}
    for kind in ("pretrain", "finetune", "evaluate"):
        value = compose(Request({**choices, "profile": "smoke"}))
        value |= {
            "kind": kind,
            "dataset": small["dataset"],
            "machine": {"device": "cuda", "progress": False, "workers": 0},
        }
        section = {"batch": BATCH, "steps": STEPS, "voxel": 0.08}
        if detector:
            section = {"batch": BATCH, "steps": STEPS, "num_points": 700}
        for recipe in value.get("recipe", {}).values():
            if isinstance(recipe, dict) and "batch" in recipe:
                recipe.update({key: new for key, new in section.items() if key in recipe})
        found[kind] = changed(value, **changes)
    return found


class Steps:
    """The ledger of each training step, while patched in."""

    def __init__(self, patch: Any, ledger: Ledger) -> None:
        self.waits: list[Counter[str]] = []
        self.blocking: list[Counter[str]] = []
        self.operations: list[Counter[str]] = []
        step = fit._Loop.step

        def watched(loop: Any, *args: Any) -> Any:
            before = [Counter(column) for column in (ledger.waits, ledger.blocking, ledger.operations)]
            result = step(loop, *args)
            after = (ledger.waits, ledger.blocking, ledger.operations)
            for kept, late, early in zip((self.waits, self.blocking, self.operations), after, before, strict=True):
                kept.append(late - early)
            return result

        patch.setattr(fit._Loop, "step", watched)
