"""Voxels: the partition of exact integer cells, the published hash, scenes apart."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from pointops_scenes import EXAMPLES, batches

from pointops import offset2batch, voxel_cells, voxel_grid, voxel_hash


def test_the_hash_is_fnv_in_unsigned_arithmetic():
    cells = torch.randint(0, 5000, (50, 3), generator=torch.Generator().manual_seed(0))
    with np.errstate(over="ignore"):
        want = np.full(50, 14695981039346656037, dtype=np.uint64)
        for axis in range(3):
            want = want * np.uint64(1099511628211) ^ cells[:, axis].numpy().astype(np.uint64)
    assert np.array_equal(voxel_hash(cells).numpy().view(np.uint64), want)


@EXAMPLES
@given(batch=batches(least=1), size=st.sampled_from([0.04, 0.25, 3.0]))
def test_points_share_a_voxel_when_they_share_scene_and_cell(batch, size):
    xyz, offset = batch
    if float(xyz.abs().max()) > 1e3:
        return  # cells beyond int32 are refused
    grid, cells, scene = voxel_grid(xyz, offset, size), voxel_cells(xyz, offset, size), offset2batch(offset)
    names = {}
    for point in range(len(xyz)):
        names.setdefault((int(scene[point]), *cells[point].tolist()), set()).add(int(grid.voxel[point]))
    assert all(len(found) == 1 for found in names.values())
    assert len(set.union(*names.values())) == len(names) == len(grid.offset)
    assert sorted(names) == [(int(s), *c.tolist()) for s, c in zip(grid.scene, grid.cell, strict=True)]
    counts = torch.diff(grid.offset, prepend=torch.zeros(1, dtype=torch.int64))
    assert torch.equal(grid.voxel[grid.order], torch.arange(len(counts)).repeat_interleave(counts))


def test_a_scene_counts_from_its_own_corner():
    xyz = torch.tensor([[0.0, 0, 0], [1, 0, 0], [10.1, 0, 0], [11.1, 0, 0]])
    offset = torch.tensor([2, 4])
    assert voxel_cells(xyz, offset, 0.5)[:, 0].tolist() == [0, 2, 0, 2]
    assert voxel_cells(xyz, offset, 0.5, start="batch")[:, 0].tolist() == [0, 2, 20, 22]
    assert voxel_cells(xyz - 1, offset, 0.5, start="zero")[:, 0].tolist() == [-2, 0, 18, 20]
