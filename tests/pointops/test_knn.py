"""knn_query: the same rows on every back end, in the order of (squared distance, row), scene by scene."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pointops_scenes import EXAMPLES, batches
from scipy.spatial import KDTree

from pointops import knn_query
from pointops.knn import knn_query_reference
from speed.pointops.clouds import KINDS, cloud, room


@EXAMPLES
@given(batch=batches(), k=st.integers(1, 40))
def test_the_kernels_agree_with_the_definition_when_a_cloud_searches_itself(kernels, threads, batch, k):
    xyz, offset = batch
    for got, want in zip(knn_query(k, xyz, offset), knn_query_reference(k, xyz, offset), strict=True):
        assert torch.equal(got, want)


@EXAMPLES
@given(data=st.data(), k=st.integers(1, 20))
def test_the_kernels_agree_with_the_definition_for_other_queries(kernels, threads, data, k):
    scenes = data.draw(st.integers(1, 3))
    (xyz, offset), (query, ends) = data.draw(batches(scenes)), data.draw(batches(scenes))
    for missing in ("minus_one", "first_point"):
        got = knn_query(k, xyz, offset, query, ends, missing=missing)
        want = knn_query_reference(k, xyz, offset, query, ends, missing=missing)
        assert torch.equal(got[0], want[0])
        assert torch.equal(got[1], want[1])


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_many_points_of_every_kind_agree(kernels, kind):
    xyz, offset = torch.from_numpy(cloud(kind, 1500, 1)), torch.tensor([1500])
    for k in (1, 16, 70):
        got, want = knn_query(k, xyz, offset), knn_query_reference(k, xyz, offset)
        assert torch.equal(got[0], want[0])
        assert torch.equal(got[1], want[1])


def test_a_room_gives_the_distances_of_an_independent_search(kernels):
    xyz = room(20000, 0)
    _, distance = knn_query(16, torch.from_numpy(xyz), torch.tensor([20000]))
    torch.testing.assert_close(distance.double(), torch.from_numpy(KDTree(xyz).query(xyz, 16)[0]), rtol=0, atol=1e-6)


def test_a_point_finds_itself_first(kernels, generator):
    xyz = torch.rand(500, 3, generator=generator)
    idx, distance = knn_query(4, xyz, torch.tensor([200, 500]))
    assert torch.equal(idx[:, 0], torch.arange(500, dtype=torch.int32))
    assert (distance[:, 0] == 0).all()
    assert (distance.diff(dim=1) >= 0).all()


def test_a_scene_does_not_feel_its_batch_mates(kernels, generator):
    xyz = torch.rand(700, 3, generator=generator)
    together = knn_query(8, xyz, torch.tensor([300, 700]))
    alone = knn_query(8, xyz[300:], torch.tensor([400]))
    assert torch.equal(together[0][300:] - 300, alone[0])
    assert torch.equal(together[1][300:], alone[1])


def test_a_scene_of_fewer_points_than_k_is_filled_as_asked(kernels):
    xyz = torch.tensor([[0.0, 0, 0], [1, 0, 0], [3, 0, 0]])
    offset = torch.tensor([1, 3])
    idx, distance = knn_query(3, xyz, offset)
    assert idx.tolist() == [[0, -1, -1], [1, 2, -1], [2, 1, -1]]
    assert distance.tolist() == [[0, 1e5, 1e5], [0, 2, 1e5], [0, 2, 1e5]]
    assert knn_query(3, xyz, offset, missing="first_point")[0].tolist() == [[0, 0, 0], [1, 2, 1], [2, 1, 1]]
    with pytest.raises(ValueError, match="nsample is 3, but scene 0 of xyz has only 1"):
        knn_query(3, xyz, offset, missing="refuse")


def test_ties_go_to_the_lower_row(kernels):
    square = torch.tensor([[1.0, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0]])
    idx, _ = knn_query(3, square, torch.tensor([4]), torch.zeros(1, 3), torch.tensor([1]))
    assert idx.tolist() == [[0, 1, 2]]


def test_no_queries_and_no_points_give_empty_tables(kernels):
    none, xyz = torch.zeros(0, 3), torch.rand(5, 3)
    assert knn_query(2, xyz, torch.tensor([5]), none, torch.tensor([0]))[0].shape == (0, 2)
    assert knn_query(2, none, torch.tensor([0]), xyz, torch.tensor([5]))[0].eq(-1).all()


def test_int32_offsets_and_strided_points_are_taken(kernels, generator):
    wide = torch.rand(100, 6, generator=generator)
    got = knn_query(5, wide[:, 3:], torch.tensor([40, 100], dtype=torch.int32))
    want = knn_query_reference(5, wide[:, 3:].contiguous(), torch.tensor([40, 100]))
    assert torch.equal(got[0], want[0])


def brute(k, points, ends, query, query_ends):
    """Neighbors by float64 distances, one scene at a time."""
    rows, far = [], []
    for low, high, first, last in zip([0, *ends[:-1]], ends, [0, *query_ends[:-1]], query_ends, strict=True):
        distance = (query[first:last, None].double() - points[None, low:high].double()).norm(dim=-1)
        near = distance.topk(k, largest=False)
        rows.append(near.indices + low)
        far.append(near.values)
    return torch.cat(rows), torch.cat(far)


@pytest.mark.parametrize("axes", [1, 2, 4, 32])
def test_neighbors_in_any_space(kernels, generator, axes):
    points, query = torch.rand(900, axes, generator=generator), torch.rand(70, axes, generator=generator)
    offset, ends = torch.tensor([300, 900]), torch.tensor([30, 70])
    idx, distance = knn_query(5, points, offset, query, ends)
    want, far = brute(5, points, offset.tolist(), query, ends.tolist())
    torch.testing.assert_close(distance.double(), far, rtol=1e-6, atol=1e-6)
    assert float((idx.long() == want).float().mean()) > 0.99  # all but ties of float32
    own, zero = knn_query(1, points, offset)
    assert not zero.any()
    assert axes == 1 or torch.equal(own[:, 0], torch.arange(900, dtype=torch.int32))


def test_ties_and_missing_neighbors_in_feature_space(kernels):
    points, offset = torch.zeros(5, 6), torch.tensor([3, 5])
    idx, distance = knn_query(3, points, offset)
    assert idx.tolist() == [[0, 1, 2]] * 3 + [[3, 4, -1]] * 2
    assert distance[3].tolist() == [0, 0, 1e5]


def test_spaces_must_match():
    for axes, others in ((3, 2), (2, 3), (5, 4), (0, 0)):
        with pytest.raises(ValueError, match="xyz must be"):
            knn_query(1, torch.rand(4, axes), torch.tensor([4]), torch.rand(2, others), torch.tensor([2]))


@pytest.mark.parametrize("axes", [2, 3, 7])
def test_distances_let_gradients_through_on_request(kernels, generator, axes):
    points = torch.rand(40, axes, generator=generator, dtype=torch.float64)
    query, offset, ends = points[::4].clone() + 0.01, torch.tensor([38, 40]), torch.tensor([6, 10])
    points, query = points.float().requires_grad_(), query.float().requires_grad_()
    idx, distance = knn_query(4, points, offset, query, ends, differentiable=True)
    plain = knn_query(4, points, offset, query, ends)
    assert torch.equal(distance, plain[1])
    assert not plain[1].requires_grad
    slope = torch.rand(distance.shape, generator=generator)
    grads = torch.autograd.grad((distance * slope).sum(), (points, query))
    there = (idx >= 0).float()
    want = ((query[:, None] - points[idx.long().clamp_min(0)]).norm(dim=-1) * slope * there).sum()
    for got, wanted in zip(grads, torch.autograd.grad(want, (points, query)), strict=True):
        torch.testing.assert_close(got, wanted)


def test_the_gradient_of_a_distance_of_zero_is_zero():
    points = torch.tensor([[0.0, 0, 0], [1, 0, 0]], requires_grad=True)
    _, distance = knn_query(3, points, torch.tensor([2]), differentiable=True)
    distance.sum().backward()
    assert points.grad is not None
    assert points.grad.tolist() == [[-2, 0, 0], [2, 0, 0]]
    with pytest.raises(ValueError, match="differentiable"):
        knn_query(3, points, torch.tensor([2]), differentiable=True, distances=False)
