"""compat.pointops2: Stratified Transformer's functions, against restatements that gather every pair's vectors."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck

import pointops
from pointops.compat import pointops2
from pointops.windows import WindowPairs

N, H, D, L = 7, 2, 5, 6
DOUBLE = torch.float64


def rand(*shape: int, seed: int = 0, dtype: torch.dtype = DOUBLE) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype).requires_grad_()


def draw(high: int, *shape: int, seed: int = 0) -> Tensor:
    return torch.randint(high, shape, generator=torch.Generator().manual_seed(seed), dtype=torch.int32)


COUNTS = torch.tensor([3, 1, 0, 5, 2, 4, 6])  # keys of each query
ENDS = torch.cat([torch.zeros(1, dtype=torch.int64), COUNTS.cumsum(0)])
INDEX0, M = torch.arange(N).repeat_interleave(COUNTS).int(), int(COUNTS.sum())
INDEX1, REL = draw(N, M, seed=1), draw(L, M, 3, seed=2)
Q, K, V = (rand(N, H, D, seed=seed) for seed in (3, 4, 5))
TABLE, OTHER, ATTN = rand(L, H, D, 3, seed=6), rand(L, H, D, 3, seed=7), rand(M, H, seed=8)


def at(table: Tensor) -> Tensor:
    """(M, H, D) position vectors of the pairs."""
    return torch.stack([table[REL[:, axis].long(), :, :, axis] for axis in range(3)]).sum(0)


def summed(value: Tensor, rows: int) -> Tensor:
    """(M, H, D) added up by query."""
    return value.new_zeros(rows, H, D).index_add(0, INDEX0.long(), value)


def test_attention_step1():
    want = (Q[INDEX0.long()] * K[INDEX1.long()]).sum(-1)
    torch.testing.assert_close(pointops2.attention_step1(Q, K, INDEX0, INDEX1), want)
    torch.testing.assert_close(pointops2.attention_step1_v2(Q, K, INDEX1, ENDS.int(), COUNTS.max()), want)
    assert gradcheck(lambda q, k: pointops2.attention_step1(q, k, INDEX0, INDEX1), (Q, K))
    assert gradcheck(lambda q, k: pointops2.attention_step1_v2(q, k, INDEX1, ENDS, 6), (Q, K))


def test_attention_step1_of_fewer_keys_than_queries():
    few = rand(3, H, D, seed=9)
    got = pointops2.attention_step1_v2(Q, few, INDEX1 % 3, ENDS, 6)
    torch.testing.assert_close(got, (Q[INDEX0.long()] * few[INDEX1.long() % 3]).sum(-1))


def test_attention_step2():
    want = summed(ATTN[..., None] * V[INDEX1.long()], N)
    for step in (pointops2.attention_step2, pointops2.attention_step2_v2):
        torch.testing.assert_close(step(ATTN, V, INDEX0, INDEX1), want)
        assert step(ATTN[:4], V, INDEX0[:4], INDEX1[:4]).shape == (2, H, D)  # as many rows as index0 names
        assert gradcheck(lambda a, v, step=step: step(a, v, INDEX0, INDEX1), (ATTN, V))


def test_dot_prod_with_idx():
    query, key = (Q[INDEX0.long()] * at(TABLE)).sum(-1), (K[INDEX1.long()] * at(OTHER)).sum(-1)
    torch.testing.assert_close(pointops2.dot_prod_with_idx(Q, INDEX0, TABLE, REL), query)
    second = pointops2.dot_prod_with_idx_v2(Q, INDEX0, K, INDEX1, TABLE, OTHER, REL)
    torch.testing.assert_close(second, query + key)
    third = pointops2.dot_prod_with_idx_v3(Q, ENDS.int(), 6, K, INDEX1, TABLE, OTHER, REL)
    torch.testing.assert_close(third, query + key)
    assert gradcheck(lambda q, t: pointops2.dot_prod_with_idx(q, INDEX0, t, REL), (Q, TABLE))
    assert gradcheck(
        lambda q, k, t, o: pointops2.dot_prod_with_idx_v3(q, ENDS, 6, k, INDEX1, t, o, REL), (Q, K, TABLE, OTHER)
    )


def test_attention_step2_with_rel_pos_value():
    want = summed(ATTN[..., None] * (V[INDEX1.long()] + at(TABLE)), N)
    first = pointops2.attention_step2_with_rel_pos_value(ATTN, V, INDEX0, INDEX1, TABLE, REL)
    torch.testing.assert_close(first, want)
    second = pointops2.attention_step2_with_rel_pos_value_v2(ATTN, V, ENDS.int(), 6, INDEX1, TABLE, REL)
    torch.testing.assert_close(second, want)
    assert gradcheck(
        lambda a, v, t: pointops2.attention_step2_with_rel_pos_value_v2(a, v, ENDS, 6, INDEX1, t, REL), (ATTN, V, TABLE)
    )


def test_the_steps_together_are_window_attention():
    kept = COUNTS > 0
    query, key, value, *tables = (t.detach().float() for t in (Q, K, V, TABLE, OTHER, rand(L, H, D, 3, seed=10)))
    logit = pointops2.attention_step1_v2(query, key, INDEX1, ENDS, 6)
    logit = logit + pointops2.dot_prod_with_idx_v3(query, ENDS, 6, key, INDEX1, tables[0], tables[1], REL)
    weight = pointops.segment_softmax(logit, ENDS[1:][kept])
    out = pointops2.attention_step2_with_rel_pos_value_v2(weight, value, ENDS, 6, INDEX1, tables[2], REL)
    pairs = WindowPairs(ENDS[1:], INDEX1, REL.to(torch.uint8))
    whole = pointops.window_attention(query, key, value, pairs, *tables)
    torch.testing.assert_close(out[kept], whole[kept])


def test_half_precision_is_summed_in_the_type_of_the_table_under_autocast():
    query, table = Q.detach().float(), TABLE.detach().float()
    want = pointops2.dot_prod_with_idx(query, INDEX0, table, REL)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = pointops2.dot_prod_with_idx(query, INDEX0, table, REL)
    assert got.dtype == torch.float32
    torch.testing.assert_close(got, want)


def test_precompute_all_lists_every_pair_within_a_window():
    counts = torch.tensor([2, 0, 3])
    first, keyed, index0, index1 = pointops2.precompute_all(5, 3, 3, counts)
    assert first.tolist() == [0, 2, 4, 7, 10, 13]
    assert index0.tolist() == [0, 0, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4]
    assert index1.tolist() == [0, 1, 0, 1, 2, 3, 4, 2, 3, 4, 2, 3, 4]
    assert keyed.tolist() == [index1.tolist().index(row) for row in range(5)]


def test_queryandgroup_returns_rows_on_request():
    xyz, feat, offset = (
        rand(9, 3, dtype=torch.float32).detach(),
        rand(9, 2, dtype=torch.float32).detach(),
        ENDS[-1:] * 0 + 9,
    )
    grouped, idx = pointops2.queryandgroup(3, xyz, xyz, feat, None, offset, offset, return_indx=True)
    assert torch.equal(idx, pointops2.knnquery(3, xyz, xyz, offset, offset)[0])
    alone = pointops2.queryandgroup(3, xyz, xyz, feat, None, offset, offset)
    assert isinstance(alone, Tensor)
    assert torch.equal(grouped, alone)
    assert torch.equal(grouped[..., 3:], feat[idx.long()])


def test_interpolation_v2_reaches_the_coordinates():
    xyz, new_xyz, feat, one = rand(6, 3), rand(4, 3, seed=1), rand(6, 2, seed=2), torch.tensor([6])
    idx, _ = pointops2.knnquery(3, xyz, new_xyz, one, torch.tensor([4]))
    distance = ((new_xyz[:, None] - xyz[idx.long()]).square().sum(-1) + 1e-8).sqrt()
    weight = 1 / (distance + 1e-8) / (1 / (distance + 1e-8)).sum(1, keepdim=True)
    call = lambda x, n, f: pointops2.interpolation_v2(x, n, f, one, torch.tensor([4]))  # noqa: E731
    torch.testing.assert_close(call(xyz, new_xyz, feat), (feat[idx.long()] * weight[..., None]).sum(1))
    assert gradcheck(call, (xyz, new_xyz, feat))


@pytest.mark.parametrize(
    ("argument", "call"),
    [
        ("q must be", lambda: pointops2.attention_step1(Q[0], K, INDEX0, INDEX1)),
        ("k must be", lambda: pointops2.attention_step1(Q, K[:, :, :2], INDEX0, INDEX1)),
        ("index1", lambda: pointops2.attention_step1(Q, K, INDEX0, INDEX1 + N)),
        ("index0", lambda: pointops2.attention_step1(Q, K, INDEX0 - 1, INDEX1)),
        ("index0", lambda: pointops2.attention_step1(Q, K, INDEX0[1:], INDEX1)),
        ("index0_offsets", lambda: pointops2.attention_step1_v2(Q, K, INDEX1, ENDS[1:], 6)),
        ("index0_offsets", lambda: pointops2.attention_step1_v2(Q, K, INDEX1, ENDS + 1, 6)),
        ("index0_offsets", lambda: pointops2.attention_step1_v2(Q, K, INDEX1, ENDS.flip(0), 6)),
        ("attn", lambda: pointops2.attention_step2(ATTN[1:], V, INDEX0, INDEX1)),
        ("table", lambda: pointops2.dot_prod_with_idx(Q, INDEX0, TABLE[..., :2], REL)),
        ("rel_idx", lambda: pointops2.dot_prod_with_idx(Q, INDEX0, TABLE, REL + L)),
        ("rel_idx", lambda: pointops2.dot_prod_with_idx(Q, INDEX0, TABLE, REL - L)),
        ("rel_idx", lambda: pointops2.dot_prod_with_idx(Q, INDEX0, TABLE, REL[1:])),
        ("rel_idx", lambda: pointops2.dot_prod_with_idx(Q, INDEX0, TABLE, REL.float())),
        ("counts", lambda: pointops2.precompute_all(5, 2, 3, torch.tensor([2.0, 3.0]))),
        ("points is 6", lambda: pointops2.precompute_all(6, 2, 3, torch.tensor([2, 3]))),
    ],
)
def test_bad_input_is_refused_by_name(argument, call):
    with pytest.raises(ValueError, match=argument):
        call()
