"""Input as people have it: any integer type, half under autocast, float64, (B, N, 3), no scenes, no double."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

import pointops
from pointops.plan import PlanSpec, make_plan

OFFSET, NEW_OFFSET = torch.tensor([400, 1000]), torch.tensor([30, 100])
XYZ = torch.rand(1000, 3, generator=torch.Generator().manual_seed(0)) * 8
NEW_XYZ = torch.rand(100, 3, generator=torch.Generator().manual_seed(1)) * 8
DRAWN = {"generator": torch.Generator()}

SEARCHES = {
    "knn": lambda x, o, q, e: pointops.knn_query(5, x, o, q, e),
    "knn of itself": lambda x, o, q, e: pointops.knn_query(5, x, o),
    "ball": lambda x, o, q, e: pointops.ball_query(5, 0.6, 0.1, x, o, q, e),
    "random ball": lambda x, o, q, e: pointops.random_ball_query(
        5, 0.6, 0.0, x, o, q, e, generator=torch.Generator().manual_seed(2)
    ),
    "radius": lambda x, o, q, e: pointops.radius_search(0.6, x, o, q, e),
    "sampling": lambda x, o, q, e: (pointops.farthest_point_sampling(x, o, torch.tensor([20, 50])),),
    "chamfer": lambda x, o, q, e: pointops.chamfer_nearest(x, o, q, e),
    "nearest": lambda x, o, q, e: pointops.nearest_point(x, o, q, e),
    "distance": lambda x, o, q, e: (pointops.chamfer_distance(x, o, q, e),),
    "voxel": lambda x, o, q, e: pointops.voxel_grid(x, o, 0.5),
    "windows": lambda x, o, q, e: tuple(vars(pointops.window_pairs(x, o, torch.arange(0, 1000, 8), 0.6, 0.1)).values())[
        :3
    ],
    "convolution": lambda x, o, q, e: (pointops.kpconv_neighbors(5, 0.6, x, o),),
}


def same(got: tuple[Tensor, ...], want: tuple[Tensor, ...]) -> None:
    for one, other in zip(got, want, strict=True):
        if one.is_floating_point():
            torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)
        else:
            assert torch.equal(one, other)


@pytest.mark.parametrize("k", [np.int64(3), np.uint8(3), torch.tensor(3), torch.tensor([3], dtype=torch.int16)])
def test_a_number_of_neighbors_may_be_of_any_integer_type(k):
    assert torch.equal(pointops.knn_query(k, XYZ, OFFSET)[0], pointops.knn_query(3, XYZ, OFFSET)[0])
    assert torch.equal(
        pointops.ball_query(k, 0.5, 0.0, XYZ, OFFSET)[0], pointops.ball_query(3, 0.5, 0.0, XYZ, OFFSET)[0]
    )
    both = pointops.query_and_group(k, XYZ, None, XYZ, None, OFFSET, None, dilation=np.int32(1))
    want = pointops.query_and_group(3, XYZ, None, XYZ, None, OFFSET, None, dilation=1)
    assert torch.equal(both[0], want[0])
    assert torch.equal(
        pointops.interpolation(XYZ, NEW_XYZ, XYZ, OFFSET, NEW_OFFSET, k).isfinite().all(), torch.tensor(True)
    )


@pytest.mark.parametrize(
    "k", [True, np.bool_(True), torch.tensor(True), 3.0, np.float64(3), "3", None, torch.tensor([3, 3])]
)
def test_what_is_no_integer_is_refused(k):
    with pytest.raises(ValueError, match="nsample must be an integer"):
        pointops.knn_query(k, XYZ, OFFSET)


@pytest.mark.parametrize("search", SEARCHES.values(), ids=SEARCHES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_coordinates_are_widened_under_autocast_and_refused_elsewhere(kernels, search, dtype):
    xyz, query = XYZ.to(dtype), NEW_XYZ.to(dtype)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = search(xyz, OFFSET, query, NEW_OFFSET)
    same(got, search(xyz.float(), OFFSET, query.float(), NEW_OFFSET))
    with pytest.raises(ValueError, match=r"xyz\.float\(\)"):
        search(xyz, OFFSET, query, NEW_OFFSET)


@pytest.mark.parametrize("search", SEARCHES.values(), ids=SEARCHES)
def test_float64_that_float32_holds_gives_the_very_same(kernels, search):
    got = search(XYZ.double(), OFFSET, NEW_XYZ.double(), NEW_OFFSET)
    for one, other in zip(got, search(XYZ, OFFSET, NEW_XYZ, NEW_OFFSET), strict=True):
        assert torch.equal(one.to(other.dtype), other)


@pytest.mark.parametrize("search", [SEARCHES[name] for name in SEARCHES if name != "windows"])
def test_map_coordinates_in_float64_lose_nothing_that_matters(kernels, search):
    """Each scene far away, in another direction: the neighbors are those of the scene where it was made."""
    far = torch.tensor([[483_211.37, 5_412_986.81, 412.29], [-7.1e5, 3.3e6, -90.003]], dtype=torch.float64)
    moved = XYZ.double() + far.repeat_interleave(torch.tensor([400, 600]), 0)
    query = NEW_XYZ.double() + far.repeat_interleave(torch.tensor([30, 70]), 0)
    same(search(moved, OFFSET, query, NEW_OFFSET), search(XYZ, OFFSET, NEW_XYZ, NEW_OFFSET))


def test_a_scene_in_float64_does_not_feel_its_batch_mates():
    far = XYZ.double() + 1234567.8
    alone, distance = pointops.knn_query(4, far[:400], OFFSET[:1])
    together = pointops.knn_query(4, torch.cat([far[:400], far[400:] * 100]), OFFSET)
    assert torch.equal(together[0][:400], alone)
    assert torch.equal(together[1][:400], distance)


def test_points_in_float64_and_queries_in_float32_meet():
    idx, distance = pointops.knn_query(1, XYZ.double() + 1e-9, OFFSET, XYZ, OFFSET)
    assert torch.equal(idx[:, 0], torch.arange(1000, dtype=torch.int32))
    assert float(distance.max()) < 1e-5


def test_the_origin_rule_sees_float64_where_it_lies():
    xyz = torch.tensor([[1.0, 0, 0], [0.03, 0.0001, 0], [2.1, 0, 0]], dtype=torch.float64)
    rows = pointops.farthest_point_sampling(xyz, torch.tensor([3]), torch.tensor([3]), skip_origin=True)
    assert rows.tolist() == [0, 2, 0]


def test_gradients_reach_coordinates_in_float64_and_half():
    xyz, other = (XYZ[:50].double() + 1e6).requires_grad_(), NEW_XYZ[:30].double() + 1e6
    ends = torch.tensor([50]), torch.tensor([30])
    pointops.chamfer_distance(xyz, ends[0], other, ends[1]).sum().backward()
    near = torch.cdist(xyz.detach(), other)
    assert xyz.grad is not None
    assert xyz.grad.dtype == torch.float64
    pulled = (xyz.detach() - other[near.argmin(1)]) / near.amin(1, keepdim=True) / 50 / 2
    lonely = torch.ones(50, dtype=torch.bool)
    lonely[near.argmin(0)] = False  # nobody's nearest: only the one term
    torch.testing.assert_close(xyz.grad[lonely], pulled[lonely], rtol=1e-3, atol=1e-5)
    votes = XYZ[:50].half().requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        pointops.chamfer_distance(votes, ends[0], NEW_XYZ[:30], ends[1]).sum().backward()
    assert votes.grad is not None


DENSE, ASKED = XYZ.view(4, 250, 3), NEW_XYZ.view(4, 25, 3)


@pytest.mark.parametrize(
    "name", ["knn", "knn of itself", "ball", "random ball", "radius", "chamfer", "distance", "voxel"]
)
def test_clouds_of_equal_size_are_the_packed_batch(kernels, name):
    want = SEARCHES[name](XYZ, torch.arange(250, 1001, 250), NEW_XYZ, torch.arange(25, 101, 25))
    same(SEARCHES[name](DENSE, None, ASKED, None), want)
    same(SEARCHES[name](DENSE, torch.arange(250, 1001, 250), ASKED, None), want)
    with pytest.raises(ValueError, match="offset must be None or the ends of 4 scenes of 250 points"):
        SEARCHES[name](DENSE, OFFSET, ASKED, None)


def test_sampling_takes_clouds_of_equal_size():
    ends = torch.tensor([5, 8, 20, 21])
    want = pointops.farthest_point_sampling(XYZ, torch.arange(250, 1001, 250), ends)
    assert torch.equal(pointops.farthest_point_sampling(DENSE, None, ends), want)


def test_packed_points_need_their_ends():
    with pytest.raises(ValueError, match="offset must be a tensor"):
        pointops.knn_query(3, XYZ, None)


NONE, NO_ENDS = torch.empty(0, 3), torch.empty(0, dtype=torch.int32)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_batch_of_no_scenes_gives_nothing(kernels, dtype):
    none = NONE.to(dtype)
    assert pointops.knn_query(3, none, NO_ENDS)[0].shape == (0, 3)
    assert pointops.knn_query(3, none.view(0, 0, 3), None)[0].shape == (0, 3)
    assert pointops.ball_query(3, 0.5, 0.0, none, NO_ENDS, none, NO_ENDS)[1].shape == (0, 3)
    assert pointops.random_ball_query(3, 0.5, 0.0, none, NO_ENDS)[0].shape == (0, 3)
    assert pointops.radius_search(0.5, none, NO_ENDS).offset.shape == (0,)
    rows, radii = pointops.farthest_point_sampling(none, NO_ENDS, NO_ENDS, start="random", radii=True)
    assert rows.shape == radii.shape == (0,)
    assert pointops.chamfer_distance(none, NO_ENDS, none, NO_ENDS).shape == (0,)
    assert pointops.voxel_grid(none, NO_ENDS, 0.1).voxel.shape == (0,)
    assert pointops.window_pairs(none, NO_ENDS, NO_ENDS, 0.3, 0.1).key.shape == (0,)
    assert pointops.interpolation(none, none, torch.empty(0, 4), NO_ENDS, NO_ENDS).shape == (0, 4)
    assert (
        pointops.query_and_group(3, none, none, torch.empty(0, 4), None, NO_ENDS, NO_ENDS, dilation=1)[0].shape[0] == 0
    )
    assert pointops.offset2batch(NO_ENDS).shape == pointops.batch2offset(NO_ENDS).shape == (0,)
    for reduce in (pointops.segment_sum, pointops.segment_mean, pointops.segment_max, pointops.segment_softmax):
        assert reduce(torch.empty(0, 4), NO_ENDS).shape == (0, 4)


def test_a_plan_of_no_scenes_has_empty_levels():
    plan = make_plan(NONE, NO_ENDS, PlanSpec.point_transformer())
    assert [level.num_points for level in plan.levels] == [0] * 5


def test_rows_without_scenes_are_refused():
    with pytest.raises(ValueError, match="offset has no scenes, but xyz has 1000 rows"):
        pointops.knn_query(3, XYZ, NO_ENDS)


class NoDouble(TorchDispatchMode):
    """A device like MPS: no operation may make float64."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for value in out if isinstance(out, (tuple, list)) else [out]:
            assert not isinstance(value, Tensor) or value.dtype != torch.float64, func
        return out


def test_the_definitions_make_no_double_where_there_is_none(monkeypatch):
    monkeypatch.setattr("pointops._distance.NO_DOUBLE", ("cpu",))
    monkeypatch.setattr("pointops._native.library", lambda: None)
    names = [name for name in SEARCHES if name != "windows"]  # their bins are made on the CPU for such a device
    with NoDouble():
        for name in names:
            SEARCHES[name](XYZ, OFFSET, NEW_XYZ, NEW_OFFSET)
        pointops.farthest_point_sampling(XYZ, OFFSET, NEW_OFFSET, start="random", radii=True)


def test_every_operation_has_a_kernel_for_devices_without_kernels_of_ours():
    for name in torch._C._dispatch_get_all_op_names():
        if name.startswith("pointops::"):
            keys = ("MPS", "XPU")
            made = torch._C._dispatch_has_kernel_for_dispatch_key(name, "CompositeImplicitAutograd")
            assert made or all(torch._C._dispatch_has_kernel_for_dispatch_key(name, key) for key in keys), name
