"""Prototypes and their assignments: cosines, rows that sum to one, prototypes used alike, order of no matter."""

from __future__ import annotations

import pytest
import torch

from mm3d_core.methods.self_distillation.prototypes import Prototypes, sinkhorn_knopp


def similarity(samples: int = 200, prototypes: int = 10) -> torch.Tensor:
    """Cosines of which most samples prefer the first prototype."""
    values = torch.rand(samples, prototypes, generator=torch.Generator().manual_seed(0)) * 2 - 1
    values[:, 0] = values[:, 0].abs()
    return values


def test_every_sample_is_assigned_once_and_every_prototype_alike():
    weight = sinkhorn_knopp(similarity(), 0.07, 100)
    torch.testing.assert_close(weight.sum(1), torch.ones(200))
    torch.testing.assert_close(weight.sum(0), torch.full((10,), 20.0), rtol=1e-3, atol=1e-3)
    assert bool((weight >= 0).all())


def test_three_iterations_come_closer_to_alike_than_a_softmax():
    values = similarity()
    spread = [float(weight.sum(0).std()) for weight in (sinkhorn_knopp(values, 0.07), (values / 0.07).softmax(1))]
    assert spread[0] < spread[1] / 3
    torch.testing.assert_close(sinkhorn_knopp(values, 0.07).sum(1), torch.ones(200))


def test_the_limit_is_the_scaling_of_the_kernel_that_has_both_sums():
    """Worked in float64 by alternating scalings of rows and columns."""
    values = similarity().double()
    kernel, rows, columns = (values / 0.3).exp(), torch.ones(200, 1).double(), torch.ones(1, 10).double()
    for _ in range(500):
        columns = 20 / (kernel * rows).sum(0, keepdim=True)
        rows = 1 / (kernel * columns).sum(1, keepdim=True)
    limit = (kernel * rows * columns).float()
    torch.testing.assert_close(sinkhorn_knopp(values, 0.3, 500), limit, rtol=1e-4, atol=1e-6)


def test_the_order_of_samples_is_of_no_matter_and_lower_temperatures_are_harder():
    values, turn = similarity(), torch.randperm(200, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(sinkhorn_knopp(values[turn], 0.07), sinkhorn_knopp(values, 0.07)[turn])
    peaks = [float(sinkhorn_knopp(values, temperature).amax(1).mean()) for temperature in (0.3, 0.07, 0.04)]
    assert peaks[0] < peaks[1] < peaks[2]


def test_no_samples_have_no_assignment_and_no_gradient_flows():
    assert sinkhorn_knopp(torch.empty(0, 4), 0.07).shape == (0, 4)
    assert not sinkhorn_knopp(similarity().requires_grad_(), 0.07).requires_grad


def test_prototypes_give_cosines_whatever_the_lengths():
    torch.manual_seed(0)
    head = Prototypes(6, hidden=16, width=4, prototypes=9)
    feat = torch.randn(50, 6)
    found = head(feat)
    assert found.shape == (50, 9)
    assert float(found.detach().abs().max()) <= 1 + 1e-6
    with torch.no_grad():
        head.prototypes.mul_(3)
    torch.testing.assert_close(head(feat), found)


def test_sizes_that_make_no_sense_are_refused():
    with pytest.raises(ValueError, match="prototypes=1"):
        Prototypes(6, prototypes=1)
