"""Runs on a real local Slurm: what survives, what is reported, and that nothing runs twice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from slurm.conftest import TOYS
from slurm.local_cluster import Cluster

sys.path.insert(0, str(TOYS))
import toy  # pyright: ignore[reportMissingImports]
import yaml

from mm3d_benchmarks.launching.choose import make_launcher
from mm3d_benchmarks.launching.ensure import ensure
from mm3d_benchmarks.launching.outcome import Outcome
from mm3d_benchmarks.planning.compose import CONF
from mm3d_benchmarks.store.spec import RunSpec
from mm3d_benchmarks.store.store import Store
from mm3d_core.errors import UserError

pytestmark = pytest.mark.slurm
DRIVER = """
import sys
sys.path.insert(0, {toys!r})
import toy  # pyright: ignore[reportMissingImports]
from pathlib import Path
from slurm.test_launching import settings
from mm3d_benchmarks.launching.choose import make_launcher
from mm3d_benchmarks.launching.ensure import ensure
from mm3d_benchmarks.store.store import Store
store = Store(Path(sys.argv[1]))
specs = [toy.spec(value=float(i), steps=20, seconds=0.4) for i in range(4)]
ensure(specs, store, make_launcher(settings(), store, specs))
"""


def settings(**changes: object) -> dict:
    """The launcher's own settings, with short pauses."""
    own = yaml.safe_load((CONF / "launcher" / "slurm.yaml").read_text())
    return {**own, "poll_seconds": 0.5, "minutes": 30, "signal_seconds": 5, **changes}


def send(store: Store, specs: Sequence[RunSpec], **changes: object) -> list[Outcome]:
    """Ensure some runs on the cluster."""
    return ensure(specs, store, make_launcher(settings(**changes), store, specs))


def until(condition: Callable[[], object], seconds: float = 60) -> None:
    """Wait for something."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.1)


def job_of(store: Store, spec: RunSpec) -> str:
    """The id of the job that does a run."""
    until(lambda: store.run(spec.key).read("job.json"))
    return str((store.run(spec.key).read("job.json") or {})["job"])


def in_background(store: Store, specs: Sequence[RunSpec]) -> subprocess.Popen[bytes]:
    """A driver of its own for four toy runs."""
    code = DRIVER.format(toys=str(TOYS))
    path = os.pathsep.join([str(TOYS.parent), os.environ.get("PYTHONPATH", "")])
    return subprocess.Popen([sys.executable, "-c", code, str(store.root)], env={**os.environ, "PYTHONPATH": path})


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty store."""
    return Store(tmp_path / "runs")


def test_a_chain_finishes_and_failures_are_named_while_the_others_finish(cluster: Cluster, store: Store) -> None:
    first = toy.spec(value=1.0, steps=2)
    second = toy.spec("finetune", {"pretrain": first.key}, value=2.0)
    raising, dying = toy.spec(value=3.0, raise_at=0), toy.spec(value=4.0, kill_at=1, steps=3)
    after = toy.spec("finetune", {"pretrain": raising.key}, value=5.0)
    found = {o.spec.key: o for o in send(store, [first, second, raising, dying, after])}
    assert [found[s.key].state for s in (first, second, raising, dying, after)] == [
        "done",
        "done",
        "failed",
        "failed",
        "blocked",
    ]
    assert "this run was made to fail" in found[raising.key].reason
    assert store.run(second.key).metrics()["metrics"]["mIoU"] == 3.0
    again = {o.spec.key: o for o in send(store, [first, second, dying])}
    assert again[dying.key].state == "done"
    assert toy.starts(store.run(first.key).folder) == 1
    assert (store.run(dying.key).folder / "starts.txt").read_text().split()[3] == "1", (
        "it must go on from its checkpoint"
    )


@pytest.mark.slow
def test_a_killed_driver_is_replaced_by_one_that_attaches(cluster: Cluster, store: Store) -> None:
    specs = [toy.spec(value=float(i), steps=20, seconds=0.4) for i in range(4)]
    driver = in_background(store, specs)
    until(lambda: toy.starts(store.run(specs[0].key).folder) == 1)
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    assert all(o.state == "done" for o in send(store, specs))
    assert [toy.starts(store.run(s.key).folder) for s in specs] == [1, 1, 1, 1]


@pytest.mark.slow
def test_a_preempted_run_goes_on_from_its_checkpoint(cluster: Cluster, store: Store) -> None:
    spec = toy.spec(value=7.0, steps=40, seconds=0.3)
    launcher = make_launcher(settings(), store, [spec])
    launcher.submit([store.register(spec)])
    run = store.run(spec.key)
    until(lambda: run.last_progress().get("step", 0) >= 3)
    job = job_of(store, spec)
    urgent = cluster.run(
        "sbatch", "--parsable", "-p", "urgent", "-N2", "--exclusive", "-o", "/dev/null", "--wrap", "sleep 3"
    ).strip()
    until(lambda: cluster.run("squeue", "-h", "-j", job, "-o", "%T").strip() == "PENDING", 90)
    until(lambda: not cluster.run("squeue", "-h", "-t", "running,pending", "-j", urgent).strip())
    cluster.call("scontrol", "update", f"jobid={job}", "StartTime=now")
    [outcome] = ensure([spec], store, launcher)
    assert outcome.state == "done", outcome.reason
    second_start = (run.folder / "starts.txt").read_text().splitlines()[1]
    assert int(second_start.split()[1]) >= 3
    assert run.metrics()["metrics"]["mIoU"] == 7.0


