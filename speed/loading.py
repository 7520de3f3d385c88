"""How fast scenes come: throughput for several numbers of workers, and what each step of a scene costs.

    python -m speed.loading data/prepared/s3dis --task segmentation --workers 0 1 2

The pipelines are those of the published recipes: Point Transformer's (colors, 4 cm voxels, 80,000 points, box crop)
with the plan of its encoder, VoteNet's (40,000 points, flips, votes) with the plan of PointNet++, and MM-3DScene's
masks on the former.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mm3d_benchmarks.datasets.scene import PreparedDataset, open_dataset
from mm3d_benchmarks.loading import augment
from mm3d_benchmarks.loading.crops import RemoveBox, shift_to_minimum, sphere_crop, voxel_sample
from mm3d_benchmarks.loading.features import points_of
from mm3d_benchmarks.loading.labels import detection_targets, segmentation_targets
from mm3d_benchmarks.loading.loading import Batch, Sampling, SceneLoader, ScenesToItems
from mm3d_core.errors import UserError
from mm3d_core.methods.masking import MaskedViews
from mm3d_core.seeding import generator, numpy_generator
from pointops.plan import PlanSpec, make_plan

COLORS = (
    augment.RandomScale(),
    augment.ChromaticAutoContrast(),
    augment.ChromaticTranslation(),
    augment.ChromaticJitter(),
    augment.HueSaturationTranslation(),
)
MOTIONS = (augment.RandomFlip("x"), augment.RandomFlip("y"), augment.RandomRotation("z", 5))
TASKS = ("segmentation", "pretraining", "detection")


def items_of(task: str, votes: str = "inside") -> ScenesToItems:
    """The published pipeline of a task.

    Args:
        votes: see ``targets.detection_targets``.
    """
    if task == "detection":
        sampling = Sampling(("height",), MOTIONS, num_points=40_000, shift=False)
        return ScenesToItems(sampling, partial(detection_targets, votes=votes), plan=PlanSpec.pointnet2())
    sampling = Sampling(("coord", "color"), COLORS, voxel=0.04, max_points=80_000, crop=RemoveBox())
    plan = PlanSpec.point_transformer()
    if task == "pretraining":
        return ScenesToItems(sampling, views=MaskedViews(), plan=plan)
    return ScenesToItems(sampling, segmentation_targets, plan=plan)


def throughput(data: PreparedDataset, items: ScenesToItems, workers: int, scenes: int, batch: int = 2) -> float:
    """Scenes a second, from the first batch on (starting the workers is not counted)."""
    loader = SceneLoader(data, data.scenes("train"), items, batch, seed=0, workers=workers)
    stream = loader.stream(0, max(2, scenes // batch + 1))
    next(stream)
    start, count = time.perf_counter(), 0
    for loaded in stream:
        count += len(loaded.names)
    return count / (time.perf_counter() - start)


def steps(data: PreparedDataset, items: ScenesToItems, scenes: int) -> dict[str, float]:
    """Processor seconds that each step takes for one scene, mean over some scenes; other processes do not count."""
    clock: dict[str, list[float]] = {}
    names = data.scenes("train")
    batches = [_one(data, items, names[number % len(names)], number, clock) for number in range(scenes)]
    start = time.process_time()
    Batch.join(batches[:2])
    clock["join"] = [time.process_time() - start]
    return {name: float(np.mean(times)) for name, times in clock.items()}


def _one(data: PreparedDataset, items: ScenesToItems, name: str, number: int, clock: dict[str, list[float]]) -> Batch:
    """One scene through the pipeline of :class:`ScenesToItems`, step by step."""
    sampling, random = items.sampling, numpy_generator("bench", number)

    def timed(step: str, function: Callable[..., Any], *arguments: Any) -> Any:
        start = time.process_time()
        result = function(*arguments)
        clock.setdefault(step, []).append(time.process_time() - start)
        return result

    scene = timed("open", data.load, name)
    sample = timed("read", sampling.read, scene, random)
    for change in sampling.augmentation:
        sample = timed(type(change).__name__, change, sample, random)
    if sampling.voxel is not None:
        sample = timed("voxel grid", voxel_sample, sample, sampling.voxel, random)
    if sampling.max_points is not None:
        sample = timed("sphere crop", sphere_crop, sample, sampling.max_points, random)
    sample = timed("shuffle", lambda s: s.take(random.permutation(s.num_points)), sample)
    sample = timed("shift", shift_to_minimum, sample) if sampling.shift else sample
    if sampling.crop is not None:
        sample = timed("box crop", sampling.crop, sample, random)
    labels = timed("labels", items.targets, sample) if items.targets is not None else {}
    points = timed("features", points_of, sample, sampling.inputs)
    views = {"points": points}
    if items.views is not None:
        views = timed("views", items.views, points, generator("bench", number))
    if items.plan is not None:
        views = {
            key: view.with_plan(timed("plan", make_plan, view.coord, view.offset, items.plan))
            for key, view in views.items()
        }
    return Batch([name], views, labels)


def measure(
    data: PreparedDataset, task: str, workers: Sequence[int], scenes: int, votes: str = "inside"
) -> dict[str, Any]:
    """CPU seconds of each step, and scenes a second through the loader of training for each number of workers."""
    items = items_of(task, votes)
    return {
        "dataset": data.dataset,
        "task": task,
        "cores": os.cpu_count(),
        "cpu_seconds_per_scene": steps(data, items, scenes),
        "scenes_per_second": {str(n): throughput(data, items, n, scenes) for n in workers},
    }


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m speed.loading", description=__doc__)
    parser.add_argument("root", type=Path, help="prepared data set")
    parser.add_argument("--task", choices=TASKS, default="segmentation")
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--scenes", type=int, default=24, help="scenes to load for each figure")
    parser.add_argument("--votes", default="inside", help="rule of the votes: hull, box or inside")
    parser.add_argument("--json", action="store_true", help="print JSON")
    given = parser.parse_args()
    torch.set_num_threads(1)
    try:
        result = measure(open_dataset(given.root), given.task, given.workers, given.scenes, given.votes)
    except UserError as error:
        print(f"bench_loading: {error}", file=sys.stderr)
        return 1
    print(json.dumps(result, indent=1) if given.json else _text(result))
    return 0


def _text(result: dict[str, Any]) -> str:
    lines = [f"{result['dataset']}, {result['task']}, {result['cores']} cores, one thread for each process"]
    lines += [f"  {name:<28}{1000 * seconds:9.2f} ms CPU" for name, seconds in result["cpu_seconds_per_scene"].items()]
    lines.append(f"  {'all steps':<28}{1000 * sum(result['cpu_seconds_per_scene'].values()):9.2f} ms CPU")
    lines += [f"  {n} workers: {rate:8.2f} scenes/s" for n, rate in result["scenes_per_second"].items()]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
