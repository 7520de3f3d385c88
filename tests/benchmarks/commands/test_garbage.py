"""``mm3d store gc`` never takes what somebody asks for, however it was asked for."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import yaml

from mm3d_benchmarks.commands import main as cli
from mm3d_benchmarks.planning.planner import Planner
from mm3d_benchmarks.planning.sweepfile import load_sweep
from mm3d_benchmarks.store import locks
from mm3d_benchmarks.store.asks import asks
from mm3d_benchmarks.store.layout import write_result
from mm3d_benchmarks.store.spec import RunSpec
from mm3d_benchmarks.store.store import Store

BASE = {"dataset": "s3dis", "evaluation": "segmentation_voxel"}
BY_HAND = ["run", "kind=pretrain", "dataset=s3dis", "profile=smoke"]


@pytest.fixture(autouse=True)
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with two sweeps, prepared data, and a store that another one may share."""
    for name in ("MM3D_STORE", "MM3D_PROFILE", "MM3D_LAUNCHER", "MM3D_MACHINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MM3D_STORE", str(tmp_path / "shared-runs"))
    return work_in(tmp_path / "mine", monkeypatch)


def work_in(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a working folder and go there."""
    manifest = folder / "data/smoke/prepared/s3dis/manifest.json"
    manifest.parent.mkdir(parents=True)
    manifest.write_text("{}")
    (folder / "sweeps").mkdir()
    monkeypatch.chdir(folder)
    write_sweep("one", 1)
    write_sweep("two", 2)
    return folder


def write_sweep(name: str, seed: int) -> None:
    """A sweep of one fine-tuning and its evaluation."""
    runs = {"base": BASE, "each": [{"row": "scratch", "pretrain": "none"}], "cross": {"seed": [seed]}}
    Path(f"sweeps/{name}.yaml").write_text(yaml.safe_dump({"runs": runs, "table": {"columns": ["mIoU"]}}))


def finish(name: str) -> list[RunSpec]:
    """Give every run of a sweep a result, as if it had been computed."""
    store = Store(Path(os.environ["MM3D_STORE"]))
    specs = Planner("smoke").plan([load_sweep(Path(f"sweeps/{name}.yaml"))]).specs.values()
    for spec in specs:
        write_result(store.register(spec).folder, "evaluate", {"mIoU": 50.0})
    return list(specs)


def left() -> set[str]:
    """Keys of the runs that are there."""
    return set(Store(Path(os.environ["MM3D_STORE"])).keys())


def test_a_sweep_that_was_never_planned_is_kept_when_another_is_planned() -> None:
    made = {spec.key for name in ("one", "two") for spec in finish(name)}
    assert cli.main(["sweep", "one"]) == 0
    assert cli.main(["plan", "two"]) == 0
    assert cli.main(["store", "gc", "--yes"]) == 0
    assert left() == made


def test_a_run_by_hand_is_kept_and_the_same_command_under_new_code_replaces_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from mm3d_benchmarks.planning import planner

    def made_by_hand() -> RunSpec:
        requests = __import__("mm3d_benchmarks.launching.by_hand", fromlist=["x"]).requests_of(BY_HAND[1:], [])
        spec = Planner("smoke").chain(requests[0][0], "pretrain")["pretrain"]
        write_result(Store(Path(os.environ["MM3D_STORE"])).register(spec).folder, "evaluate", {"loss": 1.0})
        return spec

    old = made_by_hand()
    finish("one")
    assert cli.main(BY_HAND) == 0
    assert cli.main(["plan", "one"]) == 0
    assert cli.main(["store", "gc", "--yes"]) == 0
    assert old.key in left()

    monkeypatch.setattr(planner, "fingerprint", lambda *_: "changed code")
    new = made_by_hand()
    assert cli.main(BY_HAND) == 0
    capsys.readouterr()
    assert cli.main(["store", "gc", "--yes"]) == 0
    assert new.key in left()
    assert old.key not in left()
    assert "mm3d run dataset=s3dis kind=pretrain profile=smoke" in capsys.readouterr().out


def test_planning_one_sweep_adds_to_the_plan() -> None:
    finish("one")
    assert cli.main(["plan"]) == 0
    write_sweep("two", 3)
    assert cli.main(["plan", "two"]) == 0
    assert {path.stem for path in Path("plan/smoke/sweeps").glob("*.json")} == {"one", "two"}
    planned = json.loads(Path("plan/smoke/runs/evaluate.json").read_text())
    assert {run["config"]["seed"] for run in planned.values()} == {1, 3}


def test_gc_lists_with_reasons_and_deletes_only_when_told(capsys: pytest.CaptureFixture[str]) -> None:
    old = {spec.key for spec in finish("one")}
    cli.main(["sweep", "one"])
    write_sweep("one", 7)
    new = {spec.key for spec in finish("one")}
    cli.main(["sweep", "one"])
    capsys.readouterr()
    assert cli.main(["store", "gc"]) == 0
    out = capsys.readouterr().out
    assert left() == old | new
    assert all(f"would remove {key}" in out for key in old)
    assert "one in " in out
    assert "asks for something else now" in out
    assert cli.main(["store", "gc", "--yes"]) == 0
    assert left() == new


def test_another_clone_on_the_same_store_keeps_its_runs_until_it_is_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = {spec.key for spec in finish("one")}
    cli.main(["sweep", "one"])
    other = work_in(tmp_path / "theirs", monkeypatch)
    theirs = {spec.key for spec in finish("two")}
    cli.main(["plan", "two"])
    monkeypatch.chdir(tmp_path / "mine")
    assert cli.main(["store", "gc", "--yes"]) == 0
    assert left() == mine | theirs
    assert cli.main(["store", "gc", "--forget", str(other)]) == 0
    assert cli.main(["store", "gc", "--yes"]) == 0
    assert left() == mine


def test_what_nobody_is_on_record_for_is_left_unless_told(capsys: pytest.CaptureFixture[str]) -> None:
    made = {spec.key for spec in finish("one")}
    assert cli.main(["store", "gc", "--yes"]) == 0
    assert left() == made
    assert "--unrecorded" in capsys.readouterr().out
    assert cli.main(["store", "gc", "--yes", "--unrecorded"]) == 0
    assert not left()


def test_what_somebody_works_on_is_no_garbage_nor_what_that_starts_from() -> None:
    finish("two")
    made = finish("one")
    running = next(spec for spec in made if spec.kind == "evaluate")
    with locks.hold(Store(Path(os.environ["MM3D_STORE"])).run(running.key).lock_file):
        cli.main(["store", "gc", "--yes", "--unrecorded"])
        assert left() == {spec.key for spec in made}


def test_what_a_kept_run_starts_from_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    specs = finish("one")
    cli.main(["sweep", "one"])
    [ask] = asks(Store(Path(os.environ["MM3D_STORE"])))
    value = json.loads(ask.file.read_text())
    value["cells"] = {"scratch/1": {"evaluate": next(s.key for s in specs if s.kind == "evaluate")}}
    ask.file.write_text(json.dumps(value))
    cli.main(["store", "gc", "--yes", "--unrecorded"])
    assert left() == {spec.key for spec in specs}


@pytest.mark.parametrize("damage", ["", "[]", "{", '{"cells": 3}'])
def test_a_damaged_record_stops_the_collection(damage: str, capsys: pytest.CaptureFixture[str]) -> None:
    made = {spec.key for spec in finish("one")}
    cli.main(["sweep", "one"])
    [ask] = asks(Store(Path(os.environ["MM3D_STORE"])))
    ask.file.write_text(damage)
    assert cli.main(["store", "gc", "--yes", "--unrecorded"]) == 1
    assert str(ask.file) in capsys.readouterr().err
    assert left() == made
