"""compat.postech: POSTECH's names, argument order and missing neighbors, against plain restatements."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck

from pointops.compat import postech

OFFSET, NEW_OFFSET = torch.tensor([3, 23], dtype=torch.int32), torch.tensor([4, 15], dtype=torch.int32)


def rand(*shape: int, seed: int = 0, **options) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), **options)


XYZ, NEW_XYZ, FEAT = rand(23, 3), rand(15, 3, seed=1), rand(23, 4, seed=2)


def neighbors(k: int) -> tuple[Tensor, Tensor]:
    """Rows and distances one query at a time; the scene's first point at 1e5 where there is no other."""
    idx, distance = torch.empty(15, k, dtype=torch.int32), torch.full((15, k), 1e5)
    for row in range(15):
        low, high = (0, 3) if row < 4 else (3, 23)
        far = (XYZ[low:high] - NEW_XYZ[row]).norm(dim=1)
        order = far.argsort()[:k]
        idx[row] = low
        idx[row, : len(order)] = order.int() + low
        distance[row, : len(order)] = far[order]
    return idx, distance


def test_knnquery_fills_small_scenes_with_their_first_point():
    want, far = neighbors(5)
    idx, distance = postech.knnquery(5, XYZ, NEW_XYZ, OFFSET, NEW_OFFSET)
    assert torch.equal(idx, want)
    torch.testing.assert_close(distance, far)
    own, _ = postech.knnquery(2, XYZ, None, OFFSET, OFFSET)
    assert torch.equal(own[:, 0], torch.arange(23, dtype=torch.int32))
    assert torch.equal(own, postech.knnquery(2, XYZ, None, OFFSET, None)[0])


def test_furthestsampling_begins_with_the_first_point_of_each_scene():
    rows = postech.furthestsampling(XYZ, OFFSET, torch.tensor([2, 6], dtype=torch.int32))
    assert rows[[0, 2]].tolist() == [0, 3]
    assert int(rows[1]) == int((XYZ[:3] - XYZ[0]).norm(dim=1).argmax())
    gaps = torch.cdist(XYZ[3:], XYZ[rows[2:5].long()]).amin(1)
    assert int(rows[5]) == 3 + int(gaps.argmax())


@pytest.mark.parametrize("use_xyz", [True, False])
def test_queryandgroup_is_relative_coordinates_and_features(use_xyz):
    idx = neighbors(5)[0].long()
    want = torch.cat([XYZ[idx] - NEW_XYZ[:, None], FEAT[idx]] if use_xyz else [FEAT[idx]], -1)
    got = postech.queryandgroup(5, XYZ, NEW_XYZ, FEAT, None, OFFSET, NEW_OFFSET, use_xyz)
    assert torch.equal(got, want)
    assert torch.equal(postech.queryandgroup(5, XYZ, NEW_XYZ, FEAT, idx, OFFSET, NEW_OFFSET, use_xyz), want)


def test_grouping_takes_the_features_first_and_has_a_gradient():
    idx = neighbors(4)[0]
    assert torch.equal(postech.grouping(FEAT, idx), FEAT[idx.long()])
    feat = FEAT.double().requires_grad_()
    assert gradcheck(lambda f: postech.grouping(f, idx), (feat,))


def test_interpolation_counts_the_sources_that_a_small_scene_does_not_have():
    idx, distance = neighbors(5)
    closeness = 1 / (distance + 1e-8)
    want = (FEAT[idx.long()] * (closeness / closeness.sum(1, keepdim=True))[..., None]).sum(1)
    torch.testing.assert_close(postech.interpolation(XYZ, NEW_XYZ, FEAT, OFFSET, NEW_OFFSET, 5), want)
    torch.testing.assert_close(postech.interpolation2(XYZ, NEW_XYZ, FEAT, OFFSET, NEW_OFFSET, 5), want)
    feat = FEAT.double().requires_grad_()
    assert gradcheck(lambda f: postech.interpolation(XYZ, NEW_XYZ, f, OFFSET, NEW_OFFSET, 5), (feat,))


def test_subtraction_and_aggregation():
    idx = neighbors(3)[0].long() % 15
    one, two = (rand(15, 4, seed=seed, dtype=torch.float64).requires_grad_() for seed in (3, 4))
    position, weight = (rand(15, 3, c, seed=c, dtype=torch.float64).requires_grad_() for c in (4, 2))
    torch.testing.assert_close(postech.subtraction(one, two, idx), one[:, None] - two[idx])
    want = ((one[idx] + position) * weight.repeat(1, 1, 2)).sum(1)
    torch.testing.assert_close(postech.aggregation(one, position, weight, idx), want)
    assert gradcheck(lambda a, b: postech.subtraction(a, b, idx), (one, two))
    assert gradcheck(lambda a, p, w: postech.aggregation(a, p, w, idx), (one, position, weight))


@pytest.mark.parametrize(
    ("argument", "call"),
    [
        ("nsample", lambda: postech.knnquery(0, XYZ, NEW_XYZ, OFFSET, NEW_OFFSET)),
        ("new_offset", lambda: postech.knnquery(2, XYZ, NEW_XYZ, OFFSET, None)),
        ("new_xyz", lambda: postech.knnquery(2, XYZ, NEW_XYZ[:, :2], OFFSET, NEW_OFFSET)),
        ("offset", lambda: postech.furthestsampling(XYZ, OFFSET - 1, NEW_OFFSET)),
        ("idx", lambda: postech.grouping(FEAT, torch.tensor([[23]]))),
        ("feat", lambda: postech.queryandgroup(2, XYZ, NEW_XYZ, FEAT[0], None, OFFSET, NEW_OFFSET)),
        ("new_offset", lambda: postech.interpolation(XYZ, NEW_XYZ, FEAT, OFFSET, NEW_OFFSET[:1])),
    ],
)
def test_bad_input_is_refused_by_name(argument, call):
    with pytest.raises(ValueError, match=argument):
        call()
