"""Window attention: equal to its definition with gradients, isolated, and in float32 under mixed precision."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from pointops import _native
from pointops.window_attention import window_attention, window_attention_reference
from pointops.windows import WindowPairs, table_length, window_pairs

WINDOW, QUANT = 0.4, 0.025


def pairs_of(count: int = 60, seed: int = 0) -> WindowPairs:
    xyz = torch.rand(count, 3, generator=torch.Generator().manual_seed(seed))
    return window_pairs(xyz, torch.tensor([count]), torch.arange(0, count, 8), WINDOW, QUANT)


def inputs(count: int = 60, heads: int = 3, width: int = 5, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    random = torch.Generator().manual_seed(1)
    length = table_length(WINDOW, QUANT)
    shapes = [(count, heads, width)] * 3 + [(length, heads, width, 3)] * 3
    return [torch.randn(shape, generator=random, dtype=dtype).requires_grad_() for shape in shapes]


def attend(tensors: list[Tensor], pairs: WindowPairs) -> Tensor:
    query, key, value, query_table, key_table, value_table = tensors
    return window_attention(query, key, value, pairs, query_table, key_table, value_table)


def reference(tensors: list[Tensor], pairs: WindowPairs) -> Tensor:
    query, key, value, query_table, key_table, value_table = tensors
    return window_attention_reference(query, key, value, pairs, query_table, key_table, value_table)


def by_hand(tensors: list[Tensor], pairs: WindowPairs) -> Tensor:
    """One query, head and key at a time."""
    query, key, value, query_table, key_table, value_table = tensors
    out = torch.zeros_like(query)
    starts = [0, *pairs.ends.tolist()[:-1]]
    for i, (start, end) in enumerate(zip(starts, pairs.ends.tolist(), strict=True)):
        for head in range(query.shape[1]):
            logits, values = [], []
            for pair in range(start, end):
                j, (x, y, z) = int(pairs.key[pair]), pairs.bins[pair].tolist()
                at = [
                    t[x, head, :, 0] + t[y, head, :, 1] + t[z, head, :, 2]
                    for t in (query_table, key_table, value_table)
                ]
                q, k = query[i, head], key[j, head]
                logits.append(q @ k + q @ at[0] + k @ at[1])
                values.append(value[j, head] + at[2])
            weight = torch.stack(logits).softmax(0)
            out[i, head] = (weight[:, None] * torch.stack(values)).sum(0)
    return out


@pytest.mark.parametrize("other", [by_hand, reference])
def test_attention_equals_its_definition_with_gradients(other):
    pairs, tensors = pairs_of(), inputs()
    probe = torch.randn(60, 3, 5, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    results = []
    for out in (attend(tensors, pairs), other(tensors, pairs)):
        results.append([out.detach(), *torch.autograd.grad((out * probe).sum(), tensors)])
    for ours, slow in zip(*results, strict=True):
        torch.testing.assert_close(ours, slow, rtol=0, atol=1e-10)


@pytest.mark.parametrize("width", [16, 5])
def test_kernels_equal_the_definition_with_gradients(kernels, threads, width):
    pairs, tensors = pairs_of(), inputs(width=width)
    single = [tensor.detach().float().requires_grad_() for tensor in tensors]
    probe = torch.randn(60, 3, width, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    out, slow = attend(single, pairs), reference(tensors, pairs)
    torch.testing.assert_close(out, slow.float(), rtol=1e-5, atol=1e-5)
    grads = torch.autograd.grad((out * probe.float()).sum(), single)
    for ours, exact in zip(grads, torch.autograd.grad((slow * probe).sum(), tensors), strict=True):
        torch.testing.assert_close(ours, exact.float(), rtol=1e-4, atol=1e-4)


def test_results_are_the_same_bits_for_any_number_of_threads_and_in_every_build(monkeypatch):
    pairs, tensors, results = pairs_of(), inputs(width=16, dtype=torch.float32), []
    baseline = _native._open(_native._built().get("baseline"))
    for flavor, path in _native._built().items():
        if baseline is None or not baseline.pointops_supports(flavor.encode()):
            continue
        library = _native._open(path)
        monkeypatch.setattr(_native, "library", lambda library=library: library)
        for threads in (1, 2, 5):
            monkeypatch.setattr(_native, "threads", lambda threads=threads: threads)
            out = attend(tensors, pairs)
            results.append([out.detach(), *torch.autograd.grad(out.square().sum(), tensors)])
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


def test_the_operation_behaves_under_the_dispatcher():
    pairs = pairs_of(12)
    for dtype in (torch.float32, torch.float64):
        tensors = inputs(12, 2, 4, dtype)
        torch.library.opcheck(
            torch.ops.pointops.window_attention.default, (*tensors, pairs.ends, pairs.key, pairs.bins, None, None)
        )


def test_no_points_have_no_output(kernels):
    none = window_pairs(torch.zeros(0, 3), torch.tensor([0]), torch.zeros(0, dtype=torch.int64), WINDOW, QUANT)
    tensors = inputs(0, 2, 16, torch.float32)
    out = attend(tensors, none)
    out.sum().backward()
    assert out.shape == (0, 2, 16)
    assert tensors[3].grad is not None
    assert tensors[3].grad.abs().sum() == 0


@pytest.mark.parametrize("what", ["key", "bins"])
def test_pairs_out_of_range_are_refused(kernels, what):
    pairs, tensors = pairs_of(), inputs(dtype=torch.float32)
    wrong = getattr(pairs, what).clone()
    wrong[7] = 200
    with pytest.raises(ValueError, match=what):
        attend(tensors, replace(pairs, **{what: wrong}))


def test_gradients_pass_finite_differences():
    pairs, tensors = pairs_of(12), inputs(12, 1, 2)
    assert torch.autograd.gradcheck(lambda *t: attend(list(t), pairs), tensors)


def test_equal_logits_give_the_mean_of_the_values():
    pairs, tensors = pairs_of(), inputs()
    with torch.no_grad():
        for tensor in (tensors[0], tensors[1], *tensors[3:]):
            tensor.zero_()
    out = attend(tensors, pairs)
    keys = pairs.key[: pairs.ends[0]].long()
    torch.testing.assert_close(out[0], tensors[2][keys].mean(0))


def test_large_logits_stay_finite():
    pairs, tensors = pairs_of(), inputs(dtype=torch.float32)
    out = attend([100 * tensors[0], 100 * tensors[1], *tensors[2:]], pairs)
    out.sum().backward()
    assert bool(out.isfinite().all())
    assert all(bool(t.grad.isfinite().all()) for t in tensors if t.grad is not None)


def test_it_computes_in_float32_under_mixed_precision():
    pairs, tensors = pairs_of(), inputs(dtype=torch.float32)
    exact = attend(tensors, pairs)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = attend(tensors, pairs)
        half = attend([*(t.bfloat16() for t in tensors[:3]), *tensors[3:]], pairs)
    assert torch.equal(mixed, exact)
    assert half.dtype == torch.float32


def test_shapes_that_contradict_each_other_are_refused():
    pairs, tensors = pairs_of(), inputs()
    with pytest.raises(ValueError, match="query, key and value"):
        attend([tensors[0], tensors[1][:, :2], *tensors[2:]], pairs)
    with pytest.raises(ValueError, match="pairs are of 60"):
        attend([*(t[:50] for t in tensors[:3]), *tensors[3:]], pairs)
    with pytest.raises(ValueError, match="value_table"):
        attend([*tensors[:5], tensors[5][:8]], pairs)
