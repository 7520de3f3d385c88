"""Farthest point sampling inside each scene of a packed batch.

Names and argument order are those of Pointcept's ``pointops.farthest_point_sampling`` (MIT); nothing is copied.
Ties go to the lowest row (the reference kernels' winner depends on their thread layout).
"""

from __future__ import annotations

import torch
from torch import Tensor

from pointops import _check, _gpu, _native, _register
from pointops.index import Index, handle

ORIGIN_RADIUS2 = 1e-3  # VoteNet's kernel never chooses points with x^2 + y^2 + z^2 at or below this


def farthest_point_sampling(
    xyz: Tensor, offset: Tensor, new_offset: Tensor, *, skip_origin: bool = False, index: Index | None = None
) -> Tensor:
    """Per scene: its first point, then again and again the point farthest from all chosen ones.

    The m-sample is the prefix of any larger sample, and sampling points that already lie in this order returns
    0, 1, 2, ...; so one call serves every level of a network. Asking for more points than a scene holds repeats
    the scene's first row.

    Args:
        xyz: (N, 3) float32.
        offset: (B,) int32 or int64 cumulative ends of ``xyz``.
        new_offset: (B,) cumulative ends of the sample.
        skip_origin: VoteNet's rule: points within 3.16 cm of the origin are never chosen (except as the first).
        index: of ``xyz``, if several calls search these points. A call with an index is not seen by ``torch.compile``.

    Returns:
        (M,) int32 rows of ``xyz``, in the order chosen. No gradient.

    Raises:
        ValueError: bad shapes or offsets, or a sample asked of an empty scene.
    """
    _check.tensors(xyz=xyz, offset=offset, new_offset=new_offset)
    if index is not None:
        return _run(xyz.detach(), offset, new_offset, skip_origin, index)
    return _sample(xyz.detach(), offset, new_offset, skip_origin)


def farthest_point_sampling_reference(
    xyz: Tensor, offset: Tensor, new_offset: Tensor, *, skip_origin: bool = False
) -> Tensor:
    """What ``farthest_point_sampling`` means: one sweep over the scene per sample."""
    xyz, ends, new_ends = checked(xyz, offset, new_offset)
    sample = torch.zeros(new_ends[-1], dtype=torch.int32, device=xyz.device)
    for start, end, low, high in zip([0, *ends[:-1]], ends, [0, *new_ends[:-1]], new_ends, strict=True):
        if high == low:
            continue
        x, y, z = (axis.contiguous() for axis in xyz[start:end].unbind(1))
        nearest = torch.full_like(x, 1e38)
        if skip_origin:
            nearest[(x * x + y * y) + z * z <= ORIGIN_RADIUS2] = -1
        chosen = 0
        order = [chosen]
        while len(order) < high - low:
            dx, dy, dz = x - x[chosen], y - y[chosen], z - z[chosen]
            nearest = torch.minimum(nearest, (dx * dx + dy * dy) + dz * dz)
            farthest = nearest.max()
            chosen = int((nearest == farthest).nonzero()[0]) if farthest >= 0 else 0
            if farthest <= 0:  # nothing is left apart from copies of chosen points: the answer no longer changes
                order += [chosen] * (high - low - len(order))
            else:
                order.append(chosen)
        sample[low:high] = torch.tensor(order, dtype=torch.int32, device=xyz.device) + start
    return sample


def checked(
    xyz: Tensor, offset: Tensor, new_offset: Tensor, values: bool = True
) -> tuple[Tensor, list[int], list[int]]:
    """Contiguous points and integer ends, or ValueError."""
    xyz = _check.points("xyz", xyz, values)
    ends = _check.ends("offset", offset, xyz.shape[0], "xyz")
    new_ends = _check.ends("new_offset", new_offset, None)
    _check.same_scenes("new_offset", new_ends, "offset", ends)
    for scene, (start, end, low, high) in enumerate(
        zip([0, *ends[:-1]], ends, [0, *new_ends[:-1]], new_ends, strict=True)
    ):
        if high > low and end == start:
            raise ValueError(f"new_offset asks for {high - low} samples of scene {scene}, which is empty in xyz")
    return xyz, ends, new_ends


def _run(xyz: Tensor, offset: Tensor, new_offset: Tensor, skip_origin: bool, index: Index | None = None) -> Tensor:
    if _gpu.serves(xyz):
        sample = _gpu.sample(*checked(xyz, offset, new_offset), skip_origin)
        if sample is not None:
            return sample
    if xyz.device.type != "cpu" or _native.library() is None:
        return farthest_point_sampling_reference(xyz, offset, new_offset, skip_origin=skip_origin)
    xyz, ends, new_ends = checked(xyz, offset, new_offset, values=False)
    sample = xyz.new_empty(new_ends[-1], dtype=torch.int32)
    trees = handle("index", index, "xyz", xyz, ends)
    _native.call("pointops_fps", xyz, ends, len(ends), trees, new_ends, int(skip_origin), _native.threads(), sample)
    return sample


def _fake(xyz: Tensor, offset: Tensor, new_offset: Tensor, skip_origin: bool) -> Tensor:
    return xyz.new_empty(torch.library.get_ctx().new_dynamic_size(), dtype=torch.int32)


_sample = _register.operation(
    "farthest_point_sampling(Tensor xyz, Tensor offset, Tensor new_offset, bool skip_origin) -> Tensor", _run, _fake
)
