"""What a step of MM-3DScene costs against a supervised step of the same backbone on the same scan, and where it goes.

    python -m speed.pretraining --backbone point_transformer votenet --points 40000

Both steps run in one process and take turns, so that all of them meet the same machine; what counts is their ratio, of
processor time (on a GPU: of time). The paper's own hours (Tables 10 and 11) give 2.6 for VoteNet and 1.7 for Point
Transformer, whether of pre-training alone or with fine-tuning is not stated. What loader workers
make, statistic, masks and geometry plans, is timed beside the steps, on one core, and has a share of its own.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from mm3d_benchmarks.datasets.prepare import prepare_dataset
from mm3d_benchmarks.datasets.scene import PreparedDataset, Scene, open_dataset
from mm3d_benchmarks.loading.augment import CoordinateJitter
from mm3d_benchmarks.loading.features import points_of
from mm3d_benchmarks.loading.loading import Batch, ScenesToItems
from mm3d_benchmarks.planning.compose import available, compose
from mm3d_benchmarks.planning.request import Request
from mm3d_benchmarks.runs.build import build_encoder, build_method, build_targets, build_task
from mm3d_benchmarks.runs.configuration import Backbone, Dataset
from mm3d_benchmarks.runs.recipe import Recipe
from mm3d_benchmarks.synthetic.generate import generate
from mm3d_core.errors import UserError
from mm3d_core.observing.efficiency import device_name
from mm3d_core.points import PointBatch
from mm3d_core.seeding import generator, numpy_generator, seed_everything
from pointops.memory import keep_freed_memory
from pointops.plan import make_plan
from speed.step_cost import Step, seconds_of, step_seconds, time_shares

POINTS, KEPT = 40_000, 0.55  # of the scan; the mean share that pre-training keeps
DATASET = "s3dis"  # its synthetic rooms are dense enough, and have labels for both tasks


@dataclass(frozen=True)
class Cost:
    """Seconds (see ``speed.step_cost``) on one scan, medians.

    Attributes:
        supervised: loss, gradient and update of the task's network.
        supervised_plan: its geometry plan, made by a loader worker.
        pretraining: loss, gradient, update and teacher's average.
        statistic: statistic and masks, made by a loader worker.
        plans: geometry plans of student and teacher, likewise.
        shares: of everything that a pre-training step needs, the worker's part included; they add up to 1.
    """

    backbone: str
    points: int
    kept: float
    device: str
    threads: int
    supervised: float
    supervised_plan: float
    pretraining: float
    statistic: float
    plans: float
    shares: dict[str, float]

    @property
    def ratio(self) -> float:
        """Step against step: what a training waits for when its workers keep up."""
        return self.pretraining / self.supervised

    @property
    def ratio_with_loading(self) -> float:
        """With everything that has to be computed, wherever that happens."""
        whole = self.pretraining + self.statistic + self.plans
        return whole / (self.supervised + self.supervised_plan)


def measure(
    backbone: str, data: PreparedDataset, points: int = POINTS, kept: float = KEPT, repeats: int = 3, **choices: str
) -> Cost:
    """The cost of both steps for one backbone, by its configuration.

    Args:
        data: the largest scan of its training split is taken.
        points: drawn from it.
        kept: share that the student keeps; the target shows a tenth of the scan more.
        repeats: of each step, after one that does not count.
        choices: further group choices, such as ``profile``.

    Raises:
        UserError: no such backbone.
    """
    config = _config(backbone, data, kept, choices)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    facts, network, recipe = Dataset.of(config).facts, Backbone.of(config), Recipe.of(config, "pretrain")
    seed_everything(0, "parameters")
    sizes = data.manifest.get("mean_sizes")
    task: Any = build_task(config["task"], network, build_encoder(network), facts, sizes).to(device)
    method: Any = build_method(config["pretrain"]["method"], build_encoder(network)).to(device)
    spec = task.encoder.plan_spec()
    sampling = replace(
        recipe.sampling(network.inputs),
        augmentation=(CoordinateJitter(),),  # where a scan has fewer points than asked for, repeats differ
        voxel=None, max_points=None, crop=None, num_points=points,
    )  # fmt: skip
    targets = build_targets(config["task"], facts, Recipe.of(config, "finetune").votes)
    scene = _largest(data)
    labeled = Batch.join([ScenesToItems(sampling, targets=targets, plan=spec)(scene, "bench")]).to(device)
    scan = points_of(sampling(scene, numpy_generator("bench", "sample")), sampling.inputs)
    views = method.views(scan, generator("bench"))
    shown = Batch([scene.name], {name: _planned(view, spec) for name, view in views.items()}).to(device).views

    steps = [
        Step(lambda: task.loss(labeled.points, labeled.labels), recipe.build_optimizer(task)),
        Step(lambda: method.loss(shown, generator(0)), recipe.build_optimizer(method), method.after_step),
    ]
    supervised, pretraining = step_seconds(steps, repeats)
    statistic = seconds_of(lambda: method.views(scan, generator("bench")), repeats)
    plans = seconds_of(lambda: [_planned(view, spec) for view in views.values()], repeats)
    own_plan = seconds_of(lambda: _planned(scan, spec), repeats)
    parts = _mean([time_shares(method, shown, steps[1].optimizer) for _ in range(repeats)])
    seconds = {"statistic": statistic, "plans": plans, **{name: s * pretraining for name, s in parts.items()}}
    total = sum(seconds.values())
    shares = {name: value / total for name, value in seconds.items()}
    return Cost(
        backbone, points, kept, device_name(device), torch.get_num_threads(),
        supervised, own_plan, pretraining, statistic, plans, shares,
    )  # fmt: skip


def report(costs: Sequence[Cost]) -> str:
    """Two Markdown tables: seconds and ratios, then shares."""
    names = list(dict.fromkeys(name for cost in costs for name in cost.shares))
    first = costs[0]
    lines = [
        f"{first.points:,} points of one scan, {first.kept:.0%} kept, {first.device}, {first.threads} threads; seconds",
        "",
        "| backbone | supervised | pre-training | ratio | statistic and masks | plans | ratio with these |",
        "|---|---|---|---|---|---|---|",
    ]
    for c in costs:
        lines.append(
            f"| {c.backbone} | {c.supervised:.2f} | {c.pretraining:.2f} | {c.ratio:.2f} | {c.statistic:.2f} | "
            f"{c.plans:.2f} | {c.ratio_with_loading:.2f} |"
        )
    lines += ["", "| backbone | " + " | ".join(names) + " |", "|---|" + "---|" * len(names)]
    for c in costs:
        lines.append(f"| {c.backbone} | " + " | ".join(f"{c.shares.get(name, 0):.1%}" for name in names) + " |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m speed.pretraining", description=__doc__)
    parser.add_argument("--backbone", nargs="+", default=["point_transformer", "votenet"])
    parser.add_argument("--points", type=int, default=POINTS, help="of the scan")
    parser.add_argument("--kept", type=float, default=KEPT, help="share that the student keeps")
    parser.add_argument("--repeats", type=int, default=3, help="of each step")
    parser.add_argument("--data", type=Path, help="prepared S3DIS; without it synthetic rooms are generated")
    parser.add_argument("--profile", default="paper", help="smoke: shrunken networks")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="print JSON")
    given = parser.parse_args(arguments)
    torch.set_num_threads(given.threads)
    keep_freed_memory()
    try:
        with tempfile.TemporaryDirectory() as temporary:
            data = open_dataset(given.data) if given.data else _synthetic(Path(temporary))
            options = {"points": given.points, "kept": given.kept, "repeats": given.repeats}
            costs = [measure(name, data, **options, profile=given.profile) for name in given.backbone]
    except UserError as error:
        print(f"bench_pretraining: {error}", file=sys.stderr)
        return 1
    found = [{**asdict(c), "ratio": c.ratio, "ratio_with_loading": c.ratio_with_loading} for c in costs]
    print(json.dumps(found, indent=1) if given.json else report(costs))
    return 0


def _config(backbone: str, data: PreparedDataset, kept: float, choices: dict[str, str]) -> dict[str, Any]:
    """The composed configuration; detectors take their recipe for ScanNet."""
    own = f"{backbone}_{DATASET}"
    detector = own not in available("recipe")
    groups = {
        "backbone": backbone,
        "dataset": DATASET,
        "pretrain": "mm3dscene",
        "recipe": f"{backbone}_scannet" if detector else own,
        "evaluation": "detection" if detector else "segmentation",
        **choices,
    }
    overrides = {"dataset.root": str(data.root), "pretrain.method.views.keep_ratio": [kept]}
    return compose(Request(groups, overrides))


def _mean(shares: Sequence[dict[str, float]]) -> dict[str, float]:
    """The mean of each share; other work on the machine disturbs single ones."""
    return {name: sum(each[name] for each in shares) / len(shares) for name in shares[0]}


def _largest(data: PreparedDataset) -> Scene:
    return max((data.load(name) for name in data.scenes("train")), key=lambda scene: scene.num_points)


def _planned(view: PointBatch, spec: Any) -> PointBatch:
    return view if spec is None else view.with_plan(make_plan(view.coord, view.offset, spec))


def _synthetic(folder: Path) -> PreparedDataset:
    raw = generate(DATASET, folder / "raw", profile="ci", quiet=True)
    return prepare_dataset(DATASET, raw, folder / "prepared", quiet=True)


if __name__ == "__main__":
    sys.exit(main())
