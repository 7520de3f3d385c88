"""The table part of a sweep file: what is read, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from benchmarks.reports.synthetic import TABLE_7, write_sweep

from mm3d_benchmarks.planning.sweepfile import load_sweep, load_sweeps
from mm3d_benchmarks.planning.table_spec import TableSpec
from mm3d_core.errors import UserError


def spec_of(tmp_path: Path, sweep: dict) -> TableSpec:
    spec = load_sweep(write_sweep(tmp_path, "table_99_test", sweep) / "table_99_test.yaml").table
    assert spec is not None
    return spec


def with_table(**changes) -> dict:
    return {"runs": TABLE_7["runs"], "table": {**TABLE_7["table"], **changes}}


def test_rows_stand_in_the_order_of_the_paper_and_unpublished_runs_follow(tmp_path):
    runs = {"each": [{"row": "ours"}, {"row": "ii"}, {"row": "i"}]}
    spec = spec_of(tmp_path, {"runs": runs, "table": TABLE_7["table"]})
    assert spec.rows == ("i", "ii", "iii", "iv", "ours")


def test_groups_carry_their_own_baseline(tmp_path):
    groups = [{"title": "A", "rows": ["i", "ii"]}, {"rows": ["iii", "iv"], "baseline": "iii"}]
    spec = spec_of(tmp_path, with_table(groups=groups))
    assert (spec.baseline("ii"), spec.baseline("iv")) == ("i", "iii")


def test_a_group_may_give_each_row_its_own_baseline(tmp_path):
    spec = spec_of(tmp_path, with_table(groups=[{"rows": ["i", "ii", "iii"], "baseline": {"iii": "ii"}}]))
    assert [spec.baseline(row) for row in ("i", "ii", "iii")] == [None, "i", "ii"]


def test_a_baseline_that_was_only_published_is_none_for_a_run(tmp_path):
    published = [*TABLE_7["table"]["published"], {"cell": "P", "row": "paper's", "mIoU": 1.0}]
    with pytest.raises(UserError, match="never mixed with measured"):
        spec_of(tmp_path, with_table(published=published, baseline="paper's"))


def test_rows_can_have_baselines_of_their_own(tmp_path):
    spec = spec_of(tmp_path, with_table(baseline={"ii": "i", "iv": "iii"}))
    assert [spec.baseline(row) for row in ("i", "ii", "iii", "iv")] == [None, "i", None, "iii"]
    assert [g.rows for g in spec.groups] == [("i", "ii", "iii", "iv")]


def test_hidden_rows_are_not_shown(tmp_path):
    assert "i" not in spec_of(tmp_path, with_table(hidden=["i"])).rows


def test_a_sweep_without_a_table_is_passed_over(tmp_path):
    write_sweep(tmp_path, "smoke", {"runs": {"base": {}}})
    assert [s.table for s in load_sweeps(tmp_path)] == [None]


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"published": [{"cell": "T7-01", "row": "i", "mIuO": 1.0, "origin": "run"}]}, "mIuO"),
        ({"published": [{"cell": "T7-01", "row": "i", "origin": "guess"}]}, "guess"),
        ({"published": [{"cell": "T7-01", "row": "i"}, {"cell": "T7-01", "row": "ii"}]}, "T7-01"),
        ({"groups": [{"rows": ["i", "ii"]}, {"rows": ["ii"]}]}, "ii"),
        ({"columns": 3}, "table_99_test"),
        ({"colums": ["mIoU"]}, "colums"),
        ({"baseline": "vii"}, "'vii', which no run fills"),
        ({"baseline": {"ii": "vii"}}, "'vii', which no run fills"),
        ({"groups": [{"rows": ["i", "ii"], "baseline": "vii"}]}, "'vii', which no run fills"),
        ({"groups": [{"rows": ["i", "ii"], "baseline": {"ii": "vii"}}]}, "'vii', which no run fills"),
        ({"groups": [{"rows": ["i", "ii"], "baseline": {"vii": "i"}}]}, "'vii', which no run fills"),
        ({"axis": None}, "table.axis"),
        ({"axis": None, "baseline": None, "groups": [{"rows": ["i", "ii"], "baseline": "i"}]}, "table.axis"),
    ],
)
def test_a_mistake_in_the_table_is_named(tmp_path, changes, named):
    with pytest.raises(UserError, match=named):
        spec_of(tmp_path, with_table(**changes))


def test_a_file_that_is_not_yaml_is_named(tmp_path):
    (tmp_path / "broken.yaml").write_text("runs: [")
    with pytest.raises(UserError, match=r"broken\.yaml"):
        load_sweeps(tmp_path)


@pytest.mark.parametrize(
    "content", [b"\xff\xfe table", b"table: {" * 5000, b"table: [1"], ids=["bytes", "deep", "open"]
)
def test_a_damaged_file_is_one_error_that_names_it(tmp_path, content):
    path = tmp_path / "table_x.yaml"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"table_x\.yaml"):
        load_sweep(path)
