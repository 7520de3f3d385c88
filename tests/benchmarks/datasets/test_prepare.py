"""Preparation: resumable, the same bytes every time, one bad scene does not spoil the rest."""

from __future__ import annotations

import errno
import json
import os
import shutil
import time
from pathlib import Path

import numpy as np
import pytest

from mm3d_benchmarks.datasets import prepare
from mm3d_benchmarks.datasets.check import check_prepared, looks_swapped
from mm3d_benchmarks.datasets.prepare import prepare_dataset
from mm3d_benchmarks.datasets.readers.scannet import ScanNetReader
from mm3d_benchmarks.datasets.scene import open_dataset
from mm3d_benchmarks.datasets.sources import FRESH, HINTS
from mm3d_core.errors import UserError

BAD = "scene0001_00"


@pytest.fixture
def raw(raw_scannet: Path, tmp_path: Path) -> Path:
    """A copy that may be damaged."""
    return Path(shutil.copytree(raw_scannet, tmp_path / "raw"))


def tree(root: Path) -> dict[str, bytes]:
    """Every file below a folder, but for the hints, which hold time stamps of the raw files."""
    files = [p for p in sorted(root.rglob("*")) if p.is_file() and p.name != HINTS]
    return {str(p.relative_to(root)): p.read_bytes() for p in files}


def aggregation(raw: Path) -> Path:
    return raw / "scans" / BAD / f"{BAD}.aggregation.json"


def test_twice_gives_the_same_bytes_with_any_number_of_workers(raw_scannet: Path, tmp_path: Path) -> None:
    prepare_dataset("scannet", raw_scannet, tmp_path / "one", quiet=True)
    prepare_dataset("scannet", raw_scannet, tmp_path / "two", workers=2, quiet=True)
    one, two = tree(tmp_path / "one"), tree(tmp_path / "two")
    assert one == two
    assert len(one) == 3 * 7 + 1


def test_a_second_call_writes_nothing(raw_scannet: Path, tmp_path: Path) -> None:
    time.sleep(FRESH)
    prepare_dataset("scannet", raw_scannet, tmp_path, quiet=True)
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")}
    calls: list[tuple[int, int]] = []
    prepare_dataset("scannet", raw_scannet, tmp_path, progress=lambda *c: calls.append(c))
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")} == before
    assert calls == [(1, 3), (2, 3), (3, 3)]


