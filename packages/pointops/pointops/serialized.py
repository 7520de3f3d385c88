"""Plan of a network on serialized voxels: curve orders, neighbor tables and pooling of every level, made once.

Source: Point Transformer V3 (Wu et al., CVPR 2024, arXiv:2312.10035). Voxels of a level are numbered along the first
order, scene by scene, so that those which a coarser voxel pools lie together. All of it depends on coordinates only.
Changed: each scene has its own depth and its own minimum (the release takes the batch's, by which a scene's Hilbert
curve depends on its batch mates); points that share a voxel are one voxel (the release expects a grid without such).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from pointops import _check
from pointops.offsets import known_counts, make_offset, moved_offset, offset2batch
from pointops.segment import segment_mean
from pointops.serialization import MAX_DEPTH, ORDERS, curve_code, serialization_depth
from pointops.submanifold import submanifold_neighbors
from pointops.transfer import constant

CODE_BITS = 3 * MAX_DEPTH


@dataclass(frozen=True)
class SerializedSpec:
    """What a network on serialized voxels needs.

    Attributes:
        voxel: edge of the finest level's voxels, metres.
        orders: curves, see :data:`pointops.serialization.ORDERS`.
        strides: voxels of each coarser level along an axis of the level before: 2, 4, ...
        stem: edge of the kernel whose table the finest level gets besides, in voxels.
        kernel: edge of every level's kernel.
        inverse: not used; here so that a loader can ask for it as of other plans.

    Raises:
        ValueError: an unknown order, no order, or sizes that make no sense.
    """

    voxel: float
    orders: tuple[str, ...] = ORDERS
    strides: tuple[int, ...] = (2, 2, 2, 2)
    stem: int = 5
    kernel: int = 3
    inverse: bool = False

    def __post_init__(self) -> None:
        if not self.voxel > 0:
            raise ValueError(f"voxel must be a positive length in metres, not {self.voxel}")
        if not self.orders:
            raise ValueError(f"orders is empty; give some of {', '.join(ORDERS)}")
        for order in self.orders:
            _check.choice("orders", order, ORDERS)
        if any(stride < 2 or stride & (stride - 1) for stride in self.strides):
            raise ValueError(
                f"strides must be powers of two from 2 on, since curves nest by halves; not {self.strides}"
            )

    def make(self, coord: Tensor, offset: Tensor) -> SerializedPlan:
        """The plan for these points, see :func:`make_serialized_plan`."""
        return make_serialized_plan(coord, offset, self)


@dataclass(frozen=True)
class SerializedLevel:
    """n voxels of B scenes, numbered along the first order.

    Attributes:
        coord: (n, 3) float32, mean of what the voxel holds.
        cells: (n, 3) int32.
        offset: (B,) int64 ends of the scenes.
        rows: (n,) int32 the input point that stands for the voxel: its first along the curve, then by row.
        members: (m,) int32 rows of the level before (points, at level 0), voxel by voxel.
        ends: (n,) int64 ends of the voxels in ``members``.
        owner: (m,) int32 the voxel of each row of the level before.
        order: (orders, n) int32 voxels along each curve, scene by scene.
        place: (orders, n) int32 where each voxel stands in ``order``.
        neighbors: (n, kernel^3) int32, see :func:`pointops.submanifold.submanifold_neighbors`.
        stem: (n, stem^3) int32, at level 0.
    """

    coord: Tensor
    cells: Tensor
    offset: Tensor
    rows: Tensor
    members: Tensor
    ends: Tensor
    owner: Tensor
    order: Tensor
    place: Tensor
    neighbors: Tensor
    stem: Tensor | None = None

    @property
    def num_points(self) -> int:
        """n, the voxels of all scenes."""
        return self.coord.shape[0]


@dataclass(frozen=True)
class SerializedPlan:
    """The levels of a network for one batch of scenes, finest first."""

    levels: tuple[SerializedLevel, ...]
    spec: SerializedSpec

    @property
    def num_points(self) -> int:
        """The points that the plan was made for."""
        return self.levels[0].owner.shape[0]

    @classmethod
    def join(cls, plans: Sequence[SerializedPlan]) -> SerializedPlan:
        """Plans of several batches laid end to end, as if made for the joined batch.

        Raises:
            ValueError: no plans, or plans of different specifications.
        """
        if not plans or any(plan.spec != plans[0].spec for plan in plans):
            raise ValueError("plans must be at least one, all of the same specification")
        sizes = [[plan.num_points, *(level.num_points for level in plan.levels)] for plan in plans]
        starts = torch.tensor(sizes).cumsum(0).sub(torch.tensor(sizes)).tolist()
        levels = tuple(
            _join_level(
                [plan.levels[number] for plan in plans], [start[number : number + 2] for start in starts], starts
            )
            for number in range(len(plans[0].levels))
        )
        return cls(levels, plans[0].spec)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> SerializedPlan:
        """A copy on another device."""
        made = self._map(lambda tensor: tensor.to(device, non_blocking=non_blocking))
        offsets = [moved_offset(level.offset, device, non_blocking) for level in self.levels]
        return replace(
            made, levels=tuple(replace(level, offset=o) for level, o in zip(made.levels, offsets, strict=True))
        )

    def pin_memory(self) -> SerializedPlan:
        """A copy in page-locked memory (called by torch's DataLoader)."""
        return self._map(lambda tensor: tensor.pin_memory())

    def _map(self, change: Callable[[Tensor], Tensor]) -> SerializedPlan:
        return SerializedPlan(tuple(_map_level(level, change) for level in self.levels), self.spec)


def make_serialized_plan(coord: Tensor, offset: Tensor, spec: SerializedSpec) -> SerializedPlan:
    """All levels of ``spec`` for these points, on their device; a GPU is waited for once.

    Args:
        coord: (N, 3) float32, metres; each scene is counted from its own minimum.
        offset: (B,) cumulative ends; no scene may be empty.
        spec: what to make.

    Raises:
        ValueError: bad points or offsets, an empty scene, or a scene of more than 2^16 - 1 voxels along an axis.
    """
    coord = _check.points("coord", coord)
    ends = _check.ends("offset", offset, coord.shape[0], "coord")
    counts = known_counts(offset)
    if not counts or min(counts) < 1:
        raise ValueError(f"offset: every scene needs at least one point, these have {counts}")
    scene = offset2batch(offset)
    cells, depth, largest = _cells(coord, counts, scene, spec)
    code = torch.stack([curve_code(cells, depth[scene], order, check=False) for order in spec.orders])
    key, members = torch.sort(scene << CODE_BITS | code[0], stable=True)
    shifts = _shifts(depth, spec)
    numbers = [_numbers(key, shift[scene]) for shift in shifts]
    last = constant(tuple(end - 1 for end in ends), torch.int64, coord.device)
    totals = torch.stack([number[last] + 1 for number in numbers]).diff(dim=1, prepend=last.new_zeros(len(numbers), 1))
    *sizes, lengths, finite = torch.cat([totals, largest, coord.isfinite().all().expand(1, len(ends))]).tolist()
    _check_extent(lengths, finite, spec)
    points = _Sorted(coord, cells, code, members, scene[members])
    levels: list[SerializedLevel] = []
    for number, (shift, size) in enumerate(zip(shifts, sizes, strict=True)):
        before = (levels[-1], numbers[number - 1]) if levels else None
        levels.append(_level(points, numbers[number], shift, size, before, spec))
    return SerializedPlan(tuple(levels), spec)


class _Sorted(NamedTuple):
    """N points; ``members`` (N,) are their rows along the first curve, ``scene`` (N,) the scenes of these."""

    coord: Tensor
    cells: Tensor
    code: Tensor
    members: Tensor
    scene: Tensor


def _cells(coord: Tensor, counts: Sequence[int], scene: Tensor, spec: SerializedSpec) -> tuple[Tensor, Tensor, Tensor]:
    """(N, 3) cells from each scene's minimum; (B,) the depths of the scenes and (1, B) their largest cells."""
    start = torch.stack([part.amin(0) for part in coord.split(list(counts))])
    wide = torch.floor((coord - start[scene]) / spec.voxel)
    largest = torch.stack([part.amax() for part in wide.split(list(counts))]).nan_to_num(0).clamp_max(1 << 30).long()
    cells = wide.nan_to_num(0).clamp(0, (1 << MAX_DEPTH) - 2).long()  # what lies beyond is refused in a moment
    powers = constant(tuple(1 << bit for bit in range(MAX_DEPTH)), torch.int64, coord.device)
    return cells, torch.bucketize(largest + 1, powers, right=True), largest[None]


def _check_extent(largest: Sequence[int], finite: Sequence[int], spec: SerializedSpec) -> None:
    if not all(finite):
        raise ValueError("coord holds values that are not finite")
    if serialization_depth(max(largest)) > MAX_DEPTH:
        raise ValueError(
            f"coord: a scene is {max(largest) + 1} voxels of {spec.voxel} m long; serialization has {MAX_DEPTH} bits "
            f"an axis, {(1 << MAX_DEPTH) - 1} voxels: use a larger voxel or cut the scene"
        )


def _shifts(depth: Tensor, spec: SerializedSpec) -> list[Tensor]:
    """(B,) bits of an axis that each level drops; a scene that has none left stays as it is, as released."""
    shifts = [torch.zeros_like(depth)]
    for stride in spec.strides:
        bits = stride.bit_length() - 1
        shifts.append(shifts[-1] + torch.where(depth - shifts[-1] >= bits, bits, 0))
    return shifts


def _numbers(key: Tensor, shift: Tensor) -> Tensor:
    """(N,) the voxel of each point in the order of ``key``, voxels being runs of equal leading bits."""
    prefix = key >> 3 * shift
    return torch.cat([key.new_zeros(1), (prefix[1:] != prefix[:-1]).cumsum(0)])


def _level(
    points: _Sorted,
    number: Tensor,
    shift: Tensor,
    sizes: Sequence[int],
    before: tuple[SerializedLevel, Tensor] | None,
    spec: SerializedSpec,
) -> SerializedLevel:
    """One level: ``number`` (N,) are its voxels point by point along the curve, ``sizes`` those of each scene."""
    device, total = number.device, sum(sizes)
    start = torch.searchsorted(number, torch.arange(total, device=device))
    heads, scene = points.members[start], points.scene[start]
    if before is None:
        coord, members, owner = points.coord[points.members], points.members, number
        first, rows = start, len(number)
        owner = torch.empty_like(number).index_copy_(0, members, number)
    else:
        finer, its_number = before
        coord, rows = finer.coord, finer.num_points
        first, members = its_number[start], torch.arange(rows, device=device)
        owner = number[torch.searchsorted(its_number, members)]
    ends = torch.cat([first[1:], first.new_full((1,), rows)])
    code = points.code[:, heads] >> 3 * shift[scene]
    order = torch.sort(scene << CODE_BITS | code, dim=1).indices
    place = torch.empty_like(order).scatter_(1, order, torch.arange(total, device=device).expand_as(order))
    cells, offset = (points.cells[heads] >> shift[scene].unsqueeze(1)).int(), make_offset(sizes, device)
    return SerializedLevel(
        coord=segment_mean(coord, ends),
        cells=cells,
        offset=offset,
        rows=heads.int(),
        members=members.int(),
        ends=ends,
        owner=owner.int(),
        order=order.int(),
        place=place.int(),
        neighbors=submanifold_neighbors(cells, offset, spec.kernel),
        stem=None if before else submanifold_neighbors(cells, offset, spec.stem),
    )


def _join_level(
    levels: Sequence[SerializedLevel], here: Sequence[Sequence[int]], starts: Sequence[Sequence[int]]
) -> SerializedLevel:
    """``here[p]``: plan p's first row in the joined level before and in this one; ``starts[p][0]``: its first point."""
    before, own = [start[0] for start in here], [start[1] for start in here]

    def moved(name: str, by: Sequence[int], dim: int = 0) -> Tensor:
        parts = [getattr(level, name) for level in levels]
        return torch.cat([torch.where(p < 0, p, p + start) for p, start in zip(parts, by, strict=True)], dim)

    return SerializedLevel(
        coord=torch.cat([level.coord for level in levels]),
        cells=torch.cat([level.cells for level in levels]),
        offset=moved("offset", own),
        rows=moved("rows", [start[0] for start in starts]),
        members=moved("members", before),
        ends=moved("ends", before),
        owner=moved("owner", own),
        order=moved("order", own, 1),
        place=moved("place", own, 1),
        neighbors=moved("neighbors", own),
        stem=None if levels[0].stem is None else moved("stem", own),
    )


def _map_level(level: SerializedLevel, change: Callable[[Tensor], Tensor]) -> SerializedLevel:
    values = {f.name: getattr(level, f.name) for f in fields(level)}
    changed: dict[str, Any] = {name: None if value is None else change(value) for name, value in values.items()}
    return SerializedLevel(**changed)
