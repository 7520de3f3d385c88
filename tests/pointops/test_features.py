"""Feature operations: values against loops, gradients against finite differences, scenes apart."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.autograd import gradcheck

import pointops
from pointops.interpolation import interpolate_reference
from pointops.inverse import join_inverse

DOUBLE: dict[str, Any] = {"dtype": torch.float64}


def rand(*shape: int, seed: int = 0, **options) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), **options)


def rows(*shape: int, high: int, low: int = 0) -> torch.Tensor:
    return torch.randint(low, high, shape, generator=torch.Generator().manual_seed(3), dtype=torch.int32)


def test_interpolation_of_a_constant_is_the_constant_and_at_sources_exact():
    xyz, new_xyz = rand(40, 3), rand(60, 3, seed=1)
    offset, ends = torch.tensor([15, 40]), torch.tensor([20, 60])
    out = pointops.interpolation(xyz, new_xyz, torch.full((40, 2), 3.5), offset, ends)
    torch.testing.assert_close(out, torch.full((60, 2), 3.5))
    feat = rand(40, 4, seed=2)
    torch.testing.assert_close(pointops.interpolation(xyz, xyz, feat, offset, offset), feat, rtol=0, atol=1e-5)


def test_a_scene_of_two_sources_uses_two():
    xyz = torch.tensor([[0.0, 0, 0], [3, 0, 0]])
    out = pointops.interpolation(
        xyz,
        torch.tensor([[1.0, 0, 0]]),
        torch.tensor([[0.0], [3.0]]),
        *[torch.tensor([2])] * 1,
        torch.tensor([1]),  # pyright: ignore
    )
    assert out.item() == pytest.approx(1.0)


def test_interpolate_agrees_with_its_definition_and_is_differentiable():
    feat, weight = rand(9, 4, **DOUBLE).requires_grad_(), rand(7, 3, seed=1, **DOUBLE).requires_grad_()
    idx = rows(7, 3, high=9, low=-1)
    zeroed = weight.detach().masked_fill(idx < 0, 0)
    torch.testing.assert_close(pointops.interpolate(feat, idx, weight), interpolate_reference(feat, idx, zeroed))
    assert gradcheck(lambda f, w: pointops.interpolate(f, idx, w), (feat, weight))


def test_the_backward_of_interpolation_is_its_adjoint():
    feat, grad = rand(30, 5, **DOUBLE).requires_grad_(), rand(50, 5, seed=4, **DOUBLE)
    idx, weight = rows(50, 3, high=30), rand(50, 3, seed=5, **DOUBLE)
    out = pointops.interpolate(feat, idx, weight)
    out.backward(grad)
    torch.testing.assert_close((out * grad).sum(), (feat * feat.grad).sum())  # pyright: ignore


def test_grouping_gathers_relative_coordinates_and_zeros_for_missing():
    xyz, feat, idx = rand(12, 3), rand(12, 4, seed=1), rows(12, 5, high=12, low=-1)
    out = pointops.grouping(idx, feat, xyz, with_xyz=True)
    for m in range(12):
        for j in range(5):
            row = int(idx[m, j])
            want = torch.zeros(7) if row < 0 else torch.cat([xyz[row] - xyz[m], feat[row]])
            assert torch.equal(out[m, j], want)


def test_gradients_of_the_pointcept_operations():
    a, b = rand(6, 4, **DOUBLE).requires_grad_(), rand(8, 4, seed=1, **DOUBLE).requires_grad_()
    idx = rows(6, 3, high=8, low=-1)
    position, weight = (rand(6, 3, c, seed=c, **DOUBLE).requires_grad_() for c in (4, 2))
    assert gradcheck(lambda f: pointops.grouping2(f, idx), (b,))
    assert gradcheck(lambda x, y: pointops.subtraction(x, y, idx), (a, b))
    assert gradcheck(lambda f, p, w: pointops.aggregation(f, p, w, idx), (b, position, weight))


def test_aggregation_shares_weights_by_channel_modulo():
    feat, idx = rand(5, 6), rows(4, 3, high=5)
    position, weight = rand(4, 3, 6, seed=1), rand(4, 3, 2, seed=2)
    out = pointops.aggregation(feat, position, weight, idx)
    for n in range(4):
        for c in range(6):
            want = sum((feat[idx[n, j], c] + position[n, j, c]) * weight[n, j, c % 2] for j in range(3))
            torch.testing.assert_close(out[n, c], want)


def test_pairwise_attention_steps():
    query, key = (rand(5, 2, 3, seed=s, **DOUBLE).requires_grad_() for s in (0, 1))
    scale, target, refer = rand(3, seed=2, **DOUBLE).requires_grad_(), rows(11, high=5), rows(11, high=5).flip(0)
    relation = pointops.attention_relation_step(query, key, scale, target, refer)
    want = (query[target.long()] * key[refer.long()] * scale).sum(-1)
    torch.testing.assert_close(relation, want)
    assert gradcheck(lambda *t: pointops.attention_relation_step(*t, target, refer), (query, key, scale))  # pyright: ignore
    weight = relation.detach().requires_grad_()
    fused = pointops.attention_fusion_step(weight, key, target, refer)
    for n in range(5):
        pairs = (target == n).nonzero()[:, 0]
        want = sum((weight[p, :, None] * key[refer[p].long()] for p in pairs), start=torch.zeros(2, 3, **DOUBLE))
        torch.testing.assert_close(fused[n], want)
    assert gradcheck(lambda w, v: pointops.attention_fusion_step(w, v, target, refer), (weight, key))


def test_search_and_group_in_one_call():
    xyz, feat, offset = rand(50, 3), rand(50, 2, seed=1), torch.tensor([20, 50])
    grouped, idx = pointops.knn_query_and_group(feat, xyz, offset, nsample=4, with_xyz=True)
    assert torch.equal(idx, pointops.knn_query(4, xyz, offset)[0])
    assert torch.equal(grouped, pointops.grouping(idx, feat, xyz, with_xyz=True))
    balls, found = pointops.ball_query_and_group(feat, xyz, offset, max_radio=0.3, nsample=4)
    assert torch.equal(found, pointops.ball_query(4, 0.3, 0.0, xyz, offset)[0])
    assert balls.shape == (50, 4, 2)
    for order, padding in (("nearest", "minus_one"), ("index", "first_hit")):
        _, found = pointops.ball_query_and_group(
            feat, xyz, offset, max_radio=0.3, nsample=16, order=order, padding=padding
        )
        want, _ = pointops.ball_query(16, 0.3, 0.0, xyz, offset, order=order, padding=padding)
        assert torch.equal(found, want)
    short, found = pointops.ball_query_and_group(feat, xyz, offset, max_radio=0.05, nsample=4, with_xyz=True)
    assert bool((found < 0).any())
    assert not short[found < 0].any()
    both, same = pointops.query_and_group(4, xyz, None, feat, None, offset, None)
    assert torch.equal(same, idx)
    assert torch.equal(both, grouped)
    dilated = pointops.query_and_group(4, xyz, None, feat, None, offset, None, dilation=2, with_feat=False)
    assert isinstance(dilated, torch.Tensor)
    assert torch.equal(dilated, pointops.knn_query(10, xyz, offset)[0][:, ::3])


def test_segment_reductions():
    value, offset = rand(9, 3, **DOUBLE).requires_grad_(), torch.tensor([4, 4, 9])
    total = pointops.segment_sum(value, offset)
    torch.testing.assert_close(total, torch.stack([value[:4].sum(0), value[:0].sum(0), value[4:].sum(0)]))
    torch.testing.assert_close(pointops.segment_mean(value, offset)[2], value[4:].mean(0))
    assert torch.equal(
        pointops.segment_max(value, offset)[:, 0],
        torch.stack([value[:4, 0].max(), value.new_zeros(()), value[4:, 0].max()]),
    )
    for reduce in (pointops.segment_sum, pointops.segment_mean, pointops.segment_softmax, pointops.segment_max):
        assert gradcheck(lambda v, reduce=reduce: reduce(v, offset), (value,))
    spread = pointops.segment_broadcast(total, offset)
    assert torch.equal(spread[:4], total[:1].expand(4, 3))


def test_segment_softmax_sums_to_one_and_stays_finite():
    value, offset = rand(10, 2) * 2e4 - 1e4, torch.tensor([3, 10])
    out = pointops.segment_softmax(value, offset)
    assert out.isfinite().all()
    torch.testing.assert_close(pointops.segment_sum(out, offset), torch.ones(2, 2))


def test_offsets_and_batches_are_inverse():
    offset = torch.tensor([3, 3, 7])
    batch = pointops.offset2batch(offset)
    assert batch.tolist() == [0, 0, 0, 2, 2, 2, 2]
    assert pointops.batch2offset(batch).tolist() == [3, 3, 7]
    assert pointops.offset2counts(offset).tolist() == [3, 0, 4]
    assert pointops.scene_slices(offset) == [slice(0, 3), slice(3, 3), slice(3, 7)]


def test_an_inverse_table_names_every_place_of_every_row():
    idx = rows(20, 4, high=15, low=-1)
    table = pointops.inverse_table(idx, 15)
    for row in range(15):
        places = table.entry[int(table.start[row]) : int(table.start[row + 1])]
        assert torch.equal(places.long(), (idx.view(-1) == row).nonzero()[:, 0])
    joined = join_inverse([table, table], [idx.numel(), idx.numel()])
    both = pointops.inverse_table(torch.cat([idx, torch.where(idx < 0, idx, idx + 15)]), 30)
    assert torch.equal(joined.start, both.start)
    assert torch.equal(joined.entry, both.entry)


def test_half_precision_features_keep_their_type():
    feat, idx = rand(10, 4).bfloat16(), rows(6, 3, high=10)
    assert pointops.grouping2(feat, idx).dtype == torch.bfloat16
    assert pointops.subtraction(feat[:6], feat, idx).dtype == torch.bfloat16


def test_half_features_do_not_round_relative_coordinates():
    xyz, feat, idx = rand(12, 3) + 1e-4, rand(12, 4, seed=1).half(), rows(12, 5, high=12, low=-1)
    out = pointops.grouping(idx, feat, xyz, with_xyz=True)
    assert out.dtype == torch.float32
    assert torch.equal(out, pointops.grouping(idx, feat.float(), xyz, with_xyz=True))
    assert pointops.grouping(idx, feat, xyz).dtype == torch.half


def test_empty_inputs_give_empty_outputs():
    none = torch.zeros(0, 3, dtype=torch.int32)
    assert pointops.grouping2(rand(4, 2), none).shape == (0, 3, 2)
    assert pointops.interpolate(rand(4, 2), none, torch.zeros(0, 3)).shape == (0, 2)
    assert pointops.grouping2(torch.zeros(0, 2), torch.full((3, 2), -1)).shape == (3, 2, 2)
