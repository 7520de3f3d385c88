"""The efficiency record."""

from __future__ import annotations

import time

import pytest
import torch
from torch import nn

from mm3d_core.observing.efficiency import WARM_UP, Meter


def test_first_steps_are_warm_up_and_interruptions_add_up():
    meter = Meter(torch.device("cpu"))
    for _ in range(WARM_UP):
        with meter.step():
            time.sleep(0.05)
    for _ in range(5):
        with meter.step():
            time.sleep(0.001)
    first = meter.summary(nn.Linear(2, 3))
    assert first["seconds_per_step_median"] < 0.04
    assert first["seconds_total"] > 0.1
    assert first["parameters_trainable"] == 9
    again = Meter(torch.device("cpu"))
    again.load_state(meter.state())
    with again.step():
        pass
    second = again.summary(nn.Linear(2, 3))
    assert second["seconds_total"] == pytest.approx(first["seconds_total"], abs=0.05)
    assert second["seconds_per_step_median"] is None


def test_the_ninetieth_percentile_is_not_below_the_median():
    meter = Meter(torch.device("cpu"))
    for number in range(WARM_UP + 4):
        with meter.step():
            time.sleep(0.001 * number)
    record = meter.summary(nn.Linear(1, 1))
    assert record["seconds_per_step_p90"] >= record["seconds_per_step_median"]
    assert record["peak_memory_bytes"] > 1e7
