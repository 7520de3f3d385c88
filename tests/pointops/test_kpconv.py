"""Kernel point convolution: its definition with gradients, neighbor lists by radius, missing neighbors."""

from __future__ import annotations

import pytest
import torch

from pointops.ball_query import ball_query
from pointops.kpconv import kernel_point_convolution, kernel_point_convolution_reference, kpconv_neighbors


def cloud(*sizes: int) -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(0)
    return torch.rand(sum(sizes), 3, generator=random), torch.tensor(sizes).cumsum(0)


@pytest.mark.parametrize("count", [5, 60])
def test_the_nearest_within_the_radius_are_kept(count: int):
    xyz, offset = cloud(40, 30)
    index = kpconv_neighbors(count, 0.3, xyz, offset)
    slow, _ = ball_query(count, 0.3, 0.0, xyz, offset, order="nearest", padding="minus_one", inclusive=True)
    assert torch.equal(index, slow)
    assert bool((index >= 0).any(1).all())


def test_the_first_in_row_order_are_kept_on_request():
    xyz, offset = cloud(40)
    for row, kept in enumerate(kpconv_neighbors(4, 0.5, xyz, offset, order="index").tolist()):
        inside = [j for j in range(40) if (xyz[j] - xyz[row]).norm() <= 0.5]
        assert kept == (inside + [-1] * 4)[:4]


def test_convolution_equals_its_definition_with_gradients():
    xyz, offset = cloud(12, 9)
    index = kpconv_neighbors(7, 0.6, xyz, offset)
    assert bool((index < 0).any())
    random = torch.Generator().manual_seed(1)
    feat, weight, points, probe = (
        torch.randn(shape, generator=random, dtype=torch.float64) for shape in ((21, 4), (5, 4, 3), (5, 3), (21, 3))
    )
    feat.requires_grad_()
    weight.requires_grad_()
    results = []
    for function in (kernel_point_convolution, kernel_point_convolution_reference):
        out = function(feat, xyz.double(), index, 0.2 * points, weight, 0.5)
        results.append([out.detach(), *torch.autograd.grad((out * probe).sum(), (feat, weight))])
    for ours, slow in zip(*results, strict=True):
        torch.testing.assert_close(ours, slow, rtol=0, atol=1e-10)


def test_a_missing_neighbor_contributes_nothing():
    xyz = torch.zeros(2, 3)
    feat, weight = torch.ones(2, 1), torch.ones(1, 1, 1)
    both = kernel_point_convolution(feat, xyz, torch.tensor([[0, 1], [0, -1]]), torch.zeros(1, 3), weight, 1.0)
    assert both[:, 0].tolist() == [2, 1]


def test_bad_input_is_refused():
    xyz, offset = cloud(10)
    index = kpconv_neighbors(3, 0.5, xyz, offset)
    with pytest.raises(ValueError, match="order"):
        kpconv_neighbors(3, 0.5, xyz, offset, order="random")
    with pytest.raises(ValueError, match="weight"):
        kernel_point_convolution(torch.zeros(10, 2), xyz, index, torch.zeros(4, 3), torch.zeros(4, 3, 5), 0.1)
    with pytest.raises(ValueError, match="one per point"):
        kernel_point_convolution(torch.zeros(9, 2), xyz, index, torch.zeros(4, 3), torch.zeros(4, 2, 5), 0.1)