def test_an_interrupted_preparation_goes_on_where_it_stopped(
    raw_scannet: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = prepare_dataset("scannet", raw_scannet, tmp_path / "whole", quiet=True)

    def stop(done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare_dataset("scannet", raw_scannet, tmp_path / "cut", progress=stop)
    assert not (tmp_path / "cut" / "manifest.json").exists()
    (tmp_path / "cut" / "scene0000_00" / "scene.json").unlink()  # as if it had died between two files
    read = []
    original = ScanNetReader.read
    monkeypatch.setattr(ScanNetReader, "read", lambda self, name: read.append(name) or original(self, name))
    resumed = prepare_dataset("scannet", raw_scannet, tmp_path / "cut", quiet=True)
    assert read == ["scene0000_00", "scene0002_00"]
    assert resumed.manifest == whole.manifest
    assert tree(tmp_path / "cut") == tree(tmp_path / "whole")


def test_changed_raw_files_and_options_prepare_again(raw_s3dis: Path, tmp_path: Path) -> None:
    raw = Path(shutil.copytree(raw_s3dis, tmp_path / "raw"))
    first = prepare_dataset("s3dis", raw, tmp_path / "out", quiet=True).manifest
    file = next((raw / "Area_1").glob("*/Annotations/floor_1.txt"))
    file.write_text(file.read_text() + "0.5 0.5 0.0 1 2 3\n")
    second = prepare_dataset("s3dis", raw, tmp_path / "out", quiet=True).manifest
    changed = [name for name in first["scenes"] if first["scenes"][name] != second["scenes"][name]]
    assert [name[:6] for name in changed] == ["Area_1"]
    third = prepare_dataset("s3dis", raw, tmp_path / "out", options={"rooms": 271}, quiet=True).manifest
    assert third["options"] == {"rooms": 271}
    assert third["scenes"] == second["scenes"]


def test_the_manifest_sums_up_the_scenes(raw_scannet: Path, tmp_path: Path) -> None:
    data = prepare_dataset("scannet", raw_scannet, tmp_path, quiet=True)
    manifest = data.manifest
    train = [data.load(name) for name in data.scenes("train")]
    labels = np.concatenate([s.segment for s in train if s.segment is not None])
    assert manifest["points"]["train"] == len(labels)
    assert manifest["labelled"]["train"] == pytest.approx(100 * (labels >= 0).mean(), abs=1e-3)
    assert manifest["class_shares"]["train"]["floor"] == pytest.approx(
        100 * (labels == 1).sum() / (labels >= 0).sum(), abs=1e-3
    )
    boxes = np.concatenate([s.boxes for s in train if s.boxes is not None])
    assert manifest["box_counts"]["train"]["door"] == (boxes[:, 7] == 5).sum()
    np.testing.assert_allclose(manifest["mean_sizes"]["door"], boxes[boxes[:, 7] == 5, 3:6].mean(axis=0), atol=1e-4)
    assert manifest["origin"]["kind"] == "synthetic"
    assert manifest["origin"]["knobs"]["unlabelled"] == 0.04
    assert str(raw_scannet) not in json.dumps(manifest)


def test_every_reader_prepares_what_its_generator_writes(raw_s3dis: Path, raw_sunrgbd: Path, tmp_path: Path) -> None:
    for name, raw in (("s3dis", raw_s3dis), ("sunrgbd", raw_sunrgbd)):
        prepare_dataset(name, raw, tmp_path / name, quiet=True)
        report = check_prepared(tmp_path / name)
        assert report.problems == []
        assert "published" in report.text


def test_a_broken_scene_stops_with_its_file_and_the_way_out(raw: Path, tmp_path: Path) -> None:
    aggregation(raw).write_text("{")
    with pytest.raises(UserError, match=rf"{BAD}\.aggregation\.json.*\n.*--skip-broken"):
        prepare_dataset("scannet", raw, tmp_path / "out", quiet=True)
    assert not (tmp_path / "out" / "manifest.json").exists()


@pytest.mark.parametrize("workers", [0, 1])
def test_skip_broken_prepares_the_rest_and_lists_what_was_left_out(raw: Path, tmp_path: Path, workers: int) -> None:
    shutil.rmtree(raw / "scans" / BAD)
    data = prepare_dataset("scannet", raw, tmp_path / "out", skip_broken=True, workers=workers, quiet=True)
    assert BAD not in [*data.scenes("train"), *data.scenes("val")]
    assert len(data.manifest["scenes"]) == 2
    reason = data.manifest["left_out"][BAD]
    assert "in a split list" in reason
    assert str(raw) not in reason
    assert BAD in check_prepared(tmp_path / "out").text
    assert not (tmp_path / "out" / BAD).exists()


def test_a_scene_that_has_been_mended_is_taken_in(raw: Path, raw_scannet: Path, tmp_path: Path) -> None:
    aggregation(raw).write_text("{")
    prepare_dataset("scannet", raw, tmp_path / "out", skip_broken=True, quiet=True)
    shutil.copy(aggregation(raw_scannet), aggregation(raw))
    mended = prepare_dataset("scannet", raw, tmp_path / "out", skip_broken=True, quiet=True)
    assert mended.manifest["left_out"] == {}
    assert BAD in mended.manifest["scenes"]


def test_nothing_but_broken_scenes_is_an_error_even_when_skipping(raw: Path, tmp_path: Path) -> None:
    for name in ("scene0000_00", BAD, "scene0002_00"):
        shutil.rmtree(raw / "scans" / name)
    with pytest.raises(UserError, match="every scene is broken"):
        prepare_dataset("scannet", raw, tmp_path / "out", skip_broken=True, quiet=True)


def test_a_full_disk_is_no_broken_scene(raw_scannet: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match="No space left"):
        prepare_dataset("scannet", raw_scannet, tmp_path / "out", skip_broken=True, quiet=True)
    assert [p for p in (tmp_path / "out").rglob("*") if p.is_file()] == []


def test_a_target_that_cannot_be_written_is_found_out_at_once(
    raw_scannet: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="choose another folder"):
        prepare_dataset("scannet", raw_scannet, tmp_path / "file" / "out", quiet=True)
    monkeypatch.setattr(prepare.os, "access", lambda *_: False)
    with pytest.raises(UserError, match="read-only"):
        prepare_dataset("scannet", raw_scannet, tmp_path / "out", quiet=True)


def test_another_data_sets_folder_is_not_overwritten(raw_scannet: Path, raw_s3dis: Path, tmp_path: Path) -> None:
    prepare_dataset("scannet", raw_scannet, tmp_path, quiet=True)
    with pytest.raises(UserError, match="holds scannet, not s3dis"):
        prepare_dataset("s3dis", raw_s3dis, tmp_path, quiet=True)
    assert open_dataset(tmp_path).dataset == "scannet"


def test_unknown_data_sets_options_and_folders_are_named(raw_s3dis: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="dataset=kitti: unknown; choose one of"):
        prepare_dataset("kitti", raw_s3dis, tmp_path, quiet=True)
    with pytest.raises(UserError, match="romms"):
        prepare_dataset("s3dis", raw_s3dis, tmp_path, options={"romms": 271}, quiet=True)
    with pytest.raises(UserError, match="nowhere: not found"):
        prepare_dataset("s3dis", tmp_path / "nowhere", tmp_path / "out", quiet=True)


def test_the_check_finds_lost_and_changed_files_and_foreign_labels(raw_scannet: Path, tmp_path: Path) -> None:
    prepare_dataset("scannet", raw_scannet, tmp_path, quiet=True)
    assert check_prepared(tmp_path).problems == []
    (tmp_path / "scene0000_00" / "color.npy").unlink()
    path = tmp_path / BAD / "segment.npy"
    segment = np.load(path)
    segment[0] = 77
    np.save(path, segment)
    problems = check_prepared(tmp_path).problems
    assert len(problems) == 2
    assert "scene0000_00/color.npy" in problems[0]
    assert any("segment ids from -1 to 77" in p for p in check_prepared(tmp_path, hashes=False).problems)


def test_foreign_s3dis_arrays_with_more_sofa_than_bookcase_are_pointed_out() -> None:
    def manifest(form: str, sofa: float) -> dict:
        shares = {"train": {"sofa": sofa, "bookcase": 6.9}}
        return {"dataset": "s3dis", "options": {"form": form}, "class_shares": shares}

    assert looks_swapped(manifest("postech", 7.5))
    assert not looks_swapped(manifest("postech", 0.5))
    assert not looks_swapped(manifest("pointcept", 7.5))
