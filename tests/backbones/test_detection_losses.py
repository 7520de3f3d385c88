"""VoteNet's losses on cases small enough for pencil and paper."""

from __future__ import annotations

import math

import pytest
import torch

from mm3d_backbones.detection_losses import (
    assign,
    box_loss,
    box_losses,
    center_loss,
    huber,
    masked_mean,
    objectness_loss,
    vote_loss,
    weighted_cross_entropy,
)
from mm3d_backbones.detection_targets import BoxCodec, BoxTargets, Proposals

CODEC = BoxCodec(12, [[1.0, 1.0, 1.0], [2.0, 2.0, 2.0]])


def targets(*boxes: tuple[tuple[float, float, float], int], padding: int = 1) -> BoxTargets:
    """Boxes of size (2, 2, 2) at the given centers and classes, heading 0, in one scene."""
    rows = len(boxes) + padding
    labels = {
        "center": torch.zeros(1, rows, 3),
        "size": torch.full((1, rows, 3), 2.0),
        "heading": torch.zeros(1, rows),
        "box_class": torch.zeros(1, rows, dtype=torch.int64),
        "box_mask": torch.arange(rows)[None] < len(boxes),
    }
    for row, (center, box_class) in enumerate(boxes):
        labels["center"][0, row] = torch.tensor(center)
        labels["box_class"][0, row] = box_class
    return CODEC.encode(labels)


def proposals(*centers: tuple[float, float, float]) -> Proposals:
    """Proposals that say nothing (all logits and residuals 0) with their cluster and center at the given places."""
    cluster = torch.tensor([centers])
    output = torch.zeros(1, len(centers), CODEC.width, requires_grad=True)
    return CODEC.read(output, cluster, torch.zeros(1, len(centers), 0))


def test_masked_mean_ignores_what_is_masked_even_infinity():
    assert masked_mean(torch.tensor([2.0, math.inf, 4.0]), torch.tensor([True, False, True])).item() == pytest.approx(
        3, abs=1e-5
    )
    assert masked_mean(torch.tensor([2.0]), torch.tensor([False])).item() == 0


def test_huber_is_quadratic_up_to_one():
    torch.testing.assert_close(huber(torch.tensor([-0.5, 0.0, 1.0, 3.0])), torch.tensor([0.125, 0.0, 0.5, 2.5]))


def test_a_vote_is_compared_with_the_nearest_of_its_candidates():
    seeds, votes = torch.tensor([[1.0, 0, 0], [5.0, 0, 0]]), torch.tensor([[2.0, 0, 0], [5.0, 0, 0]])
    offsets = torch.tensor([[[9.0, 0, 0], [1.25, 0.5, 0], [9.0, 0, 0]], [[1.0, 1, 1]] * 3])
    assert vote_loss(seeds, votes, offsets, torch.tensor([True, False])).item() == pytest.approx(0.75, abs=1e-5)
    assert vote_loss(seeds, votes, offsets, torch.tensor([True, True])).item() == pytest.approx(
        (0.75 + 3) / 2, abs=1e-5
    )


def test_proposals_are_positive_near_a_box_negative_far_away_and_ignored_between():
    found = assign(torch.tensor([[[5.2, 5, 5], [5.45, 5, 5], [5.7, 5, 5]]]), targets(((5, 5, 5), 1)))
    assert found.positive.tolist() == [[True, False, False]]
    assert found.counted.tolist() == [[True, False, True]]
    assert found.row.tolist() == [[0, 0, 0]]


def test_a_vote_near_the_origin_answers_for_a_padding_row_unless_padding_is_left_out():
    near_origin = torch.tensor([[[0.1, 0.0, 0.0]]])
    published, strict = (assign(near_origin, targets(((5, 5, 5), 1)), padding) for padding in (True, False))
    assert (published.positive.item(), published.row.item()) == (True, 1)
    assert (strict.positive.item(), strict.counted.item(), strict.row.item()) == (False, True, 0)


def test_a_scene_without_padding_rows_has_no_box_at_the_origin():
    found = assign(torch.tensor([[[0.1, 0.0, 0.0]]]), targets(((5, 5, 5), 1), padding=0))
    assert not found.positive.item()


