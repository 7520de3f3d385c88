"""Kernels of feature operations: equal to the definitions with gradients, for every build and number of threads."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck

import pointops
from pointops import _native
from pointops.gather import gather_rows_reference, scatter_rows_reference
from pointops.interpolation import interpolate_reference
from pointops.inverse import inverse_table, inverse_table_reference
from pointops.vector_attention import aggregate_reference, relation_reference

POINTS, SOURCES, NEIGHBORS = 37, 29, 5
WIDTHS = [(32, 4), (64, 8), (48, 16), (96, 48), (12, 3), (7, 7), (5, 1)]  # channels, weights; with and without tiles


def rand(*shape: int, seed: int = 0, **options: Any) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), **options)


def table(points: int = POINTS, sources: int = SOURCES, neighbors: int = NEIGHBORS) -> Tensor:
    generator = torch.Generator().manual_seed(5)
    return torch.randint(-1, sources, (points, neighbors), generator=generator, dtype=torch.int32)


def inputs(channels: int, weights: int, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    shapes = {
        "query": (POINTS, channels),
        "key": (SOURCES, channels),
        "position": (POINTS, NEIGHBORS, channels),
        "logit": (POINTS, NEIGHBORS, weights),
        "share": (POINTS, NEIGHBORS),
    }
    return {name: rand(*shape, seed=n).to(dtype).requires_grad_() for n, (name, shape) in enumerate(shapes.items())}


IDX = table()
KERNELS = {
    "gather": (lambda t: pointops.gather_rows(t["key"], IDX), lambda t: gather_rows_reference(t["key"], IDX)),
    "scatter": (
        lambda t: pointops.scatter_rows(t["position"], IDX, SOURCES),
        lambda t: scatter_rows_reference(t["position"], IDX, SOURCES),
    ),
    "relation": (
        lambda t: pointops.neighbor_relation(t["query"], t["key"], t["position"], IDX),
        lambda t: relation_reference(t["query"], t["key"], t["position"], IDX, False),
    ),
    "subtraction": (
        lambda t: pointops.subtraction(t["query"], t["key"], IDX),
        lambda t: relation_reference(t["query"], t["key"], None, IDX, True),
    ),
    "softmax_aggregation": (
        lambda t: pointops.softmax_aggregation(t["key"], t["position"], t["logit"], IDX),
        lambda t: aggregate_reference(t["key"], t["position"], t["logit"], IDX, True),
    ),
    "softmax_aggregation without position": (
        lambda t: pointops.softmax_aggregation(t["key"], None, t["logit"], IDX),
        lambda t: aggregate_reference(t["key"], None, t["logit"], IDX, True),
    ),
    "aggregation without position": (
        lambda t: pointops.aggregation(t["key"], None, t["logit"], IDX),
        lambda t: aggregate_reference(t["key"], None, t["logit"], IDX, False),
    ),
    "aggregation": (
        lambda t: pointops.aggregation(t["key"], t["position"], t["logit"], IDX),
        lambda t: aggregate_reference(t["key"], t["position"], t["logit"], IDX, False),
    ),
    "interpolate": (
        lambda t: pointops.interpolate(t["key"], IDX, t["share"]),
        lambda t: interpolate_reference(t["key"], IDX, t["share"]),
    ),
}


def with_gradients(run, tensors: dict[str, Tensor]) -> list[Tensor]:
    out = run(tensors)
    probe = rand(*out.shape, seed=9).to(out.dtype)
    grads = torch.autograd.grad((out * probe).sum(), list(tensors.values()), allow_unused=True)
    return [out.detach(), *(grad for grad in grads if grad is not None)]


@pytest.mark.parametrize(("channels", "weights"), WIDTHS)
@pytest.mark.parametrize("name", KERNELS)
def test_kernels_equal_their_definitions_with_gradients(kernels, threads, name, channels, weights):
    ours, definition = KERNELS[name]
    tensors = inputs(channels, weights)
    exact = with_gradients(
        definition, {key: value.detach().double().requires_grad_() for key, value in tensors.items()}
    )
    for got, want in zip(with_gradients(ours, tensors), exact, strict=True):
        assert got.dtype == torch.float32
        torch.testing.assert_close(got, want.float(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", KERNELS)
def test_gradients_pass_finite_differences(name):
    tensors = inputs(6, 3, torch.float64)
    names = list(tensors)

    def run(*values: Tensor) -> Tensor:
        return KERNELS[name][0](dict(zip(names, values, strict=True)))

    assert gradcheck(run, tuple(tensors.values()))


@pytest.mark.parametrize("name", ["gather", "scatter"])
def test_linear_operations_can_be_differentiated_twice(name):
    tensors = inputs(4, 2, torch.float64)
    assert torch.autograd.gradgradcheck(
        lambda k, p: KERNELS[name][0]({"key": k, "position": p}), (tensors["key"], tensors["position"])
    )


@pytest.mark.parametrize("name", KERNELS)
def test_results_are_the_same_bits_for_any_number_of_threads_and_in_every_build(monkeypatch, name):
    results = []
    baseline = _native._open(_native._built().get("baseline"))
    for flavor, path in _native._built().items():
        if baseline is None or not baseline.pointops_supports(flavor.encode()):
            continue
        library = _native._open(path)
        monkeypatch.setattr(_native, "library", lambda library=library: library)
        for threads in (1, 2, 5):
            monkeypatch.setattr(_native, "threads", lambda threads=threads: threads)
            results.append(with_gradients(KERNELS[name][0], inputs(48, 16)))
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", KERNELS)
def test_half_precision_sums_in_float32_and_keeps_its_type(name, dtype):
    ours, definition = KERNELS[name]
    tensors = inputs(32, 4, dtype)
    exact = definition({key: value.float() for key, value in tensors.items()})
    out = ours(tensors)
    assert out.dtype == dtype
    torch.testing.assert_close(out, exact.to(dtype))  # rounded once, at the end
    assert all(grad.dtype == dtype and bool(grad.isfinite().all()) for grad in with_gradients(ours, tensors)[1:])


def test_mixed_types_are_widened():
    tensors = inputs(8, 2)
    out = pointops.softmax_aggregation(tensors["key"].bfloat16(), tensors["position"], tensors["logit"].bfloat16(), IDX)
    assert out.dtype == torch.float32
    assert pointops.neighbor_relation(tensors["query"].half(), tensors["key"], None, IDX).dtype == torch.float32


def test_softmax_aggregation_is_the_aggregation_of_softmaxed_weights():
    t = inputs(32, 4)
    torch.testing.assert_close(
        pointops.softmax_aggregation(t["key"], t["position"], t["logit"], IDX),
        pointops.aggregation(t["key"], t["position"], t["logit"].softmax(1), IDX),
    )


def test_large_logits_stay_finite_and_equal_logits_give_the_mean(kernels):
    t = inputs(32, 4)
    wild = (t["logit"].detach() * 1e4).requires_grad_()
    out = pointops.softmax_aggregation(t["key"], t["position"], wild, IDX)
    out.sum().backward()
    assert bool(out.isfinite().all())
    assert wild.grad is not None
    assert bool(wild.grad.isfinite().all())
    mean = pointops.softmax_aggregation(t["key"], t["position"], torch.zeros_like(t["logit"]), IDX)
    torch.testing.assert_close(mean, (gather_rows_reference(t["key"], IDX) + t["position"]).mean(1))


def test_no_queries_no_sources_and_no_neighbors_give_what_they_should(kernels):
    none = torch.zeros(0, 3, dtype=torch.int32)
    feat, blank = rand(4, 16).requires_grad_(), torch.zeros(0, 16)
    assert pointops.neighbor_relation(blank, feat, None, none).shape == (0, 3, 16)
    out = pointops.softmax_aggregation(feat, torch.zeros(0, 3, 16), torch.zeros(0, 3, 2), none)
    assert out.shape == (0, 16)
    out.sum().backward()
    assert feat.grad is not None
    assert feat.grad.abs().sum() == 0
    missing = torch.full((2, 3), -1)
    position = rand(2, 3, 16)
    torch.testing.assert_close(
        pointops.softmax_aggregation(blank, position, torch.zeros(2, 3, 2), missing), position.mean(1)
    )
    nobody = torch.zeros(2, 0, dtype=torch.int32)
    assert torch.equal(
        pointops.aggregation(feat, torch.zeros(2, 0, 16), torch.zeros(2, 0, 2), nobody), torch.zeros(2, 16)
    )
    assert pointops.scatter_rows(blank, none[:, 0], 0).shape == (0, 16)


def test_non_contiguous_inputs_are_handled(kernels):
    tensors = inputs(32, 4)
    skewed = {
        name: value.detach().transpose(0, -1).contiguous().transpose(0, -1).requires_grad_()
        for name, value in tensors.items()
    }
    for ours, _ in KERNELS.values():
        for got, want in zip(with_gradients(ours, skewed), with_gradients(ours, tensors), strict=True):
            assert torch.equal(got, want)


@pytest.mark.parametrize("rows", [0, 1, 29])
def test_the_inverse_table_is_the_definition(kernels, rows):
    idx = IDX.clamp_max(rows - 1)
    for got, want in zip(inverse_table(idx, rows), inverse_table_reference(idx, rows), strict=True):
        assert torch.equal(got, want)


def test_an_inverse_table_changes_nothing_and_must_fit():
    tensors, inverse = inputs(32, 4), inverse_table(IDX, SOURCES)
    plain = pointops.softmax_aggregation(tensors["key"], tensors["position"], tensors["logit"], IDX)
    tabled = pointops.softmax_aggregation(tensors["key"], tensors["position"], tensors["logit"], IDX, inverse=inverse)
    assert torch.equal(plain, tabled)
    with pytest.raises(ValueError, match="inverse"):
        pointops.gather_rows(tensors["query"], IDX, inverse=inverse)
    with pytest.raises(ValueError, match="inverse"):
        pointops.gather_rows(tensors["key"], IDX, inverse=inverse._replace(entry=inverse.entry.long()))


def test_votes_are_added_where_they_point():
    vote, weight = rand(9, 3, dtype=torch.float64).requires_grad_(), rand(9, dtype=torch.float64).exp().requires_grad_()
    idx = torch.tensor([0, 2, 2, -1, 4, 4, 4, 0, 2])
    votes = pointops.vote_scatter(vote, idx, 6, weight)
    for row in range(6):
        mine = (idx == row).nonzero()[:, 0]
        torch.testing.assert_close(votes.total[row], (vote[mine] * weight[mine, None]).sum(0))
        torch.testing.assert_close(votes.weight[row], weight[mine].sum())
    assert torch.equal(votes.mean()[1], torch.zeros(3, dtype=torch.float64))
    torch.testing.assert_close(pointops.vote_scatter(vote, idx, 6).weight, torch.tensor([2.0, 0, 3, 0, 3, 0]).double())
    assert gradcheck(lambda v, w: pointops.vote_scatter(v, idx, 6, w).mean(), (vote, weight))
    with pytest.raises(ValueError, match="idx must"):
        pointops.vote_scatter(vote, idx, 4)
    with pytest.raises(ValueError, match="weight"):
        pointops.vote_scatter(vote, idx, 6, weight[:4])


BAD = {
    "idx": lambda t: pointops.gather_rows(t["key"], IDX.float()),
    "idx must": lambda t: pointops.gather_rows(t["key"][:3], IDX),
    "idx must lie": lambda t: pointops.gather_rows(t["key"][:3], IDX.long()),
    "idx must have 2 axes": lambda t: pointops.grouping2(t["key"], IDX[0]),
    "feat": lambda t: pointops.gather_rows(t["position"], IDX),
    "feat must be a floating": lambda t: pointops.gather_rows(t["key"].long(), IDX),
    "value": lambda t: pointops.scatter_rows(t["key"], IDX, SOURCES),
    "rows": lambda t: pointops.scatter_rows(t["position"], IDX, -1),
    "query has": lambda t: pointops.neighbor_relation(t["query"][:, :2], t["key"], None, IDX),
    "query must": lambda t: pointops.neighbor_relation(t["query"][:4], t["key"], None, IDX),
    "position": lambda t: pointops.neighbor_relation(t["query"], t["key"], t["position"][:, :2], IDX),
    "position must": lambda t: pointops.softmax_aggregation(t["key"], t["position"][:2], t["logit"], IDX),
    "logit": lambda t: pointops.softmax_aggregation(t["key"], t["position"], t["logit"][..., :3], IDX),
    "weight": lambda t: pointops.aggregation(t["key"], t["position"], t["logit"][..., :0], IDX),
    "weight must": lambda t: pointops.interpolate(t["key"], IDX, t["share"][:, :2]),
    "offset": lambda t: pointops.segment_sum(t["key"], torch.tensor([3, 5])),
    "value must": lambda t: pointops.segment_max(t["key"].long(), torch.tensor([SOURCES])),
    "index_refer": lambda t: pointops.attention_fusion_step(
        t["share"][:2], t["position"], torch.tensor([0, 1]), torch.tensor([0, -1])
    ),
}


@pytest.mark.parametrize("message", BAD)
def test_bad_input_is_refused_by_name(kernels, message):
    with pytest.raises(ValueError, match=message):
        BAD[message](inputs(32, 4))


@pytest.mark.parametrize("call", ["relation", "softmax_aggregation", "interpolate", "scatter"])
def test_row_numbers_out_of_range_are_refused_by_every_kernel(kernels, threads, call):
    t, wild = inputs(32, 4), IDX.clone()
    wild[20, 3] = SOURCES
    with pytest.raises(ValueError, match="idx"):
        {
            "relation": lambda: pointops.neighbor_relation(t["query"], t["key"], None, wild),
            "softmax_aggregation": lambda: pointops.softmax_aggregation(t["key"], t["position"], t["logit"], wild),
            "interpolate": lambda: pointops.interpolate(t["key"], wild, t["share"]),
            "scatter": lambda: pointops.scatter_rows(t["position"], wild, SOURCES),
        }[call]()
