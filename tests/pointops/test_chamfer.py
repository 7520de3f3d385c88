"""chamfer_nearest and chamfer_distance: exact neighbors both ways, and gradients that stay finite."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pointops_scenes import EXAMPLES, batches

from pointops import Index, chamfer_distance, chamfer_nearest, knn_query, nearest_point
from pointops.chamfer import chamfer_nearest_reference
from speed.pointops.clouds import KINDS, cloud, room


@EXAMPLES
@given(data=st.data())
def test_the_kernels_agree_with_the_definition(kernels, threads, data):
    scenes = data.draw(st.integers(1, 3))
    (xyz, offset), (other, ends) = data.draw(batches(scenes)), data.draw(batches(scenes))
    for got, want in zip(
        chamfer_nearest(xyz, offset, other, ends), chamfer_nearest_reference(xyz, offset, other, ends), strict=True
    ):
        assert torch.equal(got, want)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_thousands_of_points_against_a_collapsed_cloud_agree(kernels, threads, kind):
    xyz, one = torch.from_numpy(cloud(kind, 2000, 1)), torch.tensor([2000])
    collapsed = torch.from_numpy(cloud("clustered", 2000, 2)) * 0.01 + 3
    for other in (collapsed, torch.from_numpy(cloud(kind, 2000, 5))):
        got = chamfer_nearest(xyz, one, other, one)
        for mine, want in zip(got, chamfer_nearest_reference(xyz, one, other, one), strict=True):
            assert torch.equal(mine, want)


def test_large_clouds_agree_with_the_search_for_one_neighbor(kernels, threads):
    # Rooms of different furniture: where they differ, a stretch of queries has too many leaves and lists inner nodes.
    (xyz, one), (other, two) = ((torch.from_numpy(room(n, n)), torch.tensor([n])) for n in (40_000, 30_000))
    near = chamfer_nearest(xyz, one, other, two)
    for idx, distance2, (cloud_xyz, ends), (query, query_ends) in (
        (near.idx, near.distance2, (other, two), (xyz, one)),
        (near.new_idx, near.new_distance2, (xyz, one), (other, two)),
    ):
        want, distance = knn_query(1, cloud_xyz, ends, query, query_ends)
        assert torch.equal(idx, want[:, 0])
        assert np.array_equal(np.sqrt(distance2.numpy()), distance[:, 0].numpy())  # torch's root rounds otherwise


def test_gradients_are_those_of_the_definition(kernels, generator):
    xyz, other = (torch.rand(n, 3, generator=generator, requires_grad=True) for n in (60, 45))
    offset, ends = torch.tensor([20, 60]), torch.tensor([45, 45])  # the second scene has nothing to match
    slopes = torch.rand(105, generator=generator)
    grads = []
    for function in (chamfer_nearest, chamfer_nearest_reference):
        near = function(xyz, offset, other, ends)
        (torch.cat([near.distance2, near.new_distance2]) * slopes).sum().backward()
        grads.append((xyz.grad, other.grad))
        xyz.grad = other.grad = None
    for got, want in zip(*grads, strict=True):
        torch.testing.assert_close(got, want)


def test_the_definition_has_the_gradient_of_finite_differences(generator):
    xyz, other = (torch.rand(6, 3, generator=generator, dtype=torch.float64, requires_grad=True) for _ in range(2))
    rows = torch.tensor([5, 4, 3, 2, 1, 0], dtype=torch.int32)
    from pointops.chamfer import _squared

    assert torch.autograd.gradcheck(lambda a, b: _squared(a, b, rows), (xyz, other))


def test_equal_clouds_have_no_distance_and_no_gradient(kernels, generator):
    xyz = torch.rand(50, 3, generator=generator, requires_grad=True)
    loss = chamfer_distance(xyz, torch.tensor([20, 50]), xyz.detach().clone(), torch.tensor([20, 50]))
    loss.sum().backward()
    assert loss.tolist() == [0, 0]
    assert xyz.grad is not None
    assert torch.equal(xyz.grad, torch.zeros_like(xyz))


def test_the_distance_by_hand():
    xyz, other = torch.tensor([[0.0, 0, 0], [1, 0, 0]]), torch.tensor([[0.0, 0, 2]])
    one = torch.tensor([1])
    there = (2 + 5**0.5) / 2
    assert chamfer_distance(xyz, torch.tensor([2]), other, one).item() == pytest.approx((there + 2) / 2)
    assert chamfer_distance(xyz, torch.tensor([2]), other, one, root=False).item() == pytest.approx((4.5 + 4) / 2)


def test_it_is_symmetric(kernels, generator):
    a, b = torch.rand(40, 3, generator=generator), torch.rand(30, 3, generator=generator)
    m, n = torch.tensor([40]), torch.tensor([30])
    assert torch.equal(chamfer_distance(a, m, b, n), chamfer_distance(b, n, a, m))


@EXAMPLES
@given(data=st.data())
def test_one_direction_is_the_first_half(kernels, threads, data):
    scenes = data.draw(st.integers(1, 3))
    (xyz, offset), (other, ends) = data.draw(batches(scenes)), data.draw(batches(scenes))
    distance2, idx = nearest_point(xyz, offset, other, ends)
    near = chamfer_nearest_reference(xyz, offset, other, ends)
    assert torch.equal(idx, near.idx)
    assert torch.equal(distance2, near.distance2)


def test_the_gradient_of_one_direction_is_that_of_the_definition(kernels, generator):
    xyz, other = (torch.rand(n, 3, generator=generator, requires_grad=True) for n in (60, 45))
    offset, ends = torch.tensor([20, 60]), torch.tensor([45, 45])
    slopes = torch.rand(60, generator=generator)
    want = torch.autograd.grad(
        (chamfer_nearest_reference(xyz, offset, other, ends).distance2 * slopes).sum(), (xyz, other)
    )
    points = (xyz, offset, other, ends)
    for options in ({}, {"index": Index(xyz, offset)}):
        grads = torch.autograd.grad((nearest_point(*points, **options)[0] * slopes).sum(), (xyz, other))
        for got, wanted in zip(grads, want, strict=True):
            torch.testing.assert_close(got, wanted)


def test_one_directional_chamfer_distance(generator):
    xyz, other = (torch.rand(n, 3, generator=generator) for n in (60, 45))
    offset, ends = torch.tensor([20, 60]), torch.tensor([25, 45])
    there = chamfer_distance(xyz, offset, other, ends, both=False)
    back = chamfer_distance(other, ends, xyz, offset, both=False)
    torch.testing.assert_close((there + back) / 2, chamfer_distance(xyz, offset, other, ends))
    torch.testing.assert_close(there[1], torch.cdist(xyz[20:], other[25:]).amin(1).mean())
    squared = chamfer_distance(xyz, offset, other, ends, False, both=False)
    torch.testing.assert_close(squared[1], torch.cdist(xyz[20:], other[25:]).amin(1).square().mean())


def test_an_index_of_either_cloud_changes_nothing(kernels, threads, generator):
    xyz, other = (torch.rand(n, 3, generator=generator, requires_grad=True) for n in (600, 450))
    offset, ends = torch.tensor([200, 600]), torch.tensor([250, 450])
    points = (xyz, offset, other, ends)
    index, new_index = Index(xyz, offset), Index(other, ends)
    want = chamfer_nearest(*points)
    grads = torch.autograd.grad(chamfer_distance(*points).sum(), (xyz, other))
    for first, second in ((index, None), (None, new_index), (index, new_index)):
        for got, wanted in zip(chamfer_nearest(*points, index=first, new_index=second), want, strict=True):
            assert torch.equal(got, wanted)
        again = torch.autograd.grad(chamfer_distance(*points, index=first, new_index=second).sum(), (xyz, other))
        for got, wanted in zip(again, grads, strict=True):
            torch.testing.assert_close(got, wanted)
    with pytest.raises(ValueError, match="index was made from other points"):
        chamfer_nearest(*points, index=new_index)
