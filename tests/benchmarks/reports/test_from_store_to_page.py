"""A toy sweep with a failing run and runs from two kinds of device, from its file through the store to the page."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from mm3d_benchmarks.launching.ensure import ensure
from mm3d_benchmarks.launching.local import InProcess
from mm3d_benchmarks.planning.planner import Plan, Planner
from mm3d_benchmarks.planning.sweepfile import Sweep, load_sweep
from mm3d_benchmarks.reports.build import build_report
from mm3d_benchmarks.results.collect import collect, write_results
from mm3d_benchmarks.store import layout
from mm3d_benchmarks.store.store import Store
from mm3d_core.files.sealed import unseal

NAME = "labels"
ROWS = {"scratch, 10 percent": 0.1, "scratch, a fifth": 0.2, "scratch, everything": 1.0}
SWEEP = {
    "runs": {
        "base": {"dataset": "s3dis", "evaluation": "segmentation_voxel", "pretrain": "none"},
        "each": [{"row": row, "protocol.scenes": share} for row, share in ROWS.items()],
        "cross": {"seed": [0]},
    },
    "table": {"columns": ["mIoU"], "axis": "protocol.scenes", "baseline": "scratch, 10 percent"},
    "figure": {"kind": "curve", "x": "protocol.scenes", "series": "pretrain", "names": {"none": "from scratch"}},
}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """The sweep planned, run, collected and reported."""
    root = tmp_path_factory.mktemp("world")
    (root / "sweeps").mkdir()
    (root / f"sweeps/{NAME}.yaml").write_text(yaml.safe_dump(SWEEP, sort_keys=False))
    sweep = load_sweep(root / f"sweeps/{NAME}.yaml")
    plan = Planner("smoke", needs_data=False).plan([sweep])
    store = Store(root / "runs")
    toys = [dataclasses.replace(spec, local={"function": "toy.few_labels"}) for spec in plan.specs.values()]
    outcomes = ensure(toys, store, InProcess())
    assert sorted(outcome.state for outcome in outcomes) == ["blocked", "done", "done", "done", "done", "failed"]
    elsewhere = store.run(plan.cells[NAME][2].runs["finetune"])
    elsewhere.write(layout.PROVENANCE, {**(elsewhere.read(layout.PROVENANCE) or {}), "device": "NVIDIA H200"})
    status = _report(root, sweep, plan, store)
    return SimpleNamespace(root=root, plan=plan, store=store, status=status, out=root / "results/smoke")


def _report(root: Path, sweep: Sweep, plan: Plan, store: Store) -> int:
    for kind in ("finetune", "evaluate"):
        write_results(plan.of_kind(kind), store, root / "results/smoke/runs" / kind, kind, prune=True)
    collect([sweep], plan, root / "results/smoke", store)
    return build_report(None, "smoke", root / "results", root / "sweeps", store.root)


def test_a_failed_run_is_named_in_the_csv_and_fails_the_report(world):
    lines = (world.out / f"inputs/{NAME}.csv").read_text().splitlines()
    assert [line.split(",")[-2] for line in lines[1:]] == ["done", "failed", "done"]
    assert world.status == 1


def test_the_card_of_a_failed_run_says_why_in_words(world):
    page = (world.out / "index.html").read_text()
    assert "no result: ValueError: this run was made to fail<" in page
    assert "Traceback" not in page


def test_two_kinds_of_device_are_told_once(world):
    text = (world.out / f"{NAME}.md").read_text()
    assert text.count("runs of this table come from") == 1
    assert "come from 2 kinds of device: NVIDIA H200, cpu." in text


def test_a_curve_stands_where_the_configuration_says_whatever_rows_are_called(world):
    places = json.loads((world.out / f"inputs/{NAME}.provenance.json").read_text())["places"]
    assert places == {row: {"series": "from scratch", "x": share} for row, share in ROWS.items()}
    assert (world.out / f"{NAME}.pdf").stat().st_size > 1000
    assert f'id="picture_{NAME}"><img' in (world.out / "index.html").read_text()


def test_every_result_has_one_shape_and_its_checksum(world):
    for key in world.store.done():
        result = unseal(json.loads((world.store.root / key / layout.METRICS).read_text()))
        assert set(result) == {"kind", "form", "metrics"}


def test_series_of_the_repositorys_figures_are_called_by_names_that_their_runs_have(tmp_path: Path) -> None:
    sweeps = [sweep for path in Path("sweeps").glob("*.yaml") if (sweep := load_sweep(path)).figure]
    bare = [dataclasses.replace(s, figure=dataclasses.replace(s.figure, names={})) for s in sweeps if s.figure]
    collect(bare, Planner("smoke", needs_data=False).plan(sweeps), tmp_path)
    for sweep in sweeps:
        found = json.loads((tmp_path / f"inputs/{sweep.name}.provenance.json").read_text()).get("places", {})
        assert sweep.figure is not None
        assert set(sweep.figure.names) <= {place["series"] for place in found.values()}
