"""Searches and samplings of CUDA tensors by the Triton kernels, with the checks and the results of the CPU's."""

from __future__ import annotations

import torch
from torch import Tensor

from pointops import _check, _dispatch
from pointops._distance import MISSING_DISTANCE, root
from pointops.transfer import to_device


def serves(xyz: Tensor) -> bool:
    """Whether the Triton kernels take this tensor."""
    return xyz.device.type == "cuda" and _dispatch.has_triton()


def knn(
    xyz: Tensor, ends: list[int], query: Tensor, query_ends: list[int], k: int, missing: str
) -> tuple[Tensor, Tensor]:
    """What :func:`pointops.knn.knn_query_reference` returns, for checked arguments."""
    from pointops.triton import pruned, search

    if k == 1 and pruned.pays(ends, query_ends):
        idx, distance2 = (part.unsqueeze(1) for part in pruned.nearest(*pruned.sort_pair(xyz, ends, query, query_ends)))
    else:
        idx, distance2 = search.knn(xyz, ends, query, query_ends, k)
    lacking = idx < 0
    distance = root(distance2).masked_fill(lacking, MISSING_DISTANCE)
    if missing == "first_point" and xyz.shape[0]:
        starts = [start if end > start else -1 for start, end in zip([0, *ends][:-1], ends, strict=True)]
        scene = torch.searchsorted(to_device(torch.tensor(query_ends), idx.device), rows_of(query), right=True)
        idx = torch.where(lacking, to_device(torch.tensor(starts).int(), idx.device)[scene].unsqueeze(1), idx)
    return idx, distance


def nearest_pair(xyz: Tensor, offset: Tensor, new_xyz: Tensor, new_offset: Tensor) -> tuple[Tensor, ...]:
    """The four tensors of :func:`pointops.chamfer.chamfer_nearest`, without gradient."""
    from pointops.triton import pruned, search

    xyz, new_xyz = _check.points("xyz", xyz), _check.points("new_xyz", new_xyz)
    ends = _check.ends("offset", offset, xyz.shape[0], "xyz")
    new_ends = _check.ends("new_offset", new_offset, new_xyz.shape[0], "new_xyz")
    _check.same_scenes("new_offset", new_ends, "offset", ends)
    if pruned.pays(ends, new_ends):
        clouds = pruned.sort_pair(xyz, ends, new_xyz, new_ends)
        found = [pruned.nearest(clouds[1], clouds[0]), pruned.nearest(*clouds)]
    else:
        pairs = ((new_xyz, new_ends, xyz, ends), (xyz, ends, new_xyz, new_ends))
        found = [[part[:, 0] for part in search.knn(*pair, 1)] for pair in pairs]
    out = []
    for idx, distance2 in found:
        out += [distance2.masked_fill(idx < 0, 0.0), idx.contiguous()]
    return tuple(out)


def rows_of(points: Tensor) -> Tensor:
    """(N,) int64 the number of each row."""
    return torch.arange(points.shape[0], device=points.device)


def sample(
    xyz: Tensor, ends: list[int], new_ends: list[int], starts: Tensor | None, skip_origin: bool
) -> tuple[Tensor, Tensor] | None:
    """What :func:`pointops.sampling.farthest_point_sampling_reference` returns, or None if a scene is too large."""
    from pointops.triton import sampling

    return sampling.sample(xyz, ends, new_ends, None if starts is None else starts.tolist(), skip_origin)
