"""The figures: drawn from what is there, byte-stable, and nothing claimed that was not measured."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from benchmarks.reports.scans import prediction_picture, pretrain_picture, room, write_run
from benchmarks.reports.synthetic import SYNTHETIC, done, write_inputs, write_sweep

from mm3d_benchmarks.planning.table_spec import load_spec
from mm3d_benchmarks.reports import figures, scenes
from mm3d_benchmarks.reports.artefacts import Artefact, find_artefacts
from mm3d_benchmarks.reports.build import build_report, make_table
from mm3d_benchmarks.reports.style import label_colors
from mm3d_benchmarks.reports.tables import NOT_APPLICABLE, Cell, Table

PRETRAIN, EVALUATE, SCRATCH = "a" * 12, "e" * 12, "c" * 12


@pytest.fixture
def pictures(tmp_path: Path) -> list[Artefact]:
    """Two evaluations, one of them pre-trained, with pictures."""
    store = tmp_path / "runs"
    write_run(store, PRETRAIN, "pretrain", pictures={"artefacts": pretrain_picture()})
    write_run(store, EVALUATE, upstream={"pretrain": PRETRAIN}, pictures={"room": prediction_picture(0.1)})
    write_run(store, SCRATCH, pictures={"room": prediction_picture(0.4)})
    return find_artefacts(store, {SCRATCH: "scratch", EVALUATE: "MM-3DScene"}, [])


def curve_table(tmp_path: Path, name: str, rows: list[str], values: dict[str, list[float]], printed: dict) -> Table:
    entries = [{"cell": f"F-{i}", "row": r, "mIoU": printed.get(r), "source": "paper"} for i, r in enumerate(rows)]
    sweep = {"runs": {"each": [{"row": r} for r in rows]}, "table": {"columns": ["mIoU"], "published": entries}}
    write_inputs(tmp_path, name, done({(r, "mIoU"): v for r, v in values.items()}), SYNTHETIC)
    spec = load_spec(write_sweep(tmp_path / "sweeps", name, sweep) / f"{name}.yaml")
    assert spec is not None
    return make_table(spec, tmp_path / "smoke", "smoke")


@pytest.mark.parametrize("name", ["figure_02_x", "figure_06_x", "figure_07_x", "figure_08_x"])
def test_pictures_are_written_twice_with_the_same_bytes(tmp_path, pictures, name):
    first = [p.read_bytes() for p in figures.write_figure(name, None, pictures, tmp_path / "one")]
    second = [p.read_bytes() for p in figures.write_figure(name, None, pictures, tmp_path / "two")]
    assert first == second
    assert [b[:4] for b in first] == [b"%PDF", b"\x89PNG"]


def test_without_artefacts_there_is_no_figure(tmp_path):
    assert figures.write_figure("figure_08_x", None, [], tmp_path) == []


def test_qualitative_panels_are_scan_truth_and_each_run(pictures):
    figure = figures.draw("figure_06_x", None, pictures)
    assert figure is not None
    assert [a.get_title() for a in figure.axes] == ["scan", "ground truth", "scratch", "MM-3DScene"]
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == ["floor", "wall", "table", "chair", "unlabeled"]


def test_data_efficiency_draws_means_with_deviations_and_only_printed_numbers(tmp_path):
    rows = ["CSC / 10%", "CSC / 100%", "MM-3DScene / 10%", "MM-3DScene / 100%"]
    values = {"MM-3DScene / 10%": [10.0, 12.0], "MM-3DScene / 100%": [20.0, 24.0]}
    table = curve_table(tmp_path, "figure_04_x", rows, values, {"CSC / 100%": 39.3})
    figure = figures.draw("figure_04_x", table, [])
    assert figure is not None
    measured, published = figure.axes[:2]
    assert [11.0, 22.0] in [np.asarray(line.get_ydata()).tolist() for line in measured.lines]
    dotted = [line for line in published.lines if line.get_linestyle() == ":"]
    assert [np.asarray(line.get_xydata()).tolist() for line in dotted] == [[[100.0, 39.3]]]


def test_probe_bars_name_what_was_not_run(tmp_path):
    rows = ["A / seg", "B / seg"]
    figure = figures.draw("figure_05_x", curve_table(tmp_path, "figure_05_x", rows, {"A / seg": [30.0]}, {}), [])
    assert figure is not None
    words = [text.get_text() for text in figure.axes[0].texts]
    assert words == ["30.0", "not run"]


def test_a_quantity_that_a_task_does_not_have_gets_no_panel(tmp_path):
    table = curve_table(tmp_path, "figure_05_x", ["A / seg"], {"A / seg": [30.0]}, {})
    other = replace(table.columns[0], name="mAP@0.5")
    row = table.rows[0]
    row = replace(row, cells={**row.cells, other.name: Cell(state=NOT_APPLICABLE)})
    figure = figures.draw("figure_05_x", replace(table, columns=(*table.columns, other), groups=(("", (row,)),)), [])
    assert figure is not None
    assert len(figure.axes) == 1


def test_the_random_gap_is_a_line_of_its_own(tmp_path):
    rows = ["gap 0.1", "gap 0.2", "random gap"]
    values = {r: [20.0 + i] for i, r in enumerate(rows)}
    table = curve_table(tmp_path, "figure_09_x", rows, values, {"random gap": 70.36})
    figure = figures.draw("figure_09_x", table, [])
    assert figure is not None
    labels = figure.axes[0].get_legend_handles_labels()[1]
    assert sorted(labels) == ["fixed gap", "random gap"]
    assert np.asarray(figure.axes[1].lines[0].get_ydata())[0] == 70.36


def test_labels_keep_different_colors_up_to_twenty_classes():
    for classes in (4, 13, 18, 20):
        assert len(set(label_colors(classes))) == classes


def test_the_ceiling_is_cut_away_and_a_scan_without_one_is_whole():
    coord = room()["coord"]
    assert scenes.below_ceiling(coord).all()
    ceiling = np.column_stack([coord[:2000, :2], np.full(2000, 2.6)])
    assert not scenes.below_ceiling(np.concatenate([coord, ceiling]))[-1]


def test_a_report_draws_the_figures_of_its_sweeps_and_says_what_is_missing(tmp_path, pictures, capsys):
    name = "figure_08_reconstruction"
    sweep = {"runs": {"each": [{"row": "ours"}]}, "table": {"title": "Reconstruction", "columns": []}}
    sweeps = write_sweep(tmp_path / "sweeps", name, sweep)
    write_inputs(tmp_path, name, [], {**SYNTHETIC, "runs": {"ours": [EVALUATE, PRETRAIN]}})
    assert build_report(name, "smoke", tmp_path, sweeps, tmp_path / "runs") == 0
    assert (tmp_path / "smoke" / f"{name}.pdf").exists()
    write_inputs(tmp_path, name, [], {**SYNTHETIC, "runs": {"ours": [SCRATCH]}})
    assert build_report(name, "smoke", tmp_path, sweeps, tmp_path / "runs") == 1
    assert "left no pictures" in capsys.readouterr().err
