"""Operations behave under torch's dispatcher: opcheck, torch.compile without graph breaks, little overhead."""

from __future__ import annotations

import pytest
import torch

import pointops
from pointops import chamfer_nearest, knn_query
from pointops.grouping import grouping2
from pointops.inverse import inverse_table
from pointops.submanifold import submanifold_neighbors

XYZ, OFFSET = torch.rand(30, 3, generator=torch.Generator().manual_seed(0)), torch.tensor([10, 30])
SEARCHES = {
    "knn": (XYZ, OFFSET, XYZ.clone(), OFFSET, 4, "minus_one"),
    "ball": (XYZ, OFFSET, XYZ.clone(), OFFSET, 4, 0.4, 0.0, "index", "first_hit", False),
    "farthest_point_sampling": (XYZ, OFFSET, torch.tensor([3, 7]), False),
    "farthest_point_sampling from a start": (XYZ, OFFSET, torch.tensor([3, 7]), False, torch.tensor([4, 20])),
    "nearest_pair": (XYZ, OFFSET, XYZ.clone(), OFFSET),
    "nearest_point": (XYZ, OFFSET, XYZ.clone(), OFFSET),
    "radius": (XYZ, OFFSET, XYZ.clone(), OFFSET, torch.full((30,), 0.3), "nearest", False),
    "knn of seven axes": (torch.rand(30, 7, generator=torch.Generator().manual_seed(2)), OFFSET) * 2 + (4, "minus_one"),
    "voxel_grid": (XYZ, OFFSET, torch.tensor(0.3), "scene", None),
    "window_pairs": (XYZ, OFFSET, torch.tensor([1, 4, 12, 25]), 0.3, 0.1, True, "scene"),
    "submanifold_neighbors": (torch.cartesian_prod(*[torch.arange(3)] * 3), torch.tensor([12, 27]), 3),
    "inverse": (torch.randint(-1, 30, (30, 4), generator=torch.Generator().manual_seed(1)).int(), 30),
}
IDX = torch.randint(-1, 30, (30, 4), generator=torch.Generator().manual_seed(1), dtype=torch.int32)
TABLE = inverse_table(IDX, 30)
AROUND = submanifold_neighbors(torch.cartesian_prod(*[torch.arange(3)] * 3), torch.tensor([12, 27]))


def feature(*shape: int) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(sum(shape))).requires_grad_()


PLACED, LOGIT = feature(30, 4, 8), feature(30, 4, 2)
FEATURES = {
    "gather": (feature(30, 8), IDX, None, None),
    "gather with a table": (feature(30, 8), IDX, *TABLE),
    "gather float64": (feature(30, 8).detach().double().requires_grad_(), IDX, None, None),
    "gather bfloat16": (feature(30, 8).detach().bfloat16().requires_grad_(), IDX.long(), None, None),
    "gather nothing": (feature(0, 8), IDX.new_full((3, 4), -1), None, None),
    "gather by nobody": (feature(30, 8), IDX[:0], None, None),
    "scatter": (PLACED, IDX, None, None, 30),
    "relation": (feature(30, 8), feature(30, 8), PLACED, IDX, None, None, False),
    "relation without position": (feature(30, 8), feature(30, 8), None, IDX, None, None, True),
    "relation_backward": (PLACED.detach(), IDX, None, None, 30, False),
    "aggregate": (feature(30, 8), PLACED, LOGIT, IDX, None, None, True),
    "aggregate without position": (feature(30, 8), None, LOGIT, IDX, None, None, True),
    "aggregate_backward without position": (
        *(t.detach() for t in (feature(30, 8), feature(30, 8))),
        None,
        LOGIT,
        IDX,
        *TABLE,
        False,
    ),
    "aggregate unsoftened": (feature(30, 8), PLACED, LOGIT, IDX, *TABLE, False),
    "aggregate float16": (*(t.detach().half() for t in (feature(30, 8), PLACED, LOGIT)), IDX, None, None, True),
    "aggregate by nobody": (feature(30, 8), PLACED[:0], LOGIT[:0], IDX[:0], None, None, True),
    "aggregate_backward": (*(t.detach() for t in (feature(30, 8), feature(30, 8), PLACED, LOGIT)), IDX, *TABLE, True),
    "interpolate": (feature(30, 8), IDX, feature(30, 4), None, None),
    "interpolate_backward": (*(t.detach() for t in (feature(30, 8), feature(30, 8))), IDX, LOGIT[..., 0], *TABLE, True),
    "submanifold": (feature(27, 4), feature(27, 4, 6), AROUND),
    "submanifold_weight": (feature(27, 4), feature(27, 6), AROUND),
    "batch_norm": (feature(30, 8), None, feature(8), feature(8), None, None, 1e-5, 0.0),
    "batch_norm after an addition": (feature(30, 8), feature(30, 8), None, None, None, None, 1e-5, 0.2),
    "batch_norm float64": (feature(30, 8).detach().double().requires_grad_(), None, *[None] * 4, 1e-5, 1.0),
    "batch_norm of nothing, in evaluation": (
        feature(0, 8),
        None,
        None,
        None,
        feature(8).detach(),
        feature(8).detach(),
        1e-5,
        0.0,
    ),
    "batch_norm_backward": (feature(30, 8), feature(30, 8), None, None, None, feature(3, 8), 1e-5, 0.0, True),
    "batch_norm_backward bfloat16": (
        *(feature(30, 8).bfloat16() for _ in range(3)),
        feature(8),
        None,
        feature(3, 8),
        1e-5,
        0.0,
        False,
    ),
    "segment_sum": (feature(30, 8), OFFSET),
    "segment_max": (feature(30, 8), OFFSET),
    "segment_softmax": (feature(30, 8), OFFSET),
    "attention_relation_step": (feature(30, 2, 4), feature(30, 2, 4), feature(4), *IDX.clamp_min(0)[:2]),
    "attention_fusion_step": (feature(4, 2), feature(30, 2, 4), *IDX.clamp_min(0)[:2]),
}


