"""ScanNet: what is written in the raw format comes back, and the known pitfalls are handled."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from mm3d_benchmarks.datasets.formats.ply import read_ply, stack, write_ply
from mm3d_benchmarks.datasets.readers.base import BrokenSceneError
from mm3d_benchmarks.datasets.readers.scannet import (
    CLASSES,
    DETECTION_CLASSES,
    NYU40,
    ScanNetReader,
    boxes_of_instances,
    facts,
    nyu40_to_train,
    read_alignment,
    read_annotation,
    vertex_normals,
)
from mm3d_core.errors import UserError

SCAN = "scene0000_00"


@pytest.fixture
def raw(raw_scannet: Path, tmp_path: Path) -> Path:
    """A copy that may be damaged."""
    return Path(shutil.copytree(raw_scannet, tmp_path / "raw"))


def path(raw: Path, suffix: str) -> Path:
    return raw / "scans" / SCAN / f"{SCAN}{suffix}"


def annotation(tmp_path: Path, segments: list[int], groups: list[dict]) -> tuple[Path, Path]:
    (tmp_path / "s.json").write_text(json.dumps({"segIndices": segments}))
    (tmp_path / "a.json").write_text(json.dumps({"segGroups": groups}))
    return tmp_path / "s.json", tmp_path / "a.json"


def test_the_classes_are_those_of_the_benchmark() -> None:
    assert len(CLASSES) == len(NYU40) == 20
    assert len(DETECTION_CLASSES) == 18
    assert CLASSES[14] == "refrigerator"
    assert nyu40_to_train()[[0, 1, 24, 22, 39, 40]].tolist() == [-1, 0, 14, -1, 19, -1]
    assert round(sum(facts().published_shares.values())) == 100


def test_labels_equal_those_of_the_label_mesh(raw_scannet: Path) -> None:
    for name in ScanNetReader(raw_scannet).splits()["train"]:
        scene = ScanNetReader(raw_scannet).read(name).scene
        table, _ = read_ply(raw_scannet / "scans" / name / f"{name}_vh_clean_2.labels.ply")
        assert scene.segment is not None
        np.testing.assert_array_equal(scene.segment, nyu40_to_train()[table["label"]])
        assert len(np.unique(scene.segment)) > 4


def test_points_are_aligned_and_boxes_are_their_hulls(raw_scannet: Path) -> None:
    scene = ScanNetReader(raw_scannet).read(SCAN).scene
    table, _ = read_ply(path(raw_scannet, "_vh_clean_2.ply"))
    xyz = stack(table, ("x", "y", "z"), np.float64)
    matrix = read_alignment(path(raw_scannet, ".txt"))
    assert xyz is not None
    assert matrix is not None
    assert np.abs(xyz.min(axis=0)).max() < 1e-3  # the raw frame's minimum corner is its origin
    np.testing.assert_allclose(scene.coord, xyz @ matrix[:3, :3].T + matrix[:3, 3], atol=1e-5)
    assert abs(np.percentile(scene.coord[:, 2], 2)) < 0.08
    assert scene.boxes is not None
    assert scene.instance is not None
    assert scene.segment is not None
    for number in np.unique(scene.instance[scene.segment >= 2]):
        rows = scene.instance == number
        low, high = scene.coord[rows].min(axis=0), scene.coord[rows].max(axis=0)
        distance = np.abs(scene.boxes[:, :6] - [*(low + high) / 2, *(high - low)]).max(axis=1)
        assert distance.min() < 1e-4
        assert scene.boxes[distance.argmin(), 7] == scene.segment[rows][0] - 2


def test_a_segment_of_two_objects_belongs_to_the_later_one(tmp_path: Path) -> None:
    groups = [{"objectId": 0, "segments": [7, 9], "label": "chair"}, {"objectId": 1, "segments": [9], "label": "table"}]
    nyu40, instance, unknown = read_annotation(*annotation(tmp_path, [7, 9, 9, 4], groups), 4, {"chair": 5, "table": 7})
    assert nyu40.tolist() == [5, 7, 7, 0]
    assert instance.tolist() == [0, 1, 1, -1]
    assert unknown == []


def test_a_label_outside_the_table_is_ignored_and_reported(raw: Path) -> None:
    file = path(raw, ".aggregation.json")
    content = json.loads(file.read_text())
    wall = next(g for g in content["segGroups"] if g["label"] == "wall")
    wall["label"] = "beam"
    file.write_text(json.dumps(content))
    read = ScanNetReader(raw).read(SCAN)
    assert read.remarks == ["labels outside the table, ignored: beam"]
    assert read.scene.segment is not None
    assert read.scene.instance is not None
    assert (read.scene.segment[read.scene.instance == wall["objectId"]] == -1).all()


def test_segments_that_the_mesh_lacks_are_passed_over(tmp_path: Path) -> None:
    groups = [{"objectId": 0, "segments": [5, 99], "label": "chair"}]
    nyu40, _, _ = read_annotation(*annotation(tmp_path, [5, 6], groups), 2, {"chair": 5})
    assert nyu40.tolist() == [5, 0]


def test_no_objects_at_all_is_a_scene_without_labels(tmp_path: Path) -> None:
    nyu40, instance, _ = read_annotation(*annotation(tmp_path, [1, 1], []), 2, {})
    assert nyu40.tolist() == [0, 0]
    assert instance.tolist() == [-1, -1]
    boxes, flat = boxes_of_instances(np.zeros((2, 3), np.float32), nyu40, instance)
    assert boxes.shape == (0, 8)
    assert flat == 0


def test_an_object_without_volume_has_no_box() -> None:
    coord = np.array([[0, 0, 0], [1, 1, 0], [0, 0, 0], [1, 2, 3]], np.float32)
    boxes, flat = boxes_of_instances(coord, np.array([5, 5, 7, 7]), np.array([0, 0, 1, 1], np.int32))
    assert flat == 1
    np.testing.assert_allclose(boxes, [[0.5, 1, 1.5, 1, 2, 3, 0, 4]])


def test_normals_point_out_of_the_plane_and_are_zero_where_unknown() -> None:
    coord = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [5, 5, 5]], np.float32)
    normal = vertex_normals(coord, np.array([[0, 1, 2]], np.int32), Path("x"))
    np.testing.assert_allclose(normal, [[0, 0, 1]] * 3 + [[0, 0, 0]])
    with pytest.raises(BrokenSceneError, match="names vertex 9"):
        vertex_normals(coord, np.array([[0, 1, 9]], np.int32), Path("x"))


def test_without_an_alignment_the_raw_frame_is_kept_and_reported(raw: Path) -> None:
    file = path(raw, ".txt")
    file.write_text("".join(line + "\n" for line in file.read_text().splitlines() if "axisAlignment" not in line))
    read = ScanNetReader(raw).read(SCAN)
    assert "axisAlignment" in read.remarks[0]
    assert np.abs(read.scene.coord.min(axis=0)).max() < 1e-3


def test_the_key_is_split_at_its_sign_not_stripped(tmp_path: Path) -> None:
    numbers = "1 0 0 5 0 1 0 6 0 0 1 7 0 0 0 1"
    (tmp_path / "a.txt").write_text(f"axisAlignment = {numbers} \r\nsceneType = Office\r\n")
    matrix = read_alignment(tmp_path / "a.txt")
    assert matrix is not None
    assert matrix[:3, 3].tolist() == [5, 6, 7]
    (tmp_path / "a.txt").write_text("axisAlignment = 1 0 0\n")
    with pytest.raises(BrokenSceneError, match=r"a\.txt.*3 values"):
        read_alignment(tmp_path / "a.txt")


def test_the_label_table_is_read_by_column_name_with_any_line_ends(raw: Path) -> None:
    file = raw / "scannetv2-labels.combined.tsv"
    expected = ScanNetReader(raw).label_ids
    assert expected["couch"] == 6
    assert "beam" not in expected
    file.write_bytes(file.read_text().rstrip("\n").replace("\n", "\r\n").encode())
    assert ScanNetReader(raw).label_ids == expected
    file.write_text("id\tcategory\n1\twall\n")
    with pytest.raises(UserError, match="nyu40id"):
        _ = ScanNetReader(raw).label_ids


def test_a_test_scan_is_read_without_labels(raw: Path) -> None:
    (raw / "scans_test").mkdir()
    shutil.move(raw / "scans" / SCAN, raw / "scans_test" / SCAN)
    for suffix in ("_vh_clean_2.0.010000.segs.json", ".aggregation.json"):
        (raw / "scans_test" / SCAN / f"{SCAN}{suffix}").unlink()
    scene = ScanNetReader(raw).read(SCAN).scene
    assert scene.segment is None
    assert scene.boxes is None


@pytest.mark.parametrize(
    ("suffix", "content", "message"),
    [
        ("_vh_clean_2.ply", None, "damaged PLY"),
        (".aggregation.json", None, "damaged JSON"),
        ("_vh_clean_2.0.010000.segs.json", None, "damaged JSON"),
        (".aggregation.json", b"{}", "no list 'segGroups'"),
        (".aggregation.json", b"", "damaged JSON"),
        (".aggregation.json", b'{"segGroups": [{"label": "chair"}]}', "lacks objectId"),
        ("_vh_clean_2.0.010000.segs.json", b'{"segIndices": [1, 2]}', "but the mesh has"),
    ],
)
def test_damaged_files_are_named(raw: Path, suffix: str, content: bytes | None, message: str) -> None:
    file = path(raw, suffix)
    file.write_bytes(file.read_bytes()[:-200] if content is None else content)
    with pytest.raises(BrokenSceneError, match=message) as caught:
        ScanNetReader(raw).read(SCAN)
    assert file.name in str(caught.value)


def test_nan_coordinates_are_refused_by_name(raw: Path) -> None:
    table, faces = read_ply(path(raw, "_vh_clean_2.ply"))
    table = table.copy()
    table["x"][3] = np.nan
    write_ply(path(raw, "_vh_clean_2.ply"), table, faces)
    with pytest.raises(BrokenSceneError, match=r"vh_clean_2\.ply: 1 vertices have NaN"):
        ScanNetReader(raw).read(SCAN)


def test_what_is_missing_is_named_with_its_provider(raw: Path) -> None:
    (raw / "scannetv2_val.txt").unlink()
    with pytest.raises(UserError, match=r"scannetv2_val\.txt.*ScanNet authors"):
        ScanNetReader(raw).splits()
    with pytest.raises(UserError, match="scans"):
        ScanNetReader(raw / "scans" / SCAN)
