"""Pictures that runs leave: found through upstreams, checked, and never unpickled."""

from __future__ import annotations

import json

import numpy as np
import pytest
from benchmarks.reports.scans import prediction_picture, pretrain_picture, write_run

from mm3d_benchmarks.reports.artefacts import find_artefacts, load_arrays, subsample, upstreams
from mm3d_core.errors import UserError

EVALUATE, FINETUNE, PRETRAIN = "e" * 12, "f" * 12, "a" * 12


def test_pictures_of_the_runs_that_a_run_starts_from_are_found_under_its_label(tmp_path):
    write_run(tmp_path, PRETRAIN, "pretrain", pictures={"artefacts": pretrain_picture()})
    write_run(tmp_path, FINETUNE, "finetune", upstream={"pretrain": PRETRAIN})
    write_run(tmp_path, EVALUATE, upstream={"finetune": FINETUNE}, pictures={"room": prediction_picture(0.1)})
    assert upstreams(tmp_path, EVALUATE) == [FINETUNE, PRETRAIN]
    problems: list[str] = []
    found = find_artefacts(tmp_path, {EVALUATE: "ours"}, problems)
    assert [(a.run, a.label, a.name) for a in found] == [(EVALUATE, "ours", "room"), (PRETRAIN, "ours", "artefacts")]
    assert found[1].has("coord", "color", "statistic", "input", "target", "reconstruction")
    assert found[0].class_names() == ["floor", "wall", "table", "chair"]
    assert not problems
    assert len(find_artefacts(tmp_path, {EVALUATE: "ours"}, problems, limit=1)) == 1


def test_a_circle_of_upstreams_ends(tmp_path):
    write_run(tmp_path, EVALUATE, upstream={"finetune": FINETUNE})
    write_run(tmp_path, FINETUNE, upstream={"pretrain": EVALUATE})
    assert upstreams(tmp_path, EVALUATE) == [FINETUNE]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"coord": np.zeros((5, 2))}, "coord"),
        ({"coord": np.zeros((5, 3)), "statistic": np.zeros(4)}, "statistic"),
        ({"coord": np.full((5, 3), np.nan)}, "coord"),
        ({"coord": np.zeros((5, 3)), "ladder_kept": np.zeros((2, 4), bool)}, "kept"),
    ],
)
def test_arrays_that_contradict_each_other_are_refused(tmp_path, change, named):
    np.savez(tmp_path / "x.npz", **change)
    with pytest.raises(UserError, match=named):
        load_arrays(tmp_path / "x.npz")


def test_pickled_objects_and_broken_archives_are_named_and_passed_over(tmp_path):
    write_run(tmp_path, PRETRAIN, "pretrain", pictures={"good": pretrain_picture()})
    np.savez(tmp_path / PRETRAIN / "pickled.npz", coord=np.array([{}], dtype=object), allow_pickle=True)
    (tmp_path / PRETRAIN / "torn.npz").write_bytes(b"PK\x03\x04 half")
    problems: list[str] = []
    found = find_artefacts(tmp_path, {PRETRAIN: "ours"}, problems)
    assert [a.name for a in found] == ["good"]
    assert len(problems) == 2
    assert any("pickled.npz" in p for p in problems)


def test_colors_of_bytes_are_brought_to_the_unit_interval(tmp_path):
    np.savez(tmp_path / "x.npz", coord=np.zeros((2, 3)), color=np.array([[0, 128, 255], [255, 0, 0]], np.uint8))
    assert load_arrays(tmp_path / "x.npz")["color"].max() == 1.0


def test_a_subsample_is_the_same_every_time():
    rows = subsample(1000, 100)
    assert np.array_equal(rows, subsample(1000, 100))
    assert len(set(rows.tolist())) == 100
    assert np.array_equal(subsample(5, 100), np.arange(5))


def test_a_spec_that_is_not_json_has_no_upstreams(tmp_path):
    (tmp_path / EVALUATE).mkdir()
    (tmp_path / EVALUATE / "spec.json").write_text("{")
    assert upstreams(tmp_path, EVALUATE) == []
    (tmp_path / EVALUATE / "spec.json").write_text(json.dumps([1]))
    assert upstreams(tmp_path, EVALUATE) == []
