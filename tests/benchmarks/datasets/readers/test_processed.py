"""Processed forms that users may have: each is recognized, and gives the scene that the raw release gives."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from mm3d_benchmarks.datasets.prepare import make_reader, prepare_dataset
from mm3d_benchmarks.datasets.readers.base import BrokenSceneError
from mm3d_benchmarks.datasets.readers.processed.base import bytes_of_color, instance_ids, train_ids
from mm3d_benchmarks.datasets.readers.s3dis import S3DISReader
from mm3d_benchmarks.datasets.readers.scannet import NYU40, ScanNetReader
from mm3d_benchmarks.datasets.readers.sunrgbd import SunRgbdReader
from mm3d_benchmarks.datasets.scene import Scene
from mm3d_core.errors import UserError

SCANS = {"train": ["scene0000_00", "scene0001_00"], "val": ["scene0002_00"]}


def infos(path: Path, entries: dict[str, dict]) -> None:
    data = [{"lidar_points": {"lidar_path": f"{name}.bin"}, **entry} for name, entry in entries.items()]
    path.write_text(json.dumps({"metainfo": {}, "data_list": data}))


def boxed(boxes: np.ndarray | None, yaw: bool = False) -> list[dict]:
    assert boxes is not None
    return [
        {"bbox_3d": [*map(float, b[:6]), *([-float(b[6])] if yaw else [])], "bbox_label_3d": int(b[7])} for b in boxes
    ]


def scannet_scenes(raw: Path) -> dict[str, Scene]:
    reader = ScanNetReader(raw)
    return {name: reader.read(name).scene for names in SCANS.values() for name in names}


def nyu40(segment: np.ndarray | None) -> np.ndarray:
    assert segment is not None
    return np.array([*NYU40, 0])[segment]


@pytest.fixture
def pointcept(raw_scannet: Path, tmp_path: Path) -> Path:
    scenes = scannet_scenes(raw_scannet)
    for split, names in SCANS.items():
        for name in names:
            folder = tmp_path / split / name
            folder.mkdir(parents=True)
            scene = scenes[name]
            assert scene.segment is not None
            assert scene.color is not None
            assert scene.normal is not None
            assert scene.instance is not None
            np.save(folder / "coord.npy", scene.coord)
            np.save(folder / "color.npy", scene.color)
            np.save(folder / "normal.npy", scene.normal)
            np.save(folder / "segment20.npy", scene.segment.astype(np.int64))
            np.save(folder / "instance.npy", scene.instance)
    return tmp_path


def test_pointcepts_scannet_folders(pointcept: Path, raw_scannet: Path) -> None:
    data = prepare_dataset("scannet", pointcept, pointcept / "out", quiet=True)
    assert data.manifest["options"] == {"form": "pointcept"}
    for name, scene in scannet_scenes(raw_scannet).items():
        loaded = data.load(name)
        for attribute in ("coord", "color", "normal", "segment", "instance"):
            np.testing.assert_array_equal(getattr(loaded, attribute), getattr(scene, attribute))
        assert loaded.boxes is None
        assert "no axis alignment" in data.manifest["remarks"][name][0]
    assert data.scenes("train") == SCANS["train"]


def test_votenets_scannet_arrays(raw_scannet: Path, tmp_path: Path) -> None:
    folder = tmp_path / "scannet_train_detection_data"
    folder.mkdir()
    for split, names in SCANS.items():
        (tmp_path / f"scannetv2_{split}.txt").write_text("\n".join([*names, "scene9999_00"]))
    for name, scene in scannet_scenes(raw_scannet).items():
        assert scene.color is not None
        assert scene.instance is not None
        assert scene.boxes is not None
        np.save(folder / f"{name}_vert.npy", np.hstack([scene.coord, scene.color]).astype(np.float32))
        np.save(folder / f"{name}_sem_label.npy", nyu40(scene.segment).astype(np.uint32))
        np.save(folder / f"{name}_ins_label.npy", (scene.instance + 1).astype(np.uint32))
        stored = np.hstack([scene.boxes[:, :6], np.array(NYU40)[scene.boxes[:, 7].astype(int) + 2][:, None]])
        np.save(folder / f"{name}_bbox.npy", np.vstack([stored, np.zeros((1, 7))]))  # a filtered instance's zero row
    data = prepare_dataset("scannet", tmp_path, tmp_path / "out", quiet=True)
    assert data.scenes("val") == SCANS["val"]
    for name, scene in scannet_scenes(raw_scannet).items():
        loaded = data.load(name)
        for attribute in ("coord", "color", "segment", "instance", "boxes"):
            np.testing.assert_allclose(getattr(loaded, attribute), getattr(scene, attribute), atol=1e-6)


def test_mmdetections_scannet_files_are_aligned_again(raw_scannet: Path, tmp_path: Path) -> None:
    for folder in ("points", "semantic_mask", "instance_mask"):
        (tmp_path / folder).mkdir()
    turn = np.array([[0.0, -1, 0, 2], [1, 0, 0, -3], [0, 0, 1, 0.5], [0, 0, 0, 1]])
    scenes, back = scannet_scenes(raw_scannet), np.linalg.inv(turn)
    for split, names in SCANS.items():
        entries = {n: {"axis_align_matrix": turn.tolist(), "instances": boxed(scenes[n].boxes)} for n in names}
        infos(tmp_path / f"scannet_infos_{split}.json", entries)
    for name, scene in scenes.items():
        assert scene.color is not None
        assert scene.instance is not None
        raw = scene.coord @ back[:3, :3].T + back[:3, 3]
        np.hstack([raw, scene.color]).astype("<f4").tofile(tmp_path / "points" / f"{name}.bin")
        nyu40(scene.segment).astype("<i8").tofile(tmp_path / "semantic_mask" / f"{name}.bin")
        (scene.instance.astype("<i8") + 1).tofile(tmp_path / "instance_mask" / f"{name}.bin")
    data = prepare_dataset("scannet", tmp_path, tmp_path / "out", quiet=True)
    for name, scene in scenes.items():
        loaded = data.load(name)
        for attribute in ("coord", "color", "segment", "instance", "boxes"):
            np.testing.assert_allclose(getattr(loaded, attribute), getattr(scene, attribute), atol=2e-6)


def test_mmdetections_pickles_are_refused_with_the_way_to_json(tmp_path: Path) -> None:
    (tmp_path / "points").mkdir()
    (tmp_path / "scannet_infos_train.pkl").write_bytes(b"\x80\x04N.")
    with pytest.raises(
        UserError, match=r"runs whatever its maker wrote.*mmengine.dump\(infos, .scannet_infos_\w+.json.\)"
    ):
        make_reader("scannet", tmp_path, {})


def test_the_real_scan_is_read_in_mmdetections_form(real_samples: Path, tmp_path: Path) -> None:
    samples = real_samples / "mmdetection3d"
    (tmp_path / "points").mkdir()
    shutil.copy(samples / "demo/data/scannet/scene0000_00.bin", tmp_path / "points")
    for mask in ("semantic_mask", "instance_mask"):
        (tmp_path / mask).mkdir()
        np.zeros(40_684, "<i8").tofile(tmp_path / mask / "scene0000_00.bin")
    shutil.copy(samples / "tests/data/scannet/scannet_infos.json", tmp_path / "scannet_infos_train.json")
    infos(tmp_path / "scannet_infos_val.json", {})
    scene = make_reader("scannet", tmp_path, {}).read("scene0000_00").scene
    assert scene.boxes is not None
    assert len(scene.boxes) == 27
    sofa = scene.boxes[scene.boxes[:, 7] == 3][0]
    assert (np.abs(scene.coord - sofa[:3]) <= sofa[3:6] / 2 + 0.001).all(axis=1).sum() == 3452


def test_real_frames_are_read_in_mmdetections_form(real_samples: Path, tmp_path: Path) -> None:
    demo = real_samples / "mmdetection3d/demo/data/sunrgbd"
    (tmp_path / "points").mkdir()
    shutil.copy(demo / "000017.bin", tmp_path / "points")
    shutil.copy(demo / "sunrgbd_000017_infos.json", tmp_path / "sunrgbd_infos_train.json")
    infos(tmp_path / "sunrgbd_infos_val.json", {})
    scene = make_reader("sunrgbd", tmp_path, {}).read("000017").scene
    stored = json.loads((demo / "sunrgbd_000017_infos.json").read_text())["data_list"][0]["instances"]
    assert scene.num_points == 50_000
    assert scene.boxes is not None
    np.testing.assert_allclose(scene.boxes[:, 6], [-b["bbox_3d"][6] for b in stored], rtol=1e-6)


def test_the_real_s3dis_stub_is_read_in_mmdetections_form(real_samples: Path, tmp_path: Path) -> None:
    folder = real_samples / "mmdetection3d/tests/data/s3dis"
    for part in ("points", "semantic_mask", "instance_mask"):
        shutil.copytree(folder / part, tmp_path / part)
    shutil.copy(folder / "s3dis_infos.json", tmp_path / "s3dis_infos_Area_1.json")
    scene = make_reader("s3dis", tmp_path, {}).read("Area_1_office_2").scene
    assert scene.num_points == 100
    assert scene.boxes is not None
    assert scene.boxes.shape == (9, 8)


def test_pointcepts_and_postechs_s3dis(raw_s3dis: Path, tmp_path: Path) -> None:
    reader = S3DISReader(raw_s3dis)
    names = [reader.splits()[area][0] for area in ("Area_1", "Area_5")]
    for name in names:
        scene = reader.read(name).scene
        assert scene.segment is not None
        assert scene.color is not None
        folder = tmp_path / "pointcept" / name[:6] / name[7:]
        folder.mkdir(parents=True)
        for key in ("color", "instance"):
            np.save(folder / f"{key}.npy", getattr(scene, key))
        np.save(folder / "coord.npy", scene.coord + np.float32(5))
        np.save(folder / "segment.npy", scene.segment[:, None])
        (tmp_path / "postech" / "trainval_fullarea").mkdir(parents=True, exist_ok=True)
        np.save(
            tmp_path / "postech" / "trainval_fullarea" / f"{name}.npy",
            np.hstack([scene.coord, scene.color, scene.segment[:, None]]),
        )
    for form in ("pointcept", "postech"):
        data = prepare_dataset("s3dis", tmp_path / form, tmp_path / "out" / form, quiet=True)
        assert data.manifest["options"]["form"] == form
        assert data.scenes("val") == [names[1]]
        for name in names:
            loaded, scene = data.load(name), reader.read(name).scene
            np.testing.assert_allclose(loaded.coord, scene.coord, atol=2e-6)
            np.testing.assert_array_equal(loaded.segment, scene.segment)
    swapped = make_reader("s3dis", tmp_path / "postech", {"swapped": True}).read(names[0]).scene.segment
    expected = reader.read(names[0]).scene.segment
    assert swapped is not None
    assert expected is not None
    assert (swapped[expected == 7] == 8).all()
    assert (swapped[expected == 9] == 10).all()


def test_votenets_and_mmdetections_sunrgbd(raw_sunrgbd: Path, tmp_path: Path) -> None:
    reader = SunRgbdReader(raw_sunrgbd)
    (tmp_path / "mmdet" / "points").mkdir(parents=True)
    for split, names in reader.splits().items():
        folder = tmp_path / "votenet" / f"sunrgbd_pc_bbox_votes_50k_v1_{split}"
        folder.mkdir(parents=True)
        entries = {}
        for name in names:
            scene = reader.read(name).scene
            assert scene.boxes is not None
            assert scene.color is not None
            points = np.hstack([scene.coord, scene.color / 255]).astype(np.float32)
            np.savez(folder / f"{name}_pc.npz", pc=points)
            half = scene.boxes.astype(np.float64)
            half[:, 3:6] /= 2
            np.save(folder / f"{name}_bbox.npy", half)
            points.tofile(tmp_path / "mmdet" / "points" / f"{name}.bin")
            entries[name] = {"instances": boxed(scene.boxes, yaw=True)}
        infos(tmp_path / "mmdet" / f"sunrgbd_infos_{split}.json", entries)
    for form in ("votenet", "mmdet"):
        data = prepare_dataset("sunrgbd", tmp_path / form, tmp_path / "out" / form, quiet=True)
        for name in data.scenes("train"):
            loaded, scene = data.load(name), reader.read(name).scene
            np.testing.assert_array_equal(loaded.color, scene.color)
            assert loaded.boxes is not None
            assert scene.boxes is not None
            np.testing.assert_allclose(loaded.boxes, scene.boxes, atol=1e-6)
    with pytest.raises(UserError, match="v2_train"):
        make_reader("sunrgbd", tmp_path / "votenet", {"boxes": "v2"})


def test_color_ranges_labels_and_instances_are_brought_to_the_contract() -> None:
    color = np.array([[0, 51, 255]])
    for scaled in (color.astype(np.float32), color / 255, color / 127.5 - 1):
        np.testing.assert_array_equal(bytes_of_color(scaled, Path("x")), color)
    assert train_ids(np.array([[0], [255], [-100], [-1], [12]]), 13, Path("x")).tolist() == [0, -1, -1, -1, 12]
    with pytest.raises(BrokenSceneError, match="outside of the 13 classes"):
        train_ids(np.array([13]), 13, Path("x"))
    assert instance_ids(np.array([0, 1, 5]), 0, Path("x")).tolist() == [-1, 0, 4]
    assert instance_ids(np.array([-1, 0, 5]), -1, Path("x")).tolist() == [-1, 0, 5]


def test_files_of_one_scene_must_belong_together(pointcept: Path) -> None:
    np.save(pointcept / "train" / "scene0000_00" / "color.npy", np.zeros((5, 3), np.uint8))
    with pytest.raises(BrokenSceneError, match="different lengths"):
        make_reader("scannet", pointcept, {}).read("scene0000_00")
