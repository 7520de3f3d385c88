"""Readers of sweeps, configurations, the run store and what reports are made of."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import yaml
from benchmarks.reports.scans import pretrain_picture, write_run
from benchmarks.reports.synthetic import SYNTHETIC, TABLE_7, done, table_7_values, write_inputs, write_sweep
from hostile.cases import Case

from mm3d_benchmarks.commands.common import launcher_settings
from mm3d_benchmarks.planning.compose import _contents, compose
from mm3d_benchmarks.planning.planner import Plan, PlannedCell
from mm3d_benchmarks.planning.request import Request
from mm3d_benchmarks.planning.sweepfile import load_sweep
from mm3d_benchmarks.reports.artefacts import load_arrays
from mm3d_benchmarks.reports.latex import to_latex
from mm3d_benchmarks.reports.page.cards import card_html, load_cards
from mm3d_benchmarks.reports.page.webtable import table_html
from mm3d_benchmarks.reports.scores import read_scenes, scene_scores
from mm3d_benchmarks.reports.tables import build_table
from mm3d_benchmarks.reports.text import to_csv, to_markdown
from mm3d_benchmarks.results.collect import collect, write_results
from mm3d_benchmarks.results.inputs import load_inputs
from mm3d_benchmarks.store.layout import write_result
from mm3d_benchmarks.store.spec import RunSpec
from mm3d_benchmarks.store.store import Store
from mm3d_benchmarks.supervision.data_efficient import listed_scenes
from mm3d_benchmarks.supervision.point_lists import ListedPoints
from mm3d_core.observing.logfile import LOG_FILE, read_log, truncate_log

SWEEP = {
    "runs": {
        "base": {"dataset": "s3dis", "evaluation": "segmentation_voxel"},
        "each": [{"row": "scratch", "pretrain": "none"}, {"row": "ours", "pretrain": "mm3dscene"}],
        "cross": {"seed": [0, 1]},
    },
    "table": {"columns": ["mIoU"], "over": "seed", "axis": "pretrain", "baseline": "scratch", "title": "A title"},
}
SPEC = RunSpec("evaluate", {"seed": 0, "backbone": {"name": "toy"}, "dataset": {"name": "none"}})
KEY = "a" * 12


def sweep(work: Path) -> None:
    (work / "good.yaml").write_text(yaml.safe_dump(SWEEP, sort_keys=False))


def read_sweep(work: Path) -> None:
    load_sweep(work / "good.yaml").cells("smoke", [0, 1])


def table(work: Path) -> None:
    write_sweep(work / "sweeps", "table", TABLE_7)
    write_inputs(work, "table", done(table_7_values()), SYNTHETIC)


def read_table(work: Path) -> None:
    spec = load_sweep(work / "sweeps/table.yaml").table
    if spec is not None:
        made = build_table(spec, load_inputs(work / "smoke" / "inputs", spec.name), "smoke")
        for writer in (to_csv, to_markdown, to_latex, table_html):
            writer(made)


def group(work: Path) -> None:
    (work / "conf/pretrain").mkdir(parents=True)
    text = "name: mine\nversion: 1\nmethod:\n  decoder: {hidden: [64, 32]}\n  ratio: 0.5\nnotes: [a, b]\n"
    (work / "conf/pretrain/mine.yaml").write_text(text)


def read_group(work: Path) -> None:
    from mm3d_benchmarks.planning import compose as composing

    for cached in (composing._composed, composing._contents, composing.available, composing._check_choice):
        cached.cache_clear()
    _contents.cache_clear()
    compose(Request({"profile": "smoke", "pretrain": "mine", "dataset": "s3dis"}, {}, (work / "conf",)))


def machine(work: Path) -> None:
    (work / "machine.yaml").write_text("launcher: {max_parallel: 2, max_attempts: 3}\nmachine: {workers: 2}\n")


def read_machine(work: Path) -> None:
    launcher_settings("local", argparse.Namespace(machine=work / "machine.yaml", max_parallel=None))


def store(work: Path) -> None:
    run = Store(work / "runs").register(SPEC)
    run.write("attempts.json", {"count": 1, "mark": 0, "total": 1})
    run.write("provenance.json", {"commit": {"id": "abc", "dirty": False}, "device": "cpu"})
    run.write("efficiency.json", {"parameters": 10, "seconds_total": 1.5, "seconds_per_scene": {"a": 0.5}})
    write_result(run.folder, "evaluate", {"mIoU": 12.5}, weights={})


def read_store(work: Path) -> None:
    found = Store(work / "runs")
    run = found.run(SPEC.key)
    spec = run.spec()
    run.metrics()
    run.begin_attempt()
    run.take_back_attempt()
    plan = Plan("smoke", specs={spec.key: spec}, cells={"good": [PlannedCell("ours", 0, {"evaluate": spec.key})]})
    plan.kinds["good"] = "evaluate"
    write_results([spec], found, work / "out/runs/evaluate", "evaluate", prune=True)
    collect([load_sweep(work / "good.yaml")], plan, work / "out", found)


def plan(work: Path) -> None:
    store(work)
    sweep(work)
    made = Plan("smoke", specs={SPEC.key: SPEC}, cells={"good": [PlannedCell("ours", 0, {"evaluate": SPEC.key})]})
    made.kinds["good"] = "evaluate"
    made.write(work / "plan")


def read_plan(work: Path) -> None:
    found = Plan.read(work / "plan")
    collect([load_sweep(work / "good.yaml")], found, work / "out", Store(work / "runs"))


def results(work: Path) -> None:
    plan(work)
    write_results([SPEC], Store(work / "runs"), work / "collected/runs/evaluate", "evaluate", prune=True)
    collect([load_sweep(work / "good.yaml")], Plan.read(work / "plan"), work / "collected")


def read_results(work: Path) -> None:
    collect([load_sweep(work / "good.yaml")], Plan.read(work / "plan"), work / "collected")


def run(work: Path) -> None:
    write_run(work / "runs", KEY, metrics={"mIoU": 40.0}, upstream={"pretrain": "b" * 12})
    counts = {name: [3, 4] for name in ("intersection", "target", "predicted")}
    (work / "runs" / KEY / "scenes.json").write_text(json.dumps({"a": {"mIoU": 40.0, "counts": counts}, "b": None}))
    np.savez_compressed(work / "runs" / KEY / "picture.npz", **pretrain_picture())  # type: ignore[arg-type]


def read_card(work: Path) -> None:
    for card in load_cards(work / "runs", {KEY: ["table: ours"]})[0]:
        card_html(card)
    scenes = read_scenes(work / "runs", KEY)
    if scenes is not None:
        scene_scores([scenes], "mIoU")


def log(work: Path) -> None:
    lines = [json.dumps({"step": step, "loss": 1 / step, "lr": 0.1}) for step in range(1, 20)]
    (work / LOG_FILE).write_text("\n".join(lines) + "\n")


def read_training_log(work: Path) -> None:
    (work / "out").mkdir(exist_ok=True)
    (work / "out" / LOG_FILE).write_bytes((work / LOG_FILE).read_bytes())
    truncate_log(work / "out" / LOG_FILE, 7)
    read_log(work)


def scene_list(work: Path) -> None:
    (work / "list.txt").write_text("scene0000_00\nscene0001_00\n")


def point_list(name: str) -> Callable[[Path], None]:
    def make(work: Path) -> None:
        rows = {"scene0000_00": np.array([5, 7]), "scene0001_00": np.array([0, 900, 31])}
        lists = {scene: values.tolist() for scene, values in rows.items()}
        if name.endswith(".npz"):
            np.savez(work / name, **rows)  # pyright: ignore[reportArgumentType]
        else:
            lines = "".join(f"{scene} {' '.join(map(str, values))}\n" for scene, values in lists.items())
            (work / name).write_text(json.dumps(lists) if name.endswith(".json") else lines)

    return make


def read_point_list(name: str) -> Callable[[Path], ListedPoints]:
    return lambda work: ListedPoints.read(work / name)


CARD = ("spec.json", "metrics.json", "scenes.json", "log.jsonl")
STORED = tuple(f"runs/{SPEC.key}/{name}.json" for name in ("spec", "metrics", "attempts", "provenance", "efficiency"))

CASES = (
    Case("YAML sweep, runs", "yaml", ("good.yaml",), sweep, read_sweep, ("good/", "there is no")),
    Case("YAML sweep, table", "yaml", ("sweeps/table.yaml",), table, read_table),
    Case("YAML group file", "yaml", ("conf/pretrain/mine.yaml",), group, read_group, ("pretrain", "${")),
    Case("YAML machine file", "yaml", ("machine.yaml",), machine, read_machine),
    Case("run store", "json", STORED, plan, read_store, forgiving=True),
    Case("plan", "json", ("plan/runs/evaluate.json", "plan/sweeps/good.json"), plan, read_plan, ("plan/", "upstream")),
    Case("collected results", "json", (f"collected/runs/evaluate/{SPEC.key}.json",), results, read_results),
    Case("inputs CSV", "text", ("smoke/inputs/table.csv",), table, read_table),
    Case("inputs provenance", "json", ("smoke/inputs/table.provenance.json",), table, read_table),
    Case("run card", "json", tuple(f"runs/{KEY}/{n}" for n in CARD),
         run, read_card),
    Case("pictures NPZ", "npz", (f"runs/{KEY}/picture.npz",), run,
         lambda work: load_arrays(work / "runs" / KEY / "picture.npz")),
    Case("training log", "json", (LOG_FILE,), log, read_training_log),
    Case("scene list", "text", ("list.txt",), scene_list,
         lambda work: listed_scenes(["scene0000_00", "scene0001_00"], work / "list.txt")),
    *(Case(f"point list, {kind}", kind, (name,), point_list(name), read_point_list(name))
      for kind, name in (("json", "points.json"), ("text", "points.txt"), ("npz", "points.npz"))),
)  # fmt: skip
