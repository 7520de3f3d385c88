"""What `mm3d status` and `--dry-run` say."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
import toy

from mm3d_benchmarks.commands import main as cli
from mm3d_benchmarks.launching.progress import clock, counts, survey
from mm3d_benchmarks.launching.slurm_queue import JobState
from mm3d_benchmarks.planning.estimate import estimate
from mm3d_benchmarks.planning.needed import needed
from mm3d_benchmarks.planning.planner import Plan, PlannedCell
from mm3d_benchmarks.store import locks
from mm3d_benchmarks.store.store import Store


def test_every_state_is_recognized(store: Store) -> None:
    specs = [toy.spec(value=float(i)) for i in range(6)]
    done, running, failed, killed, queued, waiting = specs
    store.register(done).write("metrics.json", {"metrics": {}})
    run = store.register(running)
    run.folder.joinpath("log.jsonl").write_text('{"step": 5, "loss": 0.5, "seconds_per_step": 2.0}\n')
    run.write("progress.json", {"steps": 20})
    store.register(failed).write("failure.json", {"error": "ValueError: no"})
    store.register(killed).begin_attempt()
    store.register(queued).write("job.json", {"job": "7_0"})
    with locks.hold(run.lock_file):
        found = survey(specs, store, {"7_0": JobState("PENDING")})
    assert [s.state for s in found] == ["done", "running", "failed", "failed", "queued", "waiting"]
    assert (found[1].step, found[1].steps, found[1].loss, found[1].seconds_left) == (5, 20, 0.5, 30.0)
    assert found[2].error == "ValueError: no"
    assert counts(found)["failed"] == 2
    assert waiting.key == found[5].key


def test_time_left_is_readable() -> None:
    assert (clock(None), clock(65), clock(90061)) == ("", "00:01:05", "1d 01:01:01")


def test_hours_are_estimated_from_recorded_speeds(store: Store) -> None:
    finished, open_run = toy.spec(value=1.0), toy.spec(value=2.0)
    run = store.register(finished)
    run.write("efficiency.json", {"seconds_total": 7200.0})
    run.write("metrics.json", {"metrics": {}})
    plan = Plan("smoke", specs={s.key: s for s in (finished, open_run)})
    need = needed([finished, open_run], store.done(), ())
    assert "about 2 hours" in estimate(plan, [finished, open_run], store, need)[-1]


def test_the_status_opens_no_file_of_a_finished_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    plan, store = Plan("smoke"), Store(Path("runs"))
    specs = [toy.spec("evaluate", value=float(i)) for i in range(10_000)]
    plan.specs = {spec.key: spec for spec in specs}
    plan.kinds["big"] = "evaluate"
    plan.cells["big"] = [PlannedCell(f"row {i}", 0, {"evaluate": spec.key}) for i, spec in enumerate(specs)]
    plan.write(Path("plan/smoke"))
    for spec in specs:  # what a finished run leaves, written without the safety that costs an fsync for each
        folder = store.run(spec.key).folder
        folder.mkdir(parents=True)
        (folder / "spec.json").write_text("{}")
        (folder / "metrics.json").write_text("{}")
    opened, real = [], io.open

    def watched(path, *arguments, **options):
        opened.append(str(path))
        return real(path, *arguments, **options)

    monkeypatch.setattr(io, "open", watched)  # pathlib's, too
    assert cli.main(["status", "--profile", "smoke"]) == 0
    assert "10000" in capsys.readouterr().out
    of_the_store = [path for path in opened if Path(path).parts[0] == "runs"]
    assert of_the_store == ["runs/store.json"], "opening ten thousand runs is a minute on a file server"


def test_status_as_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    spec = toy.spec()
    plan = Plan(
        "smoke",
        specs={spec.key: spec},
        kinds={"a": "pretrain"},
        cells={"a": [PlannedCell("r", 0, {"pretrain": spec.key})]},
    )
    plan.write(Path("plan/smoke"))
    cli.main(["status", "--json"])
    assert json.loads(capsys.readouterr().out)["sweeps"]["a"]["waiting"] == 1
