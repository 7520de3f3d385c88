"""Checkpoints go when the result is safe, and ``mm3d store prune`` clears what older stores still hold."""

from __future__ import annotations

from pathlib import Path

import pytest
import toy

from mm3d_benchmarks.commands import main as cli
from mm3d_benchmarks.commands.store import prune as pruning
from mm3d_benchmarks.launching.execute import KEEP, execute
from mm3d_benchmarks.store import locks
from mm3d_benchmarks.store.layout import write_result
from mm3d_benchmarks.store.store import Run, Store

FILES = ("checkpoint.pt", "checkpoint.previous.pt")


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.delenv(KEEP, raising=False)
    monkeypatch.setattr(pruning, "may_still_run", lambda runs: set())
    return Store(tmp_path / "runs")


def made(store: Store, value: float, done: bool, job: str = "") -> Run:
    """A run with checkpoints, weights and perhaps a result and a job."""
    run = store.register(toy.spec(value=value))
    for name in (*FILES, "encoder.safetensors"):
        (run.folder / name).write_bytes(b"x" * 500_000)
    if job:
        run.write("job.json", {"launcher": "slurm", "job": job})
        folder = store.root / "jobs" / job.split("_")[0]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{job}_0_log.out").write_text("epoch 1\n")
    if done:
        write_result(run.folder, "pretrain", {"loss": 1.0})
    return run


def there(run: Run) -> list[str]:
    return [name for name in FILES if (run.folder / name).exists()]


@pytest.mark.parametrize("keep", [False, True])
def test_a_run_that_ends_well_drops_its_checkpoints_unless_told(store: Store, keep: bool, monkeypatch):
    monkeypatch.setenv(KEEP, "1" if keep else "0")
    run = made(store, 1.0, done=False)
    assert execute(run.folder) == 0
    assert run.is_done
    assert there(run) == (list(FILES) if keep else [])
    assert (run.folder / "encoder.safetensors").exists()


def test_a_run_that_fails_keeps_them(store: Store):
    run = store.register(toy.spec(value=1.0, raise_at=0))
    (run.folder / FILES[0]).write_bytes(b"x")
    assert execute(run.folder) != 0
    assert there(run) == [FILES[0]]
    assert run.drop_checkpoints() == 0


def test_prune_lists_first_and_takes_only_what_is_over(store: Store, capsys):
    finished, going = made(store, 1.0, True, job="7_0"), made(store, 2.0, False, job="8_0")
    words = ["store", "--store", str(store.root), "prune"]
    assert cli.main(words) == 0
    assert "checkpoints of 1 finished runs and folders of 1 jobs: 1.0 MB would be freed" in capsys.readouterr().out
    assert there(finished) == list(FILES)
    assert cli.main([*words, "--yes"]) == 0
    assert there(finished) == []
    assert there(going) == list(FILES)
    assert not (store.root / "jobs/7").exists()
    assert (store.root / "jobs/8").exists()
    assert (finished.folder / "encoder.safetensors").exists()
    assert cli.main(words) == 0
    assert "checkpoints of 0 finished runs and folders of 0 jobs" in capsys.readouterr().out


def test_what_the_queue_may_still_run_stays(store: Store, monkeypatch):
    run = made(store, 1.0, True, job="7_0")
    monkeypatch.setattr(pruning, "may_still_run", lambda runs: {run.key})
    assert cli.main(["store", "--store", str(store.root), "prune", "--yes"]) == 0
    assert (store.root / "jobs/7").exists()


def test_a_run_that_somebody_holds_is_left_alone(store: Store):
    run = made(store, 1.0, True)
    with locks.hold(run.lock_file):
        assert cli.main(["store", "--store", str(store.root), "prune", "--yes"]) == 0
    assert there(run) == list(FILES)
