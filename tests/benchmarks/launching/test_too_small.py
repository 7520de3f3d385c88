"""A run that stopped at a scan of hardly any points says how many its network needs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mm3d_benchmarks.launching.too_small import STEP, too_small
from mm3d_benchmarks.store.spec import RunSpec


def spec(root: Path, strides: object = (1, 4, 4, 4, 4)) -> RunSpec:
    encoder = {"strides": list(strides) if isinstance(strides, tuple) else strides}
    config = {"backbone": {"encoder": encoder}, "dataset": {"root": str(root)}}
    return RunSpec("pretrain", config, {}, {}, "0" * 12, {})


def stopped(folder: Path, counts: dict[str, int], scenes: object) -> None:
    (folder / STEP).parent.mkdir()
    (folder / STEP).write_text(json.dumps({"scenes": scenes}))
    manifest = {"scenes": {name: {"points": count} for name, count in counts.items()}}
    (folder / "manifest.json").write_text(json.dumps(manifest))


def test_the_scan_and_the_number_are_named(tmp_path: Path) -> None:
    stopped(tmp_path, {"cup": 32, "hall": 90_000}, ["hall", "cup"])
    said = too_small(spec(tmp_path), tmp_path)
    assert "cup has 32 points" in said
    assert "needs 1,024 or more" in said


@pytest.mark.parametrize("scenes", [["hall"], [], None, ["gone"]])
def test_other_stops_have_other_reasons(tmp_path: Path, scenes: object) -> None:
    stopped(tmp_path, {"cup": 32, "hall": 90_000}, scenes)
    assert too_small(spec(tmp_path), tmp_path) == ""


def test_nothing_is_said_without_a_stop_or_without_strides(tmp_path: Path) -> None:
    assert too_small(spec(tmp_path), tmp_path) == ""
    stopped(tmp_path, {"cup": 32}, ["cup"])
    for strides in (None, "x", ["a"]):
        assert too_small(spec(tmp_path, strides), tmp_path) == ""
    (tmp_path / "manifest.json").write_text("{")
    assert too_small(spec(tmp_path), tmp_path) == ""
