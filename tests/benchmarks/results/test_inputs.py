"""Collected values: what counts, and what is named as a problem instead."""

from __future__ import annotations

import pytest
from benchmarks.reports.synthetic import SYNTHETIC, write_inputs

from mm3d_benchmarks.results.inputs import load_inputs
from mm3d_core.errors import UserError


def measured(tmp_path, *lines):
    write_inputs(tmp_path, "t", lines, SYNTHETIC)
    return load_inputs(tmp_path / "smoke" / "inputs", "t").cell("i", "mIoU")


def test_finished_values_are_kept_by_seed(tmp_path):
    cell = measured(tmp_path, ("i", "mIoU", 10, "2.5", "done", "bbbbbbbbbbb0"), ("i", "mIoU", 9, "1.5", "done", "cccccccccccc"))
    assert dict(cell.values) == {"9": 1.5, "10": 2.5}
    assert list(cell.values) == ["9", "10"]
    assert not cell.problems


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (("i", "mIoU", 0, "", "missing", ""), "missing"),
        (("i", "mIoU", 0, "", "failed", "bbbbbbbbbbb0"), "failed"),
        (("i", "mIoU", 0, "1.0", "version 1", "bbbbbbbbbbb0"), "version 1"),
        (("i", "mIoU", 0, "", "done", "bbbbbbbbbbb0"), "no value"),
        (("i", "mIoU", 0, "nan", "done", "bbbbbbbbbbb0"), "NaN"),
        (("i", "mIoU", 0, "inf", "done", "bbbbbbbbbbb0"), "NaN"),
        (("i", "mIoU", 0, "high", "done", "bbbbbbbbbbb0"), "no number"),
        (("i", "mIoU", "", "1.0", "done", "bbbbbbbbbbb0"), "no seed"),
    ],
)
def test_a_value_that_does_not_count_is_named(tmp_path, line, problem):
    cell = measured(tmp_path, line)
    assert list(cell.problems.values()) == [problem]
    assert not cell.values
    assert len(cell.details) == 1


def test_two_runs_that_claim_one_cell_are_both_left_out_and_both_named(tmp_path):
    cell = measured(tmp_path, ("i", "mIoU", 0, "1", "done", "aaaaaaaaaaaa"), ("i", "mIoU", 0, "2", "done", "bbbbbbbbbbbb"))
    assert dict(cell.problems) == {"0": "conflict"}
    assert "aaaaaaaaaaaa" in cell.details[0]
    assert "bbbbbbbbbbbb" in cell.details[0]


def test_nothing_collected_is_not_an_error(tmp_path):
    inputs = load_inputs(tmp_path, "t")
    assert not inputs.found
    assert inputs.data_source() == "unknown"


@pytest.mark.parametrize(
    ("datasets", "source"),
    [
        ({"s3dis": "synthetic"}, "synthetic"),
        ({"s3dis": "embedded"}, "synthetic"),  # its former name, in results collected before
        ({"s3dis": "official"}, "official"),
        ({"s3dis": "synthetic", "scannet": "official"}, "mixed"),
        ({}, "unknown"),
    ],
)
def test_the_data_source_is_that_of_all_data_sets(tmp_path, datasets, source):
    write_inputs(tmp_path, "t", [], {"datasets": datasets})
    assert load_inputs(tmp_path / "smoke" / "inputs", "t").data_source() == source


def test_files_of_another_kind_are_refused_by_name(tmp_path):
    (tmp_path / "t.csv").write_text("a,b\n1,2\n")
    with pytest.raises(UserError, match=r"t\.csv"):
        load_inputs(tmp_path, "t")
    (tmp_path / "u.csv").write_text("row,column,seed,value,status,run\n")
    (tmp_path / "u.provenance.json").write_text("[")
    with pytest.raises(UserError, match=r"u\.provenance\.json"):
        load_inputs(tmp_path, "u")
