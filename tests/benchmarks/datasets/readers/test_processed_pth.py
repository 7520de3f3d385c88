"""Scenes that are pickles: arrays are read, anything else is refused without being run."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mm3d_benchmarks.datasets.prepare import make_reader, prepare_dataset
from mm3d_benchmarks.datasets.readers.base import BrokenSceneError
from mm3d_benchmarks.datasets.readers.processed.pth import load_pth
from mm3d_benchmarks.datasets.readers.s3dis import S3DISReader
from mm3d_benchmarks.datasets.readers.scannet import NYU40, ScanNetReader
from mm3d_benchmarks.datasets.scene import Scene

SCANS = {"train": ["scene0000_00", "scene0001_00"], "val": ["scene0002_00"]}


def filled(scene: Scene) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Colors, normals, labels and instances of a scene that has them all."""
    assert scene.color is not None
    assert scene.segment is not None
    assert scene.instance is not None
    normal = np.zeros_like(scene.coord) if scene.normal is None else scene.normal
    return scene.color, normal, scene.segment, scene.instance


def pointgroup(scene: Scene) -> Any:
    color, _, segment, instance = filled(scene)
    label = np.where(segment < 0, -100, segment).astype(np.float64)
    coord = (scene.coord - scene.coord.mean(axis=0)).astype(np.float32)
    return coord, (color / 127.5 - 1).astype(np.float32), label, np.where(instance < 0, -100, instance).astype(float)


def pointcept(scene: Scene) -> Any:
    color, normal, segment, instance = filled(scene)
    return {
        "coord": scene.coord, "color": color, "normal": normal, "scene_id": scene.name,
        "semantic_gt20": segment, "semantic_gt200": segment, "instance_gt": instance,
    }  # fmt: skip


def contrastive(scene: Scene) -> Any:
    color, _, segment, instance = filled(scene)
    nyu40 = np.array([*NYU40, 0])[segment]
    return scene.coord, color.astype(np.float32), nyu40.astype(np.int32), (instance + 1).astype(np.int32)


@pytest.mark.parametrize("form", [pointgroup, pointcept, contrastive])
def test_every_form_gives_the_scene_of_the_raw_release(
    form: Callable[[Scene], Any], raw_scannet: Path, tmp_path: Path
) -> None:
    reader = ScanNetReader(raw_scannet)
    for split, names in SCANS.items():
        (tmp_path / split).mkdir()
        for name in names:
            end = "_inst_nostuff" if form is pointgroup else ""
            torch.save(form(reader.read(name).scene), tmp_path / split / f"{name}{end}.pth")
    data = prepare_dataset("scannet", tmp_path, tmp_path / "out", quiet=True)
    assert data.manifest["options"] == {"form": "pth"}
    assert {split: data.scenes(split) for split in SCANS} == SCANS
    for name in (*SCANS["train"], *SCANS["val"]):
        scene, loaded = reader.read(name).scene, data.load(name)
        shift = scene.coord.mean(axis=0) if form is pointgroup else 0
        np.testing.assert_allclose(loaded.coord, scene.coord - shift, atol=1e-5)
        for attribute in ("color", "segment", "instance"):
            np.testing.assert_array_equal(getattr(loaded, attribute), getattr(scene, attribute))
        assert loaded.boxes is None
        assert "no axis alignment" in data.manifest["remarks"][name][0]


def test_files_in_one_folder_take_the_releases_lists(raw_scannet: Path, tmp_path: Path) -> None:
    reader = ScanNetReader(raw_scannet)
    for split, names in SCANS.items():
        (tmp_path / f"scannetv2_{split}.txt").write_text("\n".join(names))
        for name in names:
            torch.save(contrastive(reader.read(name).scene), tmp_path / f"{name}.pth")
    found = make_reader("scannet", tmp_path, {}).splits()
    assert found == SCANS


def test_pointcepts_rooms(raw_s3dis: Path, tmp_path: Path) -> None:
    reader = S3DISReader(raw_s3dis)
    names = [reader.splits()[area][0] for area in ("Area_1", "Area_5")]
    for name in names:
        scene = reader.read(name).scene
        color, _, segment, instance = filled(scene)
        (tmp_path / name[:6]).mkdir()
        room = {"coord": scene.coord + 7, "color": color, "semantic_gt": segment[:, None], "instance_gt": instance}
        torch.save(room, tmp_path / name[:6] / f"{name[7:]}.pth")
    data = prepare_dataset("s3dis", tmp_path, tmp_path / "out", quiet=True)
    assert data.scenes("val") == [names[1]]
    for name in names:
        loaded, scene = data.load(name), reader.read(name).scene
        np.testing.assert_allclose(loaded.coord, scene.coord, atol=3e-6)
        np.testing.assert_array_equal(loaded.segment, scene.segment)
        assert loaded.boxes is not None
        assert scene.boxes is not None
        np.testing.assert_allclose(loaded.boxes, scene.boxes, atol=1e-5)


class Trap:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (str(self.path), "w")


@pytest.mark.parametrize("save", [torch.save, lambda value, path: path.write_bytes(pickle.dumps(value))])
def test_a_pickle_that_runs_a_program_is_refused_and_does_not_run(save: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    path = tmp_path / "train" / "scene0000_00.pth"
    save((np.zeros((5, 3)), Trap(tmp_path / "sprung")), path)
    with pytest.raises(BrokenSceneError, match=r"scene0000_00\.pth.*not unpickled.*\.npy where you trust"):
        make_reader("scannet", tmp_path, {}).read("scene0000_00")
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (torch.zeros(3), "not a scene"),
        ({"color": np.zeros((4, 3))}, "no coord"),
        ((np.zeros((4, 2)), np.zeros((4, 3))), "coord is float64"),
        ((np.full((4, 3), np.nan), np.zeros((4, 3))), "NaN"),
        ((np.zeros((4, 3)), np.zeros((4, 3)), np.zeros(5)), "different lengths"),
        ((np.zeros((4, 3)), np.full((4, 3), 9.0), np.full(4, 41)), "not nyu40"),
        ((np.zeros((4, 3)), np.full((4, 3), -0.5), np.full(4, 20)), "outside of the 20 classes"),
        ((np.zeros((4, 3)), np.zeros((4, 3)), np.array(["wall"] * 4)), "not numbers"),
    ],
)
def test_what_is_no_scene_is_refused_by_name(value: Any, message: str, tmp_path: Path) -> None:
    (tmp_path / "val").mkdir()
    torch.save(value, tmp_path / "val" / "scene0000_00.pth")
    with pytest.raises(BrokenSceneError, match=rf"scene0000_00\.pth.*{message}"):
        make_reader("scannet", tmp_path, {}).read("scene0000_00")


@pytest.mark.parametrize("keep", [0, 40, 400])
def test_a_truncated_file_is_refused_by_name(keep: int, tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    path = tmp_path / "train" / "scene0000_00.pth"
    torch.save((np.zeros((50, 3)), np.zeros((50, 3))), path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(BrokenSceneError, match=r"scene0000_00\.pth: damaged"):
        make_reader("scannet", tmp_path, {}).read("scene0000_00")


class Swollen:
    """Unpickled, an array of 3 GB of which the file holds nothing."""

    def __reduce__(self) -> tuple:
        return np.ndarray, ((2**28, 3), np.dtype("f4"))


def test_an_array_that_is_larger_than_its_file_is_refused(tmp_path: Path) -> None:
    torch.save({"coord": Swollen()}, tmp_path / "a.pth")
    with pytest.raises(BrokenSceneError, match=r"a\.pth: promises arrays that are larger than the file"):
        load_pth(tmp_path / "a.pth")
