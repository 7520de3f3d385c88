"""Pairs of query and key for attention in cubic windows, as variable-length lists.

Source: Stratified Transformer (Lai et al., CVPR 2022; JIA-Lab-research/Stratified-Transformer, MIT; nothing copied). A
query attends to every point of its own window, and to every sampled point of its window of twice the edge that lies in
another small window. Windows belong to one scene.
Changed: no dense masks of the fullest window's size, no limit of 1024 keys; windows are counted from each scene's own
minimum (``origin="batch"``: from the minimum over the packed batch, as released; a scene then depends on its batch
mates); position bins come from whole numbers, so that none depends on rounding (in the release about 1 in 1000 does).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from pointops import _check, _native, _points, _register
from pointops._distance import NO_DOUBLE
from pointops.offsets import offset2batch

ORIGINS = ("scene", "batch")
ROUNDING = 1e5  # displacements are rounded to 1e-5 m before they are binned; stratified_transformer.py
_Lists = tuple[Tensor, Tensor, Tensor]  # the parts of WindowPairs
GUARD = 10  # and lowered by 1e-4 m, in units of 1 / ROUNDING


@dataclass(frozen=True)
class WindowSpec:
    """Windows of one level of a geometry plan, see :func:`window_pairs`.

    Attributes:
        window: edge of the small windows, metres.
        quant: edge of a position bin, metres.
        stride: the sampled keys are the first floor(n / stride) + 1 points of the level's farthest point sampling.
        origin: ``scene``, or ``batch`` (then plans of single scenes cannot be joined).
    """

    window: float
    quant: float
    stride: int = 8
    origin: str = "scene"


@dataclass(frozen=True)
class WindowPairs:
    """For each of N queries the rows of its keys, and the bins of their displacements.

    Attributes:
        ends: (N,) int64, cumulative end of each query's pairs; every query has at least one key, itself.
        key: (M,) int32 rows.
        bins: (M, 3) uint8, row of the position tables for x, y and z.
    """

    ends: Tensor
    key: Tensor
    bins: Tensor

    @cached_property
    def starts(self) -> Tensor:
        """(N,) int64 first pair of each query."""
        return torch.cat([self.ends.new_zeros(1), self.ends[:-1]])

    @cached_property
    def query(self) -> Tensor:
        """(M,) int64 row of the query of each pair, ascending."""
        return _owners(self.ends, self.key.shape[0])

    @cached_property
    def by_key(self) -> tuple[Tensor, Tensor]:
        """The pairs sorted by key: (M,) int64 pair numbers, and (N,) int64 first place of each key."""
        names, order = torch.sort(self.key, stable=True)
        rows = torch.arange(self.ends.shape[0], dtype=names.dtype, device=names.device)
        return order, torch.searchsorted(names, rows)  # counting would wait for a GPU

    @classmethod
    def join(cls, lists: Sequence[WindowPairs], starts: Sequence[int]) -> WindowPairs:
        """Lists of several batches laid end to end; ``starts`` is the first row of each in the joined batch."""
        counts = torch.tensor([0, *(pairs.key.shape[0] for pairs in lists[:-1])]).cumsum(0).tolist()
        return cls(
            torch.cat([pairs.ends + count for pairs, count in zip(lists, counts, strict=True)]),
            torch.cat([pairs.key + start for pairs, start in zip(lists, starts, strict=True)]),
            torch.cat([pairs.bins for pairs in lists]),
        )


def table_length(window: float, quant: float) -> int:
    """Rows of a position table: bins of ``quant`` metres over displacements within two windows, both ways."""
    return 2 * int((2 * window + 1e-4) // quant)


def window_pairs(
    xyz: Tensor,
    offset: Tensor | None,
    sampled: Tensor,
    window: float,
    quant: float,
    *,
    shifted: bool = False,
    origin: str = "scene",
) -> WindowPairs:
    """Keys of every point.

    Args:
        xyz: (N, 3) float32, metres. Also taken: (B, N, 3) with ``offset`` None, float64 (moved together if
            ``origin="batch"``), and half precision under autocast; see :mod:`pointops._points`.
        offset: (B,) cumulative ends.
        sampled: (S,) rows of the points that serve as keys beyond their own window.
        window: edge of a window, metres; the large windows have twice the edge.
        quant: edge of a position bin, metres.
        shifted: move both grids by half of their edge.
        origin: ``scene`` or ``batch``, see above.

    Returns:
        Pairs sorted by query; a query's own window comes first, each part in row order.

    Raises:
        ValueError: bad points or offsets, a row outside of N, or more bins than a table of 256 rows holds.
    """
    _check.tensors(sampled=sampled)
    xyz, offset = _points.cloud(xyz, offset, together=origin == "batch")
    return WindowPairs(*_pairs(xyz, offset, sampled, window, quant, shifted, origin))


def _run(
    xyz: Tensor, offset: Tensor, sampled: Tensor, window: float, quant: float, shifted: bool, origin: str
) -> _Lists:
    xyz = _check.points("xyz", xyz)
    _check.ends("offset", offset, xyz.shape[0], "xyz")
    sampled = _check.index("sampled", sampled, xyz.shape[0], 1).long()
    _check.choice("origin", origin, ORIGINS)
    if not (window > 0 and quant > 0 and 0 < table_length(window, quant) <= 256):
        raise ValueError(f"window={window} and quant={quant} must be positive and give 1 to 256 bins")
    scene = offset2batch(offset.long())
    small = _cells(xyz, scene, window, shifted, origin)
    large = _cells(xyz, scene, 2 * window, shifted, origin)
    own = _members(small, torch.arange(xyz.shape[0], device=xyz.device), small)
    far = _members(large, sampled.sort().values, large)
    if xyz.device.type == "cpu" and _native.library() is not None:
        return _filled(xyz, small, own, far, window, quant)
    return _expanded(xyz, small, own, far, window, quant)


def _fake(
    xyz: Tensor, offset: Tensor, sampled: Tensor, window: float, quant: float, shifted: bool, origin: str
) -> _Lists:
    pairs = torch.library.get_ctx().new_dynamic_size()
    return (
        xyz.new_empty(xyz.shape[0], dtype=torch.int64),
        xyz.new_empty(pairs, dtype=torch.int32),
        xyz.new_empty((pairs, 3), dtype=torch.uint8),
    )


_pairs = _register.operation(
    "window_pairs(Tensor xyz, Tensor offset, Tensor sampled, float window, float quant, bool shifted, str origin)"
    " -> (Tensor, Tensor, Tensor)",
    _run,
    _fake,
)


def window_pairs_reference(
    xyz: Tensor,
    offset: Tensor,
    sampled: Tensor,
    window: float,
    quant: float,
    *,
    shifted: bool = False,
    origin: str = "scene",
) -> WindowPairs:
    """What ``window_pairs`` means: every point of the batch held against every other."""
    scene = offset2batch(offset.long())
    small = _cells(xyz, scene, window, shifted, origin)
    large = _cells(xyz, scene, 2 * window, shifted, origin)
    chosen = torch.zeros(xyz.shape[0], dtype=torch.bool, device=xyz.device)
    chosen[sampled.long()] = True
    own = small[:, None] == small[None, :]
    far = (large[:, None] == large[None, :]) & chosen & ~own
    keys = [torch.cat([own[i].nonzero()[:, 0], far[i].nonzero()[:, 0]]) for i in range(xyz.shape[0])]
    ends = torch.tensor([len(rows) for rows in keys], device=xyz.device).cumsum(0)
    key = torch.cat(keys)
    return WindowPairs(ends, key.int(), position_bins(xyz, ends, key, window, quant))


def position_bins(xyz: Tensor, ends: Tensor, key: Tensor, window: float, quant: float) -> Tensor:
    """(M, 3) uint8 bins of query minus key: floor((r + 2 window - 1e-4) / quant), r rounded to 1e-5 m."""
    query = _owners(ends, key.shape[0])
    apart = xyz[query] - xyz[key.long()]
    steps = ((apart.cpu() if apart.device.type in NO_DOUBLE else apart).double() * ROUNDING).round()
    reach, width = _steps(2 * window), _steps(quant)
    bins = ((steps + (reach - GUARD)) / width).floor()
    return bins.clamp_(0, table_length(window, quant) - 1).to(torch.uint8).to(xyz.device)


def _owners(ends: Tensor, pairs: int) -> Tensor:
    """(M,) int64 row of the query that owns each of M pairs; there may be no queries at all."""
    counts = torch.diff(ends, prepend=ends.new_zeros(1))
    return torch.arange(ends.shape[0], device=ends.device).repeat_interleave(counts, output_size=pairs)


def _steps(metres: float) -> float:
    """A length in units of 1 / ROUNDING, whole if it is meant to be."""
    steps = metres * ROUNDING
    return float(round(steps)) if abs(steps - round(steps)) < 1e-6 * max(1.0, steps) else steps


def _cells(xyz: Tensor, scene: Tensor, edge: float, shifted: bool, origin: str) -> Tensor:
    """(N,) int64 number of the window of each point, windows numbered within the batch."""
    if origin == "batch":
        low = xyz.amin(0) if xyz.shape[0] else xyz.new_zeros(3)
    else:
        scenes = int(scene[-1]) + 1 if scene.numel() else 0
        lows = xyz.new_full((scenes, 3), torch.inf)
        low = lows.scatter_reduce(0, scene.unsqueeze(1).expand(-1, 3), xyz, "amin")[scene]
    cell = ((xyz - low + (edge / 2 if shifted else 0.0)) / edge).floor().long()
    grid = torch.cat([scene.unsqueeze(1), cell], 1)
    code = grid.new_zeros(grid.shape[0])
    for column in grid.unbind(1):
        code = code * (column.max() + 1 if column.numel() else 1) + column
    return code


class _Members(NamedTuple):
    """For each point the candidates that share its group: ``order[first : first + count]``, in row order."""

    order: Tensor
    first: Tensor
    count: Tensor

    def expanded(self) -> Tensor:
        """These candidates, point after point."""
        ends = self.count.cumsum(0)
        total = int(ends[-1]) if ends.numel() else 0
        shift = (self.first - (ends - self.count)).repeat_interleave(self.count)
        return self.order[torch.arange(total, device=ends.device) + shift]


def _members(group: Tensor, candidates: Tensor, of: Tensor) -> _Members:
    order = candidates[torch.argsort(group[candidates], stable=True)]
    names = group[order]
    asked, place = of.sort()  # in this order the searches walk through memory instead of jumping
    low, high = torch.searchsorted(names, asked), torch.searchsorted(names, asked, right=True)
    first, count = torch.empty_like(low), torch.empty_like(low)
    first[place], count[place] = low, high - low
    return _Members(order, first, count)


def _expanded(xyz: Tensor, small: Tensor, own: _Members, far: _Members, window: float, quant: float) -> _Lists:
    """The pairs in plain torch."""
    far_key = far.expanded()
    query = torch.arange(xyz.shape[0], device=xyz.device).repeat_interleave(far.count)
    other = small[query] != small[far_key]
    query, far_key = query[other], far_key[other]
    far_count = torch.bincount(query, minlength=xyz.shape[0])
    ends = (own.count + far_count).cumsum(0)
    key = _interleave(ends - own.count - far_count, own.count, own.expanded(), far_count, far_key)
    return ends, key.int(), position_bins(xyz, ends, key, window, quant)


def _filled(xyz: Tensor, small: Tensor, own: _Members, far: _Members, window: float, quant: float) -> _Lists:
    """The same pairs by the C++ kernel."""
    points, threads = xyz.shape[0], _native.threads()
    own, far = (part._replace(order=part.order.int()) for part in (own, far))
    kept = torch.empty_like(own.count)
    _native.call("pointops_window_count", small, *far, points, threads, kept)
    ends = (own.count + kept).cumsum(0)
    total = int(ends[-1]) if points else 0
    key, bins = ends.new_empty(total, dtype=torch.int32), ends.new_empty((total, 3), dtype=torch.uint8)
    lengths = (ROUNDING, _steps(2 * window) - GUARD, _steps(quant), table_length(window, quant))
    _native.call("pointops_window_fill", xyz, small, *own, *far, ends, points, *lengths, threads, key, bins)
    return ends, key, bins


def _interleave(start: Tensor, count: Tensor, rows: Tensor, more_count: Tensor, more: Tensor) -> Tensor:
    """Each query's ``rows`` followed by its ``more``."""
    out = rows.new_empty(rows.shape[0] + more.shape[0])
    for first, number, values in ((start, count, rows), (start + count, more_count, more)):
        shift = first - (number.cumsum(0) - number)
        out[torch.arange(values.shape[0], device=rows.device) + shift.repeat_interleave(number)] = values
    return out
