"""Means, deviations, differences, the best, and what a cell says when something is missing."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from benchmarks.reports.synthetic import SYNTHETIC, TABLE_7, done, table_7_values, write_inputs, write_sweep

from mm3d_benchmarks.planning.sweepfile import load_sweep
from mm3d_benchmarks.reports.latex import to_latex
from mm3d_benchmarks.reports.page.webtable import table_html
from mm3d_benchmarks.reports.tables import Table, build_table, letters
from mm3d_benchmarks.reports.text import cell_text, to_markdown
from mm3d_benchmarks.results.columns import column
from mm3d_benchmarks.results.inputs import load_inputs

NAME = "table_07_framework_ablation"
SHARED = "difference over the seeds shared with the baseline: 0, 1"


def table(tmp_path: Path, lines, provenance=SYNTHETIC, **changes) -> Table:
    sweep = {"runs": TABLE_7["runs"], "table": {**TABLE_7["table"], **changes}}
    spec = load_sweep(write_sweep(tmp_path / "sweeps", NAME, sweep) / f"{NAME}.yaml").table
    assert spec is not None
    if lines is not None:
        write_inputs(tmp_path, NAME, lines, provenance)
    return build_table(spec, load_inputs(tmp_path / "smoke" / "inputs", spec.name), "smoke")


def cell(table: Table, row: str, name: str = "mIoU"):
    return next(r for r in table.rows if r.name == row).cells[name]


def test_mean_and_sample_deviation_are_those_of_pencil_and_paper(tmp_path):
    found = cell(table(tmp_path, done(table_7_values())), "iv")
    assert (found.mean, found.std, found.delta, found.seeds) == (44.0, 2.0, 3.0, 3)


def test_a_single_seed_has_no_deviation(tmp_path):
    made = table(tmp_path, done({("i", "mIoU"): [40.0], ("ii", "mIoU"): [41.0]}))
    assert cell(made, "ii").std is None
    assert cell_text(cell(made, "ii"), column("mIoU")) == "41.0 (+1.0)"
    assert "A single seed" in made.caption


def test_differences_use_only_seeds_that_both_rows_have(tmp_path):
    lines = [line for line in done(table_7_values()) if (line[0], line[2]) != ("i", 0)]
    made = table(tmp_path, lines)
    assert cell(made, "iv").delta == pytest.approx((44 - 41 + 46 - 42) / 2)
    assert any("shared with the baseline: 1, 2" in text for _, text in made.footnotes)


def test_the_best_is_marked_apart_for_measured_and_published(tmp_path):
    values = {**table_7_values(), ("iii", "mIoU"): [60.0, 60.0, 60.0]}
    made = table(tmp_path, done(values))
    assert [r.name for r in made.rows if r.cells["mIoU"].best] == ["iii"]
    assert [r.name for r in made.rows if r.printed["mIoU"].best] == ["iv"]


def test_rows_that_tie_as_printed_are_both_the_best(tmp_path):
    made = table(tmp_path, done({("i", "mIoU"): [1.0], ("ii", "mIoU"): [50.01], ("iv", "mIoU"): [50.04]}))
    assert [r.name for r in made.rows if r.cells["mIoU"].best] == ["ii", "iv"]


def test_a_published_value_enters_no_measured_number(tmp_path):
    made = table(tmp_path, None)
    assert all(c.mean is None and c.state == "not run" for r in made.rows for c in r.cells.values())
    assert "only published values" in made.caption
    assert len(made.missing) == 8


def test_the_caption_tells_smoke_figures_from_results(tmp_path):
    assert "Profile smoke; data: synthetic scenes" in table(tmp_path, done(table_7_values())).caption
    official = table(tmp_path, done(table_7_values()), {"datasets": {"s3dis": "official"}})
    assert "data: official releases (s3dis)" in official.caption
    own = table(tmp_path, done(table_7_values()), {"datasets": {"folder": "user"}}).caption
    assert "data: user data (own scans and labels)" in own
    assert "official" not in own
    assert "synthetic" not in own
    assert "not recorded" in table(tmp_path, done(table_7_values()), {}).caption


def test_a_missing_seed_is_counted_in_the_cell_and_explained_below(tmp_path):
    lines = [
        (*line[:3], "", "missing", "") if (line[0], line[2]) == ("iv", 2) else line for line in done(table_7_values())
    ]
    made = table(tmp_path, lines)
    assert cell_text(cell(made, "iv"), column("mIoU")).endswith("[2 of 3 seeds]")
    assert [text for _, text in made.footnotes] == ["seed 2: no result yet; `mm3d status` names the run", SHARED]
    assert made.missing
    assert not made.problems


@pytest.mark.parametrize(("value", "status", "shown"), [("nan", "done", "NaN"), ("", "failed", "failed")])
def test_a_cell_without_a_number_says_what_happened(tmp_path, value, status, shown):
    lines = [
        (*line[:3], value, status, "bbbbbbbbbbb0") if line[:2] == ("iv", "mIoU") else line
        for line in done(table_7_values())
    ]
    made = table(tmp_path, lines)
    assert cell(made, "iv").state == shown
    assert any(shown in problem and "iv" in problem for problem in made.problems)


def test_rows_no_run_fills_are_quoted_or_printed_by_origin(tmp_path):
    published = [
        *TABLE_7["table"]["published"],
        {"cell": "T0-01", "row": "KPConv", "mIoU": 67.1, "origin": "quoted", "source": "paper"},
        {"cell": "T0-02", "row": "Other", "mIoU": 60.0, "origin": "run", "source": "paper"},
    ]
    made = table(tmp_path, done(table_7_values()), published=published)
    assert {r.name: r.kind for r in made.rows if r.kind != "run"} == {"KPConv": "quoted", "Other": "printed"}
    assert not made.missing


def test_what_a_run_cannot_measure_is_no_failure_but_what_the_paper_prints_is(tmp_path):
    lines = [
        *done({("i", "mIoU"): [40.0], ("ii", "mIoU"): [41.0]}),
        ("i", "OA", 0, "", "done", "bbbbbbbbbbb0"),
        ("ii", "OA", 0, "", "done", "cccccccccccc"),
    ]
    published = [{"cell": "T0-1", "row": "ii", "OA": 88.0, "source": "paper"}]
    made = table(tmp_path, lines, columns=["mIoU", "OA"], published=published)
    assert cell(made, "i", "OA").state == "–"
    assert cell(made, "ii", "OA").state == "no value"
    assert [problem for problem in made.problems if "OA" in problem] == [f"{NAME}: row ii, OA: no value"]


def test_a_table_without_published_values_has_no_columns_for_them(tmp_path):
    made = table(tmp_path, done(table_7_values()), published=[])
    assert ", published" not in to_markdown(made)
    assert "Published" not in to_latex(made)
    assert "colgroup" in table_html(made)
    assert 'class="published"' not in table_html(made)


def test_a_baseline_that_is_not_shown_is_missed_all_the_same(tmp_path):
    lines = [(*line[:3], "", "failed", "bbbbbbbbbbb0") if line[0] == "i" else line for line in done(table_7_values())]
    made = table(tmp_path, lines, hidden=["i"], show="gain")
    assert f"{NAME}: row i, mIoU: failed" in made.problems
    assert any("Baseline without a line of its own, row i, mIoU: failed" in remark for remark in made.remarks)


def test_times_name_the_device_they_were_measured_on(tmp_path):
    changes = {"columns": ["mIoU", "train_hours"], "published": []}
    made = table(tmp_path, done({("i", "train_hours"): [1.5]}), **changes)
    assert "Times and memory depend on the device; measured on: cpu." in made.remarks
    assert not any("device" in remark for remark in table(tmp_path, done(table_7_values())).remarks)


def test_footnote_letters_go_on_after_z():
    assert [letters(n) for n in (0, 25, 26, 51, 52, 701, 702)] == ["a", "z", "aa", "az", "ba", "zz", "aaa"]


def test_columns_know_their_units_and_signs():
    assert column("params_M").title == "Model size (M)"
    assert column("IoU/bookcase").title == "bookcase"
    assert column("mIoU").gain(-0.04) == "+0.0"
    assert column("mIoU").gain(-0.06) == "-0.1"
    assert not math.isnan(float(column("params_M").number(7.76)))


def test_small_scores_are_written_with_two_decimals_and_published_ones_as_printed(tmp_path):
    small = {key: [value / 10 for value in values] for key, values in table_7_values().items()}
    small[("iv", "mAcc")] = [99.0, 99.0, 99.0]
    made = table(tmp_path, done(small))
    text = to_markdown(made)
    assert "4.40 ± 0.20 (+0.30)" in text  # nothing of this column reaches 10
    assert "99.0 ± 0.0" in text  # of this one something does
    assert "71.9 (+1.5)" in text
    latex = to_latex(made)
    assert "S[table-format=1.2]" in latex
    assert r"\bfseries 4.40" in latex
    assert r"\bfseries 71.9 " in latex


@pytest.mark.parametrize(
    ("hours", "shown"),
    [
        ((0.000634, 0.00334), ("0.00063", "0.00334 (+0.00271)")),
        ((5.93, 15.6), ("5.9", "15.6 (+9.7)")),
        ((0.0,), ("0.0",)),
    ],
)
def test_the_hours_of_a_run_of_seconds_are_no_zero(tmp_path, hours, shown):
    lines = {(row, "train_hours"): [value] for row, value in zip(("i", "ii"), hours, strict=False)}
    published = [{"cell": "T10-01", "row": "i", "train_hours": 17.3, "origin": "run", "source": "S1"}]
    made = table(tmp_path, done(lines), columns=["train_hours"], published=published)
    text = to_markdown(made)
    assert all(f"| {value} |" in text for value in shown)
    assert "| 17.3 |" in text
    to_latex(made)


def test_a_source_is_named_only_where_a_number_is_published(tmp_path):
    noted = {
        "cell": "T7-09",
        "row": "i",
        "mIoU": None,
        "origin": "run",
        "source": "a row of words",
        "note": "drawn only",
    }
    published = [noted, *TABLE_7["table"]["published"][1:]]
    made = table(tmp_path, done(table_7_values()), published=published)
    assert [row.source for row in made.rows] == [None, 0, 0, 0]
    assert made.sources == ("paper, Table 7",)


def test_captions_carry_the_papers_number(tmp_path):
    made = table(tmp_path, done(table_7_values()))
    assert to_markdown(made).startswith("**Table 7. Ablation of the framework")
    assert made.in_words(made.rows[1]) == "Table 7, ii (Pre-training method: MM-3DScene (MM only), Loss: L_PC)"
