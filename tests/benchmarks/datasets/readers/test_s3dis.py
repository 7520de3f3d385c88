"""S3DIS: rooms come back as written, damage of the release is repaired, protocols are named."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from mm3d_benchmarks.datasets.readers.base import BrokenSceneError
from mm3d_benchmarks.datasets.readers.s3dis import CLASSES, S3DISReader, boxes_of_objects, read_object
from mm3d_core.errors import UserError

GOOD = "1.000 2.000 3.000 10 20 30\n4.5 5.5 6.5 185 187 182\n"


@pytest.fixture
def raw(raw_s3dis: Path, tmp_path: Path) -> Path:
    """A copy of two areas that may be damaged."""
    for area in ("Area_1", "Area_5"):
        shutil.copytree(raw_s3dis / area, tmp_path / area)
    return tmp_path


def test_the_order_is_that_of_the_arrays() -> None:
    assert CLASSES[7:11] == ("table", "chair", "sofa", "bookcase")


def test_a_room_is_the_union_of_its_objects_shifted_to_its_corner(raw_s3dis: Path) -> None:
    reader = S3DISReader(raw_s3dis)
    name = reader.splits()["Area_1"][0]
    scene = reader.read(name).scene
    room = raw_s3dis / "Area_1" / name[7:]
    whole = np.loadtxt(room / f"{room.name}.txt")
    assert scene.num_points == len(whole)
    assert scene.coord.min(axis=0).tolist() == [0, 0, 0]
    shifted = whole[:, :3] - whole[:, :3].min(axis=0)
    assert sorted(map(tuple, shifted.round(3).tolist())) == sorted(
        map(tuple, scene.coord.astype(float).round(3).tolist())
    )
    assert scene.segment is not None
    assert scene.instance is not None
    counted = {CLASSES[c]: int((scene.segment == c).sum()) for c in np.unique(scene.segment)}
    for kind, count in counted.items():
        files = room.glob(f"Annotations/{kind}_*.txt")
        assert count == sum(len(f.read_text().splitlines()) for f in files)
    assert len(np.unique(scene.instance)) == len(list(room.glob("Annotations/*.txt")))


@pytest.mark.parametrize(
    ("damaged", "meant"),
    [
        (b"1 2 3 185\x00187 182", [1, 2, 3, 185, 187, 182]),
        (b"1 2 3 185\x10187 182", [1, 2, 3, 185, 187, 182]),
        (b"-22.671 -9.1\x160 3 1 2 3", [-22.671, -9.160, 3, 1, 2, 3]),
        (b"1 2 3 103.0\x100000 2 3", [1, 2, 3, 103, 2, 3]),
        (b"1 2 3 4 2\x111.000000 6", [1, 2, 3, 4, 211, 6]),
        (b"1 2 3 167.\x1000000 5 6", [1, 2, 3, 167, 5, 6]),
    ],
)
def test_every_known_damage_is_repaired_and_reported(tmp_path: Path, damaged: bytes, meant: list[float]) -> None:
    (tmp_path / "a.txt").write_bytes(GOOD.encode() + damaged + b"\n" + GOOD.encode())
    rows, repairs = read_object(tmp_path / "a.txt")
    assert len(rows) == 5
    assert rows[2].tolist() == meant
    assert repairs == ["row 3 repaired"]


def test_a_row_beyond_repair_is_dropped_and_reported(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(GOOD + "1 2 3 4\n" + GOOD)
    rows, repairs = read_object(tmp_path / "a.txt")
    assert len(rows) == 4
    assert repairs == ["row 3 dropped, not six numbers"]


def test_clean_files_with_any_line_ends_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(GOOD.replace("\n", "\r\n").encode())
    rows, repairs = read_object(tmp_path / "a.txt")
    assert rows.shape == (2, 6)
    assert repairs == []


@pytest.mark.parametrize("content", ["", "\n\n", "1 2 nan 4 5 6\n", "1 2 inf 4 5 6\n"])
def test_empty_and_nan_files_are_refused_by_name(tmp_path: Path, content: str) -> None:
    (tmp_path / "a.txt").write_text(content)
    with pytest.raises(BrokenSceneError, match=r"a\.txt"):
        read_object(tmp_path / "a.txt")


def test_repairs_are_reported_with_the_room(raw: Path) -> None:
    reader = S3DISReader(raw)
    name = reader.splits()["Area_5"][0]
    file = reader.source_files(name)[0]
    file.write_bytes(file.read_bytes().replace(b" ", b"\x00", 1))
    assert reader.read(name).remarks == [f"{name[7:]}/{file.name}: row 1 repaired"]


def test_duplicates_and_droppings_of_other_systems_are_skipped(raw: Path) -> None:
    reader = S3DISReader(raw)
    name = reader.splits()["Area_5"][0]
    before = reader.source_files(name)
    folder = before[0].parent
    shutil.copy(before[0], folder / "wall_3 (1).txt")
    (folder / ".DS_Store").write_bytes(b"\0")
    (folder / "Icon\r").write_bytes(b"")
    assert reader.source_files(name) == before


def test_classes_outside_the_thirteen_become_clutter(raw: Path) -> None:
    reader = S3DISReader(raw)
    name = reader.splits()["Area_5"][0]
    (reader.source_files(name)[0].parent / "stairs_1.txt").write_text(GOOD)
    scene = reader.read(name).scene
    assert scene.segment is not None
    assert scene.instance is not None
    number = [p.name for p in reader.source_files(name)].index("stairs_1.txt")
    assert scene.segment[scene.instance == number].tolist() == [12, 12]


def test_areas_are_splits_and_area_5_is_held_out(raw_s3dis: Path) -> None:
    splits = S3DISReader(raw_s3dis).splits()
    assert splits["val"] == splits["Area_5"]
    assert splits["train"] == splits["train_without_Area_5"]
    assert not set(splits["train"]) & set(splits["val"])
    for area in range(1, 7):
        held_out, rest = set(splits[f"Area_{area}"]), set(splits[f"train_without_Area_{area}"])
        assert held_out
        assert not held_out & rest
        assert len(held_out | rest) == 6


def test_both_published_room_counts_are_named_protocols(raw: Path) -> None:
    shutil.copytree(raw / "Area_5" / next((raw / "Area_5").glob("*_1")).name, raw / "Area_5" / "hallway_6")
    everything, less = S3DISReader(raw, rooms=272).splits(), S3DISReader(raw, rooms=271).splits()
    assert set(everything["val"]) - set(less["val"]) == {"Area_5_hallway_6"}
    assert less["train"] == everything["train"]
    with pytest.raises(UserError, match="271"):
        S3DISReader(raw, rooms=270)


def test_boxes_are_hulls_of_the_five_classes() -> None:
    coord = np.array([[0, 0, 0], [1, 2, 3], [0, 0, 0], [9, 9, 9]], np.float32)
    boxes = boxes_of_objects(coord, np.array([8, 8, 0, 0], np.int16), np.array([0, 0, 1, 1], np.int32))
    np.testing.assert_allclose(boxes, [[0.5, 1, 1.5, 1, 2, 3, 0, 1]])


def test_a_folder_without_areas_says_what_is_needed(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="Stanford3dDataset_v1"):
        S3DISReader(tmp_path)
