"""H3DNet: exact size, the worked sum of its losses, and that it learns."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from torch import Tensor, nn

from mm3d_backbones.detection_losses import Assignment, assign
from mm3d_backbones.h3dnet import FourTowers, H3DNet, final_boxes
from mm3d_backbones.h3dnet_losses import match_labels, primitive_losses, refined_objectness_loss
from mm3d_backbones.h3dnet_matching import OUT_OF_REACH, Matching, Primitives, Refinement
from mm3d_backbones.h3dnet_primitives import box_edges, box_faces, objects_of_points, primitive_targets
from mm3d_core.boxes import points_in_boxes
from mm3d_core.encoder import Encoder
from mm3d_core.points import PointBatch

SMALL = {"samples": (96, 64, 24, 12), "neighbors": (16, 8, 8, 8), "radii": (0.4, 0.8, 1.2, 1.6)}
SIZES = [[1.0, 1.0, 1.0], [0.6, 0.6, 1.2]]
RULE = {"min_face_points": 10, "min_edge_points": 2}


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def small(bins: int = 1, **options) -> H3DNet:
    torch.manual_seed(0)
    return H3DNet(FourTowers(0, **SMALL), 2, bins, SIZES, **{"num_proposals": 16, "primitive_rule": RULE, **options})


def shell(box: Tensor, points: int, generator: torch.Generator) -> Tensor:
    """Points on the faces of a box."""
    local = torch.rand(points, 3, generator=generator) - 0.5
    face = torch.randint(0, 3, (points,), generator=generator)
    local[torch.arange(points), face] = local[torch.arange(points), face].sign() / 2
    return local * box[3:6] + box[:3]


def scene(seed: int, points: int = 400) -> tuple[PointBatch, dict[str, Tensor]]:
    """Two hollow boxes on a floor, one scene; votes point to the centers of the boxes."""
    generator = torch.Generator().manual_seed(seed)
    centers = torch.rand(2, 3, generator=generator) * torch.tensor([1.5, 1.5, 0.2]) + torch.tensor(
        [[1.0, 1, 1], [3.5, 1, 1]]
    )
    boxes = torch.cat([centers, torch.tensor(SIZES), torch.zeros(2, 1)], 1)
    floor = torch.rand(points // 2, 3, generator=generator) * torch.tensor([5.0, 4.0, 0.02])
    coord = torch.cat([*(shell(box, points // 4, generator) for box in boxes), floor])
    coord = coord[torch.randperm(len(coord), generator=generator)]
    inside = points_in_boxes(coord, boxes * torch.tensor([1, 1, 1, 1.001, 1.001, 1.001, 1]))
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


@pytest.mark.parametrize(
    ("channels", "scannet", "sunrgbd"),
    [(0, 4_740_022, 4_720_414), (1, 4_740_278, 4_720_670), (3, 4_740_790, 4_721_182), (4, 4_741_046, 4_721_438)],
)
def test_parameter_counts_are_exact(channels, scannet, sunrgbd):
    assert count(H3DNet(FourTowers(channels), 18, 1, torch.ones(18, 3))) == scannet
    assert count(H3DNet(FourTowers(channels), 10, 12, torch.ones(10, 3))) == sunrgbd


def test_modules_have_the_published_counts():
    model = H3DNet(FourTowers(1), 18, 1, torch.ones(18, 3))
    assert count(model.encoder) == 2_567_680
    assert count(model.fuse) == 524_800 + 1_024 + 131_328 + 512
    assert count(model.flags) == 100_230
    assert count(model.votings) == 796_684
    assert [count(module) for module in model.primitives.values()] == [103_191, 103_062, 102_933]
    proposal = (model.clustering, model.head, model.matching, model.refinement)
    assert sum(map(count, proposal)) == 308_834
    assert (count(model.matching.faces), count(model.matching.edges)) == (28_224, 28_992)
    assert [count(flag) for flag in model.flags.values()] == [32_896 + 256 + 258] * 3
    assert count(model.clustering) == 66_688
    assert count(model.head) == 2 * 16_512 + 18_447 + 2 * 256
    assert [count(head) for head in (model.matching.match, model.matching.semantic_match)] == [1_056 + 64 + 66] * 2
    refinement = model.refinement
    assert [count(stack) for stack in (refinement.faces, refinement.edges)] == [2 * 1_056 + 2 * 64] * 2
    assert count(refinement.first) + count(refinement.head) == 73_856 + 2 * 16_512 + 18_447 + 3 * 256
    assert len(list(model.parameters())) == 394
    assert len(model.state_dict()) == 730
    other = H3DNet(FourTowers(1), 10, 12, torch.ones(10, 3))
    assert [count(module) for module in other.primitives.values()] == [102_159, 102_030, 101_901]
    assert sum(map(count, (other.clustering, other.head, other.matching, other.refinement))) == 292_322


def test_the_encoder_has_four_levels_on_the_same_seeds():
    encoder, (points, _) = FourTowers(0, **SMALL), batch(0, 1)
    assert isinstance(encoder, Encoder)
    levels = encoder(points)
    assert encoder.channels == (256,) * 4
    assert len(levels) == 4
    assert all(torch.equal(level.coord, levels[0].coord) for level in levels)
    assert not torch.equal(levels[0].feat, levels[1].feat)


def test_loss_is_the_weighted_sum_of_its_terms():
    losses = small().loss(*batch(0, 1))
    t = {name: value.item() for name, value in losses.items()}
    box = (
        t["center"]
        + t["heading_residual"]
        + t["size_residual"]
        + 0.1 * (t["heading_class"] + t["size_class"] + t["semantic"])
    )
    expected = 30 * (t["flag_horizontal"] + t["flag_vertical"] + t["flag_edge"])
    expected += 10 * (t["vote_horizontal"] + t["vote_vertical"] + t["vote_edge"] + t["vote"] + box + t["potential"])
    expected += t["horizontal"] + t["vertical"] + 2 * t["edge"]
    expected += 5 * (t["objectness"] + t["match"] + t["semantic_match"] + t["refined_objectness"])
    assert t["loss"] == pytest.approx(expected, rel=1e-5)
    assert all(math.isfinite(value) for value in t.values())


@pytest.mark.parametrize("bins", [1, 12])
def test_every_parameter_gets_a_gradient(bins):
    model = small(bins)
    model.loss(*batch(0, 1))["loss"].backward()
    silent = {name for name, parameter in model.named_parameters() if parameter.grad is None}
    assert not silent
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in model.parameters())


def test_predictions_have_the_contract_of_a_detector():
    found = small().eval().predict(batch(0, 1)[0])
    assert {name: tuple(value.shape) for name, value in found.items()} == {
        "boxes": (2, 16, 7),
        "scores": (2, 16),
        "class_scores": (2, 16, 2),
        "point_count": (2, 16),
    }


def test_the_order_of_scenes_changes_nothing():
    model = small().eval()
    first, second = model.predict(batch(0, 1)[0]), model.predict(batch(1, 0)[0])
    for name in first:
        torch.testing.assert_close(first[name], second[name].flip(0))
    assert model.loss(*batch(0, 1))["loss"].item() == pytest.approx(model.loss(*batch(1, 0))["loss"].item(), rel=1e-4)


def test_final_boxes_take_classes_from_the_first_head_and_residuals_from_the_second():
    codec = small(12).codec
    initial, refined = (
        codec.read(torch.zeros(1, 1, codec.width), torch.zeros(1, 1, 3), torch.zeros(1, 1, 0)) for _ in range(2)
    )
    initial.heading_logits[..., 3], initial.size_logits[..., 1] = 1, 1
    initial.heading_residuals[:], initial.size_residuals[:], initial.center[:] = 9, 9, 9
    refined.heading_logits[..., 5], refined.size_logits[..., 0] = 1, 1
    refined.heading_residuals[..., 3], refined.size_residuals[..., 1, :] = 0.5, 0.1
    box = final_boxes(initial, refined, codec)
    heading = 3 * math.pi / 6 + 0.5 * math.pi / 12
    torch.testing.assert_close(box, torch.tensor([[[0, 0, 0, 0.66, 0.66, 1.32, heading]]]))


def primitives_at(center: Tensor, feat: Tensor | None = None, box_class: int = 0, exists: float = 9.0) -> Primitives:
    rows = len(center)
    logits = torch.zeros(rows, 2)
    logits[:, box_class] = 9.0
    flags = torch.tensor([[0.0, exists]]).expand(rows, -1)
    return Primitives(
        flags,
        center,
        center,
        center[:, :0],
        logits,
        torch.zeros(rows, 128) if feat is None else feat,
        torch.tensor([rows]),
    )


def test_primitives_that_probably_do_not_exist_are_moved_out_of_reach():
    center = torch.rand(4, 3)
    assert torch.equal(primitives_at(center).reachable_centers()[0], center)
    torch.testing.assert_close(primitives_at(center, exists=0.0).reachable_centers()[0], center + OUT_OF_REACH)


def test_matching_pools_the_primitives_around_each_side():
    torch.manual_seed(0)
    module = Matching().eval()
    boxes = torch.tensor([[[5.0, 5, 5, 1, 1, 1, 0], [9.0, 9, 9, 1, 1, 1, 0]]])
    feat = torch.randn(3, 128)
    horizontal = primitives_at(torch.tensor([[5.1, 5, 5.5], [30.0, 0, 0], [5.0, 5, 4.4]]), feat)
    vertical, edge = primitives_at(torch.full((3, 3), 50.0)), primitives_at(torch.full((3, 3), 60.0))
    sides, found, match, _ = module(boxes, horizontal, vertical, edge)
    assert (sides.shape, found.shape, match.shape) == ((1, 18, 2, 3), (1, 18, 2, 32), (1, 18, 2, 2))
    row = torch.cat([torch.tensor([0.1, 0, 0]) / 0.5, torch.zeros(6), feat[0]])
    torch.testing.assert_close(found[0, 0, 0], module.faces.mlp(row[None])[0], atol=1e-4, rtol=1e-4)
    row = torch.cat([torch.tensor([0, 0, -0.1]) / 0.5, torch.zeros(6), feat[2]])
    torch.testing.assert_close(found[0, 1, 0], module.faces.mlp(row[None])[0], atol=1e-4, rtol=1e-4)


def test_refinement_flattens_channel_by_channel():
    sides = torch.arange(2 * 6 * 3 * 32, dtype=torch.float32).view(2, 6, 3, 32)
    flat = Refinement._flat(nn.Identity(), sides).view(2, 3, 32, 6)  # type: ignore[arg-type]
    assert torch.equal(flat[1, 2, 5], sides[1, :, 2, 5])


def match_case(shift: float = 0.0, own: float = 0.0, box_class: int = 0):
    """One scene, one true box, one proposal; the primitives lie ``shift`` above its true sides."""
    model = small()
    points, labels = scene(0)
    output = model(points.with_attributes(row=torch.arange(points.num_points)), "vote_fps")
    targets = model.codec.encode(labels)
    box = targets.boxes[:, :1]
    up = torch.tensor([0, 0, 1.0])
    faces, edges = box_faces(box), box_edges(box)
    one = Assignment(
        torch.ones(1, 1, dtype=torch.bool), torch.ones(1, 1, dtype=torch.bool), torch.zeros(1, 1, dtype=torch.int64)
    )
    output = dataclasses.replace(
        output,
        primitives=(
            primitives_at(faces[0, :2, 0] + shift * up, box_class=box_class),
            primitives_at(faces[0, 2:, 0] + shift * up, box_class=box_class),
            primitives_at(edges[0, :, 0] + shift * up, box_class=box_class),
        ),
        sides=torch.cat([faces, edges], 1) + own * up,
    )
    return match_labels(output, targets, one)


def test_a_side_matches_when_the_primitive_is_near_both_boxes():
    assert match_case()[0].all()
    assert match_case(shift=0.2)[0].all()
    assert not match_case(shift=0.31)[0].any()
    assert match_case(own=0.29)[0].all()
    assert not match_case(own=0.31)[0].any()


def test_a_semantic_match_needs_the_class_too():
    assert match_case(box_class=0)[1].all()
    match, semantic = match_case(box_class=1)
    assert match.all()
    assert not semantic.any()


def test_refined_objectness_averages_matched_and_counted_proposals():
    yes, no = torch.tensor([[True, False]]), torch.tensor([[False, False]])
    assignment = Assignment(yes, torch.tensor([[True, True]]), torch.zeros(1, 2, dtype=torch.int64))
    logits, match = torch.zeros(1, 2, 2), torch.stack([yes, no], 1)
    expected = (0.8 * math.log(2) + (0.8 + 0.2) * math.log(2) / 2) / 2
    assert refined_objectness_loss(logits, assignment, match).item() == pytest.approx(expected, abs=1e-5)


def test_perfect_primitives_cost_only_their_flags():
    points, labels = scene(0)
    model = small()
    targets = model.codec.encode(labels)
    owner = objects_of_points(points, labels, targets, axis_aligned=True)
    seen = primitive_targets(points.coord, owner, targets, model.rule)
    assert all(0 < kind.mask.float().mean() < 1 for kind in seen)
    rows = points.num_points
    found = [
        Primitives(
            flags=torch.zeros(rows, 2),
            votes=kind.center,
            center=kind.center,
            extent=kind.extent,
            class_logits=50.0 * nn.functional.one_hot(kind.box_class, 2),
            feat=torch.zeros(rows, 128),
            offset=points.offset,
        )
        for kind in seen
    ]
    terms = primitive_losses(tuple(found), seen)
    for name, kind in zip(("horizontal", "vertical", "edge"), seen, strict=True):
        share = kind.mask.float().mean().item()
        assert terms[f"flag_{name}"].item() == pytest.approx((0.6 * share + 0.4 * (1 - share)) * math.log(2), rel=1e-5)
        assert terms[f"vote_{name}"].item() == 0
        assert terms[name].item() == pytest.approx(0, abs=1e-6)


def test_scenes_without_boxes_have_a_finite_loss():
    points, labels = batch(0, 1)
    labels["box_mask"], labels["vote_mask"] = (
        torch.zeros_like(labels["box_mask"]),
        torch.zeros_like(labels["vote_mask"]),
    )
    losses = small(count_padding=False).loss(points, labels)
    assert losses["loss"].isfinite()
    assert losses["positive_share"].item() == 0


def test_a_gate_of_labels_decides_which_points_show_a_primitive():
    points, labels = batch(0, 1)
    labels["segment"] = torch.where(labels["vote_mask"], 3, 0)
    free = small(12).eval().loss(points, labels)
    fitting = small(12, segment_gate=[[3], [3]]).eval().loss(points, labels)
    other = small(12, segment_gate=[[4], [4]]).eval().loss(points, labels)
    assert fitting["flag_horizontal"].item() == free["flag_horizontal"].item()
    assert other["vote_edge"].item() == 0
    assert free["vote_edge"].item() > 0
    with pytest.raises(ValueError, match="needs a label for each point"):
        small(12, segment_gate=[[3], [3]]).loss(points, {**labels, "segment": torch.full_like(labels["segment"], -1)})


def test_a_gate_needs_oriented_boxes_and_a_row_for_each_class():
    with pytest.raises(ValueError, match="oriented boxes"):
        small(1, segment_gate=[[3], [3]])
    with pytest.raises(ValueError, match="segment_gate has 1 rows for num_classes=2"):
        small(12, segment_gate=[[3]])


def test_in_canonical_order_permuted_points_and_scenes_give_the_same_boxes():
    torch.manual_seed(0)
    model = H3DNet(FourTowers(0, **SMALL, canonical_order=True), 2, 1, SIZES, num_proposals=16).eval()
    assert model.encoder.plan_spec() is None  # type: ignore[operator]
    points, _ = batch(0, 1)
    random = torch.Generator().manual_seed(1)
    order = torch.cat([torch.randperm(400, generator=random) + 400, torch.randperm(400, generator=random)])
    before, after = model.predict(points), model.predict(points.select(order, points.offset))
    for name in before:
        assert torch.equal(before[name], after[name].flip(0)), name


def test_a_few_steps_lower_the_loss():
    model = small()
    points, labels = batch(0, 1)
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    history = []
    for _ in range(12):
        losses = model.loss(points, labels)
        optimizer.zero_grad()
        losses["loss"].backward()
        optimizer.step()
        history.append({name: value.item() for name, value in losses.items()})
    assert history[-1]["loss"] < 0.85 * history[0]["loss"]
    for name in ("flag_horizontal", "flag_vertical", "potential"):
        assert history[-1][name] < history[0][name], name


def test_padding_can_be_left_out():
    points, labels = scene(0)
    model = small(count_padding=False)
    output = model(points.with_attributes(row=torch.arange(points.num_points)), "vote_fps")
    targets = model.codec.encode(labels)
    assert (assign(output.initial.cluster, targets, False).row < 2).all()
