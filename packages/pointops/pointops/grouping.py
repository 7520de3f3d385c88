"""Gathering the features of neighbors, and search-and-gather in one call.

Names and argument order are those of Pointcept's ``pointops`` (MIT); nothing is copied.
A neighbor -1 is a row of zeros.
"""

from __future__ import annotations

from typing import SupportsIndex

import torch
from torch import Tensor

from pointops import _check, _dispatch
from pointops.ball_query import ball_query
from pointops.gather import gather_rows
from pointops.inverse import InverseTable
from pointops.knn import knn_query


def grouping(idx: Tensor, feat: Tensor, xyz: Tensor, new_xyz: Tensor | None = None, with_xyz: bool = False) -> Tensor:
    """Neighbor features, optionally preceded by neighbor coordinates relative to the query.

    Args:
        idx: (M, k) int32 or int64 rows of ``feat`` and ``xyz``; -1 gives zeros (relative coordinates included).
        feat: (N, C).
        xyz: (N, 3) float32.
        new_xyz: (M, 3) query coordinates, by default ``xyz``.
        with_xyz: put xyz[idx] - new_xyz in front.

    Returns:
        (M, k, C) in the dtype of ``feat``, or (M, k, 3 + C) in the wider of the types of ``xyz`` and ``feat``: half
        features come back in float32, since half precision would round the coordinates. Gradients to ``feat``, and
        to ``xyz`` and ``new_xyz`` if asked for.
    """
    grouped = grouping2(feat, idx)
    if not with_xyz:
        return grouped
    return torch.cat([relative_coordinates(idx, xyz, xyz if new_xyz is None else new_xyz), grouped], -1)


def grouping2(feat: Tensor, idx: Tensor, *, inverse: InverseTable | None = None) -> Tensor:
    """feat[idx]: (N, C) and (M, k) -> (M, k, C); -1 gives zeros. Gradient to ``feat``; see also ``gather_rows``."""
    _dispatch.check_index(idx, 2)
    return gather_rows(feat, idx, inverse=inverse)


def relative_coordinates(idx: Tensor, xyz: Tensor, new_xyz: Tensor) -> Tensor:
    """xyz[idx] - new_xyz as (M, k, 3); zeros where idx is -1."""
    if idx.shape[0] != new_xyz.shape[0]:
        raise ValueError(f"new_xyz has {new_xyz.shape[0]} rows, idx has {idx.shape[0]}")
    relative = grouping2(xyz, idx) - new_xyz.unsqueeze(1)
    return relative.masked_fill((idx < 0)[..., None], 0)


def knn_query_and_group(
    feat: Tensor,
    xyz: Tensor,
    offset: Tensor | None = None,
    new_xyz: Tensor | None = None,
    new_offset: Tensor | None = None,
    idx: Tensor | None = None,
    nsample: SupportsIndex | None = None,
    with_xyz: bool = False,
) -> tuple[Tensor, Tensor]:
    """:func:`knn_query` unless ``idx`` is given, then :func:`grouping`. Returns (grouped, idx)."""
    if idx is None:
        if nsample is None or offset is None:
            raise ValueError("nsample and offset are needed when idx is None")
        idx, _ = knn_query(nsample, xyz, offset, new_xyz, new_offset)
    return grouping(idx, feat, xyz, new_xyz, with_xyz), idx


def ball_query_and_group(
    feat: Tensor,
    xyz: Tensor,
    offset: Tensor | None = None,
    new_xyz: Tensor | None = None,
    new_offset: Tensor | None = None,
    idx: Tensor | None = None,
    max_radio: float | None = None,
    min_radio: float = 0,
    nsample: SupportsIndex | None = None,
    with_xyz: bool = False,
    *,
    order: str = "index",
    padding: str = "minus_one",
) -> tuple[Tensor, Tensor]:
    """:func:`ball_query` unless ``idx`` is given, then :func:`grouping`. Returns (grouped, idx).

    A short ball is padded with -1, which gives rows of zeros; ``order`` and ``padding`` as for :func:`ball_query`.
    """
    if idx is None:
        if nsample is None or offset is None or max_radio is None:
            raise ValueError("nsample, offset and max_radio are needed when idx is None")
        idx, _ = ball_query(
            nsample, max_radio, min_radio, xyz, offset, new_xyz, new_offset, order=order, padding=padding
        )
    return grouping(idx, feat, xyz, new_xyz, with_xyz), idx


def query_and_group(
    nsample: SupportsIndex,
    xyz: Tensor,
    new_xyz: Tensor | None,
    feat: Tensor,
    idx: Tensor | None,
    offset: Tensor,
    new_offset: Tensor | None,
    dilation: SupportsIndex = 0,
    with_feat: bool = True,
    with_xyz: bool = True,
) -> Tensor | tuple[Tensor, Tensor]:
    """Search k neighbors (optionally dilated) and gather them.

    With dilation d the neighbors are every (d + 1)-th of the 1 + (k - 1)(d + 1) nearest; a scene with fewer points
    is spread over what it has.

    Returns:
        ``idx`` (M, k) alone when ``with_feat`` is false, else (grouped (M, k, [3 +] C), idx).
    """
    if new_xyz is None or new_offset is None:
        new_xyz, new_offset = xyz, offset
    if idx is None:
        idx = _dilated(nsample, xyz, offset, new_xyz, new_offset, dilation)
    if not with_feat:
        return idx
    return grouping(idx, feat, xyz, new_xyz, with_xyz), idx


def _dilated(
    nsample: SupportsIndex, xyz: Tensor, offset: Tensor, new_xyz: Tensor, new_offset: Tensor, dilation: SupportsIndex
) -> Tensor:
    """(M, nsample) int32 rows, every (dilation + 1)-th neighbor."""
    nsample, dilation = _check.integer("nsample", nsample), _check.integer("dilation", dilation, 0)
    total = 1 + (nsample - 1) * (dilation + 1)
    idx, _ = knn_query(total, xyz, offset, new_xyz, new_offset)
    if dilation == 0 or nsample == 1:
        return idx[:, :nsample].contiguous()
    ends, new_ends = _check.known_ends(offset), _check.known_ends(new_offset)
    parts = [idx[:0, :nsample]]
    for start, end, low, high in zip([0, *ends][:-1], ends, [0, *new_ends][:-1], new_ends, strict=True):
        step = dilation + 1 if end - start >= total else (end - start - 1) / (nsample - 1)
        parts.append(idx[low:high, [max(0, int(step * i)) for i in range(nsample)]])
    return torch.cat(parts)
