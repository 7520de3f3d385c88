"""A contrastive pre-training whose crops were never accepted says so; views of small scans are real crops."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
from benchmarks.small_runs import config, write_rooms

from mm3d_benchmarks.runs.pretrain import run_pretrain, warn_of_crops
from mm3d_core.observing.logfile import read_log


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_rooms(tmp_path_factory.mktemp("rooms"))


def contrast(root: Path, **views) -> dict:
    method = {
        "_target_": "mm3d_core.methods.point_contrast.PointContrast",
        "views": {"_target_": "mm3d_core.methods.views.PairViews", "crop": "sphere", **views},
    }
    return config(root, pretrain={"method": method}, recipe__pretrain__steps=2)


def test_crops_of_small_rooms_are_accepted(root: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture):
    run_pretrain(contrast(root), tmp_path, {})
    assert [record["accepted_views"] for record in read_log(tmp_path)] == [1.0, 1.0]
    assert "accepted_views" not in caplog.text


def test_a_training_without_one_accepted_crop_warns(root: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.WARNING):
        run_pretrain(contrast(root, share=0.3, overlap=1.0, attempts=2), tmp_path, {})
    assert "in not one of 2 logged steps did two crops" in caplog.text
    assert "min_share" in caplog.text


def test_one_accepted_crop_is_no_warning_and_neither_is_a_method_without_crops(tmp_path: Path):
    for records, expected in (([0.0, 0.5], False), ([0.0, 0.0], True), ([None], False)):
        lines = [{"step": n + 1, "loss": 1.0} | ({} if a is None else {"accepted_views": a}) for n, a in enumerate(records)]
        (tmp_path / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        assert warn_of_crops(tmp_path) is expected
