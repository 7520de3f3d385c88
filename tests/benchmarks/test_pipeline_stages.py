"""The pipeline's stages and its commands: each file that a report writes is an out; a failure stops nothing else."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from mm3d_benchmarks.commands import main as cli
from mm3d_benchmarks.commands import sweep as sweeping
from mm3d_benchmarks.launching.ensure import DONE, FAILED, Outcome
from mm3d_benchmarks.planning.needed import needed
from mm3d_benchmarks.planning.planner import Planner
from mm3d_benchmarks.planning.sweepfile import load_sweep
from mm3d_benchmarks.reports.build import build_report
from mm3d_benchmarks.store.layout import write_result
from mm3d_benchmarks.store.spec import RunSpec
from mm3d_benchmarks.store.store import Store

ROOT = Path(__file__).resolve().parents[2]
SWEEP: dict[str, Any] = {
    "runs": {
        "base": {"dataset": "s3dis", "evaluation": "segmentation_voxel"},
        "each": [{"row": "scratch", "pretrain": "none"}, {"row": "ours", "pretrain": "mm3dscene"}],
        "cross": {"seed": [0]},
    },
    "table": {"columns": ["mIoU"], "over": "seed", "axis": "pretrain", "baseline": "scratch"},
}


def outs() -> dict[str, set[str]]:
    """Stage -> its outs, metrics and plots, with the templates filled in for the smoke profile."""
    found: dict[str, set[str]] = {}
    for name, stage in yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"].items():
        body = stage.get("do", stage)
        paths = [
            next(iter(o)) if isinstance(o, dict) else o for k in ("outs", "metrics", "plots") for o in body.get(k, [])
        ]
        for item in stage.get("foreach", [""]):
            for path in paths:
                filled = path.replace("${profile}", "smoke").replace("${item}", str(item)).replace("${key}", str(item))
                found.setdefault(name, set()).add(filled)
    return found


def test_every_file_that_reports_write_is_the_out_of_one_stage(tmp_path: Path) -> None:
    assert build_report(None, "smoke", tmp_path / "results", ROOT / "sweeps", tmp_path / "runs", partial=True) == 0
    written = {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()}
    stages = outs()
    declared = [path for name in ("report", "figure", "page") for path in stages[name]]
    assert len(declared) == len(set(declared))
    assert written == set(declared)


def test_every_table_that_is_reported_is_collected_from_a_sweep_that_is_there() -> None:
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    named = [*stages["report"]["foreach"], *stages["figure"]["foreach"]]
    tables = {
        p.stem
        for p in (ROOT / "sweeps").glob("*.yaml")
        if (yaml.safe_load(p.read_text())["table"] or {}).get("columns")
    }
    assert sorted(named) == sorted(tables)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with one sweep, planned, on data that need not be read."""
    for name in ("MM3D_STORE", "MM3D_PROFILE", "MM3D_LAUNCHER", "MM3D_MACHINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    manifest = tmp_path / "data/smoke/prepared/s3dis/manifest.json"
    manifest.parent.mkdir(parents=True)
    manifest.write_text("{}")
    (tmp_path / "sweeps").mkdir()
    write_sweep(SWEEP)
    assert cli.main(["plan"]) == 0
    return tmp_path


def write_sweep(value: dict[str, Any]) -> None:
    Path("sweeps/one.yaml").write_text(yaml.safe_dump(value, sort_keys=False))


class Launched:
    """In place of ``ensure``: gives results, except to the runs that are to fail; remembers what it was asked for."""

    def __init__(self, failing: str = "") -> None:
        self.failing, self.asked = failing, list[RunSpec]()

    def __call__(self, specs: Sequence[RunSpec], store: Store, *_: object) -> list[Outcome]:
        self.asked = [spec for spec in specs if not store.run(spec.key).is_done]
        outcomes = []
        for spec in specs:
            gone = [k for k in spec.upstream.values() if not store.run(k).is_done]
            if gone or spec.kind == self.failing:
                outcomes.append(Outcome(spec, "blocked" if gone else FAILED, "it is hopeless"))
            else:
                write_result(store.register(spec).folder, spec.kind, {"mIoU": 50.0})
                outcomes.append(Outcome(spec, DONE))
        return outcomes


def pipeline() -> list[int]:
    """The commands of the stages after the plan, in their order, and their exit statuses."""
    commands = [["sweep", "--planned", "--kind", kind, "--carry-on"] for kind in ("pretrain", "finetune", "evaluate")]
    commands += [["collect", "--carry-on"], ["report", "one", "--carry-on"], ["report", "--carry-on"]]
    return [cli.main(command) for command in commands]


def test_a_hopeless_row_stops_no_stage_but_the_last(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sweeping, "ensure", Launched("pretrain"))
    assert set(pipeline()) == {0}
    text = (folder / "results/smoke/one.md").read_text()
    assert re.search(r"\| scratch *\| 50\.0", text)
    assert re.search(r"\| ours *\| failed", text)
    assert "failed (run " in text, "the footnote names the run"
    assert (folder / "results/smoke/index.html").exists()
    capsys.readouterr()
    assert cli.main(["complete"]) == 1
    error = capsys.readouterr().err
    assert "(for one/ours/0): it is hopeless" in error
    assert "3 runs have no result, 1 cells have no value" in error

    # The stages that recorded failures count as undone, so the same command tries again.
    assert not list((folder / "results/smoke/failures").glob("*.json"))
    monkeypatch.setattr(sweeping, "ensure", Launched())
    assert set(pipeline()) == {0}
    assert {p.read_text() for p in (folder / "results/smoke/failures").glob("*.json")} == {"{}\n"}
    assert cli.main(["complete"]) == 0


def test_what_was_pulled_counts_and_a_new_row_starts_that_row_alone(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sweeping, "ensure", Launched())
    pipeline()
    (folder / "runs").rename(folder / "elsewhere")  # as in a clone after `dvc pull`: results, and no runs
    before = {p: p.read_bytes() for p in (folder / "results/smoke").rglob("*") if p.suffix in (".json", ".csv", ".md")}
    launched = Launched()
    monkeypatch.setattr(sweeping, "ensure", launched)
    pipeline()
    assert not launched.asked
    assert {p: p.read_bytes() for p in before} == before

    more = json.loads(json.dumps(SWEEP))
    more["runs"]["each"].append({"row": "other", "pretrain": "point_mae"})
    write_sweep(more)
    cli.main(["plan"])
    asked = []
    for kind in ("pretrain", "finetune", "evaluate"):
        cli.main(["sweep", "--planned", "--kind", kind, "--carry-on"])
        asked += [spec.kind for spec in launched.asked]
    assert asked == ["pretrain", "finetune", "evaluate"]

    more["runs"]["each"].append({"row": "voting", "pretrain": "mm3dscene", "evaluation.protocol.voxel": 0.07})
    del more["table"]["axis"], more["table"]["baseline"]
    write_sweep(more)
    capsys.readouterr()
    cli.main(["sweep", "one", "--dry-run"])
    said = capsys.readouterr().out
    assert "the weights of 1 pre-training and 1 fine-tuning are not in this store, only their results" in said
    assert "2 runs to do start from them" in said


def test_only_what_a_run_to_do_starts_from_is_made_again() -> None:
    specs = (
        Planner("smoke", needs_data=False).plan([load_sweep(ROOT / "sweeps/table_07_framework_ablation.yaml")]).specs
    )
    chain = next(s for s in specs.values() if s.kind == "evaluate" and specs[s.upstream["finetune"]].upstream)
    found = needed(specs.values(), set(), specs.keys() - {chain.key})
    before = specs[chain.upstream["finetune"]]
    assert found.to_do == {chain.key, before.key, before.upstream["pretrain"]}
    assert len(found.by_result) == len(specs) - 3
    held = needed(specs.values(), {before.key}, specs.keys() - {chain.key})
    assert held.to_do == {chain.key}
    assert not held.sentence()


def test_a_removed_run_does_not_count_by_its_result_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    launched = Launched()
    monkeypatch.setattr(sweeping, "ensure", launched)
    pipeline()
    [key] = [p.stem for p in (folder / "results/smoke/runs/pretrain").glob("*.json")]
    assert cli.main(["store", "rm", key]) == 0
    cli.main(["sweep", "--planned", "--kind", "pretrain", "--carry-on"])
    assert [spec.key for spec in launched.asked] == [key]


def test_headline_numbers_are_one_small_file_a_profile(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweeping, "ensure", Launched())
    pipeline()
    assert json.loads(Path("metrics/smoke.json").read_text()) == {"one": {"ours": 50.0, "scratch": 50.0}}
    assert Path("metrics/smoke.csv").read_text() == "share\n"


def test_a_parameter_that_no_stage_reads_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """``dvc exp run -S +lr=0.1`` adds it to params.yaml, and nothing would come of it."""
    Path("params.yaml").write_text("profile: smoke\nlr: 0.1\n")
    assert cli.main(["plan"]) == 0, "a params.yaml of some other project"
    capsys.readouterr()
    Path("dvc.yaml").write_text((ROOT / "dvc.yaml").read_text())
    assert cli.main(["plan"]) != 0
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "params.yaml: lr is read by no stage" in error
    assert "mm3d run -m" in error
    Path("params.yaml").write_text((ROOT / "params.yaml").read_text())
    assert cli.main(["plan"]) == 0


@pytest.mark.slow
def test_two_commits_are_compared_by_one_command(tmp_path: Path) -> None:
    """What dvc itself says of the headline numbers and the curve, and of a parameter that no stage reads."""

    def said(*command: str, status: int = 0) -> str:
        answer = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=environment, check=False)
        assert (answer.returncode == 0) == (status == 0), answer.stderr
        return answer.stdout + answer.stderr

    def committed(points: float) -> None:
        (tmp_path / "metrics/smoke.json").write_text(json.dumps({"table_07": {"iv": points}}))
        (tmp_path / "metrics/smoke.csv").write_text(f"share,scratch,CSC,4DContrast,MM-3DScene\n1,2,3,4,{points}\n")
        said("git", "add", "-A")
        said("git", "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", f"{points}")

    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    (tmp_path / "metrics").mkdir()
    for name in ("dvc.yaml", "params.yaml", ".gitignore"):
        shutil.copy(ROOT / name, tmp_path)
    said("git", "init", "-q")
    said("dvc", "init", "-q")
    committed(40.0)
    committed(42.5)
    assert "42.5" in said("dvc", "metrics", "show")
    [line] = [line for line in said("dvc", "metrics", "diff", "HEAD~1", "HEAD").splitlines() if "table_07.iv" in line]
    assert line.split()[-3:] == ["40.0", "42.5", "2.5"]
    assert "index.html" in said("dvc", "plots", "show", "-o", "plots")
    assert "MM-3DScene" in (tmp_path / "plots/index.html").read_text()
    (tmp_path / "params.yaml").write_text("profile: smoke\nlr: 0.1\n")
    assert "mm3d run -m" in said("dvc", "repro", "--single-item", "--force", "plan", status=1)
