"""Triton kernels against their definitions, in Triton's interpreter; test_interpreter.py runs it in its own process.

The interpreter costs milliseconds for every loop body: sizes are tiny, but ragged, with ties and empty scenes.
"""

from __future__ import annotations

import os

import pytest
import torch
from torch import Tensor

from pointops import _gpu, _window_torch, chamfer_nearest, farthest_point_sampling, knn_query
from pointops.chamfer import chamfer_nearest_reference
from pointops.gather import gather_rows_reference, scatter_rows_reference
from pointops.interpolation import interpolate_reference
from pointops.inverse import inverse_table_reference, table_for
from pointops.knn import knn_query_reference
from pointops.sampling import _swept as swept
from pointops.sampling import farthest_point_sampling_reference
from pointops.triton import aggregate, features, norm, pruned, sampling, search, window
from pointops.vector_attention import _aggregate_gradient_reference, aggregate_reference, relation_reference
from pointops.windows import window_pairs

assert os.environ["TRITON_INTERPRET"] == "1", "the interpreter is chosen when kernels are defined"
DTYPES = [torch.float32, torch.float16, torch.bfloat16]
ENDS = [[23], [5, 5, 23], [0, 9, 9, 12, 23]]  # one scene, an empty one, empty ones first and between


def rand(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def rows(*shape: int, high: int = 9) -> Tensor:
    return torch.randint(-1, high, shape, generator=torch.Generator().manual_seed(1), dtype=torch.int32)


def lattice(count: int, seed: int = 0) -> Tensor:
    """Points on a coarse grid: ties and exact duplicates."""
    return torch.randint(0, 3, (count, 3), generator=torch.Generator().manual_seed(seed)).float()


@pytest.mark.parametrize("dtype", DTYPES)
def test_gather_and_scatter(dtype):
    feat, idx = rand(9, 20).to(dtype), rows(11, 3)
    assert torch.equal(features.gather(feat, idx), gather_rows_reference(feat, idx))
    value = rand(11, 3, 20, seed=1).to(dtype)
    for table in (inverse_table_reference(idx, 9), table_for(idx, 9, None, None)):
        torch.testing.assert_close(features.scatter(value, *table), scatter_rows_reference(value, idx, 9))
        negated = features.scatter(value, *table, sign=-1.0)
        torch.testing.assert_close(negated, -scatter_rows_reference(value, idx, 9))


@pytest.mark.parametrize("channels", [3, 130])
@pytest.mark.parametrize("dtype", DTYPES)
def test_batch_norm(dtype, channels, monkeypatch):
    monkeypatch.setattr(norm, "PART", 512)
    many, slope = 1100 if channels == 3 else 70, 0.2
    x, residual, grad = (rand(many, channels, seed=seed).to(dtype) + 2 for seed in range(3))
    wide = [part.double() for part in (x, residual, grad)]
    mean, var = norm.moments(x)
    torch.testing.assert_close(mean, wide[0].mean(0), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(var, wide[0].var(0, correction=0), rtol=1e-5, atol=1e-6)
    mean, scale, shift = mean.float(), (var + 1e-5).rsqrt().float(), rand(channels)
    z = (wide[0] - mean) * scale + shift
    added = z + wide[1]
    for known, want in ((None, z), (residual, added)):
        out = norm.apply(x, known, mean, scale, shift, slope)
        torch.testing.assert_close(out, torch.where(want > 0, want, slope * want).to(dtype))
        told = None if known is None else out
        g = torch.where(want > 0, wide[2], slope * wide[2])
        sums = norm.sums(grad, x, told, mean, scale, shift, slope)
        torch.testing.assert_close(sums, torch.stack([g.sum(0), (g * (wide[0] - mean)).sum(0)]), rtol=1e-4, atol=1e-2)
        first, second = rand(channels, seed=3), rand(channels, seed=4)
        grad_x, grad_z = norm.backward(grad, x, told, mean, scale, shift, slope, first, second)
        torch.testing.assert_close(grad_x, ((g - first - (wide[0] - mean) * second) * scale).to(dtype))
        if grad_z is None:
            assert known is None
        else:
            torch.testing.assert_close(grad_z, g.to(dtype))


def test_a_row_named_by_more_entries_than_a_tile_holds():
    idx, value = torch.zeros(50, 1, dtype=torch.int32), rand(50, 1, 4)
    out = features.scatter(value, *inverse_table_reference(idx, 2))
    torch.testing.assert_close(out, torch.stack([value.sum((0, 1)), torch.zeros(4)]))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_relation_and_its_gradient(dtype, sign):
    query, key, position, idx = rand(6, 20).to(dtype), rand(9, 20).to(dtype), rand(6, 3, 20).to(dtype), rows(6, 3)
    for placed in (position, None):
        want = relation_reference(query, key, placed, idx, sign < 0).to(dtype)
        torch.testing.assert_close(features.relation(query, key, placed, idx, sign), want)
    want = (sign * position.float().sum(1)).to(dtype)
    torch.testing.assert_close(features.sum_neighbors(position, sign), want)


@pytest.mark.parametrize("dtype", DTYPES)
def test_interpolation_and_its_gradients(dtype):
    feat, idx, weight, grad = rand(9, 20).to(dtype), rows(7, 3), rand(7, 3).to(dtype), rand(7, 20, seed=2).to(dtype)
    torch.testing.assert_close(features.interpolate(feat, idx, weight), interpolate_reference(feat, idx, weight))
    table = inverse_table_reference(idx, 9)
    terms = grad.float().unsqueeze(1) * weight.float().unsqueeze(-1)
    want = scatter_rows_reference(terms, idx, 9).to(dtype)
    torch.testing.assert_close(features.scatter_weighted(grad, weight, *table), want)
    slope = (grad.float().unsqueeze(1) * gather_rows_reference(feat.float(), idx)).sum(-1).to(dtype)
    torch.testing.assert_close(features.weight_gradient(grad, feat, idx), slope)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("softmax", [True, False])
@pytest.mark.parametrize(("channels", "shares", "neighbors"), [(32, 4, 8), (24, 3, 5), (16, 16, 1)])
def test_aggregation_and_its_gradients(dtype, softmax, channels, shares, neighbors):
    idx = rows(7, neighbors)
    value, position = rand(9, channels).to(dtype), rand(7, neighbors, channels, seed=1).to(dtype)
    weight, grad = 3 * rand(7, neighbors, shares, seed=2).to(dtype), rand(7, channels, seed=3).to(dtype)
    out = aggregate.forward(value, position, weight, idx, softmax)
    torch.testing.assert_close(out, aggregate_reference(value, position, weight, idx, softmax).to(dtype))
    table = inverse_table_reference(idx, 9)
    ours = aggregate.backward(grad, value, position, weight, idx, *table, softmax)
    for got, want in zip(ours, _aggregate_gradient_reference(grad, value, position, weight, idx, softmax), strict=True):
        torch.testing.assert_close(got, want)
    out = aggregate.forward(value, None, weight, idx, softmax)
    torch.testing.assert_close(out, aggregate_reference(value, None, weight, idx, softmax).to(dtype))
    ours = aggregate.backward(grad, value, None, weight, idx, *table, softmax)
    for got, want in zip(ours, _aggregate_gradient_reference(grad, value, None, weight, idx, softmax), strict=True):
        torch.testing.assert_close(got, want)


def test_aggregation_of_nothing():
    none = torch.zeros(0, 3, dtype=torch.int32)
    assert aggregate.forward(rand(4, 8), rand(0, 3, 8), rand(0, 3, 2), none, True).shape == (0, 8)
    nobody = torch.zeros(2, 0, dtype=torch.int32)
    assert torch.equal(aggregate.forward(rand(4, 8), rand(2, 0, 8), rand(2, 0, 2), nobody, True), torch.zeros(2, 8))


@pytest.mark.parametrize("ends", ENDS)
@pytest.mark.parametrize("k", [1, 3, 8])
@pytest.mark.parametrize("cloud", [rand(23, 3), lattice(23), torch.ones(23, 3)], ids=["random", "ties", "all equal"])
def test_nearest_neighbors_are_the_same_rows(ends, k, cloud):
    query, query_ends = lattice(11, 4) + 0.25, [*([2] * (len(ends) - 1)), 11]
    idx, distance2 = search.knn(cloud, ends, query, query_ends, k)
    want, distance = knn_query_reference(k, cloud, torch.tensor(ends), query, torch.tensor(query_ends))
    assert torch.equal(idx, want)
    found = want >= 0
    assert torch.equal(distance2[found].double().sqrt().float(), distance[found])


def test_more_points_and_queries_than_a_tile_holds():
    cloud, ends = torch.cat([rand(150, 3), lattice(100)]), [150, 250]
    idx, _ = search.knn(cloud, ends, cloud, ends, 4)
    assert torch.equal(idx, knn_query_reference(4, cloud, torch.tensor(ends))[0])
    near = search.knn(cloud, ends, cloud.flip(0), [100, 250], 1)[0][:, 0]
    want = chamfer_nearest_reference(cloud.flip(0), torch.tensor([100, 250]), cloud, torch.tensor(ends)).idx
    assert torch.equal(near, want)


@pytest.fixture
def small_blocks(monkeypatch):
    """So small that few points are many blocks and several rounds of boxes."""
    for name, size in {"QUERIES": 8, "SUPPORT": 8, "BLOCKS": 4, "FROM": 1}.items():
        monkeypatch.setattr(pruned, name, size)


def surface(count: int, seed: int = 0) -> Tensor:
    """Points on a floor and far away from it, as a scan has them: dense and empty places."""
    points = rand(count, 3, seed=seed) * torch.tensor([5.0, 3.0, 0.01])
    points[: count // 9] = rand(count // 9, 3, seed=seed + 1) * 0.1 + 30
    return points


@pytest.mark.parametrize("ends", [[50], [0, 21, 21, 50]])
@pytest.mark.parametrize(
    ("cloud", "other"),
    [
        (surface(50), surface(24, 5)),
        (lattice(50), lattice(24, 3) + 0.5),
        (torch.ones(50, 3), torch.ones(24, 3)),
        (surface(50), surface(24, 5) * 1e4),  # the whole first cloud in a cell of the curve
        (surface(50), surface(50)[26:]),
    ],
    ids=["surfaces", "ties", "all equal", "far apart", "shared points"],
)
def test_the_search_that_leaves_blocks_out_finds_the_same_rows(small_blocks, ends, cloud, other):
    other_ends = [*([7] * (len(ends) - 1)), 24]
    want = chamfer_nearest_reference(cloud, torch.tensor(ends), other, torch.tensor(other_ends))
    first, second = pruned.sort_pair(cloud, ends, other, other_ends)
    for (idx, distance2), (distances, rows_) in zip(
        (pruned.nearest(second, first), pruned.nearest(first, second)), (want[:2], want[2:]), strict=True
    ):
        assert torch.equal(idx, rows_)
        assert torch.equal(distance2[idx >= 0], distances[idx >= 0])


def test_large_clouds_are_searched_so_behind_the_public_functions(small_blocks, monkeypatch):
    cloud, other, offset = surface(50), surface(40, 2), torch.tensor([30, 50])
    new_offset = torch.tensor([15, 40])
    near = chamfer_nearest_reference(cloud, offset, other, new_offset)
    want = knn_query_reference(1, cloud, offset, other, new_offset)
    asked: list[int] = []
    own = pruned.nearest
    monkeypatch.setattr(pruned, "nearest", lambda *clouds: asked.append(1) or own(*clouds))
    monkeypatch.setattr(_gpu, "serves", lambda xyz: True)
    for a, b in zip(chamfer_nearest(cloud, offset, other, new_offset), near, strict=True):
        assert torch.equal(a, b)
    for a, b in zip(knn_query(1, cloud, offset, other, new_offset), want, strict=True):
        assert torch.equal(a, b)
    assert len(asked) == 3


def test_far_blocks_are_left_out(small_blocks, monkeypatch):
    cloud, asked = torch.cat([rand(64, 3), rand(64, 3, seed=1) + 100]), rand(16, 3, seed=2)
    want = knn_query_reference(1, cloud, torch.tensor([128]), asked, torch.tensor([16]))[0][:, 0]
    support, queries = pruned.sort_pair(cloud, [128], asked, [16])
    boxes = pruned._boxes(support.xyz, 8 * torch.arange(16), torch.full((16,), 127))
    monkeypatch.setattr(pruned, "_boxes", lambda *_: boxes)
    support.xyz[64:] = queries.xyz[0]  # whoever looks into the far blocks finds the first query there
    assert torch.equal(pruned.nearest(support, queries)[0], want)


@pytest.mark.parametrize(("skip", "started"), [(False, True), (True, False)])
@pytest.mark.parametrize("ends", ENDS)
@pytest.mark.parametrize("cloud", [rand(23, 3), lattice(23) - 1, torch.ones(23, 3)], ids=["random", "ties", "equal"])
def test_samples_are_the_same_rows_and_radii(cloud, ends, skip, started):
    counts = [min(6, high - low) + (high > low) for low, high in zip([0, *ends[:-1]], ends, strict=True)]
    new_ends = torch.tensor(counts).cumsum(0)
    starts = torch.tensor([max(low, high - 2) for low, high in zip([0, *ends[:-1]], ends, strict=True)])
    given = starts if started else None
    out = sampling.sample(cloud, ends, new_ends.tolist(), given.tolist() if given is not None else None, skip)
    want = swept(cloud, torch.tensor(ends), new_ends, skip, given)
    assert out is not None
    for got, expected in zip(out, want, strict=True):
        assert torch.equal(got, expected)


def test_a_scene_too_large_for_registers_is_declined():
    assert sampling.sample(torch.zeros(20_000, 3), [20_000], [1], None, False) is None


@pytest.mark.parametrize("missing", ["minus_one", "first_point"])
@pytest.mark.parametrize("ends", ENDS)
def test_the_public_searches_see_the_results_they_are_used_to(monkeypatch, ends, missing):
    cloud, offset, k = lattice(23), torch.tensor(ends), 6
    want = knn_query_reference(k, cloud, offset, missing=missing)
    near = chamfer_nearest_reference(cloud, offset, cloud.flip(0), offset)
    sampled = farthest_point_sampling_reference(cloud, offset, offset // 3)
    monkeypatch.setattr(_gpu, "serves", lambda xyz: True)
    for a, b in zip(knn_query(k, cloud, offset, missing=missing), want, strict=True):
        assert torch.equal(a, b)
    for a, b in zip(chamfer_nearest(cloud, offset, cloud.flip(0), offset), near, strict=True):
        assert torch.equal(a, b)
    assert torch.equal(farthest_point_sampling(cloud, offset, offset // 3), sampled)


@pytest.mark.parametrize(("width", "heads"), [(16, 1), (5, 2)])
def test_window_attention_and_its_gradients(width, heads):
    xyz = torch.rand(7, 3, generator=torch.Generator().manual_seed(0))
    pairs = window_pairs(xyz, torch.tensor([7]), torch.arange(0, 7, 3), 0.5, 0.1)
    length = 20
    query, key, value, grad = (rand(7, heads, width, seed=seed) for seed in range(4))
    tables = [rand(length, heads, width, 3, seed=seed) for seed in range(4, 7)]
    want, weights = _window_torch.forward(query, key, value, tables, pairs)
    turned = [table.permute(1, 3, 0, 2).contiguous() for table in tables]
    lists = (pairs.ends, pairs.key, pairs.bins)
    out, ours = window.forward(query, key, value, turned, *lists)
    torch.testing.assert_close(out, want)
    torch.testing.assert_close(ours, weights)
    exact = _window_torch.backward(grad, weights, query, key, value, tables, pairs, pairs.by_key)
    got = window.backward(grad, ours, query, key, value, turned, *lists, pairs.query, pairs.by_key)
    for a, b in zip(got[:3], exact[:3], strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
    for a, b in zip(got[3:], exact[3:], strict=True):
        torch.testing.assert_close(a.permute(2, 0, 3, 1), b, rtol=1e-4, atol=1e-5)
