"""PointNet++ encoder: exact size, agreement with a literal reading of the paper, scenes that stay apart."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from mm3d_backbones.pointnet2 import PointNet2Encoder, SetAbstraction, SharedMLP, canonical_order
from mm3d_core.encoder import Encoder
from mm3d_core.points import PointBatch
from pointops.plan import make_plan

SMALL = {"samples": (96, 48, 24, 12), "neighbors": (16, 8, 8, 8), "radii": (0.4, 0.8, 1.2, 1.6)}


def cloud(*sizes: int, channels: int = 1, seed: int = 0) -> PointBatch:
    generator = torch.Generator().manual_seed(seed)
    coord = torch.rand(sum(sizes), 3, generator=generator) * 3 + 0.5
    feat = torch.rand(sum(sizes), channels, generator=generator)
    index = torch.cat([torch.arange(size) for size in sizes])
    return PointBatch(coord, feat, torch.tensor(sizes).cumsum(0), index)


def small(channels: int = 1) -> PointNet2Encoder:
    torch.manual_seed(0)
    return PointNet2Encoder(channels, **SMALL)


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(
    ("channels", "first", "total"),
    [(0, 12_992, 641_856), (1, 13_056, 641_920), (3, 13_184, 642_048), (4, 13_248, 642_112)],
)
def test_parameter_counts_are_exact(channels, first, total):
    encoder = PointNet2Encoder(channels)
    assert count(encoder.sa1) == first
    assert [count(m) for m in (encoder.sa2, encoder.sa3, encoder.sa4)] == [66_944, 83_328, 83_328]
    assert [count(m) for m in (encoder.fp1, encoder.fp2)] == [197_632, 197_632]
    assert count(encoder) == total


def test_it_is_an_encoder_with_one_level_of_seeds():
    encoder, points = small(), cloud(300, 400)
    assert isinstance(encoder, Encoder)
    (seeds,) = encoder(points)
    assert encoder.channels == (256,)
    assert seeds.dense().shape == (2, 48, 256)
    torch.testing.assert_close(seeds.dense(seeds.coord)[1], points.coord[300:][seeds.index[48:]])


def test_attributes_follow_the_seeds():
    points = cloud(300, 400)
    points = points.with_attributes(row=torch.arange(700))
    (seeds,) = small()(points)
    torch.testing.assert_close(points.coord[seeds.attributes["row"]], seeds.coord)


def test_set_abstraction_agrees_with_gathering_first():
    torch.manual_seed(0)
    module = SetAbstraction([5, 16, 32], 0.5)
    coord, feat, query = torch.rand(40, 3), torch.rand(40, 5), torch.rand(7, 3)
    ball = torch.randint(0, 40, (7, 6))
    grouped = torch.cat([(coord[ball] - query[:, None]) / 0.5, feat[ball]], -1)
    expected = module.mlp(grouped.view(-1, 8)).view(7, 6, 32).amax(1)
    module.mlp.norms.apply(lambda norm: norm.reset_running_stats() if isinstance(norm, nn.BatchNorm1d) else None)
    torch.testing.assert_close(module(coord, feat, query, ball), expected)


def test_the_encoder_agrees_with_a_literal_forward_pass():
    encoder, points = small().eval(), cloud(300)
    torch.testing.assert_close(encoder(points)[0].feat, literal_forward(encoder, points))


def literal_forward(encoder: PointNet2Encoder, points: PointBatch) -> Tensor:
    """One scene, from distances: sample each level anew, group, multiply, pool, interpolate."""
    coords, feats = [points.coord], [points.feat]
    for module, size, radius, most in zip(
        (encoder.sa1, encoder.sa2, encoder.sa3, encoder.sa4),
        SMALL["samples"],
        SMALL["radii"],
        SMALL["neighbors"],
        strict=True,
    ):
        coord, feat = coords[-1], feats[-1]
        query = coord[farthest(coord, size)]
        rows = []
        for center in query:
            near = torch.nonzero((coord - center).square().sum(1) < radius**2)[:most, 0]
            near = torch.cat([near, near[:1].expand(most - len(near))])
            grouped = torch.cat([(coord[near] - center) / radius, feat[near]], 1)
            rows.append(module.mlp(grouped).amax(0))
        coords.append(query)
        feats.append(torch.stack(rows))
    up = encoder.fp1(torch.cat([three_nearest(coords[3], coords[4], feats[4]), feats[3]], 1))
    return encoder.fp2(torch.cat([three_nearest(coords[2], coords[3], up), feats[2]], 1))


def farthest(coord: Tensor, size: int) -> list[int]:
    chosen, nearest = [0], torch.full((len(coord),), torch.inf)
    while len(chosen) < size:
        nearest = torch.minimum(nearest, (coord - coord[chosen[-1]]).square().sum(1))
        chosen.append(int(nearest.argmax()))
    return chosen


def three_nearest(fine: Tensor, coarse: Tensor, feat: Tensor) -> Tensor:
    distance, index = torch.cdist(fine, coarse, compute_mode="donot_use_mm_for_euclid_dist").topk(3, largest=False)
    weight = 1 / (distance + 1e-8)
    return (feat[index] * (weight / weight.sum(1, keepdim=True))[..., None]).sum(1)


def test_a_prepared_plan_changes_nothing():
    encoder, points = small().eval(), cloud(300, 400)
    plan = make_plan(points.coord, points.offset, encoder.plan_spec())
    torch.testing.assert_close(encoder(points.with_plan(plan))[0].feat, encoder(points)[0].feat)


def test_a_plan_made_for_another_encoder_is_refused():
    points = cloud(300)
    plan = make_plan(
        points.coord, points.offset, PointNet2Encoder(1, **{**SMALL, "neighbors": (4, 4, 4, 4)}).plan_spec()
    )
    with pytest.raises(ValueError, match="made for another network"):
        small()(points.with_plan(plan))


def test_a_scene_does_not_feel_its_batch_mates():
    encoder = small().eval()
    together = cloud(300, 500)
    torch.testing.assert_close(
        encoder(together.split()[0])[0].feat, encoder(PointBatch.join(together.split()[::-1]))[0].feat[48:]
    )


def test_the_order_of_points_behind_the_first_changes_nothing_while_no_ball_overflows():
    torch.manual_seed(0)
    encoder = PointNet2Encoder(1, (96, 48, 24, 12), (0.4, 0.8, 1.2, 1.6), (150, 96, 48, 24)).eval()
    points = cloud(150)
    order = torch.cat(
        [torch.zeros(1, dtype=torch.int64), 1 + torch.randperm(149, generator=torch.Generator().manual_seed(1))]
    )
    (expected,), (shuffled,) = encoder(points), encoder(points.select(order, points.offset))
    torch.testing.assert_close(shuffled.coord, expected.coord)
    torch.testing.assert_close(shuffled.feat, expected.feat)


def test_in_canonical_order_no_permutation_changes_anything_even_where_balls_overflow():
    torch.manual_seed(0)
    encoder = PointNet2Encoder(1, **SMALL, canonical_order=True).eval()
    points = cloud(300, 400)
    (expected,) = encoder(points)
    assert encoder.plan_spec() is None
    for seed in range(3):
        random = torch.Generator().manual_seed(seed)
        order = torch.cat([torch.randperm(300, generator=random), 300 + torch.randperm(400, generator=random)])
        (shuffled,) = encoder(points.select(order, points.offset))
        assert torch.equal(shuffled.coord, expected.coord)
        assert torch.equal(shuffled.feat, expected.feat)
        assert torch.equal(shuffled.index, expected.index)
    assert not torch.equal(small()(points)[0].coord, small()(points.select(order, points.offset))[0].coord)


def test_canonical_order_is_unrelated_to_place_and_keeps_scenes_together():
    points = cloud(2000, 500)
    rows = canonical_order(points)
    assert sorted(rows[:2000].tolist()) == list(range(2000))
    assert sorted(rows[2000:].tolist()) == list(range(2000, 2500))
    place = points.coord[rows[:2000]]
    for axis in range(3):  # a fifth of the list holds as many low as high points, up to four standard deviations
        low = (place[:400, axis] < points.coord[:2000, axis].median()).float().mean()
        assert abs(low.item() - 0.5) < 4 * 0.5 / 20


def test_canonical_order_knows_no_negative_zero_and_tells_features_apart():
    coord = torch.tensor([[0.0, 1.0, 2.0], [0.0, 1.0, 2.0]])
    feat = torch.tensor([[0.3], [0.7]])
    there = PointBatch.single(coord, feat)
    back = PointBatch.single(coord.flip(0) * torch.tensor([-1.0, 1.0, 1.0]), feat.flip(0))
    assert there.feat[canonical_order(there)].tolist() == back.feat[canonical_order(back)].tolist()


def test_canonical_order_refuses_a_plan_made_for_the_given_order():
    encoder, points = PointNet2Encoder(1, **SMALL, canonical_order=True), cloud(300)
    planned = points.with_plan(make_plan(points.coord, points.offset, small().plan_spec()))
    with pytest.raises(ValueError, match="needs the points without one"):
        encoder(planned)


def test_points_at_the_origin_are_never_chosen_unless_asked():
    points = cloud(200)
    points.coord[7] = 0.001
    (seeds,) = small()(points)
    assert 7 not in seeds.index
    (seeds,) = PointNet2Encoder(1, **SMALL, skip_origin=False)(points)
    assert 7 in seeds.index


def test_a_scene_smaller_than_the_sample_repeats_its_first_point():
    (seeds,) = small().eval()(cloud(30))
    assert seeds.dense().shape == (1, 48, 256)
    torch.testing.assert_close(seeds.feat[30:], seeds.feat[:1].expand(18, -1))


def test_features_of_another_width_are_refused():
    with pytest.raises(ValueError, match="3 channels, this encoder reads 1"):
        small()(cloud(300, channels=3))


def test_an_empty_scene_is_refused():
    with pytest.raises(ValueError, match="every scene needs at least one point"):
        small()(cloud(300, 0))


def test_levels_that_grow_are_refused():
    with pytest.raises(ValueError, match="part of the one before"):
        PointNet2Encoder(1, samples=(64, 128, 32, 16))


def test_every_parameter_gets_a_gradient():
    encoder = small()
    encoder(cloud(300, 400))[0].feat.square().mean().backward()
    assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in encoder.parameters())


def test_shared_mlp_rows_are_independent_in_evaluation():
    mlp = SharedMLP([4, 8, 8]).eval()
    rows = torch.rand(10, 4)
    torch.testing.assert_close(mlp(rows)[3:5], mlp(rows[3:5]))
