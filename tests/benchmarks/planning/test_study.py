"""The study's two halves: what they run, that each stands alone, and that both can be repeated."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

from mm3d_benchmarks.planning.conditions import holds
from mm3d_benchmarks.planning.planner import Planner
from mm3d_benchmarks.planning.sweepfile import find_sweeps, load_sweep

ROOT = Path(__file__).resolve().parents[3]


def study():
    spec = importlib.util.spec_from_file_location("study", ROOT / "tools/study.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def halves() -> dict[str, list[str]]:
    text = (ROOT / "Makefile").read_text()
    return {name.lower(): names.split() for name, names in re.findall(r"^STUDY_(\w+)\s*:= (.+)$", text, re.M)}


def test_the_makefile_names_sweeps_that_exist_and_each_half_holds_cells_of_its_task_with_an_oracle():
    assert set(halves()) == {"segmentation", "detection"}
    for task, names in halves().items():
        plan = Planner("study", needs_data=False).plan([load_sweep(p) for p in find_sweeps(names, ROOT / "sweeps")])
        chains = [
            {kind: plan.specs[key] for kind, key in cell.runs.items()}
            for cells in plan.cells.values()
            for cell in cells
        ]
        own = [chain for chain in chains if holds(chain, {"task": task})]
        assert own
        assert any(holds(chain, {"pretrain.name": "oracle"}) for chain in own)
        assert {spec.config["backbone"]["name"] for chain in own for spec in chain.values()} == {
            "point_transformer" if task == "segmentation" else "votenet"
        }


def test_a_half_prepares_what_is_missing_runs_its_own_cells_and_reports(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = study().commands("segmentation", ["table_07"], 2)
    assert [c[1] for c in made] == ["generate", "prepare", "generate", "prepare", "sweep", "sweep", "report"]
    assert made[4][made[4].index("--where") + 1] == "task=segmentation"
    assert "--where" not in made[5], "pre-trainings alone have no task"
    assert {"figure_02", "figure_07", "figure_08"} < set(made[5])
    for name in ("s3dis", "scannet"):
        (tmp_path / f"data/study/prepared/{name}").mkdir(parents=True)
        (tmp_path / f"data/study/prepared/{name}/manifest.json").write_text("{}")
    assert [c[1] for c in study().commands("segmentation", ["table_07"], 2)] == [
        "generate",
        "generate",
        "sweep",
        "sweep",
        "report",
    ]
