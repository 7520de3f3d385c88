"""VoteNet's ``pointnet2._ext``: the functions of its compiled module, on (B, N, 3) points and (B, C, N) features.

Source: facebookresearch/votenet, pointnet2/_ext_src (MIT; H3DNet's is the same); nothing copied. Names, argument order,
shapes and meaning are its own: rows are counted within each cloud; sampling never chooses points within 3.16 cm of the
origin except the first; a ball keeps the first hits in row order, repeats the first of them, and is all 0 without any;
a source that a cloud of fewer than three does not have is row 0 at infinite distance. All is differentiable by itself,
so the ``*_grad`` functions are there for callers that register gradients by hand.
"""

from __future__ import annotations

import torch
from torch import Tensor

from pointops import _check, _dispatch
from pointops.ball_query import ball_query as ball_query_of_packed
from pointops.gather import gather_rows, scatter_rows
from pointops.interpolation import interpolate
from pointops.knn import knn_query
from pointops.sampling import farthest_point_sampling


def furthest_point_sampling(points: Tensor, nsamples: int) -> Tensor:
    """(B, N, 3) -> (B, nsamples) int32 rows, from row 0 on."""
    offset = _ends("points", points)
    nsamples = _check.integer("nsamples", nsamples)
    new_offset = torch.arange(1, points.shape[0] + 1) * nsamples
    rows = farthest_point_sampling(points.reshape(-1, 3), offset, new_offset, skip_origin=True)
    return _local(rows.view(points.shape[0], nsamples), points.shape[1])


def ball_query(new_xyz: Tensor, xyz: Tensor, radius: float, nsample: int) -> Tensor:
    """Points of ``xyz`` (B, N, 3) around ``new_xyz`` (B, M, 3): (B, M, nsample) int32 rows."""
    offset, new_offset = _ends("xyz", xyz), _ends("new_xyz", new_xyz)
    idx, _ = ball_query_of_packed(
        nsample,
        radius,
        0.0,
        xyz.reshape(-1, 3),
        offset,
        new_xyz.reshape(-1, 3),
        new_offset,
        padding="first_hit",
    )
    return _local(idx.view(*new_xyz.shape[:2], idx.shape[1]), xyz.shape[1])


def three_nn(unknown: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    """The three of ``known`` (B, M, 3) nearest to each of ``unknown`` (B, N, 3): squared distances and int32 rows."""
    offset, new_offset = _ends("known", known), _ends("unknown", unknown)
    sources, queries = known.detach().reshape(-1, 3), unknown.detach().reshape(-1, 3)
    idx, _ = knn_query(3, sources, offset, queries, new_offset)
    dx, dy, dz = (queries.unsqueeze(1) - gather_rows(sources, idx)).unbind(-1)
    distance2 = ((dx * dx + dy * dy) + dz * dz).masked_fill(idx < 0, torch.inf)
    rows = _local(idx.view(*unknown.shape[:2], 3), known.shape[1]).clamp_min_(0)
    return distance2.view(rows.shape), rows


def gather_points(points: Tensor, idx: Tensor) -> Tensor:
    """points[b, :, idx[b]]: (B, C, N) and (B, M) -> (B, C, M). Gradient to ``points``."""
    return _gathered(points, idx, 2).transpose(1, 2).contiguous()


def gather_points_grad(grad_out: Tensor, idx: Tensor, n: int) -> Tensor:
    """(B, C, M) and (B, M) -> (B, C, n): the gradient of :func:`gather_points`."""
    _dispatch.check_features("grad_out", grad_out, None, None, None)
    return _summed(grad_out.transpose(1, 2), idx, n, 2)


def group_points(points: Tensor, idx: Tensor) -> Tensor:
    """points[b, :, idx[b]]: (B, C, N) and (B, M, K) -> (B, C, M, K). Gradient to ``points``."""
    return _gathered(points, idx, 3).permute(0, 3, 1, 2).contiguous()


def group_points_grad(grad_out: Tensor, idx: Tensor, n: int) -> Tensor:
    """(B, C, M, K) and (B, M, K) -> (B, C, n): the gradient of :func:`group_points`."""
    _dispatch.check_features("grad_out", grad_out, None, None, None, None)
    return _summed(grad_out.permute(0, 2, 3, 1), idx, n, 3)


def three_interpolate(points: Tensor, idx: Tensor, weight: Tensor) -> Tensor:
    """sum_t weight[b, n, t] points[b, :, idx[b, n, t]]: (B, C, M) and twice (B, N, 3) -> (B, C, N).

    Gradients to ``points`` and ``weight``.
    """
    _dispatch.check_features("points", points, None, None, None)
    rows = _rows("idx", idx, points.shape[0], points.shape[2], 3)
    _dispatch.check_features("weight", weight, *rows.shape)
    flat = points.transpose(1, 2).reshape(-1, points.shape[1])
    out = interpolate(flat, rows.flatten(0, 1), weight.flatten(0, 1))
    return out.view(*rows.shape[:2], -1).transpose(1, 2).contiguous()


def three_interpolate_grad(grad_out: Tensor, idx: Tensor, weight: Tensor, m: int) -> Tensor:
    """(B, C, N) and twice (B, N, 3) -> (B, C, m): the gradient of :func:`three_interpolate` to its points."""
    _dispatch.check_features("grad_out", grad_out, None, None, None)
    _dispatch.check_features("weight", weight, *idx.shape)
    return _summed(grad_out.transpose(1, 2).unsqueeze(2) * weight.unsqueeze(-1), idx, m, 3)


def _ends(name: str, points: Tensor) -> Tensor:
    """(B,) ends of B clouds of equal size."""
    _dispatch.check_features(name, points, None, None, 3)
    return torch.arange(1, points.shape[0] + 1) * points.shape[1]


def _local(rows: Tensor, size: int) -> Tensor:
    """Rows of the batch (B, ...), counted within each cloud of ``size`` points; -1 becomes negative."""
    first = size * torch.arange(rows.shape[0], dtype=torch.int32, device=rows.device)
    return rows - first.view(-1, *[1] * (rows.ndim - 1))


def _rows(name: str, idx: Tensor, clouds: int, size: int, axes: int) -> Tensor:
    """Rows within clouds as rows of the batch.

    Raises:
        ValueError: not a table of ``axes`` axes for so many clouds, or rows that do not exist.
    """
    _check.index(name, idx, size, axes)
    _check.no_gaps(name, idx)
    _check.same(name, idx.shape[0], "the batch", clouds)
    first = size * torch.arange(clouds, device=idx.device)
    return idx + first.to(idx.dtype).view(-1, *[1] * (axes - 1))


def _gathered(points: Tensor, idx: Tensor, axes: int) -> Tensor:
    """(B, C, N) -> (*idx.shape, C)."""
    _dispatch.check_features("points", points, None, None, None)
    rows = _rows("idx", idx, points.shape[0], points.shape[2], axes)
    return gather_rows(points.transpose(1, 2).reshape(-1, points.shape[1]), rows)


def _summed(value: Tensor, idx: Tensor, size: int, axes: int) -> Tensor:
    """(*idx.shape, C) summed into (B, C, size)."""
    rows = _rows("idx", idx, value.shape[0], _check.integer("n", size), axes)
    if value.shape[:-1] != rows.shape:
        raise ValueError(f"grad_out must fit idx {tuple(idx.shape)}")
    out = scatter_rows(value.contiguous(), rows, value.shape[0] * size)
    return out.view(value.shape[0], size, -1).transpose(1, 2).contiguous()
