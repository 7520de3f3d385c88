"""The prepared-scene contract: written, read back, verified, and refused when it is broken."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mm3d_benchmarks.datasets.scene import VERSION, Scene, open_dataset, read_record, write_scene
from mm3d_core.errors import UserError


def scene(points: int = 50, name: str = "a") -> Scene:
    random = np.random.default_rng(0)
    return Scene(
        name,
        random.random((points, 3), np.float32),
        random.integers(0, 256, (points, 3), np.uint8),
        segment=random.integers(-1, 4, points).astype(np.int16),
        instance=random.integers(-1, 3, points).astype(np.int32),
        boxes=np.array([[0, 0, 0, 1, 2, 3, 0, 2], [1, 0, 0, 1, 1, 1, 0.5, 2]], np.float32),
    )


def dataset(root: Path, *scenes: Scene) -> Path:
    records = {s.name: write_scene(root, s) for s in scenes}
    manifest = {"version": VERSION, "dataset": "x", "splits": {"train": list(records), "val": []}, "scenes": records}
    (root / "manifest.json").write_text(json.dumps(manifest))
    return root


def test_a_scene_survives_the_round_trip(tmp_path: Path) -> None:
    written = scene()
    loaded = open_dataset(dataset(tmp_path, written)).load("a")
    for name, value in written.arrays().items():
        np.testing.assert_array_equal(loaded.arrays()[name], value)
    assert loaded.normal is None


def test_points_are_memory_mapped_and_read_only(tmp_path: Path) -> None:
    loaded = open_dataset(dataset(tmp_path, scene())).load("a")
    assert isinstance(loaded.coord, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        loaded.coord[0] = 0


def test_a_scene_without_boxes_of_its_own_loads(tmp_path: Path) -> None:
    empty = Scene("a", np.ones((3, 3), np.float32), boxes=np.zeros((0, 8), np.float32))
    boxes = open_dataset(dataset(tmp_path, empty)).load("a").boxes
    assert boxes is not None
    assert boxes.shape == (0, 8)


def test_the_record_counts_classes_and_sums_sizes(tmp_path: Path) -> None:
    record = write_scene(tmp_path, scene(), {"from": "here"}, ["repaired"])
    assert sum(record["segment_counts"].values()) == record["points"] == 50
    assert record["box_counts"] == {"2": 2}
    assert record["box_size_sums"]["2"] == [2.0, 3.0, 4.0]
    assert record["source"] == {"from": "here"}
    assert read_record(tmp_path, "a") == record


def test_the_same_scene_gives_the_same_bytes(tmp_path: Path) -> None:
    assert write_scene(tmp_path / "one", scene()) == write_scene(tmp_path / "two", scene())


def test_a_changed_byte_is_found(tmp_path: Path) -> None:
    data = open_dataset(dataset(tmp_path, scene()))
    assert data.verify("a") == []
    path = tmp_path / "a" / "color.npy"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert data.verify("a") == [str(path)]


def test_rewriting_a_scene_leaves_no_stale_attribute(tmp_path: Path) -> None:
    write_scene(tmp_path, scene())
    write_scene(tmp_path, Scene("a", np.ones((3, 3), np.float32)))
    assert sorted(p.name for p in (tmp_path / "a").iterdir()) == ["coord.npy", "scene.json"]


def test_a_truncated_array_is_a_user_error_that_names_it(tmp_path: Path) -> None:
    data = open_dataset(dataset(tmp_path, scene()))
    path = tmp_path / "a" / "coord.npy"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(UserError, match=r"coord\.npy"):
        data.load("a")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"color": np.zeros((49, 3), np.uint8)}, "49 rows"),
        ({"segment": np.zeros(50, np.int64)}, "segment must be int16"),
        ({"coord": np.zeros((0, 3), np.float32)}, "no points"),
        ({"boxes": np.zeros((1, 7), np.float32)}, "boxes must be"),
    ],
)
def test_arrays_that_break_the_contract_are_refused(change: dict[str, Any], message: str) -> None:
    arrays: dict[str, Any] = {"coord": np.zeros((50, 3), np.float32), **change}
    if change.get("coord") is not None:
        arrays = change
    with pytest.raises(ValueError, match=message):
        Scene("a", **arrays)


def test_nan_coordinates_and_flat_boxes_are_not_written(tmp_path: Path) -> None:
    coord = np.ones((4, 3), np.float32)
    coord[2, 1] = np.nan
    with pytest.raises(ValueError, match="1 rows of coord are NaN"):
        write_scene(tmp_path, Scene("a", coord))
    flat = np.array([[0, 0, 0, 1, 0, 1, 0, 0]], np.float32)
    with pytest.raises(ValueError, match="no volume"):
        write_scene(tmp_path, Scene("a", np.ones((4, 3), np.float32), boxes=flat))
    assert list(tmp_path.iterdir()) == []


def test_a_missing_damaged_or_foreign_manifest_is_a_user_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="mm3d prepare"):
        open_dataset(tmp_path)
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(UserError, match="not readable"):
        open_dataset(tmp_path)
    (tmp_path / "manifest.json").write_text('{"version": 99}')
    with pytest.raises(UserError, match="version"):
        open_dataset(tmp_path)


def test_an_unknown_or_empty_split_is_a_user_error(tmp_path: Path) -> None:
    data = open_dataset(dataset(tmp_path, scene()))
    with pytest.raises(UserError, match="no split 'test'"):
        data.scenes("test")
    with pytest.raises(UserError, match="empty"):
        data.scenes("val")


def test_a_changed_byte_is_noticed_when_the_scene_is_first_loaded(tmp_path: Path) -> None:
    data = open_dataset(dataset(tmp_path, scene()))
    path = tmp_path / "a" / "color.npy"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"color\.npy: damaged, or changed"):
        data.load("a")
    content[-1] ^= 1
    path.write_bytes(content)
    assert data.load("a").num_points == 50


def test_a_damaged_record_counts_as_none(tmp_path: Path) -> None:
    write_scene(tmp_path, scene())
    path = tmp_path / "a" / "scene.json"
    path.write_text(path.read_text().replace('"points": 50', '"points": 51'))
    assert read_record(tmp_path, "a") is None


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../x", "/x", "a/b", "a\\b", ".hidden", "a\nb", "x" * 300, "manifest.json"]
)
def test_a_name_that_is_a_path_is_no_scene(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="cannot be the name of a scene"):
        write_scene(tmp_path / "target", scene(name=name))
    root = dataset(tmp_path / "good", scene())
    manifest = json.loads((root / "manifest.json").read_text())
    manifest["scenes"] = {name: manifest["scenes"]["a"]}
    (root / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(UserError, match=r"manifest\.json: damaged"):
        open_dataset(root)


@pytest.mark.parametrize("file", ["../a/coord.npy", "/etc/passwd", "other.npy", "coord"])
def test_a_manifest_names_no_other_files(tmp_path: Path, file: str) -> None:
    root = dataset(tmp_path, scene())
    manifest = json.loads((root / "manifest.json").read_text())
    files = manifest["scenes"]["a"]["files"]
    files[file] = files.pop("coord.npy")
    (root / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(UserError, match=r"manifest\.json: damaged"):
        open_dataset(root)
