"""fit(): resumes to the exact step, shares work without changing it, and stops loudly when the numbers go bad."""

from __future__ import annotations

# pyright: reportArgumentType=false, reportCallIssue=false, reportOptionalSubscript=false
# pyright: reportOptionalOperand=false, reportOptionalMemberAccess=false, reportAttributeAccessIssue=false
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from core.training.regression import Network, RowLoader, Rows, build, refused_by_the_second, train, train_in_processes
from torch import nn

from mm3d_core.errors import UserError
from mm3d_core.observing.logfile import read_log, truncate_log
from mm3d_core.training.checkpoint import CURRENT, PREVIOUS, load_checkpoint
from mm3d_core.training.distributed import run_in_processes
from mm3d_core.training.interruption import PREEMPTED_STATUS
from mm3d_core.training.optimizers import make_optimizer

SCRIPT = Path(__file__).parent / "regression.py"


def assert_same(first: nn.Module | dict, second: nn.Module | dict) -> None:
    """Equal bit for bit."""
    one = first if isinstance(first, dict) else first.state_dict()
    two = second if isinstance(second, dict) else second.state_dict()
    assert one.keys() == two.keys()
    assert [name for name in one if not torch.equal(one[name], two[name])] == []


def records(folder: Path) -> list[dict]:
    """The log without times and memory."""
    cost = ("seconds_per_step", "peak_memory_bytes")
    return [{name: value for name, value in record.items() if name not in cost} for record in read_log(folder)]


def start(folder: Path, steps: int, pause: float, processes: int = 1) -> subprocess.Popen:
    environment = {**os.environ, "PYTHONPATH": str(SCRIPT.parents[2]), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(SCRIPT), str(folder), str(steps), str(pause), str(processes)]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)


