"""Prepared scenes follow the content of every raw file that they were read from, not its size or its time stamp."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from benchmarks.datasets.scans.made import columns, ply, room, scannet

from mm3d_benchmarks.datasets.prepare import prepare_dataset
from mm3d_benchmarks.datasets.readers.folder import FolderReader
from mm3d_benchmarks.datasets.sources import HINTS, SourceHashes


def first(data) -> np.ndarray:
    return np.array(data.load(data.scenes("train")[0]).coord)


def replace_in_place(path: Path, content: bytes) -> None:
    """Other content under the old size and time stamp, as a copy that keeps times leaves it."""
    found = path.stat()
    assert len(content) == found.st_size
    path.write_bytes(content)
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))


def test_a_scan_of_the_same_size_and_time_stamp_is_read_anew(tmp_path: Path) -> None:
    xyz, rgb, _ = room()
    path = ply(tmp_path / "in/room.ply", columns(xyz, rgb))
    prepare_dataset("folder", tmp_path / "in", tmp_path / "out", quiet=True)
    other = ply(tmp_path / "other.ply", columns(xyz * 10, rgb)).read_bytes()
    replace_in_place(path, other)
    data = prepare_dataset("folder", tmp_path / "in", tmp_path / "out", quiet=True)
    np.testing.assert_allclose(first(data), xyz * 10, rtol=1e-6)


def test_the_label_table_is_part_of_what_a_scan_was_read_from(tmp_path: Path) -> None:
    raw = scannet(tmp_path / "in")
    prepare_dataset("scannet", raw, tmp_path / "out", quiet=True)
    table = raw / "scannetv2-labels.combined.tsv"
    replace_in_place(table, table.read_bytes().replace(b"table\t7", b"table\t5"))
    data = prepare_dataset("scannet", raw, tmp_path / "out", quiet=True)
    segment = data.load("scene0000_00").segment
    assert segment is not None
    assert set(np.unique(segment)) == {0, 1, 4}


def test_the_metadata_of_sun_rgbd_too(raw_sunrgbd: Path, tmp_path: Path) -> None:
    raw = Path(shutil.copytree(raw_sunrgbd, tmp_path / "in"))
    prepare_dataset("sunrgbd", raw, tmp_path / "out", quiet=True)
    path = next(raw.rglob("SUNRGBDMeta.mat"))
    content = path.read_bytes()
    path.write_bytes(content + b"")
    read: list[str] = []
    prepared = prepare_dataset("sunrgbd", raw, tmp_path / "out", quiet=True)
    assert prepared.manifest
    assert read == []
    from scipy.io import loadmat, savemat

    meta = loadmat(path)
    for item in meta["SUNRGBDMeta"].ravel():
        for box in np.asarray(item["groundtruth3DBB"]).ravel():
            if np.size(box) and box.dtype.names:
                box["centroid"] = box["centroid"] + 1
    before = {n: np.array(prepared.load(n).boxes) for n in prepared.manifest["scenes"]}
    savemat(path, {"SUNRGBDMeta": meta["SUNRGBDMeta"]}, do_compression=True)
    after = prepare_dataset("sunrgbd", raw, tmp_path / "out", quiet=True)
    assert any(len(b) and not np.allclose(b, np.array(after.load(n).boxes)) for n, b in before.items())


def test_nothing_is_read_twice_while_nothing_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    xyz, rgb, _ = room()
    for name in "ab":
        ply(tmp_path / f"in/{name}.ply", columns(xyz, rgb))
    prepare_dataset("folder", tmp_path / "in", tmp_path / "out", quiet=True)
    shutil.move(tmp_path / "in", tmp_path / "moved")  # by content: the place does not matter
    read: list[str] = []
    original = FolderReader.read
    monkeypatch.setattr(FolderReader, "read", lambda self, name: read.append(name) or original(self, name))
    prepare_dataset("folder", tmp_path / "moved", tmp_path / "out", quiet=True)
    assert read == []
    prepare_dataset("folder", tmp_path / "moved", tmp_path / "out", quiet=True, again=True)
    assert read == ["a", "b"]


def test_hints_spare_hashing_and_are_no_more_than_hints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "in/a.bin"
    path.parent.mkdir()
    path.write_bytes(b"1234")
    monkeypatch.setattr("mm3d_benchmarks.datasets.sources.time.time", lambda: path.stat().st_ctime + 60)
    hashes = SourceHashes.load(tmp_path / "in", tmp_path / "out")
    known = hashes.of([path])
    hashes.save(tmp_path / "out")
    calls: list[Path] = []
    monkeypatch.setattr("mm3d_benchmarks.datasets.sources.hash_file", lambda p: calls.append(p) or "x" * 64)
    assert SourceHashes.load(tmp_path / "in", tmp_path / "out").of([path]) == known
    assert calls == []
    (tmp_path / "out" / HINTS).write_text("{")
    assert SourceHashes.load(tmp_path / "in", tmp_path / "out").of([path]) == {"a.bin": "x" * 64}


def test_a_file_that_has_just_changed_gives_no_hint(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(b"1234")
    hashes = SourceHashes(tmp_path)
    hashes.of([tmp_path / "a.bin"])
    assert hashes.new == {}
