"""Scans far from the origin keep their points: an offset is subtracted in double precision, and given back."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from benchmarks.datasets.scans.made import columns, ply, room, s3dis, scannet

from mm3d_benchmarks.datasets.prepare import prepare_dataset
from mm3d_benchmarks.datasets.scene import PreparedDataset, open_dataset
from mm3d_benchmarks.viewing.page import view_scene
from mm3d_benchmarks.viewing.run_pictures import save_prediction
from mm3d_core.errors import UserError

UTM = np.array([404000.0, 5655000.0, 120.0])


def check(data: PreparedDataset, name: str, far: np.ndarray) -> None:
    """Every point is there, to the tenth of a millimetre, near an origin of its own."""
    scene = data.load(name)
    assert len(np.unique(np.asarray(scene.coord), axis=0)) == len(far)
    assert np.abs(scene.coord).max() < 6
    np.testing.assert_allclose(scene.original_coord(), far, atol=1e-4)


def write_table(path: Path, far: np.ndarray, suffix: str) -> None:
    path.mkdir()
    if suffix == ".ply":
        ply(path / "a.ply", columns(far, coordinate="double"))
    elif suffix == ".npy":
        np.save(path / "a.npy", far)
    else:
        np.savez(path / "a.npz", points=far)


@pytest.mark.parametrize("suffix", [".ply", ".npy", ".npz"])
def test_a_georeferenced_scan_keeps_its_points(tmp_path: Path, suffix: str) -> None:
    far = room()[0] + UTM
    write_table(tmp_path / "in", far, suffix)
    data = prepare_dataset("folder", tmp_path / "in", tmp_path / "out", quiet=True)
    check(data, "a", far)
    assert data.manifest["scenes"]["a"]["offset"] == [404000.0, 5655000.0, 120.0]
    assert "kept as its offset" in data.manifest["remarks"]["a"][-1]


def test_scale_and_up_come_before_the_offset(tmp_path: Path) -> None:
    far = (room()[0] + UTM) * 1000
    ply(tmp_path / "in/a.ply", columns(far[:, [0, 2, 1]] * (1, 1, -1), coordinate="double"))
    data = prepare_dataset("folder", tmp_path / "in", tmp_path / "out", options={"up": "y", "scale": 0.001}, quiet=True)
    check(data, "a", far / 1000)


def test_meshes_and_their_boxes_too(tmp_path: Path) -> None:
    raw, far = scannet(tmp_path / "raw"), room(800, 0)[0] + UTM
    mesh = raw / "scans/scene0000_00/scene0000_00_vh_clean_2.ply"
    ply(mesh, columns(far, room()[1], coordinate="double"))
    data = prepare_dataset("scannet", raw, tmp_path / "out", quiet=True)
    check(data, "scene0000_00", far)
    boxes = data.load("scene0000_00").boxes
    assert boxes is not None
    table = far[-len(far) // 4 :] - data.load("scene0000_00").offset
    np.testing.assert_allclose(boxes[0, :3], (table.min(axis=0) + table.max(axis=0)) / 2, atol=1e-4)


def test_processed_arrays_too(tmp_path: Path) -> None:
    xyz, rgb, _ = room()
    for area in (1, 5):
        folder = tmp_path / f"in/Area_{area}/office_1"
        folder.mkdir(parents=True)
        for name, value in (("coord", xyz + UTM), ("color", rgb), ("segment", np.zeros(len(xyz), int))):
            np.save(folder / f"{name}.npy", value)
    check(prepare_dataset("s3dis", tmp_path / "in", tmp_path / "out", quiet=True), "Area_1_office_1", xyz + UTM)


def test_a_room_of_s3dis_is_given_back_to_its_building(tmp_path: Path) -> None:
    raw = s3dis(tmp_path / "raw")
    floor = raw / "Area_1/office_1/Annotations/floor_1.txt"
    rows = np.loadtxt(floor)
    data = prepare_dataset("s3dis", raw, tmp_path / "out", quiet=True)
    np.testing.assert_allclose(data.load("Area_1_office_1").original_coord()[:100], rows[:, :3], atol=1e-6)


def test_a_scan_near_the_origin_is_not_moved(tmp_path: Path) -> None:
    ply(tmp_path / "in/a.ply", columns(room()[0] - 300))
    data = prepare_dataset("folder", tmp_path / "in", tmp_path / "out", quiet=True)
    assert data.load("a").offset == (0, 0, 0)
    assert "offset" not in data.manifest["scenes"]["a"]


def test_what_32_bits_lost_before_is_said(tmp_path: Path) -> None:
    ply(tmp_path / "in/a.ply", columns(room()[0] + UTM, coordinate="float"))
    data = prepare_dataset("folder", tmp_path / "in", tmp_path / "out", quiet=True)
    assert any("steps of 0.5 m" in remark for remark in data.manifest["remarks"]["a"])


def test_views_and_predictions_give_the_offset_back(tmp_path: Path) -> None:
    far = room()[0] + UTM
    ply(tmp_path / "in/a.ply", columns(far, coordinate="double"))
    data = prepare_dataset("folder", tmp_path / "in", tmp_path / "out", quiet=True)
    page = view_scene(tmp_path / "out", None, tmp_path / "view")[-1].read_text()
    assert json.dumps([404000.0, 5655000.0, 120.0]) in page
    save_prediction(tmp_path, data.load("a"), {"segment": np.zeros(len(far), int)}, ("thing",))
    with np.load(tmp_path / "prediction_a.npz") as arrays:
        back = arrays["coord"].astype(np.float64) + arrays["offset"]
    np.testing.assert_allclose(np.sort(back, axis=0), np.sort(far, axis=0), atol=1e-4)


@pytest.mark.parametrize("offset", [[1.0], "abc", [1.0, 2.0, None], [1, 2, 3]])
def test_a_damaged_offset_is_refused(tmp_path: Path, offset: object) -> None:
    ply(tmp_path / "in/a.ply", columns(room()[0] + UTM, coordinate="double"))
    prepare_dataset("folder", tmp_path / "in", tmp_path / "out", quiet=True)
    manifest = json.loads((tmp_path / "out/manifest.json").read_text())
    manifest["scenes"]["a"]["offset"] = offset
    (tmp_path / "out/manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(UserError, match=r"manifest\.json: damaged"):
        open_dataset(tmp_path / "out")
