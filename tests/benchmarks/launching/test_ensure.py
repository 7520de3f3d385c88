"""ensure(): everything gets a result once, whatever dies meanwhile; on the local pool and in process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import psutil
import pytest
import toy

from mm3d_benchmarks.launching.choose import make_launcher
from mm3d_benchmarks.launching.ensure import MOST_RETURNS, describe, ensure
from mm3d_benchmarks.launching.local import InProcess, LocalPool
from mm3d_benchmarks.launching.outcome import REQUEUE, Ended, Launcher, Outcome
from mm3d_benchmarks.store import locks
from mm3d_benchmarks.store.spec import RunSpec
from mm3d_benchmarks.store.store import Run, Store
from mm3d_core.errors import UserError

DRIVER = """
import sys, toy
from pathlib import Path
from mm3d_benchmarks.launching.ensure import ensure
from mm3d_benchmarks.launching.local import LocalPool
from mm3d_benchmarks.store.store import Store
store = Store(Path(sys.argv[1]))
ensure([toy.spec(value=float(i), steps=20, seconds=0.1) for i in range(4)], store, LocalPool(store, 2))
"""


def run_all(
    store: Store, specs: Sequence[RunSpec], launcher: Launcher | None = None, **options: object
) -> dict[str, Outcome]:
    outcomes = ensure(specs, store, launcher or LocalPool(store, 2), **options)  # type: ignore[arg-type]
    return {outcome.spec.key: outcome for outcome in outcomes}


@pytest.mark.parametrize("launcher", ["local", "debug"])
def test_a_chain_runs_in_order_and_a_second_call_computes_nothing(store: Store, launcher: str) -> None:
    first = toy.spec(value=1.0)
    second = toy.spec("finetune", {"pretrain": first.key}, value=2.0)
    specs = [second, first]
    settings = {"name": launcher, "max_parallel": 2, "threads": 1}
    found = run_all(store, specs, make_launcher(settings, store, specs))
    assert {o.state for o in found.values()} == {"done"}
    assert store.run(second.key).metrics()["metrics"]["mIoU"] == 3.0
    again = run_all(store, specs, make_launcher(settings, store, specs))
    assert not any(o.computed for o in again.values())
    assert toy.starts(store.run(first.key).folder) == 1


def test_failures_are_named_and_the_others_finish(store: Store) -> None:
    raising = toy.spec(value=1.0, raise_at=0)
    blocked = toy.spec("finetune", {"pretrain": raising.key})
    dying, fine = toy.spec(value=2.0, kill_at=0), toy.spec(value=3.0)
    found = run_all(store, [raising, blocked, dying, fine])
    assert [found[s.key].state for s in (raising, blocked, dying, fine)] == ["failed", "blocked", "failed", "done"]
    text = describe(list(found.values()), {raising.key: ["table_07/i/0"]}, store)
    assert "ValueError: this run was made to fail" in text
    assert "killed by SIGKILL" in text
    assert "table_07/i/0" in text


def test_a_killed_run_goes_on_from_its_checkpoint(store: Store) -> None:
    spec = toy.spec(value=4.0, kill_at=2, steps=4)
    assert run_all(store, [spec])[spec.key].state == "failed"
    assert run_all(store, [spec])[spec.key].state == "done"
    assert [line.split()[1] for line in (store.run(spec.key).folder / "starts.txt").read_text().splitlines()] == [
        "0",
        "2",
    ]


def test_a_run_that_cannot_succeed_is_left_alone_until_asked_again(store: Store) -> None:
    spec = toy.spec(raise_at=0)
    for _ in range(2):
        run_all(store, [spec], max_attempts=2)
    found = run_all(store, [spec], max_attempts=2)[spec.key]
    assert "started 2 times without getting further; last: ValueError" in found.reason
    assert toy.starts(store.run(spec.key).folder) == 2
    run_all(store, [spec], max_attempts=2, again=True)
    assert toy.starts(store.run(spec.key).folder) == 3


def test_a_run_told_to_stop_is_sent_again_and_goes_on(store: Store) -> None:
    spec = toy.spec(value=5.0, steps=15, seconds=0.1)
    pool = LocalPool(store, 1)
    run = store.register(spec)
    pool.submit([run])
    while run.last_progress().get("step", 0) < 3:
        pool.poll()
    os.kill((run.holder() or {})["pid"], signal.SIGTERM)
    assert run_all(store, [spec], pool)[spec.key].state == "done"
    assert toy.starts(run.folder) == 2
    assert run.attempts() == 1


def test_a_killed_driver_is_replaced_by_one_that_attaches(store: Store) -> None:
    specs = [toy.spec(value=float(i), steps=20, seconds=0.1) for i in range(4)]
    driver = subprocess.Popen([sys.executable, "-c", DRIVER, str(store.root)], cwd=Path(__file__).parent)
    while toy.starts(store.run(specs[0].key).folder) + toy.starts(store.run(specs[1].key).folder) < 2:
        time.sleep(0.05)
    driver.kill()
    driver.wait()
    assert {o.state for o in run_all(store, specs).values()} == {"done"}
    assert [toy.starts(store.run(s.key).folder) for s in specs] == [1, 1, 1, 1]


def test_two_drivers_on_one_store_do_not_run_anything_twice(store: Store) -> None:
    specs = [toy.spec(value=float(i), steps=20, seconds=0.1) for i in range(4)]
    driver = subprocess.Popen([sys.executable, "-c", DRIVER, str(store.root)], cwd=Path(__file__).parent)
    assert {o.state for o in run_all(store, specs).values()} == {"done"}
    assert driver.wait(60) == 0
    assert [toy.starts(store.run(s.key).folder) for s in specs] == [1, 1, 1, 1]


def test_a_killed_worker_process_is_replaced(store: Store) -> None:
    specs = [toy.spec(value=float(i), steps=10, seconds=0.1) for i in range(3)]
    pool = LocalPool(store, 1)
    runs = [store.register(spec) for spec in specs]
    pool.submit(runs)
    while runs[0].last_progress().get("step", 0) < 2:
        pool.poll()
    worker = psutil.Process((runs[0].holder() or {})["pid"]).parent()
    assert worker is not None
    worker.kill()
    assert {o.state for o in run_all(store, specs, pool).values()} == {"done"}
    assert toy.starts(runs[0].folder) == 1, "the child of the dead worker went on"


def test_a_worker_that_cannot_start_is_told_instead_of_tried_for_ever(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(UserError, match="dies again and again"):
        run_all(store, [toy.spec()])


def test_a_module_that_does_not_import_fails_its_run_by_name(store: Store) -> None:
    broken, fine = toy.spec(function="no_such_module.run"), toy.spec(value=2.0)
    found = run_all(
        store, [broken, fine], make_launcher({"name": "local", "max_parallel": 1, "threads": 1}, store, [broken])
    )
    assert found[fine.key].state == "done"
    assert "no_such_module" in found[broken.key].reason


def test_a_run_that_somebody_holds_is_waited_for(store: Store) -> None:
    spec = toy.spec(value=6.0)
    run = store.register(spec)
    pool = LocalPool(store, 1)
    with locks.hold(run.lock_file):
        assert pool.attach(run)
        assert pool.poll() == []
    assert [end.state for end in pool.poll()] == ["requeue"]


def test_an_upstream_without_result_is_named_before_anything_starts(store: Store) -> None:
    spec = toy.spec("finetune", {"pretrain": "0" * 12})
    with pytest.raises(UserError, match="start from 000000000000"):
        run_all(store, [spec])
    assert not store.run(spec.key).folder.exists()


def test_where_it_is_asked_to_carry_on_an_upstream_without_result_blocks_what_starts_from_it_alone(
    store: Store,
) -> None:
    lost = toy.spec(value=1.0)
    after, alone = toy.spec("finetune", {"pretrain": lost.key}, value=2.0), toy.spec("finetune", value=3.0)
    found = run_all(store, [after, alone], carry_on=True)
    assert {key: outcome.state for key, outcome in found.items()} == {after.key: "blocked", alone.key: "done"}


def test_in_process_refuses_what_another_process_runs(store: Store) -> None:
    run = store.register(toy.spec())
    with locks.hold(run.lock_file), pytest.raises(UserError, match="is being run"):
        InProcess().attach(run)


def test_an_unknown_launcher_is_refused(store: Store) -> None:
    with pytest.raises(UserError, match="choose local, slurm or debug"):
        make_launcher({"name": "kubernetes"}, store, [])


def test_the_pool_is_bounded(store: Store) -> None:
    specs = [toy.spec(value=float(i), steps=4, seconds=0.2) for i in range(5)]
    pool, most = LocalPool(store, 2), 0
    runs = [store.register(spec) for spec in specs]
    pool.submit(runs)
    while not all(run.is_done for run in runs):
        pool.poll()
        most = max(most, sum(run.holder() is not None for run in runs))
    pool.close(cancel=False)
    assert most == 2


class NeverStarts:
    """A launcher whose jobs come back without having started their runs."""

    def __init__(self) -> None:
        self.sent: list[str] = []

    def attach(self, run: Run) -> bool:
        return False

    def submit(self, runs: Sequence[Run]) -> None:
        self.sent += [run.key for run in runs]
        self.back = [Ended(run.key, REQUEUE, "the node would not boot") for run in runs]

    def poll(self) -> list[Ended]:
        back, self.back = self.back, []
        return back

    def close(self, cancel: bool) -> None:
        pass


def test_what_never_starts_is_not_sent_for_ever(tmp_path):
    launcher, store = NeverStarts(), Store(tmp_path / "runs")
    [outcome] = ensure([toy.spec(value=1.0)], store, launcher)
    assert (outcome.state, outcome.reason) == ("failed", "the node would not boot")
    assert len(launcher.sent) == MOST_RETURNS