@pytest.mark.parametrize("name", SEARCHES)
def test_opcheck_of_searches(name):
    torch.library.opcheck(getattr(torch.ops.pointops, name.split(" ")[0]).default, SEARCHES[name])


@pytest.mark.parametrize("case", FEATURES)
def test_opcheck_of_features(case):
    operation = getattr(torch.ops.pointops, case.split(" ")[0]).default
    arguments = tuple(
        value.detach() if "backward" in case and isinstance(value, torch.Tensor) else value for value in FEATURES[case]
    )
    torch.library.opcheck(operation, arguments)


def test_opcheck_with_gradients():
    points = [XYZ.clone().requires_grad_(), XYZ.clone().requires_grad_()]
    for operation in (torch.ops.pointops.nearest_pair, torch.ops.pointops.nearest_point):
        torch.library.opcheck(operation.default, (points[0], OFFSET, points[1], OFFSET))


def test_every_operation_is_checked_here():
    known = {case.split(" ")[0] for case in [*FEATURES, *SEARCHES]} | {"window_attention", "window_attention_backward"}
    defined = {name.split("::")[1] for name in torch._C._dispatch_get_all_op_names() if name.startswith("pointops::")}
    assert defined <= known


@pytest.mark.short
@pytest.mark.slow
def test_compile_keeps_one_graph():
    def model(xyz, offset, feat):
        idx, distance = knn_query(4, xyz, offset)
        near = chamfer_nearest(xyz, offset, xyz + 0.1, offset)
        return (grouping2(feat, idx) * distance.unsqueeze(-1)).sum(1) + near.distance2.unsqueeze(-1)

    feat = torch.rand(30, 5, generator=torch.Generator().manual_seed(1))
    compiled = torch.compile(model, fullgraph=True)
    torch.testing.assert_close(compiled(XYZ, OFFSET, feat), model(XYZ, OFFSET, feat))


@pytest.mark.short
@pytest.mark.slow
def test_compile_keeps_one_graph_where_sizes_depend_on_the_points():
    def model(xyz, offset):
        grid = pointops.voxel_grid(xyz, offset, 0.3)
        pairs = pointops.window_pairs(xyz, offset, grid.order[:4], 0.3, 0.1)
        table = inverse_table(grid.voxel.int().unsqueeze(1), 30)
        return grid.cell.sum() + pairs.key.sum() + pairs.bins.sum() + table.entry.sum()

    with torch._dynamo.config.patch(capture_dynamic_output_shape_ops=True):
        compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
        assert torch.equal(compiled(XYZ, OFFSET), model(XYZ, OFFSET))


@pytest.mark.short
@pytest.mark.slow
def test_compile_keeps_one_graph_of_all_feature_operations_and_their_gradients():
    def model(feat, position, logit, weight):
        relation = pointops.neighbor_relation(feat, feat, position, IDX)
        out = pointops.softmax_aggregation(feat, relation, logit, IDX, inverse=TABLE)
        out = out + pointops.aggregation(feat, position, logit, IDX) + pointops.interpolate(feat, IDX, weight)
        out = out + pointops.subtraction(out, feat, IDX).sum(1)
        pooled = pointops.segment_softmax(out, OFFSET) + pointops.segment_max(out, OFFSET).sum(0)
        votes = pointops.vote_scatter(pooled, IDX[:, 0], 30).mean()
        pairs = IDX.clamp_min(0)[:2].unbind(0)
        related = pointops.attention_relation_step(*(votes.view(30, 2, 4),) * 2, weight[0], *pairs)
        return (
            pointops.attention_fusion_step(related, votes.view(30, 2, 4), *pairs)
            + pointops.segment_sum(out, OFFSET)[0, 0]
        )

    inputs = (feature(30, 8), PLACED, LOGIT, feature(30, 4))
    results = []
    for run in (model, torch.compile(model, fullgraph=True, backend="aot_eager")):
        out = run(*inputs)
        results.append([out.detach(), *torch.autograd.grad(out.square().sum(), inputs)])
    for eager, compiled in zip(*results, strict=True):
        torch.testing.assert_close(compiled, eager)
