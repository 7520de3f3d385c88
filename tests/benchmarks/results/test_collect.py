"""collect: one CSV per table, the same bytes for the same results, and a word for everything that is missing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import toy

from mm3d_benchmarks.results.inputs import load_inputs
from mm3d_benchmarks.reports.scores import read_scenes
from mm3d_benchmarks.results.collect import Results, collect, value_of, write_results
from mm3d_benchmarks.planning.planner import Plan, PlannedCell
from mm3d_benchmarks.store.spec import RunSpec
from mm3d_benchmarks.store.store import Store
from mm3d_benchmarks.planning.sweepfile import Sweep
from mm3d_benchmarks.planning.table_spec import parse_table

SIZES = {  # of what the efficiency record of each kind of run holds
    "pretrain": {"parameters_trainable": 1_500_000, "parameters_beside_encoder": 500_000},
    "finetune": {"parameters_trainable": 2_000_000, "parameters_beside_encoder": 1_000_000},
    "evaluate": {"parameters": 2_000_000},
}
COMMIT = {"id": "a" * 40, "dirty": False}


@pytest.fixture
def world(store: Store, tmp_path: Path) -> tuple[Plan, list[Sweep], Store, Path]:
    """A scratch row and a pre-trained row, finished."""
    first = toy.spec("pretrain", value=1.0)
    runs = {
        "scratch": [toy.spec("finetune", value=2.0)],
        "ours": [first, toy.spec("finetune", {"pretrain": first.key}, value=3.0)],
    }
    plan = Plan("smoke")
    plan.kinds["table"] = "evaluate"
    plan.cells["table"] = []
    for row, chain in runs.items():
        chain.append(toy.spec("evaluate", {"finetune": chain[-1].key}, value=4.0 if row == "ours" else 5.0))
        plan.specs.update({spec.key: spec for spec in chain})
        plan.cells["table"].append(PlannedCell(row, 0, {spec.kind: spec.key for spec in chain}))
    for spec in plan.specs.values():
        finish(store, spec, {"mIoU": spec.config["value"]}, {"seconds_total": 1800.0} | SIZES[spec.kind])
    table = parse_table(Path("table.yaml"), {"columns": ["mIoU", "params_M", "train_hours"]}, ["scratch", "ours"])
    sweep = Sweep("table", Path("table.yaml"), "evaluate", {}, table)
    results = tmp_path / "results"
    for kind in ("pretrain", "finetune", "evaluate"):
        write_results(plan.of_kind(kind), store, results / "runs" / kind, kind, prune=True)
    return plan, [sweep], store, results


def finish(store: Store, spec: RunSpec, metrics: dict[str, float], cost: dict[str, float]) -> None:
    """Give a run a result."""
    run = store.register(spec)
    run.write("efficiency.json", cost)
    run.write("provenance.json", {"commit": COMMIT, "device": "cpu", "device_kind": "cpu", "ops_backend": "cpp"})
    run.write("metrics.json", {"metrics": metrics})


def test_values_of_the_last_run_and_costs_of_the_whole_chain(world: tuple[Plan, list[Sweep], Store, Path]) -> None:
    plan, sweeps, store, results = world
    [summary] = collect(sweeps, plan, results, store)
    assert (summary.done, summary.missing, summary.failed) == (6, 0, 0)
    key = {cell.row: cell.runs["evaluate"] for cell in plan.cells["table"]}
    assert (results / "inputs/table.csv").read_text() == (
        "row,column,seed,value,status,run\n"
        f"ours,mIoU,0,4.000000,done,{key['ours']}\nours,params_M,0,2.500000,done,{key['ours']}\n"
        f"scratch,mIoU,0,5.000000,done,{key['scratch']}\nscratch,params_M,0,2.000000,done,{key['scratch']}\n"
    )
    costs = (results / "inputs/table.efficiency.csv").read_text()
    assert f"ours,train_hours,0,1.000000,done,{key['ours']}" in costs
    assert f"scratch,train_hours,0,0.500000,done,{key['scratch']}" in costs
    found = load_inputs(results / "inputs", "table")
    assert found.cell("ours", "mIoU").values == {"0": 4.0}


def test_the_size_of_a_pre_trained_detector_includes_the_heads_that_wait_during_pre_training() -> None:
    """Exact counts of the published VoteNet, whose row of the paper's Table 10 reads 1.48 M."""
    records = {
        "pretrain": {"parameters_trainable": 641_920 + 532_998, "parameters_beside_encoder": 532_998},
        "finetune": {"parameters_trainable": 953_828},
        "evaluate": {"parameters": 953_828},
    }
    cell = PlannedCell("row", 0, {kind: kind for kind in records})
    found = Results(Path("nowhere"))
    found._known = {(kind, kind): {"metrics": {}, "efficiency": record} for kind, record in records.items()}
    assert value_of("params_M", cell, "evaluate", found) == pytest.approx(1.486826)
    del records["pretrain"]
    scratch = PlannedCell("row", 0, {kind: kind for kind in records})
    assert value_of("params_M", scratch, "evaluate", found) == pytest.approx(0.953828)


