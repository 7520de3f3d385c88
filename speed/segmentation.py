"""What one training step of each segmentation network costs, and what the geometry plan saves.

    python -m speed.segmentation --points 40000 --scenes 2 --threads 1

A step is forward, loss, backward and SGD update on rooms of one size. It is timed with the plan made beforehand (as by
loader workers), with the plan made inside, and with each layer searching for itself, as the releases do: Point
Transformer twice per attention layer (44 searches, four samplings), Stratified Transformer with pair lists for every
block and two samplings per stage. All three give the same numbers. The table is Markdown.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

import pointops.plan
from mm3d_backbones.point_transformer import PointTransformer, VectorAttention
from mm3d_backbones.segmentor import Segmentor
from mm3d_backbones.stratified_transformer import StratifiedTransformer, WindowAttention
from mm3d_core.encoder import Encoder
from mm3d_core.points import PointBatch
from pointops.plan import GeometryPlan, PlanLevel, PlanSpec, level_counts, make_plan
from pointops.windows import WindowSpec

NETWORKS: dict[str, tuple[Callable[[], Encoder], type[nn.Module]]] = {
    "Point Transformer": (PointTransformer, VectorAttention),
    "Stratified Transformer": (StratifiedTransformer, WindowAttention),
}
Clock = Callable[[], float]
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
SEARCHES_PER_LAYER = 2  # Point Transformer's release groups keys and values by a search each
VOXEL = 0.04


@dataclass(frozen=True)
class Costs:
    """Medians over the repeats, seconds; ``searches`` and ``samplings`` are counts."""

    planned: float
    inside: float
    layerwise: float
    layerwise_geometry: float
    plan: float
    sampling: float
    attention: float
    searches: int
    layerwise_searches: int


def room(points: int, random: torch.Generator) -> Tensor:
    """(points, 3) float32 metres on the faces of a room and of boxes in it, one point per 4 cm voxel."""
    area = points * VOXEL**2
    side = (area / 2.8) ** 0.5  # a square room 0.4 sides high has 3.6 square sides of faces, furniture comes on top
    size = torch.tensor([side, side, 0.4 * side])
    faces = [_faces(torch.zeros(3), size, 8 * points, random)]
    for _ in range(6):
        edge = side * (0.08 + 0.12 * torch.rand(3, generator=random))
        corner = torch.cat([torch.rand(2, generator=random) * (size - edge)[:2], torch.zeros(1)])
        faces.append(_faces(corner, edge, points, random))
    coord = torch.cat(faces)
    cells = (coord / VOXEL).floor().long()
    code = (cells[:, 0] * 10_000 + cells[:, 1]) * 10_000 + cells[:, 2]
    shuffled = torch.randperm(len(coord), generator=random)
    _, first = torch.unique(code[shuffled], return_inverse=True)
    kept = torch.zeros(int(first.max()) + 1, dtype=torch.int64).scatter_(0, first, shuffled)
    kept = kept[torch.randperm(len(kept), generator=random)]
    if len(kept) < points:
        raise ValueError(f"points={points}: the room has only {len(kept)} voxels")
    near = ((coord[kept] - coord[kept[0]]) ** 2).sum(1).topk(points, largest=False).indices
    return coord[kept[near[torch.randperm(points, generator=random)]]]


def batch_of(points: int, scenes: int, seed: int = 0) -> tuple[PointBatch, Tensor]:
    """Rooms with random colors as one batch, and random labels of 13 classes."""
    random = torch.Generator().manual_seed(seed)
    coord = torch.cat([room(points, random) for _ in range(scenes)])
    feat = torch.cat([torch.rand(len(coord), 3, generator=random), coord], 1)
    offset = points * (1 + torch.arange(scenes))
    labels = torch.randint(0, 13, (len(coord),), generator=random)
    return PointBatch(coord, feat, offset, torch.arange(len(coord))), labels


def layerwise_geometry(plan: GeometryPlan, depths: Sequence[int]) -> int:
    """Make every table as often as a network does that searches layer by layer; returns the searches.

    Args:
        plan: the levels.
        depths: attention layers at each level, encoder and decoder together.
    """
    searches = 0
    for number, (level, spec) in enumerate(zip(plan.levels, plan.spec.levels, strict=True)):
        if number:
            before = plan.levels[number - 1]
            pointops.plan.farthest_point_sampling(before.coord, before.offset, level.offset)
            pointops.plan.knn_query(spec.down, before.coord, before.offset, level.coord, level.offset)
            pointops.plan.knn_query(spec.up, level.coord, level.offset, before.coord, before.offset)
            searches += 2
        if spec.around:
            pointops.plan.kpconv_neighbors(spec.around[1], spec.around[0], level.coord, level.offset)
            searches += 1
        if spec.neighbors:
            for _ in range(SEARCHES_PER_LAYER * depths[number]):
                pointops.plan.knn_query(spec.neighbors, level.coord, level.offset)
                searches += 1
        if spec.windows:
            _layerwise_windows(level, spec.windows, depths[number])
    return searches


def measure(name: str, points: PointBatch, labels: Tensor, repeats: int, clock: Clock = time.perf_counter) -> Costs:
    """Time one network; the first, untimed step warms up."""
    build, attention_type = NETWORKS[name]
    torch.manual_seed(0)
    model = Segmentor(build(), 13)
    encoder = model.encoder
    spec: PlanSpec = encoder.plan_spec()
    layers = [0] * len(spec.levels)
    for part in ("encoder_blocks", "decoder_blocks", "stages"):
        for number, blocks in enumerate(getattr(encoder, part, ())):
            layers[number] += len(blocks)
    step = _stepper(model, labels)
    clocks = {
        kind: [] for kind in ("planned", "inside", "layerwise", "layerwise_geometry", "plan", "sampling", "attention")
    }
    plan = make_plan(points.coord, points.offset, spec)
    step(points.with_plan(plan))
    with _counted_searches() as made:
        make_plan(points.coord, points.offset, spec)
    searches, layerwise = made[0], 0
    for _ in range(repeats):
        with _timed_attention(model, attention_type, clock) as attention:
            clocks["planned"].append(_seconds(clock, step, points.with_plan(plan)))
        clocks["attention"].append(sum(attention))
        with _timed_sampling(clock) as sampling:
            clocks["plan"].append(_seconds(clock, make_plan, points.coord, points.offset, spec))
        clocks["sampling"].append(sum(sampling))
        clocks["inside"].append(_seconds(clock, step, points))
        start = clock()
        layerwise = layerwise_geometry(plan, layers)
        clocks["layerwise_geometry"].append(clock() - start)
        step(points.with_plan(plan))
        clocks["layerwise"].append(clock() - start)
    median = {kind: statistics.median(values) for kind, values in clocks.items()}
    return Costs(**median, searches=searches, layerwise_searches=layerwise)


def table(results: dict[str, Costs]) -> str:
    """Markdown, a column for each network."""
    rows: list[tuple[str, Callable[[Costs], str]]] = [
        ("step, plan from the loader (s)", lambda c: f"{c.planned:.2f}"),
        ("step, plan made inside (s)", lambda c: f"{c.inside:.2f}"),
        ("step, searching layer by layer (s)", lambda c: f"{c.layerwise:.2f}"),
        ("plan (s)", lambda c: f"{c.plan:.3f}"),
        ("geometry layer by layer (s)", lambda c: f"{c.layerwise_geometry:.3f}"),
        ("of it farthest point sampling (s)", lambda c: f"{c.sampling:.3f}"),
        ("geometry's share of a step with the plan made inside", lambda c: f"{c.plan / c.inside:.0%}"),
        ("attention's share of a step with a loader's plan", lambda c: f"{c.attention / c.planned:.0%}"),
        ("searches of the plan", lambda c: str(c.searches)),
        ("searches layer by layer", lambda c: str(c.layerwise_searches)),
        ("gain: layer by layer / plan inside", lambda c: f"{c.layerwise / c.inside:.2f}"),
        ("gain: layer by layer / loader's plan", lambda c: f"{c.layerwise / c.planned:.2f}"),
        ("gain in geometry alone", lambda c: f"{c.layerwise_geometry / c.plan:.2f}"),
    ]
    lines = [f"| | {' | '.join(results)} |", "|---" * (1 + len(results)) + "|"]
    lines += [f"| {title} | {' | '.join(value(costs) for costs in results.values())} |" for title, value in rows]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m speed.segmentation")
    parser.add_argument("--points", type=int, default=40_000, help="points of a scene")
    parser.add_argument("--scenes", type=int, default=2, help="scenes of the batch")
    parser.add_argument("--repeats", type=int, default=3, help="timed steps; medians are printed")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--clock", choices=list(CLOCKS), default="wall", help="cpu: for a machine with other work")
    parser.add_argument("--network", choices=list(NETWORKS), action="append", help="only this one (repeatable)")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    points, labels = batch_of(options.points, options.scenes)
    names = options.network or list(NETWORKS)
    results = {name: measure(name, points, labels, options.repeats, CLOCKS[options.clock]) for name in names}
    setting = f"{options.scenes} scenes of {options.points} points, {options.threads} thread(s), {options.clock} time"
    print(f"{setting}, {platform.machine()}, ", end="")
    print(f"torch {torch.__version__}\n\n{table(results)}")
    return 0


def _stepper(model: Segmentor, labels: Tensor) -> Callable[[PointBatch], None]:
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4)

    def step(points: PointBatch) -> None:
        optimizer.zero_grad()
        model.loss(points, {"segment": labels})["loss"].backward()
        optimizer.step()

    return step


def _layerwise_windows(level: PlanLevel, windows: WindowSpec, blocks: int) -> None:
    """A sampling for the sparse keys of a stage, and a pair list for every block."""
    counts = torch.diff(level.offset, prepend=level.offset.new_zeros(1)).tolist()
    kept = level_counts(counts, pointops.plan.LevelSpec(stride=windows.stride, extra=1))
    sampled = pointops.plan.farthest_point_sampling(level.coord, level.offset, torch.tensor(kept).cumsum(0))
    for block in range(blocks):
        pointops.plan.window_pairs(
            level.coord, level.offset, sampled, windows.window, windows.quant, shifted=block % 2 == 1
        )


def _faces(corner: Tensor, size: Tensor, count: int, random: torch.Generator) -> Tensor:
    """Points on the six faces of a box, uniform over their area."""
    areas = torch.stack([size[1] * size[2], size[0] * size[2], size[0] * size[1]])
    axis = torch.multinomial(areas, count, replacement=True, generator=random)
    points = torch.rand(count, 3, generator=random)
    points.scatter_(1, axis[:, None], (torch.rand(count, 1, generator=random) < 0.5).float())
    return corner + points * size


def _seconds(clock: Clock, function: Callable[..., object], *arguments: object) -> float:
    start = clock()
    function(*arguments)
    return clock() - start


@contextmanager
def _timed_attention(model: nn.Module, kind: type[nn.Module], clock: Clock) -> Iterator[list[float]]:
    """Seconds of every forward and backward pass through modules of a kind."""
    times: list[float] = []
    begun: dict[nn.Module, float] = {}
    handles = []

    def begin(module: nn.Module, *_: object) -> None:
        begun[module] = clock()

    def end(module: nn.Module, *_: object) -> None:
        times.append(clock() - begun[module])

    for module in (module for module in model.modules() if isinstance(module, kind)):
        handles += [module.register_forward_pre_hook(begin), module.register_forward_hook(end)]
        handles += [module.register_full_backward_pre_hook(begin), module.register_full_backward_hook(end)]
    try:
        yield times
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def _timed_sampling(clock: Clock) -> Iterator[list[float]]:
    """Seconds of every farthest point sampling of a plan."""
    times: list[float] = []
    original = pointops.plan.farthest_point_sampling

    def timed(*arguments: object, **options: object) -> Tensor:
        start = clock()
        result = original(*arguments, **options)  # pyright: ignore[reportArgumentType, reportCallIssue]
        times.append(clock() - start)
        return result

    with _replaced("farthest_point_sampling", timed):
        yield times


@contextmanager
def _counted_searches() -> Iterator[list[int]]:
    """The number of neighbor searches of a plan."""
    made = [0]

    def counting(original: Callable[..., object]) -> Callable[..., object]:
        def call(*arguments: object, **options: object) -> object:
            made[0] += 1
            return original(*arguments, **options)

        return call

    with _replaced("knn_query", counting(pointops.plan.knn_query)):  # noqa: SIM117
        with _replaced("kpconv_neighbors", counting(pointops.plan.kpconv_neighbors)):
            yield made


@contextmanager
def _replaced(name: str, function: Callable[..., object]) -> Iterator[None]:
    """Another function under a name of :mod:`pointops.plan`, for a while."""
    original = getattr(pointops.plan, name)
    setattr(pointops.plan, name, function)
    try:
        yield
    finally:
        setattr(pointops.plan, name, original)


if __name__ == "__main__":
    sys.exit(main())
