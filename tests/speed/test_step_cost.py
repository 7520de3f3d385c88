"""What a step of pre-training costs: parts that add up; the figures are the business of a benchmark."""

from __future__ import annotations

import pytest
import torch
from core.tiny import TinyEncoder, generator, scan

from mm3d_core.methods.mm3dscene import MM3DScene
from speed.step_cost import PARTS, Step, seconds_of, step_seconds, time_shares


def test_the_shares_of_all_parts_add_up_to_the_step():
    method = MM3DScene(TinyEncoder(), decoder={"width": 16})
    shares = time_shares(method, method.views(scan(600), generator()), torch.optim.AdamW(method.parameters()))
    assert set(shares) == {*PARTS, "backward", "update", "rest"}
    assert min(shares.values()) >= 0
    assert sum(shares.values()) == pytest.approx(1.0, abs=0.02)


def test_parts_that_are_not_built_take_no_time():
    method = MM3DScene(TinyEncoder(), decoder={"width": 16}, csd_weight=0.0)
    shares = time_shares(method, method.views(scan(600), generator()), torch.optim.AdamW(method.parameters()))
    assert "teacher" not in shares
    assert "consistency" not in shares


def test_work_is_timed_after_one_time_that_does_not_count():
    calls = []
    assert seconds_of(lambda: calls.append(len(calls)), repeats=3) >= 0
    assert calls == [0, 1, 2, 3]


def test_steps_take_turns_and_what_follows_a_step_runs():
    weight = torch.nn.Parameter(torch.ones(1))
    order = []
    steps = [
        Step(lambda: {"loss": weight.square().sum()}, torch.optim.SGD([weight], 0.1), lambda n=n: order.append(n))
        for n in range(2)
    ]
    assert len(step_seconds(steps, repeats=2)) == 2
    assert order == [0, 1, 0, 1, 0, 1]
    assert float(weight.detach()) == pytest.approx(0.8**6)
