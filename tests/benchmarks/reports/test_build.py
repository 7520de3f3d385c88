"""`mm3d report`: what is written, the exit status, and that the same store gives the same bytes."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from benchmarks.reports.synthetic import SYNTHETIC, TABLE_7, done, table_7_values, write_inputs, write_sweep

from mm3d_benchmarks.reports.build import build_report, paper_only
from mm3d_core.errors import UserError

NAME = "table_07_framework_ablation"


@pytest.fixture
def project(tmp_path: Path) -> tuple[Path, Path]:
    """(results, sweeps) of a finished Table 7."""
    write_inputs(tmp_path / "results", NAME, done(table_7_values()), SYNTHETIC)
    return tmp_path / "results", write_sweep(tmp_path / "sweeps", NAME, TABLE_7)


def texts(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted(folder.iterdir()) if p.suffix in (".csv", ".md", ".tex")}


def test_a_complete_table_is_written_in_three_forms_and_the_status_is_zero(project):
    assert build_report(NAME, "smoke", *project) == 0
    assert {f"{NAME}.csv", f"{NAME}.md", f"{NAME}.tex"} == set(texts(project[0] / "smoke"))


def test_everything_includes_a_document_of_all_tables_the_statistics_and_the_page(project):
    assert build_report(None, "smoke", *project) == 0
    folder = project[0] / "smoke"
    assert rf"\input{{{NAME}.tex}}" in (folder / "all_tables.tex").read_text()
    assert (folder / "statistics_agreement.md").exists()
    assert (folder / "index.html").exists()


def test_the_same_inputs_give_the_same_bytes_and_leave_the_files_alone(project):
    build_report(None, "smoke", *project)
    folder = project[0] / "smoke"
    first, times = texts(folder), {p: p.stat().st_mtime_ns for p in folder.glob("table*")}
    build_report(None, "smoke", *project)
    assert texts(folder) == first
    assert {p: p.stat().st_mtime_ns for p in folder.glob("table*")} == times


def test_the_order_of_the_lines_in_the_inputs_does_not_matter(project):
    build_report(NAME, "smoke", *project)
    first = texts(project[0] / "smoke")
    write_inputs(project[0], NAME, reversed(done(table_7_values())), SYNTHETIC)
    build_report(NAME, "smoke", *project)
    assert texts(project[0] / "smoke") == first


def test_missing_cells_fail_the_report_unless_partial_but_all_is_written(project, capsys):
    write_inputs(project[0], NAME, done(table_7_values())[:-3], SYNTHETIC)
    assert build_report(NAME, "smoke", *project) == 1
    assert "not run" in capsys.readouterr().err
    assert "not run" in (project[0] / "smoke" / f"{NAME}.md").read_text()
    assert build_report(NAME, "smoke", *project, partial=True) == 0


def test_a_nan_fails_the_report_even_when_partial(project):
    lines = done(table_7_values())
    write_inputs(project[0], NAME, [(*lines[0][:3], "nan", "done", "bbbbbbbbbbb0"), *lines[1:]], SYNTHETIC)
    assert build_report(NAME, "smoke", *project, partial=True) == 1


def test_every_kind_of_bad_input_is_shown_explained_and_told_while_the_rest_is_built(project, capsys):
    lines = done(table_7_values())
    bad = {
        ("i", "mIoU", 0): [("", "missing", "bbbbbbbbbbb0")],
        ("i", "mAcc", 1): [("", "done", "bbbbbbbbbbb1")],
        ("ii", "mIoU", 0): [("1.0", "metrics of version 0", "bbbbbbbbbbb2")],
        ("ii", "mAcc", 2): [("1.0", "done", "bbbbbbbbbbb3"), ("2.0", "done", "bbbbbbbbbbb4")],
        ("iii", "mIoU", 1): [("nan", "done", "bbbbbbbbbbb5")],
        ("iii", "mAcc", 0): [("", "failed", "bbbbbbbbbbb6")],
    }
    spoiled = [(*line[:3], *new) for line in lines for new in bad.get(line[:3], [line[3:]])]
    write_inputs(project[0], NAME, spoiled, SYNTHETIC)
    assert build_report(None, "smoke", *project) == 1
    text = (project[0] / "smoke" / f"{NAME}.md").read_text()
    rows = {line.split(" | ")[0]: line for line in text.splitlines() if line.startswith("| ")}
    for row in ("| i", "| ii", "| iii"):
        assert rows[row].count("2 of 3 seeds") == 2, rows[row]
    assert "seeds" not in rows["| iv"]
    for reason in (
        "seed 0: no result yet", "without this metric (run bbbbbbbbbbb1)", "metrics of version 0 (run bbbbbbbbbbb2)",
        "claimed by 2 runs (bbbbbbbbbbb3 and bbbbbbbbbbb4)", "the metric is nan (run bbbbbbbbbbb5)",
        "failed (run bbbbbbbbbbb6)",
    ):  # fmt: skip
        assert reason in text
    error = capsys.readouterr().err
    assert "row iii, mIoU: NaN" in error
    assert "seed 2: claimed by 2 runs" in (project[0] / "smoke" / "index.html").read_text()


def test_one_unreadable_input_does_not_stop_the_other_tables(project):
    write_sweep(project[1], "table_08_masks", TABLE_7)
    (project[0] / "smoke" / "inputs" / "table_08_masks.csv").write_text("what,is,this\n")
    assert build_report(None, "smoke", *project) == 1
    assert (project[0] / "smoke" / f"{NAME}.csv").exists()


def test_a_report_is_found_by_the_beginning_of_its_name_or_refused_with_the_choices(project):
    assert build_report("table_07", "smoke", *project) == 0
    with pytest.raises(UserError, match=NAME):
        build_report("table_13", "smoke", *project)


def test_paper_only_lists_every_published_cell_once(project):
    stream = io.StringIO()
    assert paper_only(project[1], write=stream.write) == 0
    for entry in TABLE_7["table"]["published"]:
        assert stream.getvalue().count(entry["cell"]) == 1


def test_reports_never_import_torch():
    script = (
        "import sys, pkgutil, importlib, mm3d_benchmarks.reports as r\n"
        "names = [m.name for m in pkgutil.iter_modules(r.__path__, r.__name__ + '.')]\n"
        "assert len(names) > 5\n"
        "[importlib.import_module(n) for n in names]\n"
        "sys.exit('torch' in sys.modules)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    assert subprocess.run([sys.executable, "-c", script], env=environment, timeout=120).returncode == 0


def test_a_report_shows_its_table_and_says_what_it_wrote(tmp_path, capsys):
    write_sweep(tmp_path / "sweeps", NAME, TABLE_7)
    write_inputs(tmp_path / "results", NAME, done(table_7_values()), SYNTHETIC)
    build_report("table_07", "smoke", tmp_path / "results", tmp_path / "sweeps")
    told = capsys.readouterr().out
    assert "Table 7. Ablation of the framework" in told
    assert re.search(r"iv +MM-3DScene +L_PC, L_CSD +44\.0 ± 2\.0 \(\+3\.0\)\* +53\.0", told)
    assert f"{tmp_path}/results/smoke/{NAME}.{{csv,md,tex}}" in told
    build_report(None, "smoke", tmp_path / "results", tmp_path / "sweeps")
    assert "results/smoke/index.html" in capsys.readouterr().out
