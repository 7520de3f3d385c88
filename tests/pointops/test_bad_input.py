"""Bad input is refused with a ValueError that names the argument: no crash, no read out of bounds."""

from __future__ import annotations

import pytest
import torch

from pointops import (
    ball_query,
    batch2offset,
    chamfer_nearest,
    farthest_point_sampling,
    grouping2,
    interpolate,
    knn_query,
    nearest_point,
    offset2batch,
    radius_search,
    random_ball_query,
    subtraction,
    voxel_grid,
    window_pairs,
)

XYZ, OFFSET = torch.rand(10, 3, generator=torch.Generator().manual_seed(0)), torch.tensor([4, 10])
SEARCHES = {
    "knn": lambda xyz, offset: knn_query(3, xyz, offset),
    "knn between": lambda xyz, offset: knn_query(3, xyz, offset, XYZ, OFFSET),
    "ball": lambda xyz, offset: ball_query(3, 0.5, 0.0, xyz, offset),
    "radius": lambda xyz, offset: radius_search(0.5, xyz, offset),
    "nearest": lambda xyz, offset: nearest_point(xyz, offset, XYZ, OFFSET),
    "random ball": lambda xyz, offset: random_ball_query(3, 0.5, 0.0, xyz, offset),
    "sampling": lambda xyz, offset: farthest_point_sampling(xyz, offset, torch.tensor([1, 2])),
    "chamfer": lambda xyz, offset: chamfer_nearest(xyz, offset, XYZ, OFFSET),
    "voxel": lambda xyz, offset: voxel_grid(xyz, offset, 0.1),
    "windows": lambda xyz, offset: window_pairs(xyz, offset, torch.tensor([1, 5]), 0.3, 0.1),
}


def with_value(value: float) -> torch.Tensor:
    xyz = XYZ.clone()
    xyz[7, 1] = value
    return xyz


@pytest.mark.parametrize("search", SEARCHES.values(), ids=SEARCHES)
@pytest.mark.parametrize(
    "xyz",
    [
        XYZ[:, :0],
        XYZ[0],
        XYZ.view(1, 1, 10, 3),
        XYZ.half(),
        XYZ.long(),
        XYZ.numpy(),
        None,
        *map(with_value, (torch.nan, torch.inf, -torch.inf, 1e19)),
    ],
    ids=["columns", "axes", "more axes", "float16", "int64", "numpy", "none", "nan", "inf", "-inf", "overflow"],
)
def test_bad_points_are_refused(kernels, search, xyz):
    with pytest.raises(ValueError, match="xyz"):
        search(xyz, OFFSET)


@pytest.mark.parametrize("search", [SEARCHES[name] for name in SEARCHES if name != "knn"])  # it searches any space
def test_points_of_two_axes_are_refused(kernels, search):
    with pytest.raises(ValueError, match="xyz"):
        search(XYZ[:, :2], OFFSET)


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf, 1e19])
@pytest.mark.parametrize("search", SEARCHES.values(), ids=SEARCHES)
def test_bad_values_in_double_are_refused(kernels, search, value):
    with pytest.raises(ValueError, match="xyz"):
        search(with_value(value).double(), OFFSET)


@pytest.mark.parametrize("search", SEARCHES.values(), ids=SEARCHES)
@pytest.mark.parametrize(
    "offset",
    [[4, 9], [4, 11], [11, 10], [-1, 10], [], [[4, 10]], [4.0, 10.0]],
    ids=["short", "long", "decreasing", "negative", "empty", "axes", "float"],
)
def test_bad_offsets_are_refused(kernels, search, offset):
    with pytest.raises(ValueError, match="offset"):
        search(XYZ, torch.tensor(offset))


def test_scenes_must_match(kernels):
    with pytest.raises(ValueError, match="new_offset has 1 scenes, offset has 2"):
        knn_query(1, XYZ, OFFSET, XYZ, torch.tensor([10]))
    with pytest.raises(ValueError, match="new_xyz"):
        knn_query(1, XYZ, OFFSET, with_value(torch.nan), OFFSET)
    with pytest.raises(ValueError, match="new_offset"):
        farthest_point_sampling(XYZ, OFFSET, torch.tensor([1, 2, 3]))


@pytest.mark.parametrize("k", [0, -1, 2**31, 1.5, True])
def test_a_bad_number_of_neighbors_is_refused(kernels, k):
    with pytest.raises(ValueError, match="nsample"):
        knn_query(k, XYZ, OFFSET)
    with pytest.raises(ValueError, match="nsample"):
        ball_query(k, 1.0, 0.0, XYZ, OFFSET)


@pytest.mark.parametrize("idx", [torch.tensor([[10]]), torch.tensor([[-2]]), torch.tensor([[0.0]]), torch.tensor([0])])
def test_rows_out_of_range_are_refused(kernels, idx):
    with pytest.raises(ValueError, match="idx"):
        grouping2(XYZ, idx)
    with pytest.raises(ValueError, match="idx"):
        interpolate(XYZ, idx, torch.ones(idx.shape))


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="input1"):
        subtraction(torch.rand(4, 2), torch.rand(4, 3), torch.zeros(4, 1, dtype=torch.int32))
    with pytest.raises(ValueError, match="batch"):
        batch2offset(torch.tensor([1, 0]))
    with pytest.raises(ValueError, match="offset"):
        offset2batch(torch.tensor([3, 1]))
    with pytest.raises(ValueError, match="size"):
        voxel_grid(XYZ, OFFSET, 0.0)


def test_a_tensor_on_another_device_is_refused():
    with pytest.raises(ValueError, match="new_xyz is on meta, xyz on cpu"):
        knn_query(1, XYZ, OFFSET, XYZ.to("meta"), OFFSET)
