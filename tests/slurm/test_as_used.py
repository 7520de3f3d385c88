"""Clusters as people really use them, on a real local Slurm: limits, held jobs, broken setups, jobs within jobs."""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path

import pytest

from slurm.conftest import TOYS
from slurm.local_cluster import Cluster
from slurm.test_launching import DRIVER, job_of, send, settings, until

sys.path.insert(0, str(TOYS))
import toy  # pyright: ignore[reportMissingImports]

from mm3d_benchmarks.commands.common import idle
from mm3d_benchmarks.launching import slurm_jobs
from mm3d_benchmarks.launching.choose import make_launcher
from mm3d_benchmarks.launching.ensure import describe, ensure
from mm3d_benchmarks.launching.progress import look
from mm3d_benchmarks.store.asks import Ask, record
from mm3d_benchmarks.store.store import Store
from mm3d_core.errors import UserError

pytestmark = pytest.mark.slurm


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty store."""
    return Store(tmp_path / "runs")


def most_at_once(store: Store, keys: list[str], stop: threading.Event, found: list[int]) -> None:
    """Watch how many runs hold their locks at the same time."""
    while not stop.is_set():
        found.append(sum(store.run(key).holder() is not None for key in keys))
        time.sleep(0.1)


def test_a_front_end_that_is_a_job_itself_can_submit(cluster: Cluster, store: Store) -> None:
    path = os.pathsep.join([str(TOYS.parent), os.environ.get("PYTHONPATH", "")])
    script = store.root.parent / "front.py"
    script.write_text(DRIVER.format(toys=str(TOYS)).replace("steps=20, seconds=0.4", "steps=1"))
    log = store.root.parent / "front.log"
    command = f"PYTHONPATH={path} SBATCH_EXPORT=NONE {sys.executable} {script} {store.root}"
    answer = cluster.run(
        "sbatch", "--parsable", "--mem-per-cpu=100M", "--export=ALL", "-o", str(log), "--wrap", command
    )
    job = answer.strip()
    until(lambda: cluster.run("squeue", "-h", "-j", job, "-o", "%T", "--states=all").strip() in ("COMPLETED", "FAILED"))
    assert len(store.done()) == 4, log.read_text()[-2000:]


def test_a_broken_setup_is_named_with_its_log_and_not_sent_for_ever(cluster: Cluster, store: Store) -> None:
    specs = [toy.spec(value=float(i)) for i in range(2)]
    outcomes = send(store, specs, setup="module_that_is_not_there load cuda || exit 1", memory_gb=0.1)
    for outcome in outcomes:
        assert outcome.state == "failed"
        assert "module_that_is_not_there: command not found" in outcome.reason
        log = Path((store.run(outcome.spec.key).read("job.json") or {})["log"])
        assert str(log) in outcome.reason
        assert log.is_file()
        assert toy.starts(store.run(outcome.spec.key).folder) == 0
    arrays = {p.name for p in (store.root / "jobs").iterdir() if p.name.isdigit()}
    assert len(arrays) <= 4, "each run twice, not five times"
    assert [s.state for s in look(specs, store)] == ["failed", "failed"]
    assert "command not found" in describe(outcomes, {}, store)


def test_a_limit_of_submissions_is_waited_out_and_told_once(
    limited_cluster: Cluster, store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(slurm_jobs, "RETRY_SECONDS", 1.0)
    outcomes = send(store, [toy.spec(value=float(i), steps=1) for i in range(8)])
    assert all(o.state == "done" for o in outcomes), [o.reason for o in outcomes]
    assert capsys.readouterr().err.count("the cluster takes no more jobs at present") == 1


@pytest.mark.parametrize("most", [1, 2])
def test_no_more_than_max_parallel_run_at_once_over_all_arrays(cluster: Cluster, store: Store, most: int) -> None:
    first = [toy.spec(value=float(i), steps=3, seconds=0.3) for i in range(3)]
    second = [toy.spec("finetune", {"pretrain": s.key}, value=9.0, steps=3, seconds=0.3) for s in first]
    stop, found = threading.Event(), list[int]()
    watch = threading.Thread(target=most_at_once, args=(store, [s.key for s in [*first, *second]], stop, found))
    watch.start()
    outcomes = send(store, [*first, *second], max_parallel=most)
    stop.set()
    watch.join()
    assert all(o.state == "done" for o in outcomes), [o.reason for o in outcomes]
    assert max(found) == most


def test_a_job_that_waits_for_ever_is_told_with_the_reason_and_the_remedy(
    cluster: Cluster, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = toy.spec(value=1.0)
    launcher = make_launcher(settings(additional={"hold": True}), store, [spec])
    launcher.submit([store.register(spec)])
    job = job_of(store, spec)
    until(lambda: "JobHeldUser" in cluster.run("squeue", "-h", "-j", job, "-o", "%r"))
    for _ in range(8):
        launcher.poll()
        time.sleep(0.3)
    error = capsys.readouterr().err
    assert error.count("wait for JobHeldUser, which does not pass by itself: `scontrol release`") == 1
    [standing] = look([spec], store)
    assert (standing.state, standing.reason) == ("queued", "JobHeldUser")
    with (
        pytest.raises(UserError, match=f"its job {job} is queued or running; `scancel {job}` first"),
        idle(store.run(spec.key)),
    ):
        pass
    cluster.call("scontrol", "release", job)
    assert ensure([spec], store, launcher)[0].state == "done"


def test_a_job_is_named_after_what_it_is_for(cluster: Cluster, store: Store) -> None:
    specs = [toy.spec(value=float(i), steps=20, seconds=0.3) for i in range(2)]
    record(
        store, Ask("smoke", "table_07", "x", {f"{n}/0": {"pretrain": s.key} for n, s in zip("ab", specs, strict=True)})
    )
    launcher = make_launcher(settings(), store, specs)
    launcher.submit([store.register(spec) for spec in specs])
    until(lambda: all(toy.starts(store.run(s.key).folder) for s in specs))
    names = {cluster.run("squeue", "-h", "-j", job_of(store, s), "-o", "%j").strip() for s in specs}
    assert names == {"mm3d table_07 a/0", "mm3d table_07 b/0"}
    assert all(o.state == "done" for o in ensure(specs, store, launcher))


@pytest.mark.parametrize(
    "changes",
    [
        {"minutes": "1-00:00:00", "memory_gb": 0.5},
        {"minutes": "24h", "setup": "export SOMETHING=1"},
        {"additional": {"nice": 100, "comment": "pre-training"}, "setup": ["module() { :; }", "module load cuda"]},
    ],
)
def test_settings_as_people_write_them_are_accepted_by_sbatch(cluster: Cluster, store: Store, changes: dict) -> None:
    [outcome] = send(store, [toy.spec(value=1.0)], **changes)
    assert outcome.state == "done", outcome.reason
