"""Which files are scans: hidden things and own outputs are none, links are followed; what is passed over is said."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from benchmarks.datasets.scans.made import columns, ply, room, s3dis, scannet

from mm3d_benchmarks.datasets.prepare import prepare_dataset
from mm3d_benchmarks.datasets.readers.base import BrokenSceneError
from mm3d_benchmarks.datasets.scans.discover import find_scans
from mm3d_benchmarks.datasets.scene import PreparedDataset
from mm3d_core.errors import UserError

XYZ, RGB, NORMAL = room()
APPLE = b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X        " + b"\0" * 400


def scan(path: Path) -> Path:
    return ply(path, columns(XYZ, RGB))


def prepared(dataset: str, tmp_path: Path) -> PreparedDataset:
    return prepare_dataset(dataset, tmp_path / "in", tmp_path / "out", quiet=True)


@pytest.mark.parametrize(
    "hidden", ["._room.ply", "__MACOSX/room.ply", ".Trash-1000/files/old.ply", ".ipynb_checkpoints/a.npy",
               "$RECYCLE.BIN/x.ply", "@eaDir/room.ply", ".git/lfs/a.bin", "a/.hidden/b/c.pcd", "@Recycle/x.ply",
               "~$room.ply", "lost+found/a.ply", "node_modules/three/a.ply", "env/site-packages/open3d/a.ply"]
)  # fmt: skip
def test_hidden_things_are_no_scans(tmp_path: Path, hidden: str) -> None:
    scan(tmp_path / "room.ply")
    (tmp_path / hidden).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / hidden).write_bytes(APPLE)
    found = find_scans(tmp_path)
    assert list(found.files) == ["room"]
    assert found.notes == ["passed over: 1 hidden files or folders"]


def test_a_hidden_folder_on_the_way_to_the_scans_is_no_matter(tmp_path: Path) -> None:
    scan(tmp_path / ".cache/scans/room.ply")
    assert list(find_scans(tmp_path / ".cache/scans").files) == ["room"]


def test_what_this_program_wrote_is_no_scan(tmp_path: Path) -> None:
    scan(tmp_path / "room.ply")
    prepare_dataset("folder", tmp_path, tmp_path / "data/prepared/folder", quiet=True)
    (tmp_path / "runs/0123456789ab").mkdir(parents=True)
    (tmp_path / "runs/store.json").write_text('{"version": 1}')
    np.savez(tmp_path / "runs/0123456789ab/artefacts.npz", scan=XYZ)
    np.savez(tmp_path / "prediction_room.npz", coord=XYZ)
    (tmp_path / "venv").mkdir()
    (tmp_path / "venv/pyvenv.cfg").touch()
    scan(tmp_path / "venv/share/bunny.ply")
    (tmp_path / "results").mkdir()
    (tmp_path / "results/table.provenance.json").write_text("{}")
    np.save(tmp_path / "results/a.npy", XYZ)
    scan(tmp_path / "data/smoke/raw/scannet/x.ply")
    (tmp_path / "data/smoke/raw/scannet/synthetic.json").write_text("{}")
    found = find_scans(tmp_path)
    assert list(found.files) == ["room"]
    assert found.notes == [
        "passed over: 1 files with predictions or pictures of a run, 1 folders with a Python environment, "
        "1 folders with a run store, 1 folders with prepared scenes, 1 folders with results, "
        "1 folders with synthetic scenes"
    ]
    with pytest.raises(UserError, match="holds prepared scenes already"):
        find_scans(tmp_path / "data/prepared/folder")


def test_the_arrays_of_a_folder_are_one_scan(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"in/train/{name}").mkdir(parents=True)
        for part, value in (("coord", XYZ), ("color", RGB), ("normal", NORMAL), ("segment", np.arange(len(XYZ)))):
            np.save(tmp_path / f"in/train/{name}/{part}.npy", value)
    (tmp_path / "in/train/a/._color.npy").write_bytes(APPLE)
    data = prepared("folder", tmp_path)
    assert data.scenes("train") == ["train_a", "train_b"]
    np.testing.assert_array_equal(data.load("train_a").color, RGB)


def test_a_folder_of_arrays_needs_no_color(tmp_path: Path) -> None:
    (tmp_path / "in/a").mkdir(parents=True)
    np.save(tmp_path / "in/a/coord.npy", XYZ)
    np.save(tmp_path / "in/a/strength.npy", XYZ[:, :1])
    assert prepared("folder", tmp_path).load("a").num_points == len(XYZ)


@pytest.mark.parametrize("content", [b"version https://git-lfs.github.com/spec/v1\n", b"<!DOCTYPE html><title>x"])
def test_a_pointer_in_place_of_a_text_scan_is_told(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.xyz").write_bytes(content)
    with pytest.raises(BrokenSceneError, match=r"a\.xyz: is a (Git LFS pointer|web page)"):
        prepared("folder", tmp_path)


def test_linked_folders_are_followed_once(tmp_path: Path) -> None:
    scan(tmp_path / "store/room.ply")
    (tmp_path / "in").mkdir()
    (tmp_path / "in/scans").symlink_to(tmp_path / "store")
    (tmp_path / "in/again").symlink_to(tmp_path / "store")
    (tmp_path / "in/round").symlink_to(tmp_path / "in")
    (tmp_path / "in/gone.ply").symlink_to(tmp_path / "nowhere.ply")
    scan(tmp_path / "in/more/hall.ply")
    found = find_scans(tmp_path / "in")
    assert sorted(found.files) == ["again_room", "more_hall"]
    assert found.notes == ["passed over: 1 links that lead nowhere"]


def test_other_formats_are_counted_with_the_way_to_read_them(tmp_path: Path) -> None:
    scan(tmp_path / "in/a.ply")
    for name in ("b.fbx", "c.zip", "d.rcp", "e.pdf"):
        (tmp_path / "in" / name).write_bytes(b"x")
    data = prepared("folder", tmp_path)
    said = " ".join(data.manifest["remarks"][""])
    assert "1 .fbx, 1 .rcp, 1 .zip" in said
    assert ".zip: unpack it" in said
    assert ".rcp: export it as .e57" in said
    assert "1 .pdf (no scans)" in said


@pytest.mark.parametrize(
    ("suffix", "way"), [(".zip", "unpack it"), (".fbx", "export it as"), (".doc", "convert it to .ply")]
)
def test_one_file_of_another_format_says_how_to_convert_it(tmp_path: Path, suffix: str, way: str) -> None:
    (tmp_path / f"room{suffix}").write_bytes(b"x")
    with pytest.raises(UserError, match=rf"room\{suffix}: .*{way}"):
        find_scans(tmp_path / f"room{suffix}")


@pytest.mark.parametrize(
    "name", ["客厅", "Küche (2), März #1", "a=b,[c]", "🏠", "ห้องนอน", "x" * 240, "深" * 70, "Ku\u0308che"]
)
def test_any_name_becomes_a_name_of_its_own(tmp_path: Path, name: str) -> None:
    for other in (name, f"{name[:-1]}2"):
        scan(tmp_path / "in" / f"{other}.ply")
    data = prepared("folder", tmp_path)
    assert len(data.scenes("train")) == 2
    assert all(len(os.fsencode(scene)) <= 130 for scene in data.scenes("train"))


def test_names_in_other_scripts_stay_readable(tmp_path: Path) -> None:
    for name in ("客厅", "卧室", "厨房"):
        scan(tmp_path / f"{name}.ply")
    assert sorted(find_scans(tmp_path).files) == sorted(["客厅", "卧室", "厨房"])


def test_a_deep_path_is_shortened_and_keeps_the_files_name(tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*(f"folder number {i} of the survey" for i in range(9)))
    scan(deep / "room 12 merged.ply")
    name = next(iter(find_scans(tmp_path).files))
    assert name.endswith("room_12_merged")
    assert len(name) <= 110


def test_hidden_files_of_s3dis_and_a_suffix_in_capitals(tmp_path: Path) -> None:
    raw = s3dis(tmp_path / "in")
    notes = raw / "Area_1/office_1/Annotations"
    for junk in (notes / "._table_1.txt", raw / "Area_1/._office_1", notes / "Icon\r", notes / ".DS_Store"):
        junk.write_bytes(APPLE)
    (notes / "wall_2.txt").rename(notes / "Wall_2.TXT")
    (notes / "table_1.txt").rename(notes / "desk.txt")
    (raw / "Area_5/__MACOSX/Annotations").mkdir(parents=True)
    data = prepared("s3dis", tmp_path)
    segment = data.load("Area_1_office_1").segment
    assert segment is not None
    assert dict(zip(*np.unique(segment, return_counts=True), strict=True)) == {1: 100, 2: 200, 12: 100}
    assert data.manifest["remarks"]["Area_1_office_1"] == ["1 objects of other classes are clutter: desk"]
    assert data.scenes("Area_5") == ["Area_5_office_2"]


def test_rooms_without_annotations_and_foreign_areas_are_named(tmp_path: Path) -> None:
    raw = s3dis(tmp_path / "in")
    (raw / "Area_1/office_3").mkdir()
    (raw / "Area_7/x/Annotations").mkdir(parents=True)
    said = prepared("s3dis", tmp_path).manifest["remarks"][""]
    assert "1 rooms without the folder Annotations passed over: Area_1/office_3" in said
    assert "folders that are no areas of the release passed over: Area_7" in said
    assert "areas that are not there: Area_2, Area_3, Area_4, Area_6" in said
    (raw / "Area_1/office_4/Annotations").mkdir(parents=True)
    with pytest.raises(BrokenSceneError, match="Annotations: no object files"):
        prepared("s3dis", tmp_path)


def test_scans_in_no_list_labels_in_other_letters_and_a_table_in_utf_16(tmp_path: Path) -> None:
    raw = scannet(tmp_path / "in", ("scene0000_00", "scene0001_00", "scene0002_00"))
    (raw / "scannetv2_val.txt").write_text("scene0001_00\n")
    table = raw / "scannetv2-labels.combined.tsv"
    table.write_bytes(table.read_text().encode("utf-16"))
    (raw / "__MACOSX").mkdir()
    (raw / "__MACOSX/._scannetv2_train.txt").write_bytes(APPLE)
    objects = raw / "scans/scene0000_00/scene0000_00.aggregation.json"
    objects.write_text(objects.read_text().replace('"table"', '" Table "').replace('"floor"', '"lava"'))
    data = prepared("scannet", tmp_path)
    assert data.manifest["remarks"][""] == ["1 scans in no split list passed over: scene0002_00"]
    assert data.manifest["remarks"]["scene0000_00"] == [
        "labels outside the table, ignored: lava",
        "labels taken ' Table ' as 'table'",
    ]
    segment = data.load("scene0000_00").segment
    assert segment is not None
    assert set(np.unique(segment)) == {-1, 0, 6}
