"""What scoring detections costs, without any data or network.

    python -m speed.detection_metric --scenes 312 --proposals 256

The default is the size of ScanNet's validation split. Proposals are random boxes around the true ones, so that the
suppression and the matching have work to do; each is a detection of every class, as in the published protocol. Points
inside boxes are counted as a detector does in ``predict``. Seconds are CPU time, so that other processes do not count.
The table is Markdown.
"""

from __future__ import annotations

import argparse
import platform
import sys
import time
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from mm3d_benchmarks.evaluation.detection_metric import DetectionMetric
from mm3d_core.boxes import count_points_in_boxes

ROWS = 64  # of the padded list of boxes
OBJECTS = 15  # in a scene; ScanNet's validation scenes hold 14 on average


def scene(
    proposals: int, classes: int, points: int, oriented: bool, random: torch.Generator
) -> tuple[dict[str, Tensor], dict[str, Tensor], Tensor]:
    """Prediction and labels of one scene as a metric takes them, and its points (N, 3)."""
    room = torch.tensor([6.0, 6.0, 2.0])
    center = torch.rand(OBJECTS, 3, generator=random) * room
    size = 0.3 + torch.rand(OBJECTS, 3, generator=random)
    heading = (torch.rand(OBJECTS, generator=random) * 2 - 1) * torch.pi * oriented
    box_class = torch.randint(0, classes, (OBJECTS,), generator=random)
    labels = {
        "center": torch.nn.functional.pad(center, (0, 0, 0, ROWS - OBJECTS)),
        "size": torch.nn.functional.pad(size, (0, 0, 0, ROWS - OBJECTS)),
        "heading": torch.nn.functional.pad(heading, (0, ROWS - OBJECTS)),
        "box_class": torch.nn.functional.pad(box_class, (0, ROWS - OBJECTS)),
        "box_mask": torch.arange(ROWS) < OBJECTS,
    }
    near = torch.randint(0, OBJECTS, (proposals,), generator=random)
    boxes = torch.cat([center, size, heading[:, None]], 1)[near]
    boxes[:, :6] += 0.2 * torch.randn(proposals, 6, generator=random)
    boxes[:, 3:6] = boxes[:, 3:6].clamp(min=0.05)
    logits = torch.randn(proposals, classes, generator=random)
    logits[torch.arange(proposals), box_class[near]] += 2
    prediction = {
        "boxes": boxes,
        "scores": torch.rand(proposals, generator=random),
        "class_scores": logits.softmax(-1),
    }
    return (
        {name: value[None] for name, value in prediction.items()},
        {name: value[None] for name, value in labels.items()},
        torch.rand(points, 3, generator=random) * room,
    )


def measure(scenes: int, proposals: int, classes: int, points: int, oriented: bool) -> dict[str, float]:
    """CPU seconds of each part for all scenes, and the mAP that came out."""
    random = torch.Generator().manual_seed(0)
    metric = DetectionMetric([f"class {number}" for number in range(classes)])
    spent = {"points inside boxes": 0.0, "suppression, overlaps, matching": 0.0, "curves": 0.0}
    for _ in range(scenes):
        prediction, labels, coord = scene(proposals, classes, points, oriented, random)
        marks = [time.process_time()]
        prediction["point_count"] = count_points_in_boxes(coord, prediction["boxes"][0])[None]
        marks.append(time.process_time())
        metric.update(prediction, labels)
        marks.append(time.process_time())
        spent["points inside boxes"] += marks[1] - marks[0]
        spent["suppression, overlaps, matching"] += marks[2] - marks[1]
    start = time.process_time()
    result = metric.compute()
    spent["curves"] = time.process_time() - start
    return {**spent, "all": sum(spent.values()), "mAP@0.25": result["mAP@0.25"]}


def table(results: Mapping[str, Mapping[str, float]]) -> str:
    """Markdown: one row for each kind of boxes."""
    parts = list(next(iter(results.values())))
    lines = [f"| boxes | {' | '.join(parts)} |", "|---" * (len(parts) + 1) + "|"]
    lines += [f"| {name} | {' | '.join(f'{row[part]:.2f}' for part in parts)} |" for name, row in results.items()]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m speed.detection_metric")
    parser.add_argument("--scenes", type=int, default=312)
    parser.add_argument("--proposals", type=int, default=256, help="of a scene")
    parser.add_argument("--classes", type=int, default=18)
    parser.add_argument("--points", type=int, default=40_000, help="of a scene")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    size = (options.scenes, options.proposals, options.classes, options.points)
    results = {name: measure(*size, oriented=name == "oriented") for name in ("axis-aligned", "oriented")}
    print(
        f"{options.scenes} scenes of {options.proposals} proposals, {options.classes} classes and {options.points} "
        f"points, {options.threads} threads, {platform.machine()}, torch {torch.__version__}; CPU seconds"
    )
    print(table(results))
    return 0


if __name__ == "__main__":
    sys.exit(main())