def test_times_do_not_touch_the_table_of_numbers(world: tuple[Plan, list[Sweep], Store, Path]) -> None:
    plan, sweeps, store, results = world
    collect(sweeps, plan, results, store)
    before = (results / "inputs/table.csv").read_bytes()
    for spec in plan.specs.values():
        store.run(spec.key).write("efficiency.json", {"seconds_total": 9.0} | SIZES[spec.kind])
    for kind in ("pretrain", "finetune", "evaluate"):
        write_results(plan.of_kind(kind), store, results / "runs" / kind, kind, prune=True)
    collect(sweeps, plan, results, store)
    assert (results / "inputs/table.csv").read_bytes() == before


def test_a_missing_and_a_failed_run_are_told_apart(world: tuple[Plan, list[Sweep], Store, Path]) -> None:
    plan, sweeps, store, results = world
    for row, broken in (("ours", True), ("scratch", False)):
        key = next(cell.runs["evaluate"] for cell in plan.cells["table"] if cell.row == row)
        (store.run(key).folder / "metrics.json").unlink()
        (results / f"runs/evaluate/{key}.json").unlink()
        if broken:
            store.run(key).write("failure.json", {"error": "out of memory"})
    write_results(plan.of_kind("evaluate"), store, results / "runs/evaluate", "evaluate", prune=True)
    collect(sweeps, plan, results, store)
    text = (results / "inputs/table.csv").read_text()
    assert "ours,mIoU,0,,failed," in text
    assert "scratch,mIoU,0,,missing," in text


def test_provenance_names_commits_data_and_runs(world: tuple[Plan, list[Sweep], Store, Path]) -> None:
    plan, sweeps, store, results = world
    run = store.run(plan.cells["table"][0].runs["evaluate"])
    run.write(
        "provenance.json",
        {"commit": {"id": "b" * 40, "dirty": True}, "device": "cpu", "device_kind": "cpu", "ops_backend": "cpp"},
    )
    write_results(plan.of_kind("evaluate"), store, results / "runs/evaluate", "evaluate", prune=True)
    collect(sweeps, plan, results, store)
    origin = json.loads((results / "inputs/table.provenance.json").read_text())
    assert origin["commits"] == ["aaaaaaaaaaaa", "bbbbbbbbbbbb+"]
    assert any("2 commits" in note for note in origin["footnotes"])
    assert set(origin["runs"]["ours"]) == set(plan.cells["table"][1].runs.values())


def test_what_each_scene_scored_is_kept_beside_the_results(world: tuple[Plan, list[Sweep], Store, Path]) -> None:
    plan, _, store, results = world
    one, other = (spec.key for spec in plan.of_kind("evaluate")[:2])
    said = {"scene": {"mIoU": 40.0, "counts": {"intersection": [1, 2]}}, "empty": None}
    for key in (one, other):
        store.run(key).write("scenes.json", said)
    folder = results / "runs/evaluate"
    write_results(plan.of_kind("evaluate"), store, folder, "evaluate", prune=True)
    assert read_scenes(folder / "scenes", one) == read_scenes(store.root, one) == said
    write_results([s for s in plan.of_kind("evaluate") if s.key == one], store, folder, "evaluate", prune=True)
    assert [path.name for path in (folder / "scenes").iterdir()] == [one]


def test_results_of_runs_that_are_planned_no_more_are_removed(world: tuple[Plan, list[Sweep], Store, Path]) -> None:
    plan, _, store, results = world
    kept = plan.of_kind("evaluate")[:1]
    write_results(kept, store, results / "runs/evaluate", "evaluate", prune=False)
    assert len(list((results / "runs/evaluate").glob("*.json"))) == 2
    write_results(kept, store, results / "runs/evaluate", "evaluate", prune=True)
    assert [path.stem for path in (results / "runs/evaluate").glob("*.json")] == [kept[0].key]
