"""Submanifold sparse convolution: a small dense kernel that reads, at every occupied voxel, its occupied neighbors.

    out_i = sum_k feat[table[i, k]] W_k        table[i, k]: the voxel at cell_i + offset_k, -1 where there is none

Source: Graham et al., CVPR 2018, arXiv:1711.10275. What spconv calls ``SubMConv3d`` without its bias: the voxels of
the result are those of the input. Offsets run over x, y, z from -r to r, z fastest, as spconv's kernel axes do for
indices (scene, x, y, z). The table is found by sorting: cells with the same x and y that follow each other in z follow
each other in the sorted list, so a column of the kernel costs one binary search.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pointops import _check, _dispatch, _native, _register
from pointops.gather import gather_rows
from pointops.offsets import offset2batch

MAX_CELLS = 1 << 16  # along each axis
MAX_SCENES = 1 << 14  # so that a scene's number and three padded cells fit int64
KERNEL_WIDTH = 32  # output channels of the C++ kernel: a multiple of it
BLOCK = 1 << 12  # voxels whose gathered neighbors are in the caches at once


def submanifold_neighbors(cells: Tensor, offset: Tensor, kernel: int = 3) -> Tensor:
    """The occupied voxels around each occupied voxel of the same scene.

    Args:
        cells: (V, 3) integers from 0 to 65,535, no two the same in a scene.
        offset: (B,) cumulative ends of the scenes.
        kernel: edge of the kernel in voxels, odd.

    Returns:
        (V, kernel^3) int32 rows of ``cells``, -1 where a voxel is empty. Symmetric: row j stands at offset k of row i
        where i stands at offset K - 1 - k of j.

    Raises:
        ValueError: bad shapes, an even kernel, too many scenes; on the CPU (a GPU would have to be waited for) also
            cells out of range, or two voxels in one cell.
    """
    if cells.ndim != 2 or cells.shape[1] != 3 or cells.is_floating_point():
        raise ValueError(f"cells must be (V, 3) integers, not {cells.dtype} {tuple(cells.shape)}")
    ends = _check.ends("offset", offset, cells.shape[0], "cells")
    if _check.integer("kernel", kernel) % 2 == 0:
        raise ValueError(f"kernel must be odd, so that it has a middle, not {kernel}")
    if len(ends) > MAX_SCENES:
        raise ValueError(f"offset has {len(ends)} scenes; the table takes {MAX_SCENES}")
    if cells.device.type == "cpu" and cells.numel() and not 0 <= int(cells.min()) <= int(cells.max()) < MAX_CELLS:
        raise ValueError(f"cells must lie in 0..{MAX_CELLS - 1}, not {int(cells.min())}..{int(cells.max())}")
    return _neighbors(cells, offset, kernel)


def submanifold_convolution(feat: Tensor, table: Tensor, weight: Tensor) -> Tensor:
    """The convolution above at every voxel.

    Args:
        feat: (V, C).
        table: (V, K) int32, of :func:`submanifold_neighbors` (its symmetry is what the gradient uses).
        weight: (K, C, D).

    Returns:
        (V, D) in the widest of both types. Gradients to ``feat`` and ``weight``, and to these.

    Raises:
        ValueError: shapes that contradict each other.
    """
    _dispatch.check_features("feat", feat, None, None)
    _dispatch.check_index(table, 2)
    _dispatch.check_features("weight", weight, table.shape[1], feat.shape[1], None)
    _dispatch.check_device(table, "feat", feat, weight)
    if table.shape[0] != feat.shape[0]:
        raise ValueError(f"table has {table.shape[0]} rows, feat has {feat.shape[0]}: one per voxel is needed")
    return _convolve(*_dispatch.common_dtype(feat, weight), table)


def submanifold_neighbors_reference(cells: Tensor, offset: Tensor, kernel: int = 3) -> Tensor:
    """What ``submanifold_neighbors`` means: look every neighbor up by name."""
    r, scene = kernel // 2, offset2batch(offset).tolist()
    names = {(s, *cell): row for row, (s, cell) in enumerate(zip(scene, cells.tolist(), strict=True))}
    axis = range(-r, r + 1)
    found = [
        [names.get((s, x + dx, y + dy, z + dz), -1) for dx in axis for dy in axis for dz in axis]
        for s, (x, y, z) in zip(scene, cells.tolist(), strict=True)
    ]
    return torch.tensor(found, dtype=torch.int32, device=cells.device).view(len(found), kernel**3)


def submanifold_convolution_reference(feat: Tensor, table: Tensor, weight: Tensor) -> Tensor:
    """What ``submanifold_convolution`` means: the sum over offsets of all neighbors there, times their weights."""
    near = torch.cat([feat, feat.new_zeros(1, feat.shape[1])])[table.long()]
    return torch.einsum("vkc,kcd->vd", near, weight)


def _run_neighbors(cells: Tensor, offset: Tensor, kernel: int) -> Tensor:
    r, side = kernel // 2, MAX_CELLS + 2 * (kernel // 2)
    x, y, z = (cells.long() + r).unbind(1)
    key, order = ((((offset2batch(offset) * side + x) * side + y) * side) + z).sort()
    if cells.device.type == "cpu" and bool((key[1:] == key[:-1]).any()):
        raise ValueError("cells: two voxels share a cell; merge them first (pointops.voxel_grid numbers voxels)")
    key_end, row_end = torch.cat([key, key.new_full((1,), -1)]), torch.cat([order, order.new_full((1,), -1)]).int()
    table = torch.empty(len(key), kernel**3, dtype=torch.int32, device=cells.device)
    column = 0
    for dx in range(-r, r + 1):
        for dy in range(-r, r + 1):
            wanted = key + ((dx * side + dy) * side - r)
            place = torch.searchsorted(key, wanted)
            for dz in range(kernel):
                hit = key_end[place] == wanted + dz
                table[:, column] = torch.where(hit, row_end[place], -1)
                place = place + hit
                column += 1
    return torch.empty_like(table).index_copy_(0, order, table)


def _fake_neighbors(cells: Tensor, offset: Tensor, kernel: int) -> Tensor:
    return cells.new_empty((cells.shape[0], kernel**3), dtype=torch.int32)


def _run_convolve(feat: Tensor, weight: Tensor, table: Tensor) -> Tensor:
    """On the CPU only what is there is multiplied: by the C++ kernel, or block by block and offset by offset in torch.

    Elsewhere all offsets of a block are one product, empty ones as zeros: nothing waits to learn which are empty.
    """
    if feat.device.type != "cpu":
        flat = weight.flatten(0, 1)
        parts = [gather_rows(feat, part).flatten(1) @ flat for part in table.split(4 * BLOCK)]
        return torch.cat(parts) if parts else _fake_convolve(feat, weight, table)
    if _kernel_serves(feat, weight):
        out, rows = _fake_convolve(feat, weight, table), _dispatch.rows32(table, feat.shape[0])
        sizes = (*feat.shape, weight.contiguous(), weight.shape[2], rows, *rows.shape)
        _native.call("pointops_submanifold", feat.contiguous(), *sizes, _native.threads(), out)
        return out
    middle = weight.shape[0] // 2
    out = _fake_convolve(feat, weight, table).zero_()
    for block, (rows, near, counts) in zip(out.split(BLOCK), _blocks(table, feat.shape[0]), strict=True):
        gathered = feat.index_select(0, near)
        start = 0
        for offset, count in enumerate(counts):
            if count == len(block) and offset == middle:  # every voxel is its own neighbor
                block.addmm_(gathered[start : start + count], weight[offset])
            elif count:
                block.index_add_(0, rows[start : start + count], gathered[start : start + count] @ weight[offset])
            start += count
    return out


def _kernel_serves(feat: Tensor, weight: Tensor) -> bool:
    return (
        _dispatch.kernels(feat) == "C++" and _native.has("pointops_submanifold") and weight.shape[2] % KERNEL_WIDTH == 0
    )


def _fake_convolve(feat: Tensor, weight: Tensor, table: Tensor) -> Tensor:
    return feat.new_empty((table.shape[0], weight.shape[2]))


def _run_weight(feat: Tensor, grad: Tensor, table: Tensor) -> Tensor:
    """(K, C, D) the gradient to the weights: sum_i feat[table[i, k]] grad_i^T."""
    total = _fake_weight(feat, grad, table).zero_()
    if feat.device.type != "cpu":
        flat = total.view(-1, grad.shape[1])
        for part, its in zip(table.split(4 * BLOCK), grad.split(4 * BLOCK), strict=True):
            flat.addmm_(gather_rows(feat, part).flatten(1).t(), its)
        return total
    for its, (rows, near, counts) in zip(grad.split(BLOCK), _blocks(table, feat.shape[0]), strict=True):
        gathered = feat.index_select(0, near)
        start = 0
        for offset, count in enumerate(counts):
            if count:
                here = slice(start, start + count)
                total[offset].addmm_(gathered[here].t(), its.index_select(0, rows[here]))
            start += count
    return total


def _fake_weight(feat: Tensor, grad: Tensor, table: Tensor) -> Tensor:
    return feat.new_empty((table.shape[1], feat.shape[1], grad.shape[1]))


def _blocks(table: Tensor, rows: int) -> list[tuple[Tensor, Tensor, list[int]]]:
    """The pairs of each block of a table; remembered with it, since every layer of a level reads the same table."""
    kept = None if table.is_inference() else getattr(table, "_pairs", None)
    if kept is not None and kept[0] == (table._version, rows):
        return kept[1]
    made = [_pairs(part) for part in _check.index("table", table, rows).split(BLOCK)]
    if not table.is_inference():
        table._pairs = ((table._version, rows), made)  # pyright: ignore[reportAttributeAccessIssue]
    return made


def _pairs(table: Tensor) -> tuple[Tensor, Tensor, list[int]]:
    """The occupied entries of a block of a table: rows, neighbors, and how many belong to each offset in turn."""
    across = table.t()
    hit = across >= 0
    return hit.nonzero()[:, 1], across[hit].long(), hit.sum(1).tolist()


def _opposite(weight: Tensor) -> Tensor:
    """The kernel of the adjoint: seen from the neighbor, offsets are mirrored and channels exchanged."""
    return weight.flip(0).transpose(1, 2).contiguous()


def _save_convolve(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _convolve_backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
    feat, weight, table = ctx.saved_tensors
    grad = grad.contiguous()
    to_feat = _convolve(grad, _opposite(weight), table) if ctx.needs_input_grad[0] else None
    to_weight = _weight(feat, grad, table) if ctx.needs_input_grad[1] else None
    return to_feat, to_weight, None


def _weight_backward(ctx: Any, change: Tensor) -> tuple[Any, ...]:
    feat, grad, table = ctx.saved_tensors
    change = change.contiguous()
    to_feat = _convolve(grad, _opposite(change), table) if ctx.needs_input_grad[0] else None
    to_grad = _convolve(feat, change, table) if ctx.needs_input_grad[1] else None
    return to_feat, to_grad, None


_neighbors = _register.operation(
    "submanifold_neighbors(Tensor cells, Tensor offset, int kernel) -> Tensor", _run_neighbors, _fake_neighbors
)
_convolve = _register.differentiable(
    "submanifold(Tensor feat, Tensor weight, Tensor table) -> Tensor",
    _run_convolve,
    _fake_convolve,
    _save_convolve,
    _convolve_backward,
)
_weight = _register.differentiable(
    "submanifold_weight(Tensor feat, Tensor grad, Tensor table) -> Tensor",
    _run_weight,
    _fake_weight,
    _save_convolve,
    _weight_backward,
)
