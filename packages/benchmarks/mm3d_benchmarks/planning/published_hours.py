"""What trainings would cost by the hours that the paper prints (Tables 10 and 11), where no run here has recorded any.

The tables print the hours of a training from scratch, and of one behind a pre-training, for four networks; their
difference is taken for the pre-training's (the paper does not say whether the larger number holds both). Hours are
shared out over the points that a training reads, so that a shorter schedule, a smaller crop or fewer scenes cost less.
The paper does not name its GPU: this is an estimate, and every place that prints it says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mm3d_benchmarks.planning.planner import Planner
from mm3d_benchmarks.planning.sweepfile import find_sweeps, load_sweep
from mm3d_benchmarks.store.spec import RunSpec

TABLES = ("table_10", "table_11")
TRAIN_SCENES = {"scannet": 1201, "s3dis": 204, "sunrgbd": 5285}  # of the official splits; S3DIS without Area 5


@dataclass(frozen=True)
class PublishedHours:
    """Hours of one GPU for each point read, by kind of run and by network (see ``network_of``)."""

    hours_per_point: Mapping[tuple[str, str], float]

    @classmethod
    def read(cls) -> PublishedHours:
        """From the sweep files of the two tables and the recipes of profile ``paper``.

        Raises:
            UserError: the sweep files are not where sweeps are looked for, or do not say what they used to.
        """
        sweeps = [load_sweep(path) for path in find_sweeps(list(TABLES))]
        plan = Planner("paper", needs_data=False).plan(sweeps)
        rates: dict[tuple[str, str], float] = {}
        for sweep in sweeps:
            printed = {
                entry.row: entry.values.get("train_hours") for entry in (sweep.table.published if sweep.table else ())
            }
            scratch: dict[str, float] = {}
            for cell in plan.cells[sweep.name]:
                finetune, hours = plan.specs[cell.runs["finetune"]], printed.get(cell.row)
                if hours is None:
                    continue
                network = network_of(finetune)
                if "pretrain" not in cell.runs:
                    scratch[network] = float(hours)
                    rates["finetune", network] = float(hours) / points_read(finetune)
                elif network in scratch:
                    pretrain = plan.specs[cell.runs["pretrain"]]
                    rates["pretrain", network] = (float(hours) - scratch[network]) / points_read(pretrain)
        return cls(rates)

    def hours(self, spec: RunSpec) -> float | None:
        """Estimated hours of a training; None for evaluations and networks that the tables do not have."""
        if spec.kind == "evaluate":
            return None
        rate = self.hours_per_point.get((spec.kind, network_of(spec)))
        return None if rate is None else rate * points_read(spec)


def points_read(spec: RunSpec) -> int:
    """Points that a training reads in all, crops counted as full: the measure of its length."""
    recipe = spec.config["recipe"][spec.kind]
    a_scene = recipe.get("num_points") or recipe.get("max_points") or 0
    if recipe.get("steps"):
        return recipe["steps"] * recipe["batch"] * a_scene
    dataset = (spec.config.get("dataset") or {}).get("name")
    scenes = TRAIN_SCENES.get(str(dataset), 0) * _share(spec.config.get("protocol") or {})
    return round((recipe.get("epochs") or 0) * recipe.get("loop", 1) * scenes) * a_scene


def network_of(spec: RunSpec) -> str:
    """A network by what makes its cost: name and encoder, whatever channels it reads."""
    backbone = spec.config["backbone"]
    sizes = {key: value for key, value in backbone["encoder"].items() if key != "in_channels"}
    return f"{backbone['encoder'].get('_target_')} {sorted(sizes.items())}"


def _share(protocol: Mapping[str, Any]) -> float:
    """Share of the training scenes that a protocol keeps."""
    scenes = protocol.get("scenes")
    return float(scenes) if isinstance(scenes, int | float) and 0 < scenes <= 1 else 1.0
