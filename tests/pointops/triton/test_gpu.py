"""On a real GPU: the same results as on the CPU, through the public functions."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import pointops
from pointops import _dispatch
from pointops.windows import WindowPairs

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
    pytest.mark.skipif(not _dispatch.has_triton(), reason="triton is not installed"),
]
POINTS, NEIGHBORS = 2000, 16


def cloud(count: int, seed: int = 0) -> Tensor:
    return torch.rand(count, 3, generator=torch.Generator().manual_seed(seed))


def on(device: str, value: Any) -> Any:
    return value.detach().to(device).requires_grad_(value.requires_grad) if isinstance(value, Tensor) else value


@pytest.mark.parametrize("missing", ["minus_one", "first_point"])
@pytest.mark.parametrize("lattice", [False, True])
@pytest.mark.parametrize("k", [1, 3, 16, 30])
def test_searches_return_the_same_rows_as_the_cpu(k, lattice, missing):
    xyz = cloud(POINTS)
    xyz = (xyz * 8).floor() if lattice else xyz
    offset = torch.tensor([700, 700, 710, POINTS])
    here = pointops.knn_query(k, xyz, offset, missing=missing)
    there = pointops.knn_query(k, xyz.cuda(), offset.cuda(), missing=missing)
    for a, b in zip(here, there, strict=True):
        assert torch.equal(a, b.cpu())


def test_samples_and_nearest_pairs_are_the_same_as_on_the_cpu():
    xyz, offset, new = cloud(POINTS), torch.tensor([700, POINTS]), torch.tensor([100, 400])
    here = pointops.farthest_point_sampling(xyz, offset, new)
    assert torch.equal(here, pointops.farthest_point_sampling(xyz.cuda(), offset.cuda(), new.cuda()).cpu())
    other = cloud(POINTS, 1)
    pairs = pointops.chamfer_nearest(xyz, offset, other, offset)
    for a, b in zip(pairs, pointops.chamfer_nearest(*(t.cuda() for t in (xyz, offset, other, offset))), strict=True):
        assert torch.equal(a, b.cpu())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("channels", [32, 64, 512])
def test_vector_attention_agrees_with_the_cpu_and_repeats_its_bits(channels, dtype):
    random = torch.Generator().manual_seed(0)
    idx = torch.randint(-1, POINTS, (POINTS, NEIGHBORS), generator=random, dtype=torch.int32)
    shapes = ((POINTS, channels), (POINTS, channels), (POINTS, NEIGHBORS, channels))
    shapes += ((POINTS, NEIGHBORS, channels // 8),)
    tensors = [torch.randn(shape, generator=random).to(dtype).requires_grad_() for shape in shapes]

    def run(device: str) -> list[Tensor]:
        query, key, position, logit = (on(device, tensor) for tensor in tensors)
        table = idx.to(device)
        relation = pointops.neighbor_relation(query, key, position, table)
        out = pointops.softmax_aggregation(key, relation, logit, table)
        grads = torch.autograd.grad(out.float().square().sum(), [query, key, position, logit])
        return [out.detach().cpu(), *(grad.cpu() for grad in grads)]

    first, second, want = run("cuda"), run("cuda"), run("cpu")
    slack = 1e-4 if dtype == torch.float32 else 2e-2
    for a, b, c in zip(first, second, want, strict=True):
        assert torch.equal(a, b)
        torch.testing.assert_close(a, c, rtol=slack, atol=slack)


def test_window_attention_agrees_with_the_cpu_and_repeats_its_bits():
    xyz, random = cloud(POINTS), torch.Generator().manual_seed(0)
    pairs = pointops.window_pairs(xyz, torch.tensor([POINTS]), torch.arange(0, POINTS, 8), 0.16, 0.01)
    length = int(pairs.bins.max()) + 1
    shapes = [(POINTS, 3, 16)] * 3 + [(length, 3, 16, 3)] * 3
    tensors = [torch.randn(shape, generator=random).requires_grad_() for shape in shapes]

    def run(device: str) -> list[Tensor]:
        values = [on(device, tensor) for tensor in tensors]
        lists = WindowPairs(*(part.to(device) for part in (pairs.ends, pairs.key, pairs.bins)))
        out = pointops.window_attention(*values[:3], lists, *values[3:])  # pyright: ignore[reportCallIssue]
        return [out.detach().cpu(), *(g.cpu() for g in torch.autograd.grad(out.square().sum(), values))]

    first, second, want = run("cuda"), run("cuda"), run("cpu")
    for a, b, c in zip(first, second, want, strict=True):
        torch.testing.assert_close(a, c, rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(a, b, rtol=0, atol=0)
