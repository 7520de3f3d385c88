"""compat.pointnet2_ext and pointnet2_utils: VoteNet's functions on (B, N, 3), against loops over clouds."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck

from pointops.compat import pointnet2_ext as ext
from pointops.compat import pointnet2_utils as utils


def rand(*shape: int, seed: int = 0, **options) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), **options)


XYZ, NEW_XYZ, FEAT = rand(2, 30, 3), rand(2, 8, 3, seed=1), rand(2, 5, 30, seed=2)
IDX = torch.randint(30, (2, 8, 4), generator=torch.Generator().manual_seed(3), dtype=torch.int32)


def test_sampling_goes_to_the_farthest_and_leaves_the_origin_out():
    rows = ext.furthest_point_sampling(XYZ, 6)
    assert rows.dtype == torch.int32
    for cloud, chosen in zip(XYZ, rows.long(), strict=True):
        want = [0]
        while len(want) < 6:
            want.append(int(torch.cdist(cloud, cloud[want]).amin(1).argmax()))
        assert chosen.tolist() == want
    assert torch.equal(utils.furthest_point_sample(XYZ, 6), rows)
    near = torch.tensor([[[1.0, 0, 0], [0.01, 0, 0], [2, 0, 0]]])
    assert ext.furthest_point_sampling(near, 3).tolist() == [[0, 2, 0]]


def test_balls_hold_the_first_hits_and_repeat_the_first():
    idx = ext.ball_query(NEW_XYZ, XYZ, 0.3, 6)
    for b in range(2):
        for m in range(8):
            hits = ((XYZ[b] - NEW_XYZ[b, m]).square().sum(1) < 0.09).nonzero()[:, 0][:6].tolist()
            assert idx[b, m].tolist() == (hits + [hits[0]] * 6 if hits else [0] * 6)[:6]
    assert torch.equal(utils.ball_query(0.3, 6, XYZ, NEW_XYZ), idx)
    assert not ext.ball_query(NEW_XYZ + 9, XYZ, 0.3, 6).any()


def test_three_neighbors_and_their_squared_distances():
    distance2, idx = ext.three_nn(NEW_XYZ, XYZ)
    far = torch.cdist(NEW_XYZ, XYZ, compute_mode="donot_use_mm_for_euclid_dist")
    want = far.topk(3, largest=False)
    assert torch.equal(idx.long(), want.indices)
    torch.testing.assert_close(distance2, want.values.square())
    distance, same = utils.three_nn(NEW_XYZ, XYZ)
    assert torch.equal(same, idx)
    torch.testing.assert_close(distance, want.values)


def test_a_source_that_is_not_there_is_row_0_infinitely_far():
    distance2, idx = ext.three_nn(NEW_XYZ, XYZ[:, :2])
    assert torch.equal(idx[..., 2], torch.zeros(2, 8, dtype=torch.int32))
    assert distance2[..., 2].isinf().all()
    assert distance2[..., :2].isfinite().all()


def test_gathering_grouping_and_their_gradients():
    feat = FEAT.double().requires_grad_()
    rows, table = IDX[..., 0], IDX
    gathered = torch.stack([f[:, i.long()] for f, i in zip(feat, rows, strict=True)])
    grouped = torch.stack([f[:, i.long()] for f, i in zip(feat, table, strict=True)])
    pairs = (
        (ext.gather_points, ext.gather_points_grad, rows, gathered),
        (utils.gather_operation, ext.gather_points_grad, rows, gathered),
        (ext.group_points, ext.group_points_grad, table, grouped),
        (utils.grouping_operation, ext.group_points_grad, table, grouped),
    )
    for forward, backward, idx, want in pairs:
        out = forward(feat, idx)
        assert torch.equal(out, want)
        slope = torch.rand_like(out)
        (wanted,) = torch.autograd.grad(want, feat, slope, retain_graph=True)
        torch.testing.assert_close(backward(slope, idx, 30), wanted)
        torch.testing.assert_close(torch.autograd.grad(out, feat, slope)[0], wanted)
    assert gradcheck(lambda f: ext.group_points(f, table), (feat,))


def test_interpolation_and_its_gradient():
    feat, idx = FEAT.double().requires_grad_(), IDX[..., :3]
    weight = rand(2, 8, 3, seed=4, dtype=torch.float64)
    want = (torch.stack([f[:, i.long()] for f, i in zip(feat, idx, strict=True)]) * weight[:, None]).sum(-1)
    for forward in (ext.three_interpolate, utils.three_interpolate):
        torch.testing.assert_close(forward(feat, idx, weight), want)
    slope = torch.rand_like(want)
    (wanted,) = torch.autograd.grad(want, feat, slope, retain_graph=True)
    torch.testing.assert_close(ext.three_interpolate_grad(slope, idx, weight, 30), wanted)
    assert gradcheck(lambda f, w: ext.three_interpolate(f, idx, w), (feat, weight.requires_grad_()))


@pytest.mark.parametrize(
    ("argument", "call"),
    [
        ("points", lambda: ext.furthest_point_sampling(XYZ[0], 3)),
        ("nsamples", lambda: ext.furthest_point_sampling(XYZ, 0)),
        ("new_xyz", lambda: ext.ball_query(NEW_XYZ[..., :2], XYZ, 0.3, 6)),
        ("nsample", lambda: ext.ball_query(NEW_XYZ, XYZ, 0.3, 0)),
        ("radius", lambda: ext.ball_query(NEW_XYZ, XYZ, -1.0, 6)),
        ("known", lambda: ext.three_nn(NEW_XYZ, XYZ[0])),
        ("scenes", lambda: ext.three_nn(NEW_XYZ, XYZ[:1])),
        ("idx", lambda: ext.gather_points(FEAT, IDX[..., 0] + 30)),
        ("idx", lambda: ext.group_points(FEAT, IDX - 30)),
        ("idx", lambda: ext.group_points(FEAT, IDX[:1])),
        ("idx", lambda: ext.group_points(FEAT, IDX[..., 0])),
        ("weight", lambda: ext.three_interpolate(FEAT, IDX[..., :3], IDX[..., :2].float())),
        ("grad_out", lambda: ext.group_points_grad(FEAT, IDX, 30)),
        ("n must", lambda: ext.gather_points_grad(FEAT[..., :8], IDX[..., 0], -1)),
    ],
)
def test_bad_input_is_refused_by_name(argument, call):
    with pytest.raises(ValueError, match=argument):
        call()