@pytest.mark.slow
def test_the_warning_before_the_time_limit_requeues_the_run(cluster: Cluster, store: Store) -> None:
    spec = toy.spec(value=8.0, steps=30, seconds=0.3)
    launcher = make_launcher(settings(), store, [spec])
    launcher.submit([store.register(spec)])
    run, job = store.run(spec.key), job_of(store, spec)
    until(lambda: run.last_progress().get("step", 0) >= 2)
    cluster.call("scancel", "--signal=USR2", job)  # what --signal=USR2@S sends
    until(lambda: cluster.run("squeue", "-h", "-j", job, "-o", "%T").strip() == "PENDING", 60)
    time.sleep(3)  # Slurm would wait two minutes: the end of the first start must not arrive in the second
    until(lambda: cluster.call("scontrol", "update", f"jobid={job}", "StartTime=now").returncode == 0)
    [outcome] = ensure([spec], store, launcher)
    assert outcome.state == "done", outcome.reason
    assert toy.starts(run.folder) == 2


@pytest.mark.slow
def test_a_cancelled_run_is_reported_and_the_next_call_does_it(cluster: Cluster, store: Store) -> None:
    spec = toy.spec(value=9.0, steps=20, seconds=0.3)
    launcher = make_launcher(settings(), store, [spec])
    launcher.submit([store.register(spec)])
    until(lambda: toy.starts(store.run(spec.key).folder) == 1)
    cluster.call("scancel", "--signal=KILL", "--full", job_of(store, spec))
    cluster.call("scancel", job_of(store, spec))
    [outcome] = ensure([spec], store, launcher)
    assert outcome.state == "failed"
    assert send(store, [spec])[0].state == "done"


@pytest.mark.slow
def test_a_node_that_dies_costs_a_restart_and_nothing_else(cluster: Cluster, store: Store) -> None:
    spec = toy.spec(value=10.0, steps=40, seconds=0.3)
    launcher = make_launcher(settings(), store, [spec])
    launcher.submit([store.register(spec)])
    until(lambda: toy.starts(store.run(spec.key).folder) == 1)
    node = cluster.run("squeue", "-h", "-j", job_of(store, spec), "-o", "%N").strip()
    cluster.kill(f"slurmd-{node}")
    cluster.start_node(int(node.removeprefix("node")))
    assert ensure([spec], store, launcher)[0].state == "done"
    assert store.run(spec.key).metrics()["metrics"]["mIoU"] == 10.0


@pytest.mark.slow
def test_a_controller_that_does_not_answer_is_not_mistaken_for_lost_jobs(cluster: Cluster, store: Store) -> None:
    spec = toy.spec(value=11.0, steps=25, seconds=0.2)
    launcher = make_launcher(settings(), store, [spec])
    launcher.submit([store.register(spec)])
    until(lambda: toy.starts(store.run(spec.key).folder) == 1)
    controller = int((cluster.folder / "run/slurmctld.pid").read_text())
    os.kill(controller, signal.SIGSTOP)
    threading.Timer(4.0, os.kill, (controller, signal.SIGCONT)).start()
    assert ensure([spec], store, launcher)[0].state == "done"
    assert toy.starts(store.run(spec.key).folder) == 1


@pytest.mark.slow
def test_two_nodes_train_together(cluster: Cluster, store: Store) -> None:
    spec = toy.spec(function="toy.run_group", value=1.0)
    assert send(store, [spec], nodes=2)[0].state == "done"
    assert store.run(spec.key).metrics()["metrics"] == {"sum": 3.0, "processes": 2}


@pytest.mark.slow
def test_a_process_that_fails_on_another_node_ends_the_run_with_its_reason(cluster: Cluster, store: Store) -> None:
    broken = toy.spec(function="toy.run_group_that_breaks", value=2.0)
    fine = [toy.spec(function="toy.evaluate_in_group", value=3.0 + i, seconds=2.0) for i in range(2)]
    found = {o.spec.key: o for o in send(store, [broken, *fine], nodes=2, runs_per_job=3)}  # and not after an hour
    assert found[broken.key].state == "failed"
    assert "this process was made to fail (process 2 of 2)" in found[broken.key].reason
    assert [found[spec.key].state for spec in fine] == ["done", "done"]


def test_runs_can_share_a_job(cluster: Cluster, store: Store) -> None:
    specs = [toy.spec(value=20.0 + i) for i in range(5)]
    found = send(store, specs, runs_per_job=3)
    assert all(o.state == "done" for o in found), [o.reason for o in found]
    assert len({job_of(store, s) for s in specs}) == 2


def test_without_accounting_nothing_waits_for_ever(bare_cluster: Cluster, store: Store) -> None:
    fine, dying = toy.spec(value=1.0, steps=2), toy.spec(value=2.0, kill_at=0, steps=2)
    found = {o.spec.key: o for o in send(store, [fine, dying])}
    assert (found[fine.key].state, found[dying.key].state) == ("done", "failed")


def test_an_unknown_partition_is_refused_before_anything_is_submitted(cluster: Cluster, store: Store) -> None:
    with pytest.raises(UserError, match="no such partition; choose one of main, urgent"):
        make_launcher(settings(partition="gpus"), store, [])
    assert not store.keys()
