"""Contrastive losses: worked values, closed forms, and what they must not depend on."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional

from mm3d_core.methods import contrastive
from mm3d_core.methods.contrastive import (
    InfoNCE,
    Partitions,
    diagonal_cross_entropy,
    hardest_contrastive,
    partitioned_info_nce,
)

TEACHER = torch.tensor([[1.0, 0], [0, 1], [1, 1]])
STUDENT = torch.tensor([[2.0, 1], [1, 1], [0, 3]])


def unit(rows: int, channels: int = 8, seed: int = 0) -> torch.Tensor:
    return functional.normalize(torch.randn(rows, channels, generator=torch.Generator().manual_seed(seed)), dim=1)


@pytest.mark.parametrize(
    ("temperature", "anchor", "value"),
    [(0.07, "second", 2.951000), (0.07, "first", 3.189340), (1.0, "second", 1.075122), (1.0, "first", 1.079662)],
)
def test_info_nce_of_three_matches_is_the_one_worked_out_by_hand(temperature, anchor, value):
    loss = InfoNCE(temperature=temperature, anchor=anchor)(STUDENT, TEACHER)
    assert loss.item() == pytest.approx(value, abs=1e-6)


def test_the_symmetric_loss_is_the_mean_of_both_directions():
    loss = InfoNCE(anchor="symmetric")(STUDENT, TEACHER)
    assert loss.item() == pytest.approx((2.951000 + 3.189340) / 2, abs=1e-6)


@pytest.mark.parametrize("rows", [1, 5, 100])
def test_constant_features_give_the_logarithm_of_the_number_of_matches(rows):
    same = torch.ones(rows, 4)
    assert InfoNCE()(same, same).item() == pytest.approx(math.log(rows), abs=1e-5)


def test_identical_orthogonal_views_give_the_closed_form():
    features = torch.eye(6)
    expected = math.log(math.exp(1 / 0.07) + 5) - 1 / 0.07
    assert InfoNCE()(features, features).item() == pytest.approx(expected, abs=1e-6)


def test_permuting_the_matches_changes_nothing():
    first, second, order = unit(40), unit(40, seed=1), torch.randperm(40)
    torch.testing.assert_close(InfoNCE()(first[order], second[order]), InfoNCE()(first, second))


def test_without_normalization_the_length_of_features_counts():
    assert InfoNCE(temperature=1.0)(2 * STUDENT, TEACHER).item() == pytest.approx(1.079662, abs=1e-6)
    assert InfoNCE(temperature=1.0, normalize=False)(2 * STUDENT, TEACHER) != pytest.approx(1.079662, abs=1e-3)


def test_a_sum_is_the_mean_times_the_matches():
    torch.testing.assert_close(InfoNCE(reduction="sum")(STUDENT, TEACHER), 3 * InfoNCE()(STUDENT, TEACHER))


def test_a_table_made_in_pieces_has_the_same_value_and_gradient(monkeypatch):
    results = []
    for chunk in (1000, 16):
        monkeypatch.setattr(contrastive, "CHUNK", chunk)
        first, second = unit(50).requires_grad_(), unit(50, seed=1).requires_grad_()
        loss = diagonal_cross_entropy(first, second, 0.1)
        loss.backward()
        results.append((loss.detach(), first.grad, second.grad))
    for whole, pieces in zip(*results, strict=True):
        torch.testing.assert_close(whole, pieces)


def test_at_most_the_asked_number_of_matches_is_drawn_each_once():
    rows = InfoNCE(max_points=10).sample(100, torch.Generator().manual_seed(0))
    assert len(set(rows.tolist())) == 10
    assert InfoNCE(max_points=10).sample(7, torch.Generator()).tolist() == list(range(7))


@pytest.mark.parametrize(
    "options", [{"temperature": 0.0}, {"max_points": 0}, {"anchor": "both"}, {"reduction": "none"}]
)
def test_bad_options_of_info_nce_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        InfoNCE(**options)


def test_points_fall_into_the_regions_of_their_distance_and_height():
    others = torch.tensor([[0.01, 0, 0], [0.3, 0, 0.1], [0.3, 0, -0.1], [0, 2.0, 0.5], [0, 2.0, -0.5], [0.0, 0, 0]])
    assert Partitions()(torch.zeros(1, 3), others)[0].tolist() == [-1, 1, 0, 3, 2, -1]


def test_sectors_multiply_the_regions():
    partitions = Partitions(azimuths=2)
    assert partitions.count == 8
    others = torch.tensor([[0.3, 0.1, -0.1], [0.3, -0.1, -0.1]])
    assert partitions(torch.zeros(1, 3), others)[0].tolist() == [0, 2]


def test_the_partitioned_loss_is_the_definition_written_out():
    first, second, partitions = unit(30), unit(30, seed=1), Partitions(radii=(0.2, 0.6))
    coord = torch.rand(30, 3, generator=torch.Generator().manual_seed(2))
    loss, share = partitioned_info_nce(first, second, coord, partitions, 0.4)
    table, total, pairs = first @ second.T / 0.4, 0.0, torch.zeros(4)
    for i in range(30):
        region = partitions(coord[i : i + 1], coord)[0]
        for p in range(4):
            members = sorted({i, *(region == p).nonzero().flatten().tolist()})
            total += float(table[i, members].logsumexp(0) - table[i, i])
            pairs[p] += (region == p).sum()
    assert loss.item() == pytest.approx(total / (4 * 30), rel=1e-5)
    torch.testing.assert_close(share, pairs / (30 * 29))


def test_pairs_nearer_than_the_first_radius_are_in_no_region():
    loss, share = partitioned_info_nce(unit(5), unit(5, seed=1), torch.zeros(5, 3), Partitions(), 0.4)
    assert loss.item() == pytest.approx(0.0, abs=1e-6)
    assert share.sum() == 0


def test_constant_features_give_the_mean_logarithm_of_the_region_sizes():
    coord = torch.tensor([[0.0, 0, 0], [0.3, 0, 0.1], [0.3, 0.1, 0.1]])
    same = torch.ones(3, 2)
    partitions = Partitions(radii=(0.2,), elevations=1)
    loss, _ = partitioned_info_nce(same, same, coord, partitions, 0.4)
    assert loss.item() == pytest.approx((math.log(3) + 2 * math.log(2)) / 3, abs=1e-6)


def test_bad_regions_are_refused():
    with pytest.raises(ValueError, match="radii must rise"):
        Partitions(radii=(0.5, 0.05))
    with pytest.raises(ValueError, match="elevations=3"):
        Partitions(elevations=3)


def test_the_hardest_contrastive_loss_of_two_orthogonal_pairs_is_the_one_worked_out_by_hand():
    features = torch.eye(2)
    loss = hardest_contrastive(features, features, 2, torch.Generator().manual_seed(0), negative_margin=2.0)
    assert loss.item() == pytest.approx((2 - math.sqrt(2)) ** 2, abs=1e-5)


def test_the_hardest_contrastive_loss_has_a_finite_gradient_for_collapsed_features():
    features = torch.ones(4, 2) / math.sqrt(2)
    features.requires_grad_()
    hardest_contrastive(features, features.detach(), 4, torch.Generator().manual_seed(0)).backward()
    assert features.grad is not None
    assert features.grad.isfinite().all()
