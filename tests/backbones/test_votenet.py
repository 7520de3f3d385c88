"""VoteNet: exact size, scenes that stay apart, decoding, and that it learns."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from mm3d_backbones.detection_losses import vote_loss
from mm3d_backbones.pointnet2 import PointNet2Encoder
from mm3d_backbones.votenet import SAMPLINGS, Clustering, VoteNet, Voting
from mm3d_core.boxes import box_iou, points_in_boxes
from mm3d_core.points import PointBatch
from pointops import farthest_point_sampling

SMALL = {"samples": (96, 64, 24, 12), "neighbors": (16, 8, 8, 8), "radii": (0.4, 0.8, 1.2, 1.6)}
SIZES = [[1.0, 1.0, 1.0], [0.6, 0.6, 1.2]]


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def scannet(channels: int) -> VoteNet:
    return VoteNet(PointNet2Encoder(channels), 18, 1, torch.ones(18, 3))


def small(**options) -> VoteNet:
    torch.manual_seed(0)
    return VoteNet(PointNet2Encoder(0, **SMALL), 2, options.pop("bins", 1), SIZES, **{"num_proposals": 16, **options})


def scene(seed: int, points: int = 400) -> tuple[PointBatch, dict[str, Tensor]]:
    """Two solid boxes and a floor, one scene."""
    generator = torch.Generator().manual_seed(seed)
    centers = torch.rand(2, 3, generator=generator) * torch.tensor([1.5, 1.5, 0.2]) + torch.tensor(
        [[1.0, 1, 1], [3.5, 1, 1]]
    )
    boxes = torch.cat([centers, torch.tensor(SIZES), torch.zeros(2, 1)], 1)
    floor = torch.rand(points // 2, 3, generator=generator) * torch.tensor([5.0, 4.0, 0.02])
    solid = (torch.rand(2, points // 4, 3, generator=generator) - 0.5) * boxes[:, None, 3:6] + boxes[:, None, :3]
    coord = torch.cat([solid.flatten(0, 1), floor])
    coord = coord[torch.randperm(len(coord), generator=generator)]
    inside = points_in_boxes(coord, boxes)
    offsets = torch.where(inside[0, :, None], boxes[0, :3] - coord, boxes[1, :3] - coord)
    labels = {
        "center": torch.cat([centers, torch.zeros(2, 3)])[None],
        "size": torch.tensor([*SIZES, [0.0] * 3, [0.0] * 3])[None],
        "heading": torch.zeros(1, 4),
        "box_class": torch.tensor([[0, 1, 0, 0]]),
        "box_mask": torch.tensor([[True, True, False, False]]),
        "votes": offsets[:, None].expand(-1, 3, -1),
        "vote_mask": inside.any(0),
    }
    return PointBatch.single(coord, coord[:, :0]), labels


def batch(*seeds: int) -> tuple[PointBatch, dict[str, Tensor]]:
    scenes = [scene(seed) for seed in seeds]
    return PointBatch.join([p for p, _ in scenes]), {
        n: torch.cat([labels[n] for _, labels in scenes]) for n in scenes[0][1]
    }


@pytest.mark.parametrize(("channels", "total"), [(0, 953_764), (1, 953_828), (3, 953_956), (4, 954_020)])
def test_scannet_parameter_counts_are_exact(channels, total):
    assert count(scannet(channels)) == total


@pytest.mark.parametrize(("channels", "total"), [(0, 951_442), (1, 951_506), (3, 951_634), (4, 951_698)])
def test_sunrgbd_parameter_counts_are_exact(channels, total):
    assert count(VoteNet(PointNet2Encoder(channels), 10, 12, torch.ones(10, 3))) == total


def test_modules_have_the_published_counts():
    model = scannet(1)
    assert count(model.voting) == 199_171
    assert count(model.clustering) == 66_688
    assert count(model.clustering) + count(model.head) == 112_737
    assert count(model.encoder) == 641_920
    sunrgbd = VoteNet(PointNet2Encoder(1), 10, 12, torch.ones(10, 3))
    assert count(sunrgbd.clustering) + count(sunrgbd.head) == 110_415
    assert (model.codec.width, sunrgbd.codec.width) == (97, 79)
    assert len(list(model.parameters())) == 77
    assert len(model.state_dict()) == 146
    assert sum(buffer.numel() for name, buffer in model.named_buffers() if name in model.state_dict()) == 7_959


def test_votes_have_features_of_norm_one():
    torch.manual_seed(0)
    seeds = PointBatch.single(torch.rand(20, 3), torch.randn(20, 32))
    votes = Voting(32)(seeds)
    torch.testing.assert_close(votes.feat.norm(dim=1), torch.ones(20))


def test_seed_sampling_takes_votes_of_distant_seeds_and_vote_sampling_distant_votes():
    generator = torch.Generator().manual_seed(0)
    seeds = PointBatch.single(torch.rand(40, 3, generator=generator) + 1, torch.zeros(40, 8))
    votes = PointBatch.single(torch.rand(40, 3, generator=generator) + 1, torch.zeros(40, 8))
    module = Clustering(8, 5, 0.3, 4)
    by_seed, _ = module(seeds, votes, "seed_fps")
    by_vote, _ = module(seeds, votes, "vote_fps")
    assert len(set(map(tuple, by_seed.tolist()))) == 5
    assert not torch.equal(by_seed, by_vote)
    torch.testing.assert_close(by_seed[0], votes.coord[0])


def test_random_sampling_draws_anew_in_training_and_repeats_itself_in_evaluation():
    generator = torch.Generator().manual_seed(0)
    one = PointBatch.single(torch.rand(40, 3, generator=generator) + 1, torch.zeros(40, 8))
    votes = PointBatch.join([one, one])
    module = Clustering(8, 30, 0.3, 4)
    torch.manual_seed(0)
    first, second = module(votes, votes, "random")[0], module(votes, votes, "random")[0]
    assert not torch.equal(first, second)
    assert not torch.equal(first[:30], first[30:])
    assert set(map(tuple, first.tolist())) <= set(map(tuple, one.coord.tolist()))
    module.eval()
    torch.testing.assert_close(module(votes, votes, "random")[0], module(votes, votes, "random")[0])
    torch.testing.assert_close(module(one, one, "random")[0], module(votes, votes, "random")[0][30:])


def test_a_network_with_random_sampling_learns_and_predicts():
    model = small(train_sampling="random", eval_sampling="random")
    model.loss(*batch(0, 1))["loss"].backward()
    points, _ = batch(0, 1)
    model.eval()
    torch.testing.assert_close(model.predict(points)["boxes"], model.predict(points)["boxes"])


def test_each_seed_can_vote_several_times():
    torch.manual_seed(0)
    seeds = PointBatch(torch.rand(20, 3), torch.randn(20, 32), torch.tensor([12, 20]), torch.arange(20))
    module = Voting(32, factor=3).eval()
    votes = module(seeds)
    assert votes.offset.tolist() == [36, 60]
    output = module.head(seeds.feat)
    torch.testing.assert_close(votes.coord[7], seeds.coord[2] + output[2, 35:38])  # the second vote of the third seed
    torch.testing.assert_close(votes.feat.norm(dim=1), torch.ones(60))
    assert count(Voting(256, factor=2)) == count(Voting(256)) + 259 * 257


def test_the_nearest_of_a_seeds_votes_is_compared():
    seeds = torch.zeros(2, 3)
    votes = torch.tensor([[5.0, 0, 0], [1.0, 0, 0], [0.0, 2, 0], [9.0, 0, 0]])  # two for each seed
    offsets = torch.zeros(2, 3, 3)
    mask = torch.tensor([True, True])
    assert vote_loss(seeds, votes, offsets, mask).item() == pytest.approx((1 + 2) / 2)


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_a_network_with_two_votes_a_seed_has_the_contract_of_a_detector(sampling):
    model = small(vote_factor=2, train_sampling=sampling, eval_sampling=sampling)
    model.loss(*batch(0, 1))["loss"].backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    assert model.eval().predict(batch(0, 1)[0])["boxes"].shape == (2, 16, 7)


def test_seed_sampling_takes_the_first_vote_of_each_distant_seed():
    generator = torch.Generator().manual_seed(0)
    seeds = PointBatch.single(torch.rand(40, 3, generator=generator) + 1, torch.zeros(40, 8))
    votes = PointBatch.single(torch.rand(80, 3, generator=generator) + 1, torch.zeros(80, 8))
    chosen = farthest_point_sampling(seeds.coord, seeds.offset, torch.tensor([5]), skip_origin=True)
    cluster, _ = Clustering(8, 5, 0.3, 4)(seeds, votes, "seed_fps")
    torch.testing.assert_close(cluster, votes.coord[::2][chosen.long()])


def test_in_canonical_order_permuted_points_and_scenes_give_the_same_boxes():
    torch.manual_seed(0)
    encoder = PointNet2Encoder(0, **SMALL, canonical_order=True)
    model = VoteNet(encoder, 2, 1, SIZES, num_proposals=16).eval()
    points, labels = batch(0, 1)
    random = torch.Generator().manual_seed(1)
    order = torch.cat([torch.randperm(400, generator=random) + 400, torch.randperm(400, generator=random)])
    shuffled = points.select(order, points.offset)
    before, after = model.predict(points), model.predict(shuffled)
    for name in before:
        assert torch.equal(before[name], after[name].flip(0)), name
    votes = {name: labels[name][order] for name in ("votes", "vote_mask")}
    moved = {name: value.flip(0) for name, value in labels.items() if name not in votes} | votes
    expected, found = model.loss(points, labels), model.loss(shuffled, moved)
    assert expected.keys() == found.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value)


def test_loss_is_the_weighted_sum_of_its_terms():
    losses = small().loss(*batch(0, 1))
    box = losses["center"] + losses["heading_residual"] + losses["size_residual"]
    box = box + 0.1 * (losses["heading_class"] + losses["size_class"] + losses["semantic"])
    torch.testing.assert_close(losses["loss"], 10 * (losses["vote"] + 0.5 * losses["objectness"] + box))
    assert losses["loss"].requires_grad
    assert not losses["vote"].requires_grad


def test_every_parameter_gets_a_gradient():
    model = small(bins=12)
    model.loss(*batch(0, 1))["loss"].backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in model.parameters())
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in model.encoder.parameters())


def test_predictions_have_the_contract_of_a_detector():
    model = small().eval()
    points, _ = batch(0, 1)
    found = model.predict(points)
    assert {name: tuple(value.shape) for name, value in found.items()} == {
        "boxes": (2, 16, 7),
        "scores": (2, 16),
        "class_scores": (2, 16, 2),
        "point_count": (2, 16),
    }
    assert not found["boxes"][..., 6].any()


def test_the_order_of_scenes_changes_nothing():
    model = small().eval()
    first, second = model.predict(batch(0, 1)[0]), model.predict(batch(1, 0)[0])
    for name in first:
        torch.testing.assert_close(first[name], second[name].flip(0))
    assert model.loss(*batch(0, 1))["loss"].item() == pytest.approx(model.loss(*batch(1, 0))["loss"].item(), rel=1e-5)


def test_labels_follow_the_seeds_of_a_sampled_scene():
    """The stored rows of a subsampled scene (``index``) are not the rows of the labels."""
    points, labels = batch(0)
    renumbered = PointBatch(points.coord, points.feat, points.offset, points.index + 1000)
    model = small().eval()
    assert model.loss(renumbered, labels)["vote"].item() == model.loss(points, labels)["vote"].item()


def test_perfect_votes_cost_nothing():
    points, labels = batch(0)
    model = small().eval()

    class Truth(nn.Module):
        def forward(self, seeds: PointBatch) -> PointBatch:
            rows = seeds.attributes["row"]
            return PointBatch(seeds.coord + labels["votes"][rows, 0], seeds.feat, seeds.offset, seeds.index)

    model.voting = Truth()  # type: ignore[assignment]
    assert model.loss(points, labels)["vote"].item() == pytest.approx(0, abs=1e-6)


def test_scenes_without_boxes_have_a_finite_loss():
    points, labels = batch(0, 1)
    labels["box_mask"] = torch.zeros_like(labels["box_mask"])
    labels["vote_mask"] = torch.zeros_like(labels["vote_mask"])
    losses = small(count_padding=False).loss(points, labels)
    assert losses["loss"].isfinite()
    assert losses["positive_share"].item() == 0


def test_labels_of_other_points_are_refused():
    points, labels = batch(0)
    with pytest.raises(ValueError, match="rows for 400 points"):
        small().loss(points, {**labels, "votes": labels["votes"][:50]})
    with pytest.raises(ValueError, match="scenes"):
        small().loss(points, batch(0, 1)[1] | {"votes": labels["votes"]})


def test_bad_constructor_arguments_are_refused():
    with pytest.raises(ValueError, match="num_classes=3"):
        VoteNet(PointNet2Encoder(0, **SMALL), 3, 1, SIZES)
    with pytest.raises(ValueError, match="eval_sampling='farthest'"):
        small(eval_sampling="farthest")
    with pytest.raises(ValueError, match="vote_factor=0"):
        small(vote_factor=0)


def test_a_few_steps_lower_the_loss():
    model = small()
    points, labels = batch(0, 1)
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    history = []
    for _ in range(15):
        optimizer.zero_grad()
        losses = model.loss(points, labels)
        losses["loss"].backward()
        optimizer.step()
        history.append(losses["loss"].item())
    assert history[-1] < 0.9 * history[0]


@pytest.mark.slow
def test_many_steps_over_fit_two_scenes():
    model = small()
    points, labels = batch(0, 1)
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    model.train()
    first = last = math.nan
    for step in range(120):
        losses = model.loss(points, labels)
        optimizer.zero_grad()
        losses["loss"].backward()
        optimizer.step()
        first, last = (losses["loss"].item() if step == 0 else first), losses["loss"].item()
    assert last < 0.1 * first
    found = model.eval().predict(points)
    best = box_iou(
        found["boxes"][0][found["scores"][0].topk(4).indices],
        torch.cat([labels["center"], labels["size"], labels["heading"][..., None]], -1)[0, :2],
    ).amax(0)
    assert (best > 0.25).all()
