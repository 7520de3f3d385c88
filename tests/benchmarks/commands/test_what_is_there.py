"""``mm3d status`` and ``mm3d store ls`` show what is there: planned or not, by hand, with rows, reasons and times."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from mm3d_benchmarks.commands import main as cli
from mm3d_benchmarks.commands import run as running
from mm3d_benchmarks.commands import sweep as sweeping
from mm3d_benchmarks.launching import progress
from mm3d_benchmarks.launching.outcome import DONE, Outcome
from mm3d_benchmarks.launching.slurm_queue import JobState
from mm3d_benchmarks.store.layout import write_result
from mm3d_benchmarks.store.store import Store

BY_HAND = ["run", "kind=pretrain", "dataset=s3dis", "pretrain=mm3dscene", "seed=5", "--profile", "smoke"]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with one sweep that was started without a plan, and a run by hand; both only queued."""
    for name in ("MM3D_STORE", "MM3D_PROFILE", "MM3D_LAUNCHER", "MM3D_MACHINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    manifest = tmp_path / "data/smoke/prepared/s3dis/manifest.json"
    manifest.parent.mkdir(parents=True)
    manifest.write_text("{}")
    (tmp_path / "sweeps").mkdir()
    runs = {"base": {"dataset": "s3dis"}, "each": [{"row": "ours", "pretrain": "mm3dscene"}]}
    Path("sweeps/one.yaml").write_text(yaml.safe_dump({"runs": runs, "table": {"columns": ["mIoU"]}}))

    def only_register(specs: Any, store: Store, *_: object) -> list[Outcome]:
        return [Outcome(store.register(spec).spec(), "failed", "not in this test") for spec in specs]

    monkeypatch.setattr(sweeping, "ensure", only_register)
    monkeypatch.setattr(running, "ensure", only_register)
    cli.main(["sweep", "one"])
    cli.main(BY_HAND)
    return tmp_path


def said(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """What a command prints."""
    capsys.readouterr()
    assert cli.main(list(words)) == 0
    return capsys.readouterr().out


def key_of(kind: str, seed: int) -> str:
    """The key of a run in the store."""
    store = Store(Path("runs"))
    specs = [store.run(key).spec() for key in store.keys()]  # noqa: SIM118
    return next(s.key for s in specs if s.kind == kind and s.config["seed"] == seed)


def test_status_knows_sweeps_without_a_plan_and_runs_by_hand(capsys: pytest.CaptureFixture[str]) -> None:
    value = json.loads(said(capsys, "status", "--json"))
    assert value["sweeps"]["one"]["waiting"] == 3
    assert value["sweeps"]["by hand"]["waiting"] == 1
    assert json.loads(said(capsys, "status", "one", "--json"))["sweeps"] == {"one": value["sweeps"]["one"]}


def test_ls_tells_pretraining_row_seconds_and_failures(capsys: pytest.CaptureFixture[str]) -> None:
    store = Store(Path("runs"))
    done = store.run(key_of("pretrain", 0))
    done.write("efficiency.json", {"seconds_total": 42.4})
    write_result(done.folder, "pretrain", {})
    store.run(key_of("finetune", 0)).write("failure.json", {"error": "out of memory"})
    lines = {line.split()[0]: line for line in said(capsys, "store", "ls").splitlines()}
    assert " done " in lines[done.key]
    assert " 42 s " in lines[done.key]
    assert "mm3dscene; for one ours/0" in lines[key_of("finetune", 0)]
    assert "[out of memory]" in lines[key_of("finetune", 0)]
    assert "for mm3d run dataset=s3dis kind=pretrain" in lines[key_of("pretrain", 5)]


def test_a_job_that_is_gone_failed_and_one_that_waits_has_a_reason(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(Path("runs"))
    log = Path("job.out")
    log.write_text("module: command not found\nsrun: error: task 0\n")
    for key, job in ((key_of("pretrain", 0), "7_0"), (key_of("pretrain", 5), "7_1")):
        store.run(key).write("job.json", {"launcher": "slurm", "job": job, "log": str(log)})
    monkeypatch.setattr(progress, "job_states", lambda jobs: {"7_1": JobState("PENDING", "Priority")})
    runs = {run["key"]: run for run in json.loads(said(capsys, "status", "--json"))["runs"]}
    gone, waiting = runs[key_of("pretrain", 0)], runs[key_of("pretrain", 5)]
    assert gone["state"] == "failed"
    assert "job 7_0 ended before its run started: module: command not found" in gone["error"]
    assert (waiting["state"], waiting["reason"]) == ("queued", "Priority")
    lines = said(capsys, "store", "ls")
    assert "[Priority]" in lines
    monkeypatch.setattr(progress, "job_states", lambda jobs: None)  # the queue does not answer: nothing is concluded
    runs = {run["key"]: run for run in json.loads(said(capsys, "status", "--json"))["runs"]}
    assert runs[key_of("pretrain", 0)]["state"] == "waiting"


@pytest.mark.parametrize("command", ["plan", "run", "sweep", "collect", "report", "complete", "status", "info", "view"])
def test_every_command_obeys_the_profile_of_the_environment(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MM3D_PROFILE", "mini")
    assert cli.make_parser().parse_args([command]).profile == "mini"
    assert DONE == "done"
