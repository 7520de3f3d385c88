"""Rows that a profile leaves out are named in a footnote; a sweep can be restricted to cells with a value."""

from __future__ import annotations

from pathlib import Path

import pytest
import toy

from mm3d_benchmarks.commands import main as cli
from mm3d_benchmarks.planning.conditions import holds, left_out, parse_conditions
from mm3d_benchmarks.planning.planner import Planner
from mm3d_benchmarks.planning.sweepfile import load_sweep
from mm3d_core.errors import UserError

SWEEPS = Path(__file__).resolve().parents[3] / "sweeps"
CHAIN = {
    "finetune": toy.spec("finetune", task="segmentation", protocol={"scenes": 0.2, "longer": True}),
    "evaluate": toy.spec("evaluate", task="segmentation", protocol={"train": "all"}),
}


def test_a_condition_is_looked_up_in_the_last_run_that_has_the_key():
    assert holds(CHAIN, {"protocol.scenes": 0.2, "protocol.train": "all"})
    assert holds(CHAIN, {"protocol.scenes": [0.1, 0.2]})
    assert not holds(CHAIN, {"protocol.scenes": 0.1})
    assert not holds(CHAIN, {"protocol.nothing": 0.1})
    assert holds(CHAIN, parse_conditions(["task=segmentation", "protocol.longer=true", "protocol.scenes=0.2"]))


def test_of_several_values_for_one_key_one_is_enough():
    assert holds(CHAIN, parse_conditions(["protocol.scenes=0.1", "protocol.scenes=0.2"]))
    assert not holds(CHAIN, parse_conditions(["protocol.scenes=0.1", "protocol.scenes=0.3"]))
    assert not holds(CHAIN, parse_conditions(["protocol.scenes=0.2", "task=detection"]))


def test_a_list_is_compared_as_a_whole():
    chain = {"evaluate": toy.spec("evaluate", terms=["coord", "color"])}
    assert holds(chain, parse_conditions(["terms=[coord, color]"]))
    assert holds(chain, parse_conditions(["terms=['coord', 'color']"]))
    assert not holds(chain, parse_conditions(["terms=[coord]"]))
    assert not holds(chain, parse_conditions(["terms=coord"]))


def test_words_without_a_value_are_refused():
    with pytest.raises(UserError, match="KEY=VALUE"):
        parse_conditions(["segmentation"])
    with pytest.raises(UserError, match="no YAML"):
        parse_conditions(["terms=[coord"])


def test_the_first_entry_that_holds_says_why():
    entries = [{"task": "detection", "because": "no time"}, {"backbone.name": "toy", "because": "a toy"}]
    assert left_out(CHAIN, entries) == "a toy"
    assert left_out(CHAIN, entries[:1]) == ""


def test_the_study_leaves_rows_out_and_says_which_and_why():
    plan = Planner("study", needs_data=False).plan([load_sweep(SWEEPS / "rivals.yaml")])
    rows = {cell.row for cell in plan.cells["rivals"]}
    assert "MM-3DScene / PointTrans, S3DIS" in rows
    assert not any("Stratified" in row or "H3DNet" in row for row in rows)
    assert any("does not run" in note and "scratch / H3DNet, ScanNet" in note for note in plan.notes["rivals"])
    assert {cell.seed for cell in plan.cells["rivals"]} == {0, 1, 2}


def test_a_sweep_restricted_to_a_task_plans_its_runs_alone(monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(SWEEPS.parent)
    own = ["--store", str(tmp_path / "runs"), "--results", str(tmp_path / "results")]  # whatever this checkout has run
    common = ["sweep", "controls", "--dry-run", "--profile", "smoke", *own]
    assert cli.main([*common, "--where", "task=detection"]) == 0
    restricted = capsys.readouterr().out
    assert cli.main(common) == 0
    assert restricted != capsys.readouterr().out
    assert "evaluate     4 to do" in restricted
    assert cli.main([*common, "--where", "row=scratch / probe", "--where", "row=scratch / VoteNet"]) == 0
    assert "evaluate     2 to do" in capsys.readouterr().out
    assert cli.main([*common, "--where", "task=poetry"]) != 0
    assert "no cell of these sweeps is so" in capsys.readouterr().err
