"""Operations behave under torch's dispatcher: opcheck, torch.compile without graph breaks."""

import pytest
import torch

from pointops import chamfer_nearest, knn_query
from pointops.grouping import grouping2

XYZ, OFFSET = torch.rand(30, 3, generator=torch.Generator().manual_seed(0)), torch.tensor([10, 30])
CALLS = {
    "knn": (XYZ, OFFSET, XYZ.clone(), OFFSET, 4, "minus_one"),
    "ball": (XYZ, OFFSET, XYZ.clone(), OFFSET, 4, 0.4, 0.0, "index", "first_hit", False),
    "farthest_point_sampling": (XYZ, OFFSET, torch.tensor([3, 7]), False),
    "nearest_pair": (XYZ, OFFSET, XYZ.clone(), OFFSET),
}


@pytest.mark.parametrize("name", CALLS)
def test_opcheck(name):
    torch.library.opcheck(getattr(torch.ops.pointops, name).default, CALLS[name])


def test_opcheck_with_gradients():
    points = [XYZ.clone().requires_grad_(), XYZ.clone().requires_grad_()]
    torch.library.opcheck(torch.ops.pointops.nearest_pair.default, (points[0], OFFSET, points[1], OFFSET))


@pytest.mark.slow
def test_compile_keeps_one_graph():
    def model(xyz, offset, feat):
        idx, distance = knn_query(4, xyz, offset)
        near = chamfer_nearest(xyz, offset, xyz + 0.1, offset)
        return (grouping2(feat, idx) * distance.unsqueeze(-1)).sum(1) + near.distance2.unsqueeze(-1)

    feat = torch.rand(30, 5, generator=torch.Generator().manual_seed(1))
    compiled = torch.compile(model, fullgraph=True)
    torch.testing.assert_close(compiled(XYZ, OFFSET, feat), model(XYZ, OFFSET, feat))
