"""A user's own labels and classes: train ids, objects, boxes, splits, and whose data it is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from benchmarks.datasets.scans.made import columns, ply, room

from mm3d_benchmarks.datasets.check import check_prepared
from mm3d_benchmarks.datasets.prepare import prepare_dataset
from mm3d_benchmarks.datasets.readers.base import BrokenSceneError
from mm3d_benchmarks.datasets.readers.folder import facts
from mm3d_benchmarks.datasets.scans.labels import parse_classes, train_ids
from mm3d_benchmarks.viewing.page import view_scene
from mm3d_core.errors import UserError

XYZ, RGB, _ = room(400)
KIND = np.arange(400) // 100  # floor, wall, wall, table
KIND = np.where(KIND == 2, 1, np.where(KIND == 3, 2, KIND))
OBJECT = np.arange(400) // 100


def labelled(path: Path, name: str = "label", values: np.ndarray = KIND) -> None:
    ply(path, [*columns(XYZ, RGB), (name, "int", values), ("instance", "int", OBJECT)])


def test_labels_objects_and_boxes_of_ones_own_classes(tmp_path: Path) -> None:
    for i in range(4):
        labelled(tmp_path / f"in/{i}.ply", "my_kind")
    options = {"classes": ["floor", "wall", "table"], "segment": "my_kind", "validation": 2}
    data = prepare_dataset("folder", tmp_path / "in", tmp_path / "out", options=options, quiet=True)
    assert data.manifest["classes"]["segmentation"] == ["floor", "wall", "table"]
    assert data.manifest["origin"]["kind"] == "user"
    assert data.scenes("val") == ["0", "2"]
    assert data.scenes("train") == ["1", "3"]
    scene = data.load("1")
    np.testing.assert_array_equal(scene.segment, KIND)
    assert scene.boxes is not None
    assert scene.boxes[:, 7].tolist() == [2]  # floor and walls of the made room are flat
    assert check_prepared(tmp_path / "out").problems == []
    assert "table" in check_prepared(tmp_path / "out").text
    assert "wall" in view_scene(tmp_path / "out", "1", tmp_path / "view")[-1].read_text()


def test_folders_named_as_splits_are_splits(tmp_path: Path) -> None:
    for split in ("train", "val"):
        for name in "ab":
            labelled(tmp_path / f"in/{split}/{name}.ply")
    data = prepare_dataset("folder", tmp_path / "in", tmp_path / "out", options={"classes": "[a, b, c]"}, quiet=True)
    assert data.scenes("train") == ["train_a", "train_b"]
    assert data.scenes("val") == ["val_a", "val_b"]


def test_ids_words_and_mappings() -> None:
    pairs = parse_classes("[floor, Wall]")
    assert train_ids(np.array([0, 1, -1, 255, -100]), pairs) == (pytest.approx([0, 1, -1, -1, -1]), [])
    assert train_ids(np.array([0.0, 1.0]), pairs)[0].tolist() == [0, 1]
    ids, said = train_ids(np.array(["wall ", "FLOOR", "lamp", "lamp"]), pairs)
    assert ids.tolist() == [1, 0, -1, -1]
    assert said == ["labels of no class ignored: lamp (2 points); classes= names them"]
    las = parse_classes({2: "ground", 6: "building", 9: "ground"})
    assert facts({2: "ground", 6: "building", 9: "ground"}).segment_classes == ("ground", "building")
    assert train_ids(np.array([2, 6, 9, 1], np.uint8), las)[0].tolist() == [0, 1, 0, -1]


@pytest.mark.parametrize("classes", ["[a, a]", "floor", "{", 3, ["", "b"]])
def test_wrong_classes_are_refused(classes: object) -> None:
    with pytest.raises(UserError, match="classes="):
        parse_classes(classes)


def test_classes_without_labels_name_the_remedy(tmp_path: Path) -> None:
    ply(tmp_path / "in/a.ply", columns(XYZ, RGB))
    with pytest.raises(BrokenSceneError, match=r"a\.ply: no column of labels; name it with segment="):
        prepare_dataset("folder", tmp_path / "in", tmp_path / "out", options={"classes": ["a"]}, quiet=True)
    with pytest.raises(BrokenSceneError, match=r"a\.ply: no column 'kind' for segment=; it has x, y, z"):
        prepare_dataset("folder", tmp_path / "in", tmp_path / "out", options={"segment": "kind"}, quiet=True)


def test_labels_without_classes_are_kept_out_of_an_unlabelled_set(tmp_path: Path) -> None:
    labelled(tmp_path / "in/a.ply")
    data = prepare_dataset("folder", tmp_path / "in", tmp_path / "out", quiet=True)
    assert data.load("a").segment is None
