"""Geometry plan: every sampling order and neighbor table of a network, made once per sample.

The tables depend on coordinates only, so a loader worker makes them (one thread) and the model searches nothing.
All geometric augmentation, and any selection that changes the point order (the first point starts the sampling), must
come before. One farthest point sampling serves every level: a level is a prefix of the level above (see
:func:`pointops.sampling.farthest_point_sampling`). Point Transformer's forward needs 13 searches instead of 44.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace
from itertools import accumulate, pairwise
from typing import Any, NamedTuple, Protocol, overload

import torch
from torch import Tensor

from pointops import _native
from pointops.ball_query import ball_query
from pointops.index import Index
from pointops.interpolation import interpolation_weights
from pointops.inverse import InverseTable, inverse_table, join_inverse
from pointops.knn import knn_query
from pointops.kpconv import kpconv_neighbors
from pointops.offsets import known_counts, known_ends, make_offset, moved_offset, offset2batch
from pointops.plan_spec import LevelSpec, PlanSpec
from pointops.sampling import farthest_point_sampling
from pointops.windows import WindowPairs, window_pairs


@dataclass(frozen=True)
class Table:
    """Neighbors of one set of points in another.

    Attributes:
        index: (M, k) int32 rows of level ``source``.
        source: the level whose rows are named.
        weight: (M, k) float32 interpolation weights, or None.
        inverse: the inverse of ``index`` over the rows of ``source``, or None.
    """

    index: Tensor
    source: int
    weight: Tensor | None = None
    inverse: InverseTable | None = None

    def local(self, query_offset: Tensor, source_offset: Tensor) -> Tensor:
        """(M, k) int64 rows counted from the start of each scene, for dense (B, P, C) layouts."""
        start = torch.cat([source_offset.new_zeros(1), source_offset[:-1]]).long()
        return self.index.long() - start[offset2batch(query_offset)].unsqueeze(1)


@dataclass(frozen=True)
class PlanLevel:
    """One level of a plan.

    Attributes:
        coord: (n, 3) float32.
        offset: (B,) int64 ends.
        sample: (n,) int32 rows of the level before (of the level itself at level 0).
        index: (n,) int32 rows of level 0.
        neighbors: self table, or None.
        down: this level's points in the level before, or None.
        ball: the same by radius, or None.
        up: the points of the level before in this level, with weights, or None.
        around: kernel point convolution's neighbors, -1 where there are fewer, or None.
        windows: pairs of the plain and of the shifted windows, or None.
        extra: further tables by name, joined like the others.
    """

    coord: Tensor
    offset: Tensor
    sample: Tensor
    index: Tensor
    neighbors: Table | None = None
    down: Table | None = None
    ball: Table | None = None
    up: Table | None = None
    around: Table | None = None
    windows: tuple[WindowPairs, ...] | None = None
    extra: dict[str, Table] = field(default_factory=dict)

    @property
    def num_points(self) -> int:
        """n, the points of all scenes at this level."""
        return self.coord.shape[0]


@dataclass(frozen=True)
class GeometryPlan:
    """The levels of a network for one batch of scenes, finest first."""

    levels: tuple[PlanLevel, ...]
    spec: PlanSpec

    @classmethod
    def join(cls, plans: Sequence[GeometryPlan]) -> GeometryPlan:
        """Plans of several batches laid end to end, as if made for the joined batch.

        Raises:
            ValueError: no plans, plans of different specifications, or of windows that the whole batch decides.
        """
        if not plans or any(plan.spec != plans[0].spec for plan in plans):
            raise ValueError("plans must be at least one, all of the same specification")
        if len(plans) > 1 and any(level.windows and level.windows.origin == "batch" for level in plans[0].spec.levels):
            raise ValueError("plans: windows with origin='batch' depend on the whole batch: plan all of it at once")
        sizes = [[level.num_points for level in plan.levels] for plan in plans]
        starts = torch.tensor(sizes).cumsum(0).sub(torch.tensor(sizes)).tolist()
        levels = tuple(
            _join_level([plan.levels[number] for plan in plans], number, starts)
            for number in range(len(plans[0].levels))
        )
        return cls(levels, plans[0].spec)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> GeometryPlan:
        """A copy on another device."""
        made = self._map(lambda tensor: tensor.to(device, non_blocking=non_blocking))
        offsets = [moved_offset(level.offset, device, non_blocking) for level in self.levels]
        return replace(
            made, levels=tuple(replace(level, offset=o) for level, o in zip(made.levels, offsets, strict=True))
        )

    def pin_memory(self) -> GeometryPlan:
        """A copy in page-locked memory (called by torch's DataLoader)."""
        return self._map(lambda tensor: tensor.pin_memory())

    def _map(self, change: Callable[[Tensor], Tensor]) -> GeometryPlan:
        return GeometryPlan(tuple(_map(level, change) for level in self.levels), self.spec)


class PlanMaker(Protocol):
    """A specification of another kind of plan, such as :class:`pointops.serialized.SerializedSpec`."""

    def make(self, coord: Tensor, offset: Tensor) -> Any:
        """The plan for these points."""
        ...


@overload
def make_plan(coord: Tensor, offset: Tensor, spec: PlanSpec, sample: Tensor | None = None) -> GeometryPlan: ...
@overload
def make_plan(coord: Tensor, offset: Tensor, spec: PlanMaker) -> Any: ...
def make_plan(coord: Tensor, offset: Tensor, spec: PlanSpec | PlanMaker, sample: Tensor | None = None) -> Any:
    """All tables of ``spec`` for these points.

    They are made by the C++ kernels and, for points on a GPU, sent there: one sample after the other is what a GPU does
    worst (without the kernels the GPU's own searches are used).

    Args:
        coord: (N, 3) float32, metres.
        offset: (B,) cumulative ends.
        spec: what to make; one of another kind makes its own plan, on the points' device.
        sample: (M,) rows of level 1 in sampling order, scene by scene, in place of farthest point sampling; deeper
            levels are its prefixes as always.

    Raises:
        ValueError: bad points or offsets, a sample of another size than ``spec`` asks for, or a scene too small where
            ``spec.missing`` is ``refuse``.
    """
    if not isinstance(spec, PlanSpec):
        return spec.make(coord, offset)
    if coord.device.type == "cuda" and _native.library() is not None:
        there = coord.detach().cpu(), moved_offset(offset, "cpu"), spec, None if sample is None else sample.cpu()
        return make_plan(*there).pin_memory().to(coord.device, non_blocking=True)
    coord, ends = coord.detach().contiguous(), offset.long()
    rows = torch.arange(coord.shape[0], dtype=torch.int32, device=coord.device)
    first = spec.levels[0]
    if first.stride != 1 or first.extra or first.samples is not None or first.down or first.up or first.ball:
        raise ValueError("levels[0] is the input itself: it has no sampling and no level before it")
    cloud = _Cloud(coord, ends, Index(coord, ends))
    levels = [PlanLevel(coord, ends, rows, rows, _neighbors(cloud, first, spec, 0))]
    for number, level in enumerate(spec.levels[1:], start=1):
        here, cloud = _next_level(levels[-1], cloud, level, spec, number, sample if number == 1 else None)
        levels.append(here)
    local = [_add_local(levels, number, level, spec) for number, level in enumerate(spec.levels)]
    return GeometryPlan(tuple(local), spec)


def level_counts(counts: Sequence[int], spec: LevelSpec) -> list[int]:
    """Points per scene that a level keeps of ``counts`` points in the level before."""
    if spec.samples is not None:
        return [spec.samples if count else 0 for count in counts]
    return [min(count, max(1, count // spec.stride + spec.extra)) for count in counts]


class _Cloud(NamedTuple):
    """The points of a level, with the one index for all that is searched in it, sampled from it or asked from it."""

    coord: Tensor
    offset: Tensor
    index: Index


def _next_level(
    before: PlanLevel, cloud: _Cloud, level: LevelSpec, spec: PlanSpec, number: int, given: Tensor | None
) -> tuple[PlanLevel, _Cloud]:
    """The level after ``before``, whose points are ``cloud``; ``given`` is its sample, if it is known."""
    counts = [end - start for start, end in pairwise([0, *cloud.index.ends])]
    ends = list(accumulate(level_counts(counts, level)))
    offset = make_offset(level_counts(counts, level), before.offset.device)
    if given is not None:
        if given.shape != (ends[-1],):
            raise ValueError(f"sample has shape {tuple(given.shape)}, but level 1 has {ends[-1]} points")
        sample = given.to(device=offset.device, dtype=torch.int32)
    elif number == 1:
        sample = farthest_point_sampling(
            cloud.coord, cloud.offset, offset, skip_origin=spec.skip_origin, index=cloud.index
        )
    else:
        sample = _prefix(before.offset, offset)
    coord = before.coord.index_select(0, sample)
    new = _Cloud(coord, offset, Index(coord, offset))
    made = PlanLevel(
        coord,
        offset,
        sample,
        before.index.index_select(0, sample),
        neighbors=_neighbors(new, level, spec, number),
        down=_down(level.down, cloud, new, spec, number - 1),
        ball=_ball(level.ball, cloud, new, spec, number - 1),
        up=_up(level.up, cloud, new, spec, number),
    )
    return made, new


def _prefix(offset: Tensor, new_offset: Tensor) -> Tensor:
    """The sample of points that already lie in sampling order: each scene's first rows (its first, once exhausted)."""
    parts: list[Tensor] = []
    for (start, end), (low, high) in zip(
        pairwise([0, *known_ends(offset)]), pairwise([0, *known_ends(new_offset)]), strict=True
    ):
        kept = min(high - low, end - start)
        parts.append(torch.arange(start, start + kept, dtype=torch.int32, device=offset.device))
        if kept < high - low:
            parts.append(parts[-1].new_full((high - low - kept,), start))
    if not parts:
        return torch.empty(0, dtype=torch.int32, device=offset.device)
    return torch.cat(parts) if len(parts) > 1 else parts[0]


def _add_local(levels: Sequence[PlanLevel], number: int, level: LevelSpec, spec: PlanSpec) -> PlanLevel:
    """The level with its convolution neighbors and its windows."""
    here = levels[number]
    if level.around is not None:
        radius, nsample = level.around
        index = kpconv_neighbors(nsample, radius, here.coord, here.offset, order=level.around_order)
        here = replace(here, around=Table(index, number))  # read block by block, where no inverse helps
    if level.windows is not None:
        wanted = level.windows
        sampled = _sampled_keys(levels, number, wanted.stride)
        plain, shifted = (
            window_pairs(
                here.coord, here.offset, sampled, wanted.window, wanted.quant, shifted=moved, origin=wanted.origin
            )
            for moved in (False, True)
        )
        here = replace(here, windows=(plain, shifted))
    return here


def _sampled_keys(levels: Sequence[PlanLevel], number: int, stride: int) -> Tensor:
    """Rows of each scene's first floor(n / stride) + 1 points in sampling order; sampled again only if need be."""
    here = levels[number]
    wanted = level_counts(known_counts(here.offset), LevelSpec(stride=stride, extra=1))
    offset = make_offset(wanted, here.offset.device)
    if number:
        return _prefix(here.offset, offset)  # points below level 0 lie in sampling order
    after = levels[1] if len(levels) > 1 else None
    if after is None or any(have < asked for have, asked in zip(known_counts(after.offset), wanted, strict=True)):
        return farthest_point_sampling(here.coord, here.offset, offset)
    return after.sample[_prefix(after.offset, offset).long()]


def _neighbors(cloud: _Cloud, level: LevelSpec, spec: PlanSpec, number: int) -> Table | None:
    if not level.neighbors:
        return None
    rows, _ = _nearest(level.neighbors, cloud, cloud, spec.missing, distances=False)
    return _table(rows, number, cloud.coord.shape[0], spec)


def _down(k: int, before: _Cloud, new: _Cloud, spec: PlanSpec, source: int) -> Table | None:
    if not k:
        return None
    rows, _ = _nearest(k, before, new, spec.missing, distances=False)
    return _table(rows, source, before.coord.shape[0], spec)


def _ball(ball: tuple[float, int] | None, before: _Cloud, new: _Cloud, spec: PlanSpec, source: int) -> Table | None:
    if ball is None:
        return None
    radius, nsample = ball
    points = (before.coord, before.offset, new.coord, new.offset)
    rows, _ = ball_query(
        nsample,
        radius,
        0.0,
        *points,
        padding="first_hit",
        index=before.index,
        new_index=new.index,
        distances=False,
    )
    return _table(rows, source, before.coord.shape[0], spec)


def _up(k: int, before: _Cloud, new: _Cloud, spec: PlanSpec, source: int) -> Table | None:
    if not k:
        return None
    rows, distance = _nearest(k, new, before, "minus_one", distances=True)
    return _table(rows, source, new.coord.shape[0], spec, interpolation_weights(rows, distance))


def _nearest(k: int, cloud: _Cloud, query: _Cloud, missing: str, distances: bool) -> tuple[Tensor, Tensor]:
    points = (cloud.coord, cloud.offset, query.coord, query.offset)
    return knn_query(k, *points, missing=missing, index=cloud.index, new_index=query.index, distances=distances)


def _table(index: Tensor, source: int, rows: int, spec: PlanSpec, weight: Tensor | None = None) -> Table:
    return Table(index, source, weight, inverse_table(index, rows) if spec.inverse else None)


def _join_level(levels: Sequence[PlanLevel], number: int, starts: list[list[int]]) -> PlanLevel:
    """``starts[p][l]`` is the first row of plan p's level l in the joined level."""
    before = max(number - 1, 0)
    tables = {
        name: _join_tables([getattr(level, name) for level in levels], starts)
        for name in ("neighbors", "down", "ball", "up", "around")
    }
    pairs = [level.windows for level in levels if level.windows is not None]
    here = [start[number] for start in starts]
    windows = tuple(WindowPairs.join([pair[shifted] for pair in pairs], here) for shifted in (0, 1)) if pairs else None
    return PlanLevel(
        coord=torch.cat([level.coord for level in levels]),
        offset=torch.cat([level.offset + start[number] for level, start in zip(levels, starts, strict=True)]),
        sample=torch.cat([level.sample + start[before] for level, start in zip(levels, starts, strict=True)]),
        index=torch.cat([level.index + start[0] for level, start in zip(levels, starts, strict=True)]),
        windows=windows,
        extra={name: _joined([level.extra[name] for level in levels], starts) for name in levels[0].extra},
        **tables,
    )


def _join_tables(tables: Sequence[Table | None], starts: list[list[int]]) -> Table | None:
    present = [table for table in tables if table is not None]
    return _joined(present, starts) if present else None


def _joined(tables: Sequence[Table], starts: list[list[int]]) -> Table:
    source = tables[0].source
    shifted = [
        torch.where(table.index < 0, table.index, table.index + start[source])
        for table, start in zip(tables, starts, strict=True)
    ]
    weights = [table.weight for table in tables if table.weight is not None]
    inverses = [table.inverse for table in tables if table.inverse is not None]
    return Table(
        torch.cat(shifted),
        source,
        torch.cat(weights) if weights else None,
        join_inverse(inverses, [table.index.numel() for table in tables]) if inverses else None,
    )


def _map(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """``value`` with ``change`` applied to every tensor inside."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, InverseTable):
        return InverseTable(change(value.start), change(value.entry))
    if isinstance(value, dict):
        return {name: _map(inner, change) for name, inner in value.items()}
    if isinstance(value, tuple):
        return tuple(_map(inner, change) for inner in value)
    if isinstance(value, (Table, PlanLevel, WindowPairs)):
        return type(value)(**{f.name: _map(getattr(value, f.name), change) for f in fields(value)})
    return value
