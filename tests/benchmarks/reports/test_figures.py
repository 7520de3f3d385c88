"""The figures: drawn from what is there, byte-stable, and nothing claimed that was not measured."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from benchmarks.reports.scans import prediction_picture, pretrain_picture, room, write_run
from benchmarks.reports.synthetic import SYNTHETIC, done, write_inputs, write_sweep
from matplotlib.figure import Figure

from mm3d_benchmarks.planning.figure_spec import PICTURES, FigureSpec
from mm3d_benchmarks.planning.table_spec import parse_table
from mm3d_benchmarks.reports import figures, scenes
from mm3d_benchmarks.reports.artefacts import Artefact, find_artefacts
from mm3d_benchmarks.reports.build import build_report
from mm3d_benchmarks.reports.style import label_colors
from mm3d_benchmarks.reports.tables import NOT_APPLICABLE, Cell, Table, build_table
from mm3d_benchmarks.results.inputs import load_inputs

PRETRAIN, EVALUATE, SCRATCH = "a" * 12, "e" * 12, "c" * 12


@pytest.fixture
def pictures(tmp_path: Path) -> list[Artefact]:
    """Two evaluations, one of them pre-trained, with pictures."""
    store = tmp_path / "runs"
    write_run(store, PRETRAIN, "pretrain", pictures={"artefacts": pretrain_picture()})
    write_run(store, EVALUATE, upstream={"pretrain": PRETRAIN}, pictures={"room": prediction_picture(0.1)})
    write_run(store, SCRATCH, pictures={"room": prediction_picture(0.4)})
    return find_artefacts(store, {SCRATCH: "scratch", EVALUATE: "MM-3DScene"}, [])


def plot(tmp_path: Path, spec: FigureSpec, places: dict, values: dict[str, list[float]], printed: dict) -> Figure:
    """The figure of rows at some places, with measured and printed values of mIoU."""
    entries = [{"cell": f"F-{i}", "row": r, "mIoU": printed.get(r), "source": "paper"} for i, r in enumerate(places)]
    table = parse_table(Path("f.yaml"), {"columns": ["mIoU"], "published": entries}, list(places))
    lines = done({(row, "mIoU"): seeds for row, seeds in values.items()})
    write_inputs(
        tmp_path, "f", lines, {**SYNTHETIC, "places": {r: {"x": x, "series": s} for r, (x, s) in places.items()}}
    )
    inputs = load_inputs(tmp_path / "smoke" / "inputs", "f")
    figure = figures.draw(spec, build_table(table, inputs, "smoke"), inputs.places(), [])
    assert figure is not None
    return figure


def empty(name: str = "f") -> Table:
    return build_table(parse_table(Path(f"{name}.yaml"), {}, []), load_inputs(Path("nowhere"), name), "smoke")


@pytest.mark.parametrize("kind", PICTURES)
def test_pictures_are_written_twice_with_the_same_bytes(tmp_path, pictures, kind):
    spec = FigureSpec(kind)
    first = [p.read_bytes() for p in figures.write_figure(spec, empty(), {}, pictures, tmp_path / "one")]
    second = [p.read_bytes() for p in figures.write_figure(spec, empty(), {}, pictures, tmp_path / "two")]
    assert first == second
    assert [b[:4] for b in first] == [b"%PDF", b"\x89PNG"]


def test_without_artefacts_there_is_no_figure(tmp_path):
    assert figures.write_figure(FigureSpec("reconstruction"), empty(), {}, [], tmp_path) == []


def test_qualitative_panels_are_scan_truth_and_each_run(pictures):
    figure = figures.draw(FigureSpec("segmentation"), empty(), {}, pictures)
    assert figure is not None
    assert [a.get_title() for a in figure.axes] == ["scan", "ground truth", "scratch", "MM-3DScene"]
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == ["floor", "wall", "table", "chair", "unlabeled"]


CURVE = FigureSpec("curve", x=("protocol.scenes",), label="share of the scenes", series="pretrain")


def test_a_curve_draws_means_with_deviations_and_only_printed_numbers(tmp_path):
    places = {"a": (0.1, "CSC"), "b": (1.0, "CSC"), "ten percent": (0.1, "ours"), "all of it": (1.0, "ours")}
    values = {"ten percent": [10.0, 12.0], "all of it": [20.0, 24.0]}
    measured, published = plot(tmp_path, CURVE, places, values, {"b": 39.3}).axes[:2]
    assert measured.get_xlabel() == "share of the scenes"
    assert [[0.1, 11.0], [1.0, 22.0]] in [np.asarray(line.get_xydata()).tolist() for line in measured.lines]
    dotted = [line for line in published.lines if line.get_linestyle() == ":"]
    assert [np.asarray(line.get_xydata()).tolist() for line in dotted] == [[[1.0, 39.3]]]


def test_a_place_that_is_no_number_is_a_level_line_of_its_own(tmp_path):
    places = {"gap 0.1": (0.1, "fixed gap"), "gap 0.2": (0.2, "fixed gap"), "random gap": ("random", "random gap")}
    figure = plot(tmp_path, CURVE, places, {r: [20.0] for r in places}, {"random gap": 70.36})
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["fixed gap", "random gap"]
    assert np.asarray(figure.axes[1].lines[0].get_ydata())[0] == 70.36


def test_a_curve_without_a_number_is_not_drawn(tmp_path):
    with pytest.raises(AssertionError):
        plot(tmp_path, CURVE, {"a": ("random", "ours")}, {"a": [1.0]}, {})


def test_bars_name_what_was_not_run(tmp_path):
    figure = plot(tmp_path, FigureSpec("bars"), {"A": ("seg", "A"), "B": ("seg", "B")}, {"A": [30.0]}, {})
    words = [text.get_text() for text in figure.axes[0].texts]
    assert words == ["30.0", "not run"]


def test_a_quantity_that_a_task_does_not_have_gets_no_panel(tmp_path):
    plot(tmp_path, FigureSpec("bars"), {"A": ("seg", "A")}, {"A": [30.0]}, {})
    spec = parse_table(Path("f.yaml"), {"columns": ["mIoU"]}, ["A"])
    table = build_table(spec, load_inputs(tmp_path / "smoke" / "inputs", "f"), "smoke")
    other = replace(table.columns[0], name="mAP@0.5")
    row = replace(table.rows[0], cells={**table.rows[0].cells, other.name: Cell(state=NOT_APPLICABLE)})
    table = replace(table, columns=(*table.columns, other), groups=(("", (row,)),))
    figure = figures.draw(FigureSpec("bars"), table, {"A": ("seg", "A")}, [])
    assert figure is not None
    assert len(figure.axes) == 1


def test_labels_keep_different_colors_up_to_twenty_classes():
    for classes in (4, 13, 18, 20):
        assert len(set(label_colors(classes))) == classes


def test_the_ceiling_is_cut_away_and_a_scan_without_one_is_whole():
    coord = room()["coord"]
    assert scenes.below_ceiling(coord).all()
    ceiling = np.column_stack([coord[:2000, :2], np.full(2000, 2.6)])
    assert not scenes.below_ceiling(np.concatenate([coord, ceiling]))[-1]


def test_a_report_draws_the_figures_of_its_sweeps_and_says_what_is_missing(tmp_path, pictures, capsys):
    name = "what_is_rebuilt"
    sweep = {
        "runs": {"each": [{"row": "ours"}]},
        "table": {"title": "Reconstruction", "columns": []},
        "figure": {"kind": "reconstruction"},
    }
    sweeps = write_sweep(tmp_path / "sweeps", name, sweep)
    write_inputs(tmp_path, name, [], {**SYNTHETIC, "runs": {"ours": [EVALUATE, PRETRAIN]}})
    assert build_report(name, "smoke", tmp_path, sweeps, tmp_path / "runs") == 0
    assert (tmp_path / "smoke" / f"{name}.pdf").exists()
    write_inputs(tmp_path, name, [], {**SYNTHETIC, "runs": {"ours": [SCRATCH]}})
    assert build_report(name, "smoke", tmp_path, sweeps, tmp_path / "runs") == 1
    assert "left no pictures" in capsys.readouterr().err


def test_points_behind_an_edge_are_darker_and_a_plane_is_even():
    floor = np.random.default_rng(0).uniform([0, 0, 0], [4, 4, 0], (20_000, 3))
    assert scenes.shading(*scenes.view(floor)).min() > 0.9
    table = np.random.default_rng(1).uniform([1, 1, 1.0], [2, 2, 1.0], (5_000, 3))
    shade = scenes.shading(*scenes.view(np.concatenate([floor, table])))
    assert shade[20_000:].min() > 0.9  # the table itself is in front
    assert 0.45 <= shade[:20_000].min() < 0.7  # the floor beside it lies behind its edge
    assert (shade > 0.9).mean() > 0.7
    assert scenes.shading(np.zeros((0, 2)), np.zeros(0)).shape == (0,)
