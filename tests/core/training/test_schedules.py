"""Schedules: pure functions of the step, with the published values."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mm3d_core.training.schedules import BatchNormDecay, Cosine, MultiStep, OneCycle, Position, set_batch_norm_momentum


def test_milestones_take_effect_at_the_first_step_of_their_epoch():
    schedule = MultiStep([0.6, 0.8])
    factors = [schedule(Position(step, 50, 5)) for step in range(50)]  # 10 epochs of 5 steps
    assert factors[:30] == [1.0] * 30
    assert factors[30:40] == [pytest.approx(0.1)] * 10
    assert factors[40:] == [pytest.approx(0.01)] * 10


def test_a_warm_up_rises_linearly_before_the_milestones():
    schedule = MultiStep([0.6], warmup=0.1)
    factors = [schedule(Position(step, 50, 5)) for step in range(50)]
    assert factors[:6] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0, 1.0])
    assert factors[30] == pytest.approx(0.1)


def test_a_milestone_given_as_a_rounded_fraction_is_not_missed():
    # VoteNet: x0.1 at epochs 80, 120 and 160 of 180
    schedule = MultiStep([80 / 180, 120 / 180, 160 / 180])
    assert [round(schedule(Position(epoch * 7, 180 * 7, 7)), 6) for epoch in (79, 80, 119, 120, 160)] == [
        1,
        0.1,
        0.1,
        0.01,
        0.001,
    ]


def test_one_cycle_agrees_with_torch():
    parameter = nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=1.0)
    reference = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=0.6, total_steps=40, pct_start=0.25, div_factor=10, final_div_factor=100, cycle_momentum=False
    )
    # torch starts its fall one step before the share is over: its rise ends at pct_start * total - 1
    schedule = OneCycle(rise=9 / 39, start_divisor=10, final_divisor=100)
    for step in range(40):
        assert 0.6 * schedule(Position(step, 40, 4)) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-6)
        optimizer.step()
        if step < 39:
            reference.step()


def test_a_cosine_per_epoch_is_constant_within_an_epoch_and_ends_above_its_floor():
    schedule = Cosine(final=0.0002, per_epoch=True)
    factors = [schedule(Position(step, 40, 4)) for step in range(40)]
    assert all(factors[step] == factors[step - step % 4] for step in range(40))
    assert factors[0] == 1.0
    assert 0.0002 < factors[-1] < 0.05


def test_a_warm_up_rises_linearly_to_the_base_rate():
    schedule = Cosine(warmup=0.25)
    factors = [schedule(Position(step, 40, 4)) for step in range(12)]
    assert factors[:10] == [pytest.approx((step + 1) / 10) for step in range(10)]
    assert factors[10] == pytest.approx(1.0)


def test_batch_norm_momentum_halves_every_20_epochs_down_to_its_floor():
    schedule = BatchNormDecay()
    values = [schedule(Position(epoch * 3, 600 * 3, 3)) for epoch in (0, 19, 20, 40, 179, 180, 500)]
    assert values == [0.5, 0.5, 0.25, 0.125, 0.5**9, 0.001, 0.001]


def test_the_momentum_reaches_every_batch_norm():
    network = nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.BatchNorm1d(2), nn.BatchNorm2d(2)))
    set_batch_norm_momentum(network, 0.03)
    assert [layer.momentum for layer in network.modules() if hasattr(layer, "momentum")] == [0.03, 0.03]
