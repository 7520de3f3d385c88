"""Farthest point sampling inside each scene of a packed batch.

Names and argument order are those of Pointcept's ``pointops.farthest_point_sampling`` (MIT); nothing is copied.
Ties go to the lowest row (the reference kernels' winner depends on their thread layout).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, overload

import torch
from torch import Tensor

from pointops import _check, _gpu, _native, _points, _register
from pointops._distance import root
from pointops.index import Index, handle
from pointops.offsets import moved_offset
from pointops.transfer import to_device

STARTS = ("first", "random")
ORIGIN_RADIUS2 = 1e-3  # VoteNet's kernel never chooses points with x^2 + y^2 + z^2 at or below this


@overload
def farthest_point_sampling(
    xyz: Tensor,
    offset: Tensor | None,
    new_offset: Tensor,
    *,
    skip_origin: bool = False,
    start: str | Tensor | Sequence[int] = "first",
    generator: torch.Generator | None = None,
    radii: Literal[False] = False,
    index: Index | None = None,
) -> Tensor: ...


@overload
def farthest_point_sampling(
    xyz: Tensor,
    offset: Tensor | None,
    new_offset: Tensor,
    *,
    skip_origin: bool = False,
    start: str | Tensor | Sequence[int] = "first",
    generator: torch.Generator | None = None,
    radii: Literal[True],
    index: Index | None = None,
) -> tuple[Tensor, Tensor]: ...


def farthest_point_sampling(
    xyz: Tensor,
    offset: Tensor | None,
    new_offset: Tensor,
    *,
    skip_origin: bool = False,
    start: str | Tensor | Sequence[int] = "first",
    generator: torch.Generator | None = None,
    radii: bool = False,
    index: Index | None = None,
) -> Tensor | tuple[Tensor, Tensor]:
    """Per scene: its first point, then again and again the point farthest from all chosen ones.

    The m-sample is the prefix of any larger sample, and sampling points that already lie in this order returns
    0, 1, 2, ...; so one call serves every level of a network. Asking for more points than a scene holds repeats
    the scene's first row.

    Args:
        xyz: (N, 3) float32. Also taken: (B, N, 3) with ``offset`` None, float64, and half precision under autocast; see
            :mod:`pointops._points`.
        offset: (B,) int32 or int64 cumulative ends of ``xyz``.
        new_offset: (B,) cumulative ends of the sample.
        skip_origin: VoteNet's rule: points within 3.16 cm of the origin are never chosen (except as the first). float64
            is then rounded where it lies.
        start: where each scene begins: ``first``, ``random``, or (B,) rows of ``xyz``, one of each scene (of an empty
            scene any number).
        generator: source of random starts (None: torch's default).
        radii: return them too.
        index: of ``xyz``, if several calls search these points. A call with an index is not seen by ``torch.compile``.

    Returns:
        (M,) int32 rows of ``xyz``, in the order chosen. With ``radii`` also (M,) float32: the distance of each to the
        nearest chosen before it, which is the largest distance of any point to the sample up to there; it never grows.
        Infinity for the first of a scene, 0 for repeats. No gradient.

    Raises:
        ValueError: bad shapes or offsets, a start that is no row of its scene, or a sample asked of an empty scene.
    """
    if skip_origin and isinstance(xyz, Tensor) and xyz.dtype == torch.float64:
        xyz = xyz.float()
    xyz, offset = _points.cloud(xyz, offset)
    _check.tensors(new_offset=new_offset)
    starts = _starts(start, offset, xyz, generator)
    if index is not None:
        rows, distance2 = _run(xyz.detach(), offset, new_offset, skip_origin, starts, index)
    else:
        rows, distance2 = _sample(xyz.detach(), offset, new_offset, skip_origin, starts)
    return (rows, root(distance2)) if radii else rows


def farthest_point_sampling_reference(
    xyz: Tensor, offset: Tensor, new_offset: Tensor, *, skip_origin: bool = False, starts: Tensor | None = None
) -> Tensor:
    """What ``farthest_point_sampling`` means: one sweep over the scene per sample, from its row of ``starts`` on."""
    return _swept(xyz, offset, new_offset, skip_origin, starts)[0]


def _swept(
    xyz: Tensor, offset: Tensor, new_offset: Tensor, skip_origin: bool, starts: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Rows and squared radii by the definition."""
    xyz, ends, new_ends = checked(xyz, offset, new_offset)
    firsts = (
        [0] * len(ends)
        if starts is None
        else [row - low for row, low in zip(starts.tolist(), [0, *ends][:-1], strict=True)]
    )
    sample = torch.zeros(_last(new_ends), dtype=torch.int32, device=xyz.device)
    radii2 = torch.zeros(sample.shape, device=xyz.device)
    for first, start, end, low, high in zip(firsts, [0, *ends][:-1], ends, [0, *new_ends][:-1], new_ends, strict=True):
        if high > low:
            order, distance2 = _sweeps(xyz[start:end], first, high - low, skip_origin)
            sample[low:high] = torch.tensor(order, dtype=torch.int32, device=xyz.device) + start
            radii2[low:high] = torch.tensor(distance2, device=xyz.device)
    return sample, radii2


def _sweeps(xyz: Tensor, first: int, count: int, skip_origin: bool) -> tuple[list[int], list[float]]:
    """``count`` rows of one scene, in the order chosen, and the squared distance at which each was chosen."""
    x, y, z = (axis.contiguous() for axis in xyz.unbind(1))
    nearest = torch.full_like(x, 1e38)
    if skip_origin:
        nearest[(x * x + y * y) + z * z <= ORIGIN_RADIUS2] = -1
    chosen, order, distance2 = first, [first], [float("inf")]
    while len(order) < count:
        dx, dy, dz = x - x[chosen], y - y[chosen], z - z[chosen]
        nearest = torch.minimum(nearest, (dx * dx + dy * dy) + dz * dz)
        farthest = nearest.max()
        chosen = int((nearest == farthest).nonzero()[0]) if farthest >= 0 else first
        left = 1 if farthest > 0 else count - len(order)  # only copies of chosen points: the answer no longer changes
        order += [chosen] * left
        distance2 += [max(float(farthest), 0.0)] * left
    return order, distance2


def checked(
    xyz: Tensor, offset: Tensor, new_offset: Tensor, values: bool = True
) -> tuple[Tensor, list[int], list[int]]:
    """Contiguous points and integer ends, or ValueError."""
    xyz = _check.points("xyz", xyz, values)
    ends = _check.ends("offset", offset, xyz.shape[0], "xyz")
    new_ends = _check.ends("new_offset", new_offset, None)
    _check.same_scenes("new_offset", new_ends, "offset", ends)
    for scene, (start, end, low, high) in enumerate(
        zip([0, *ends][:-1], ends, [0, *new_ends][:-1], new_ends, strict=True)
    ):
        if high > low and end == start:
            raise ValueError(f"new_offset asks for {high - low} samples of scene {scene}, which is empty in xyz")
    return xyz, ends, new_ends


def _last(ends: list[int]) -> int:
    """Rows in all, 0 for no scenes."""
    return ends[-1] if ends else 0


def _starts(
    start: str | Tensor | Sequence[int], offset: Tensor, xyz: Tensor, generator: torch.Generator | None
) -> Tensor | None:
    """(B,) int64 rows to begin with, on the CPU; None for the first of each scene.

    Raises:
        ValueError: neither a known word nor one row of each scene.
    """
    if isinstance(start, str):
        _check.choice("start", start, STARTS)
        if start == "first":
            return None
    ends = torch.tensor(_check.ends("offset", offset, xyz.shape[0], "xyz"), dtype=torch.int64)
    counts = torch.diff(ends, prepend=ends.new_zeros(1))
    if isinstance(start, str):
        device = "cpu" if generator is None else generator.device
        drawn = torch.rand(len(counts), generator=generator, device=device).cpu()
        return ends - counts + torch.minimum((drawn * counts).long(), counts - 1).clamp_min(0)
    rows = torch.as_tensor(start).cpu()
    if rows.shape != ends.shape or rows.dtype not in (torch.int32, torch.int64):
        raise ValueError(f"start must be one row of each of {len(counts)} scenes, not {rows.dtype} {tuple(rows.shape)}")
    outside = (counts > 0) & ((rows < ends - counts) | (rows >= ends))
    if bool(outside.any()):
        scene = int(outside.nonzero()[0])
        raise ValueError(f"start of scene {scene} is row {int(rows[scene])}, which is not of that scene")
    return torch.where(counts > 0, rows.long(), ends)


def _run(
    xyz: Tensor,
    offset: Tensor,
    new_offset: Tensor,
    skip_origin: bool,
    starts: Tensor | None = None,
    index: Index | None = None,
) -> tuple[Tensor, Tensor]:
    """The rows, and the squared distance at which each was chosen."""
    if _gpu.serves(xyz):
        sample = _gpu.sample(*checked(xyz, offset, new_offset), starts, skip_origin)
        if sample is not None:
            return sample
    if xyz.device.type == "cuda" and _native.library() is not None:  # too large for one program's registers
        there = xyz.cpu(), moved_offset(offset, "cpu"), moved_offset(new_offset, "cpu")
        rows, distance2 = (to_device(part, xyz.device) for part in _run(*there, skip_origin, starts))
        return rows, distance2
    if xyz.device.type != "cpu" or _native.library() is None:
        return _swept(xyz, offset, new_offset, skip_origin, starts)
    xyz, ends, new_ends = checked(xyz, offset, new_offset, values=False)
    sample, distance2 = xyz.new_empty(_last(new_ends), dtype=torch.int32), xyz.new_empty(_last(new_ends))
    trees = handle("index", index, "xyz", xyz, ends)
    first = None if starts is None else starts.contiguous()
    how = (first, int(skip_origin), _native.threads())
    _native.call("pointops_fps", xyz, ends, len(ends), trees, new_ends, *how, sample, distance2)
    return sample, distance2


def _fake(
    xyz: Tensor, offset: Tensor, new_offset: Tensor, skip_origin: bool, starts: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    size = torch.library.get_ctx().new_dynamic_size()
    return xyz.new_empty(size, dtype=torch.int32), xyz.new_empty(size)


_sample = _register.operation(
    "farthest_point_sampling(Tensor xyz, Tensor offset, Tensor new_offset, bool skip_origin, Tensor? starts=None)"
    " -> (Tensor, Tensor)",
    _run,
    _fake,
)
