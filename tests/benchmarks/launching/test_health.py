"""Status shows how pre-trainings fare: masks, losses by level, agreement, collapse, speed, memory."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import toy

from mm3d_benchmarks.commands import main as cli
from mm3d_benchmarks.launching.health import COLUMNS, described
from mm3d_benchmarks.planning.planner import Plan
from mm3d_benchmarks.store.store import Store

RECORD = {
    "step": 40, "loss": 9.0, "enrichment": 1.25, "reconstruction": 0.5, "reconstruction_level0": 1.5,
    "reconstruction_level1": 0.5, "consistency_level0": 4.0, "consistency_level1": 3.0, "similarity_level0": 0.9,
    "similarity_level1": 0.8, "negative_similarity_level0": 0.1, "negative_similarity_level1": 0.2,
    "spread_level0": 0.99, "spread_level1": 0.5, "teacher_spread_level0": 0.98, "teacher_spread_level1": 0.4,
    "student_points": 3000.0, "target_points": 5000.0, "seconds_per_step": 0.5, "peak_memory_bytes": 2.0 * 2**30,
}  # fmt: skip


def test_a_record_is_told_by_level():
    assert described(RECORD) == {
        "step": "40",
        "enrichment": "1.25",
        "reconstruction": "1.5 0.5",
        "consistency": "4 3",
        "agreement": "0.9 0.8",
        "others": "0.1 0.2",
        "spread": "0.99 0.5",
        "teacher spread": "0.98 0.4",
        "points/s": "16,000",
        "peak memory": "2.00 GiB",
    }


def test_what_a_rival_logs_is_told_without_levels_and_the_rest_stays_empty():
    told = described({"step": 3, "similarity": 0.7, "negative_similarity": 0.2, "spread": 0.9, "points": 100.0})
    assert (told["agreement"], told["others"], told["spread"]) == ("0.7", "0.2", "0.9")
    assert (told["enrichment"], told["points/s"], told["peak memory"]) == ("", "", "")


def test_status_shows_finished_and_running_pre_trainings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "400")
    store, plan = Store(Path("runs")), Plan("smoke")
    done, started, silent = (toy.spec("pretrain", value=float(n)) for n in range(3))
    plan.specs = {spec.key: spec for spec in (done, started, silent)}
    plan.write(Path("plan/smoke"))
    for spec in (done, started):
        (store.register(spec).folder / "log.jsonl").write_text(json.dumps(RECORD) + "\n")
    store.run(done.key).write("metrics.json", {"metrics": {}})
    assert cli.main(["status", "--profile", "smoke"]) == 0
    shown = capsys.readouterr().out
    assert all(heading in shown for heading in COLUMNS)
    assert shown.count("1.5 0.5") == 2
    assert cli.main(["status", "--profile", "smoke", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["pretraining"]
    assert set(told) == {done.key, started.key}
    assert told[done.key]["points/s"] == "16,000"
