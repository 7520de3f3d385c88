"""Efficiency: exact counts, shares that add up, and one record that says where it was measured."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass

import pytest
import torch
from benchmarks.small_runs import config, write_rooms
from torch import nn

from mm3d_core.errors import UserError
from speed.networks import (
    ModuleClock,
    main,
    measure,
    parameter_counts,
    time_steps,
    training_cost,
)

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Batch:
    points: torch.Tensor
    labels: torch.Tensor


class Slow(nn.Module):
    """Sleeps in one child, so that it must dominate."""

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        time.sleep(0.02)
        return value


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.slow = Slow()
        self.linear = nn.Linear(3, 2)
        self.kinds = nn.ModuleDict({"a": nn.Linear(2, 2), "b": nn.Linear(2, 2)})

    def loss(self, points: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        value = self.kinds["b"](self.kinds["a"](self.linear(self.slow(points))))
        return {"loss": (value - labels).square().mean()}


def test_parameters_are_counted_in_all_and_by_child():
    model = Model()
    assert parameter_counts(model) == {"total": 20, "linear": 8, "kinds": 12}
    model.linear.requires_grad_(False)
    assert parameter_counts(model) == {"total": 12, "kinds": 12}


def test_warm_up_calls_are_made_and_not_counted():
    calls = []
    assert len(time_steps(calls.append, 3, CPU, warm_up=2)) == 3
    assert calls == [0, 1, 2, 3, 4]


def test_shares_of_a_step_add_up_and_show_the_slow_module():
    model = Model()
    batches = [Batch(torch.rand(4, 3), torch.rand(4, 2))]
    cost = training_cost(model, batches, torch.optim.SGD(model.parameters(), 0.1), 4, CPU)
    assert sum(cost["shares"].values()) == pytest.approx(1, abs=1e-3)
    assert max(cost["shares"], key=cost["shares"].__getitem__) == "forward/slow"
    assert "forward/kinds" in cost["shares"]
    assert cost["seconds_per_step"] >= 0.02


def test_a_clock_leaves_no_hooks_behind():
    model = Model()
    with ModuleClock(model, CPU) as clock:
        model.loss(torch.rand(1, 3), torch.rand(1, 2))
    seconds = dict(clock.seconds)
    model.loss(torch.rand(1, 3), torch.rand(1, 2))
    assert clock.seconds == seconds


def test_one_record_holds_cost_and_provenance(tmp_path):
    settings = config(write_rooms(tmp_path / "data"), recipe__name="tiny", evaluation__name="voxel")
    record = json.loads(json.dumps(measure(settings, steps=1, scenes=1)))
    assert record["training"]["steps_per_epoch"] == 1
    assert record["training"]["seconds_per_epoch"] == pytest.approx(record["training"]["seconds_per_step"], abs=1e-3)
    assert record["inference"]["seconds_per_scene"] > 0
    assert record["peak_memory_bytes"] > 0
    assert record["parameters"]["pretraining_total"] > record["parameters"]["total"]
    assert record["provenance"]["device"] == "cpu"
    assert record["provenance"]["versions"]["torch"] == torch.__version__


def test_nothing_to_measure_is_refused(tmp_path):
    with pytest.raises(UserError, match="at least 1"):
        measure(config(tmp_path), steps=0)


def test_the_command_refuses_several_configurations_without_a_traceback(capsys):
    assert main(["seed=0,1"]) == 1
    assert "one configuration" in capsys.readouterr().err