def test_objectness_weighs_objects_four_times_as_much():
    found = assign(torch.tensor([[[5, 5, 5], [9.0, 9, 9]]]), targets(((5, 5, 5), 1)))
    loss = objectness_loss(torch.zeros(1, 2, 2), found)
    assert loss.item() == pytest.approx((0.8 + 0.2) * math.log(2) / 2, abs=1e-5)


def test_centers_are_pulled_in_both_directions():
    truth = targets(((5, 5, 5), 1), ((8, 5, 5), 0))
    moved = torch.tensor([[[5.1, 5, 5], [20.0, 5, 5]]])
    found = assign(torch.tensor([[[5.0, 5, 5], [20.0, 5, 5]]]), truth)
    # positive: one, at squared distance 0.01; boxes: 0.01 and (8 - 5.1)^2
    assert center_loss(moved, truth, found).item() == pytest.approx(0.01 + (0.01 + 2.9**2) / 2, rel=1e-4)


def test_one_positive_gives_the_worked_out_terms():
    said = proposals((5.1, 5, 5), (30, 5, 5))
    truth = targets(((5, 5, 5), 0))
    terms = box_losses(said, truth, assign(said.cluster, truth), CODEC)
    expected = {
        "center": 0.01 + 0.01,
        "heading_class": math.log(12),
        "heading_residual": 0.0,
        "size_class": math.log(2),
        "size_residual": 0.5,  # the label's residual is 1 template on each axis
        "semantic": math.log(2),
    }
    assert {name: value.item() for name, value in terms.items()} == pytest.approx(expected, abs=1e-4)
    total = 0.02 + 0.1 * math.log(12) + 0.1 * math.log(2) + 0.5 + 0.1 * math.log(2)
    assert box_loss(terms).item() == pytest.approx(total, abs=1e-4)


@pytest.mark.parametrize("padding", [True, False])
def test_a_batch_without_boxes_has_finite_losses_and_gradients(padding):
    output = torch.zeros(1, 3, CODEC.width, requires_grad=True)
    said = CODEC.read(output, torch.full((1, 3, 3), 9.0), torch.zeros(1, 3, 0))
    nothing = targets(padding=2)
    found = assign(said.cluster, nothing, padding)
    terms = box_losses(said, nothing, found, CODEC, padding)
    total = box_loss(terms) + objectness_loss(said.objectness, found)
    total.backward()
    assert total.isfinite()
    assert output.grad is not None
    assert output.grad.isfinite().all()
    assert all(value.item() == 0 for value in terms.values())


def test_heading_residuals_count_in_half_bins():
    labels = {
        "center": torch.full((1, 1, 3), 5.0),
        "size": torch.ones(1, 1, 3),
        "heading": torch.tensor([[math.pi / 24]]),
        "box_class": torch.zeros(1, 1, dtype=torch.int64),
        "box_mask": torch.ones(1, 1, dtype=torch.bool),
    }
    said, truth = proposals((5, 5, 5)), CODEC.encode(labels)
    terms = box_losses(said, truth, assign(said.cluster, truth), CODEC)
    assert terms["heading_residual"].item() == pytest.approx(0.5 * 0.5**2, abs=1e-5)


def test_the_order_of_boxes_changes_nothing():
    first = targets(((5, 5, 5), 1), ((8, 5, 5), 0))
    second = targets(((8, 5, 5), 0), ((5, 5, 5), 1))
    said = proposals((5.1, 5, 5), (8.2, 5, 5), (1, 1, 1))
    expected = box_losses(said, first, assign(said.cluster, first), CODEC)
    found = box_losses(said, second, assign(said.cluster, second), CODEC)
    assert {n: v.item() for n, v in found.items()} == pytest.approx({n: v.item() for n, v in expected.items()})


def test_weighted_cross_entropy_does_not_normalize_by_its_weights():
    loss = weighted_cross_entropy(torch.zeros(2, 2), torch.tensor([0, 1]), (0.4, 0.6), torch.ones(2))
    assert loss.item() == pytest.approx(0.5 * math.log(2), abs=1e-5)
