"""A queue that is silent is not a queue that has forgotten; with scripts in the place of Slurm's clients."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import toy
import yaml

from mm3d_benchmarks.launching import slurm_jobs as submit
from mm3d_benchmarks.launching import slurm_queue as slurm
from mm3d_benchmarks.launching.outcome import FAILED, REQUEUE, Ended
from mm3d_benchmarks.planning.compose import CONF
from mm3d_benchmarks.store.store import Store


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Makes ``name`` a program that prints a text and exits with a status."""
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    def make(name: str, text: str = "", status: int = 0) -> None:
        program = tmp_path / name
        program.write_text(f"#!/bin/sh\nprintf '%s\\n' '{text}'\nexit {status}\n")
        program.chmod(0o755)

    make("sinfo", "main")
    make("sacct", status=1)
    return make


def polled(launcher: submit.SlurmLauncher) -> list[Ended]:
    """What the next polls find. One may find nothing: too soon, or the program was busy."""
    for _ in range(50):
        if ends := launcher.poll():
            return ends
        time.sleep(0.01)
    return []


def attached(client, tmp_path, gone_after: int):
    """A run whose job 7 is running, and the launcher that watches it."""
    settings = yaml.safe_load((CONF / "launcher" / "slurm.yaml").read_text())
    store = Store(tmp_path / "runs")
    run = store.register(toy.spec(value=1.0))
    run.write("job.json", {"launcher": "slurm", "job": "7", "submitted": 0})
    client("squeue", "7|RUNNING")
    launcher = submit.SlurmLauncher(store, {**settings, "poll_seconds": 0, "gone_after": gone_after})
    assert launcher.attach(run)
    return run, launcher


def test_no_answer_is_told_from_an_empty_one(client):
    client("squeue", status=1)
    assert slurm.job_states(["7"]) is None
    client("squeue")
    assert slurm.job_states(["7"]) == {}
    client("squeue", "7|RUNNING")
    assert slurm.job_states(["7", "8"]) == {"7": slurm.JobState("RUNNING")}


def test_while_the_queue_is_silent_no_job_is_given_up(client, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(submit, "RESULT_SECONDS", 0.0)
    run, launcher = attached(client, tmp_path, gone_after=2)
    client("squeue", status=1)
    assert [launcher.poll() for _ in range(5)] == [[]] * 5
    assert capsys.readouterr().err.count("squeue does not answer") == 1
    client("squeue")
    assert launcher.poll() == []
    [end] = polled(launcher)
    assert (end.key, end.state) == (run.key, REQUEUE)  # nobody knows why it ended; ``ensure`` counts the returns
    assert "job 7 ended as UNKNOWN" in end.reason


@pytest.mark.parametrize(("word", "state"), [("PREEMPTED", REQUEUE), ("CANCELLED", FAILED)])
def test_how_a_job_ended_is_remembered_when_the_queue_forgets_it(client, tmp_path, monkeypatch, word, state):
    monkeypatch.setattr(submit, "RESULT_SECONDS", 0.0)
    _, launcher = attached(client, tmp_path, gone_after=3)
    client("squeue", f"7|{word}")
    assert launcher.poll() == []
    client("squeue")  # MinJobAge has passed
    [end] = polled(launcher)
    assert (end.state, f"job 7 ended as {word}" in end.reason) == (state, True)


def test_a_job_that_failed_before_its_run_started_is_sent_again(client, tmp_path, monkeypatch):
    monkeypatch.setattr(submit, "RESULT_SECONDS", 0.0)
    settings = yaml.safe_load((CONF / "launcher" / "slurm.yaml").read_text())
    store = Store(tmp_path / "runs")
    run = store.register(toy.spec(value=1.0))
    for begin, state in ((lambda: None, REQUEUE), (run.begin_attempt, FAILED)):
        begin()
        run.write("job.json", {"launcher": "slurm", "job": "7", "submitted": 0})
        client("squeue", "7|RUNNING")
        launcher = submit.SlurmLauncher(store, {**settings, "poll_seconds": 0, "gone_after": 1})
        assert launcher.attach(run)
        client("squeue", "7|FAILED")
        [end] = polled(launcher)
        assert (end.state, end.key) == (state, run.key)