def wait_for_step(folder: Path, step: int, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + 60
    while not any(record["step"] >= step for record in read_log(folder)):
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_training_lowers_the_loss_and_calls_after_step_once_a_step(tmp_path: Path):
    network = train(tmp_path, 60, dropout=0.0)
    losses = [record["loss"] for record in read_log(tmp_path)]
    assert len(losses) == 60
    assert sum(losses[-10:]) < 0.5 * sum(losses[:10])
    assert int(network.calls) == 60


def test_a_training_cut_at_any_checkpoint_ends_bit_for_bit_like_an_undisturbed_one(tmp_path: Path):
    undisturbed = train(tmp_path / "whole", 20)

    class PowerError(Exception):
        pass

    class Cut(RowLoader):
        def stream(self, first_step: int, steps: int):
            for batch in super().stream(first_step, steps):
                if self.served[-1] == 13:
                    raise PowerError
                yield batch

    with pytest.raises(PowerError):
        train(tmp_path / "cut", 20, Cut())
    assert load_checkpoint(tmp_path / "cut")["step"] == 10
    assert [record["step"] for record in records(tmp_path / "cut")][-1] == 13
    loader = RowLoader()
    assert_same(train(tmp_path / "cut", 20, loader), undisturbed)
    assert loader.served[0] == 10
    assert records(tmp_path / "cut") == records(tmp_path / "whole")


def test_a_damaged_checkpoint_costs_time_and_changes_nothing(tmp_path: Path):
    undisturbed = train(tmp_path / "whole", 20)
    with pytest.raises(UserError):
        train(tmp_path / "cut", 20, RowLoader(bad=frozenset({12})))
    (tmp_path / "cut" / CURRENT).write_bytes(b"half a checkpoint")
    with pytest.warns(UserWarning, match="continuing from the previous"):
        assert_same(train(tmp_path / "cut", 20), undisturbed)


def test_a_killed_process_resumes_to_the_same_bits(tmp_path: Path):
    undisturbed = train(tmp_path / "whole", 40)
    process = start(tmp_path / "cut", 40, pause=0.05)
    wait_for_step(tmp_path / "cut", 17, process)
    process.kill()
    process.communicate()
    assert not (tmp_path / "cut/final.pt").exists()
    assert_same(train(tmp_path / "cut", 40), undisturbed)
    assert records(tmp_path / "cut") == records(tmp_path / "whole")


@pytest.mark.parametrize(
    "number", [signal.SIGUSR2, pytest.param(signal.SIGTERM, marks=[pytest.mark.short, pytest.mark.slow])]
)
def test_a_stop_signal_leaves_a_checkpoint_of_the_newest_step_and_a_status_of_its_own(
    tmp_path: Path, number: signal.Signals
):
    undisturbed = train(tmp_path / "whole", 40)
    process = start(tmp_path / "cut", 40, pause=0.05)
    wait_for_step(tmp_path / "cut", 7, process)
    process.send_signal(number)
    process.communicate(timeout=30)
    assert process.returncode == PREEMPTED_STATUS
    state = load_checkpoint(tmp_path / "cut")
    assert state is not None
    assert state["step"] == read_log(tmp_path / "cut")[-1]["step"] < 40
    assert_same(train(tmp_path / "cut", 40), undisturbed)


def test_a_former_handler_hears_the_signal_after_the_checkpoint(tmp_path: Path):
    seen = []

    class Warned(RowLoader):
        def stream(self, first_step: int, steps: int):
            for batch in super().stream(first_step, steps):
                if self.served[-1] == 3:
                    os.kill(os.getpid(), signal.SIGUSR2)
                yield batch

    def handler(number: int, _: object) -> None:
        seen.append((number, (tmp_path / CURRENT).exists()))

    former = signal.signal(signal.SIGUSR2, handler)
    try:
        with pytest.raises(SystemExit) as stopped:
            train(tmp_path, 20, Warned())
    finally:
        assert signal.signal(signal.SIGUSR2, former) is handler
    assert stopped.value.code == PREEMPTED_STATUS
    assert seen == [(signal.SIGUSR2, True)]


def test_a_finished_training_is_not_repeated_and_keeps_one_checkpoint(tmp_path: Path):
    network = train(tmp_path, 10)
    loader = RowLoader()
    assert_same(train(tmp_path, 10, loader), network)
    assert loader.served == []
    assert not (tmp_path / PREVIOUS).exists()


def test_accumulated_micro_batches_equal_one_batch(tmp_path: Path):
    whole = train(tmp_path / "1", 8, dropout=0.0, norm=False)
    parts = train(tmp_path / "2", 8, RowLoader(accumulation=2), dropout=0.0, norm=False, accumulation=2)
    for name, value in whole.state_dict().items():
        torch.testing.assert_close(
            parts.state_dict()[name], value, rtol=0, atol=2e-3
        )  # the noise is drawn per micro-batch


def test_two_processes_train_what_one_trains(tmp_path: Path):
    run_in_processes(train_in_processes, (str(tmp_path / "2"), 8, 1), 2, "cpu")
    alone = train(tmp_path / "1", 8, dropout=0.0, norm=False)
    together = torch.load(tmp_path / "2/final.pt", weights_only=True)
    for name, value in alone.state_dict().items():
        torch.testing.assert_close(together[name], value, rtol=0, atol=2e-3)  # the noise is drawn per process
    assert len(read_log(tmp_path / "2")) == 8


@pytest.mark.short
@pytest.mark.slow
def test_a_bad_loss_in_one_of_two_processes_stops_both_with_a_message(tmp_path: Path):
    with pytest.raises(UserError, match="step 4"):
        run_in_processes(train_in_processes, (str(tmp_path), 8, 1, 3), 2, "cpu")


def test_a_batch_refused_by_another_process_than_the_first_leaves_its_failure_and_ends_the_others(tmp_path: Path):
    with pytest.raises(UserError, match=r"stopped at step 3: too few points.*replay"):
        run_in_processes(refused_by_the_second, (str(tmp_path),), 2, "cpu")
    # the first waited for the second's gradients, and was ended
    failure = json.loads((tmp_path / "failure/step.json").read_text())
    assert (failure["rank"], failure["processes"], failure["step"]) == (1, 2, 3)
    state = load_checkpoint(tmp_path / "failure")
    assert state is not None
    assert state["step"] == 2
    assert [path.name for path in tmp_path.glob("failure*")] == ["failure"]


@pytest.mark.short
@pytest.mark.slow
def test_a_group_stops_together_on_request_and_resumes(tmp_path: Path):
    process = start(tmp_path / "2", 3000, pause=0.0, processes=2)
    wait_for_step(tmp_path / "2", 20, process)
    process.send_signal(signal.SIGUSR2)
    process.communicate(timeout=60)
    assert process.returncode == PREEMPTED_STATUS
    state = load_checkpoint(tmp_path / "2")
    assert state is not None
    assert state["step"] == read_log(tmp_path / "2")[-1]["step"]


# ----------------------------------------------------------------------------- guards


def test_a_bad_loss_names_step_scenes_and_a_replay_command_and_keeps_the_state(tmp_path: Path):
    with pytest.raises(UserError, match=r"step 8: loss is nan, scenes scene_7; .*replay"):
        train(tmp_path, 20, RowLoader(bad=frozenset({7})))
    assert json.loads((tmp_path / "failure/step.json").read_text())["scenes"] == ["scene_7"]
    state = load_checkpoint(tmp_path / "failure")
    assert state is not None
    assert state["step"] == 7
    assert all(bool(torch.isfinite(value).all()) for value in state["optimizer"]["state"][0].values())


def test_a_bad_gradient_behind_a_good_loss_is_noticed(tmp_path: Path):
    from mm3d_core.training.fit import Settings, fit
    from mm3d_core.training.schedules import Constant

    network, optimizer = build()

    def root(module: Network, batch, _):
        return {"loss": (module.layers(batch.x) * 0).abs().sqrt().sum()}  # the root's slope at 0 is infinite

    with pytest.raises(UserError, match="gradient norm is nan"):
        fit(network, root, RowLoader(), optimizer, tmp_path, Settings(3), Constant())


def test_a_batch_that_the_network_refuses_is_named(tmp_path: Path):
    class Single(RowLoader):
        def stream(self, first_step: int, steps: int):
            for batch in super().stream(first_step, steps):
                yield Rows(batch.names, batch.x[:1], batch.y[:1]) if self.served[-1] == 4 else batch

    with pytest.raises(UserError, match=r"step 5: Expected more than 1 value per channel.*scenes scene_4"):
        train(tmp_path, 20, Single())


def test_an_fp16_overflow_skips_the_step_and_an_endless_one_stops(tmp_path: Path):
    network = train(tmp_path / "once", 6, RowLoader(bad=frozenset({2})), precision="fp16")
    taken = [record["step"] for record in records(tmp_path / "once") if "gradient_norm" in record]
    assert 3 not in taken
    assert int(network.calls) == len(taken) >= 3  # the first scale may be too large, too
    assert all(bool(torch.isfinite(value).all()) for value in network.state_dict().values())
    with pytest.raises(UserError, match="overflowed 31 steps in a row"):
        train(tmp_path / "always", 60, RowLoader(bad=frozenset(range(5, 60))), precision="fp16")


def test_bf16_trains(tmp_path: Path):
    train(tmp_path, 60, dropout=0.0, precision="bf16")
    losses = [record["loss"] for record in read_log(tmp_path)]
    assert sum(losses[-10:]) < 0.5 * sum(losses[:10])


def test_clipping_limits_the_gradient(tmp_path: Path):
    free, clipped = train(tmp_path / "1", 1), train(tmp_path / "2", 1, clip=1e-12)
    assert not torch.equal(free.layers[0].weight, clipped.layers[0].weight)
    assert records(tmp_path / "2")[0]["gradient_norm"] > 1e-3  # as it was before


def test_a_checkpoint_of_another_network_is_refused(tmp_path: Path):
    train(tmp_path, 5)
    with pytest.raises(UserError, match="another network"):
        train(tmp_path, 5, norm=False)


def test_frozen_parts_stay_in_evaluation_mode(tmp_path: Path):
    from core.training.regression import objective

    from mm3d_core.training.fit import Settings, fit
    from mm3d_core.training.schedules import Constant

    network, _ = build()
    norm = network.layers[1]
    norm.requires_grad_(False)
    optimizer = make_optimizer(network, torch.optim.SGD, lr=0.1)
    fit(network, objective, RowLoader(), optimizer, tmp_path, Settings(3), Constant(), frozen=[norm])
    assert torch.equal(norm.running_mean, torch.zeros(8))
    assert torch.equal(norm.weight, torch.ones(8))


def test_the_log_is_cut_at_the_checkpoint_and_at_a_half_written_line(tmp_path: Path):
    path = tmp_path / "log.jsonl"
    path.write_text('{"step": 1}\n{"step": 2}\n{"step": 3}\n{"st')
    truncate_log(path, 2)
    assert path.read_text() == '{"step": 1}\n{"step": 2}\n'
    path.write_text('{"step": 1}\n{"st')
    truncate_log(path, 5)
    assert path.read_text() == '{"step": 1}\n'


# ----------------------------------------------------------------------------- optimizers


def test_parameter_groups_follow_names_and_scale_the_rate():
    network = Network()
    optimizer = make_optimizer(
        network,
        torch.optim.AdamW,
        lr=0.1,
        groups=[{"match": r"^layers\.0\.", "lr_scale": 0.1, "weight_decay": 0.0}],
        weight_decay=0.5,
    )
    first, rest = optimizer.param_groups
    assert (first["lr"], first["weight_decay"], len(first["params"])) == (pytest.approx(0.01), 0.0, 2)
    assert (rest["lr"], rest["weight_decay"], len(rest["params"])) == (0.1, 0.5, 4)


def test_an_unknown_optimizer_option_or_an_empty_group_is_refused():
    with pytest.raises(UserError, match="momentumm"):
        make_optimizer(Network(), torch.optim.SGD, lr=0.1, momentumm=0.9)
    with pytest.raises(UserError, match="'blocks'"):
        make_optimizer(Network(), torch.optim.SGD, lr=0.1, groups=[{"match": "blocks"}])
