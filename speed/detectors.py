"""What one training step of each detector costs, and where the time goes.

    python -m speed.detectors --points 20000 --scenes 2 --threads 1

A step is forward, losses, backward and Adam update on synthetic furnished rooms, with the geometry plan made beforehand
(as by loader workers); the plan is timed by itself. Parts of the forward pass are the network's direct modules, with
the searches that they make on votes. Seconds are CPU time, so that other processes do not count. The table is Markdown.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise

import torch
from torch import Tensor, nn

from mm3d_backbones.h3dnet import FourTowers, H3DNet
from mm3d_backbones.pointnet2 import PointNet2Encoder
from mm3d_backbones.votenet import VoteNet
from mm3d_core.boxes import points_in_boxes
from mm3d_core.points import PointBatch
from pointops.plan import make_plan

CLASSES = 18
OBJECTS = 12  # in a room
ROWS = 64  # of the padded list of boxes
DETECTORS: dict[str, Callable[[], nn.Module]] = {
    "VoteNet": lambda: VoteNet(PointNet2Encoder(1), CLASSES, 1, torch.ones(CLASSES, 3)),
    "H3DNet": lambda: H3DNet(FourTowers(1), CLASSES, 1, torch.ones(CLASSES, 3)),
}


def furnished_room(points: int, random: torch.Generator) -> tuple[PointBatch, dict[str, Tensor]]:
    """One scene: points on the floor of a 6 x 6 m room and on the faces of boxes, with its labels."""
    center = torch.rand(OBJECTS, 3, generator=random) * torch.tensor([5.0, 5.0, 0.6]) + torch.tensor([0.5, 0.5, 0.3])
    size = 0.4 + torch.rand(OBJECTS, 3, generator=random) * 0.8
    boxes = torch.cat([center, size, torch.zeros(OBJECTS, 1)], 1)
    owner = torch.randint(0, 2 * OBJECTS, (points,), generator=random)  # the upper half stands for the floor
    local = torch.rand(points, 3, generator=random) - 0.5
    axis, row = torch.randint(0, 3, (points,), generator=random), torch.arange(points)
    local[row, axis] = torch.where(local[row, axis] < 0, -0.5, 0.5)
    of = owner % OBJECTS
    floor = (local + 0.5) * torch.tensor([6.0, 6.0, 0.02])
    coord = torch.where((owner < OBJECTS)[:, None], center[of] + local * size[of], floor)
    inside = points_in_boxes(coord, boxes)
    mask = inside.any(0)
    votes = torch.where(mask[:, None], center[inside.int().argmax(0)] - coord, 0.0)
    labels = {
        "center": nn.functional.pad(center, (0, 0, 0, ROWS - OBJECTS))[None],
        "size": nn.functional.pad(size, (0, 0, 0, ROWS - OBJECTS))[None],
        "heading": torch.zeros(1, ROWS),
        "box_class": torch.arange(ROWS)[None] % CLASSES,
        "box_mask": torch.arange(ROWS)[None] < OBJECTS,
        "votes": votes[:, None].expand(-1, 3, -1),
        "vote_mask": mask,
    }
    return PointBatch.single(coord, coord[:, 2:].clone()), labels


def batch_of(points: int, scenes: int, seed: int = 0) -> tuple[PointBatch, dict[str, Tensor]]:
    """Rooms as one batch."""
    random = torch.Generator().manual_seed(seed)
    rooms = [furnished_room(points, random) for _ in range(scenes)]
    labels = {name: torch.cat([part[name] for _, part in rooms]) for name in rooms[0][1]}
    return PointBatch.join([room for room, _ in rooms]), labels


def measure(name: str, points: PointBatch, labels: dict[str, Tensor], repeats: int) -> dict[str, float]:
    """Median CPU seconds of a step, of its parts and of the plan; the first, untimed step warms up."""
    torch.manual_seed(0)
    model = DETECTORS[name]()
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    spec = model.encoder.plan_spec()  # type: ignore[operator,union-attr]
    records: list[dict[str, float]] = []
    for repeat in range(repeats + 1):
        start = time.process_time()
        planned = points.with_plan(make_plan(points.coord, points.offset, spec))
        marks = [start, time.process_time()]
        with timed_children(model) as inside:
            loss = model.loss(planned, labels)["loss"]  # type: ignore[operator]
        marks.append(time.process_time())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        marks.append(time.process_time())
        optimizer.step()
        marks.append(time.process_time())
        gaps = [late - early for early, late in pairwise(marks)]
        spent = dict(zip(("plan", "forward", "backward", "optimizer"), gaps, strict=True))
        rest = spent.pop("forward") - sum(inside.values())
        record = {"step": marks[-1] - marks[1], **{f"forward {n}": s for n, s in inside.items()}}
        records += [record | {"losses and targets": rest} | spent] if repeat else []
    return {part: statistics.median(record[part] for record in records) for part in records[0]}


@contextmanager
def timed_children(model: nn.Module) -> Iterator[dict[str, float]]:
    """Forward seconds of each direct module of ``model``, summed over calls; members of a ModuleDict count together."""
    seconds: dict[str, float] = {}
    handles = []
    for name, child in model.named_children():
        for module in child.values() if isinstance(child, nn.ModuleDict) else [child]:
            started: list[float] = []

            def before(*_: object, started: list[float] = started) -> None:
                started.append(time.process_time())

            def after(*_: object, name: str = name, started: list[float] = started) -> None:
                seconds[name] = seconds.get(name, 0.0) + time.process_time() - started.pop()

            handles += [module.register_forward_pre_hook(before), module.register_forward_hook(after)]
    try:
        yield seconds
    finally:
        for handle in handles:
            handle.remove()


def table(results: dict[str, dict[str, float]]) -> str:
    """Markdown: seconds and share of the step for each part of each network."""
    lines = []
    for name, seconds in results.items():
        lines += ["", f"| {name} | CPU seconds | share of the step |", "|---|---|---|"]
        for part, value in seconds.items():
            share = "made by the loader" if part == "plan" else f"{value / seconds['step']:.0%}"
            lines.append(f"| {part} | {value:.3f} | {share} |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m speed.detectors")
    parser.add_argument("--points", type=int, default=20_000, help="points of a scene")
    parser.add_argument("--scenes", type=int, default=2, help="scenes of the batch")
    parser.add_argument("--repeats", type=int, default=3, help="timed steps; medians are printed")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--network", choices=list(DETECTORS), action="append", help="only this one (repeatable)")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    points, labels = batch_of(options.points, options.scenes)
    names = options.network or list(DETECTORS)
    results = {name: measure(name, points, labels, options.repeats) for name in names}
    where = f"{options.threads} threads, {platform.machine()}, torch {torch.__version__}"
    print(f"{options.scenes} scenes of {options.points} points, {where}\n{table(results)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
