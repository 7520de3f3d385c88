"""Several processes: who looks for unused parameters, who waits for whom, and that all end when one does."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from core.training.groups import (
    SPARES,
    first_is_slow_to_end,
    member,
    second_fails_while_the_first_sleeps,
    train_spare,
    train_spares,
)

from mm3d_core.errors import UserError
from mm3d_core.training.distributed import run_in_processes

NEVER_IN_TIME = 600  # seconds; a process of these tests that nobody ended would sleep an hour


def test_parameters_without_a_gradient_are_looked_for_only_where_there_are_some(tmp_path: Path):
    run_in_processes(train_spares, (str(tmp_path),), 2, "cpu")
    search, weights = {}, {}
    for name in SPARES:
        first, second = (json.loads((tmp_path / name / f"{rank}.json").read_text()) for rank in range(2))
        assert first == second, name
        search[name], weights[name] = first["search"], first["weights"]
    assert search == {"all used": False, "searched": True, "unused": True, "varied": True}
    assert weights["all used"] == weights["searched"]
    assert weights["all used"] != weights["varied"]


@pytest.mark.slow
def test_a_network_whose_steps_differ_and_that_does_not_say_so_is_told(tmp_path: Path):
    with pytest.raises(UserError, match=r"step 3: 2 parameters .*sometimes.weight.*parameters_vary = True"):
        run_in_processes(train_spare, (str(tmp_path), False, 3, False), 2, "cpu")
    assert json.loads((tmp_path / "failure/step.json").read_text())["rank"] == 1


def test_a_process_that_waits_for_one_that_failed_is_ended(tmp_path: Path):
    with pytest.raises(RuntimeError, match="the second has failed"):  # and not after an hour
        run_in_processes(second_fails_while_the_first_sleeps, (str(tmp_path),), 2, "cpu")


@pytest.mark.slow
def test_the_others_wait_for_the_first_without_a_collective(tmp_path: Path):
    run_in_processes(first_is_slow_to_end, (str(tmp_path),), 2, "cpu")
    assert {path.name for path in tmp_path.glob("seen*")} == {"seen by 0", "seen by 1"}


class TestOnSeveralNodes:
    """Nobody starts the processes together, so nobody but themselves can end them."""

    def start(self, folder: Path, what: str) -> list[int | None]:
        context = torch.multiprocessing.get_context("spawn")
        workers = [context.Process(target=member, args=(rank, str(folder), what)) for rank in range(2)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(NEVER_IN_TIME)
            worker.kill()
        return [worker.exitcode for worker in workers]

    def test_the_reason_of_the_process_that_failed_ends_the_first_which_keeps_it(self, tmp_path: Path):
        assert self.start(tmp_path, "the second reports") == [1, 1]
        assert (tmp_path / "reason 0").read_text() == "its batch is bad"

    @pytest.mark.slow
    def test_a_process_ends_when_the_first_dies_without_a_word(self, tmp_path: Path):
        assert self.start(tmp_path, "the first dies") == [9, 1]
        assert (tmp_path / "reason 1").read_text() == "the first process is gone"

    @pytest.mark.slow
    def test_words_are_waited_for_and_all_leave_together(self, tmp_path: Path):
        assert self.start(tmp_path, "words") == [0, 0]
        assert (tmp_path / "heard").read_text() == "go,"
