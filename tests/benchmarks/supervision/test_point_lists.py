"""A benchmark's list of labeled points: read from every form, held against the data, and what it leaves labeled."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from benchmarks.small_runs import config, room, write_rooms

from mm3d_benchmarks.datasets.formats.ply import read_ply, stack
from mm3d_benchmarks.datasets.prepare import prepare_dataset
from mm3d_benchmarks.datasets.readers.scannet import read_alignment
from mm3d_benchmarks.loading.crops import RemoveBox
from mm3d_benchmarks.loading.loading import Sampling
from mm3d_benchmarks.runs.configuration import protocol_of
from mm3d_benchmarks.runs.finetune import run_finetune, training_of
from mm3d_benchmarks.supervision.point_lists import ListedPoints
from mm3d_benchmarks.synthetic.generate import generate
from mm3d_core.errors import UserError

LISTED = {"room_0": [7, 3, 880], "room_1": [0, 5], "room_2": [11]}


def write(path: Path, value: dict[str, Any]) -> Path:
    """The value in the form that the name's ending says."""
    if path.suffix == ".json":
        path.write_text(json.dumps(value))
    elif path.suffix == ".npz":
        np.savez(path, **{name: np.array(rows) for name, rows in value.items()})  # pyright: ignore[reportArgumentType]
    elif path.suffix == ".txt":
        path.write_text("".join(f"{name} {' '.join(map(str, rows))}\n" for name, rows in value.items()))
    else:
        torch.save(value, path)
    return path


@pytest.mark.parametrize("name", ["list.json", "list.npz", "list.txt", "list.pth", "points20"])
def test_every_form_is_read(tmp_path: Path, name: str):
    listed = ListedPoints.read(write(tmp_path / name, LISTED))
    assert {scene: rows.tolist() for scene, rows in listed.rows.items()} == {
        scene: sorted(rows) for scene, rows in LISTED.items()
    }


@pytest.mark.parametrize("form", [np.array, torch.tensor, tuple])
def test_rows_that_torch_wrote_may_be_arrays_or_tensors(tmp_path: Path, form: Any):
    written = {scene: form(rows) for scene, rows in LISTED.items()}
    assert ListedPoints.read(write(tmp_path / "points20", written)).rows["room_0"].tolist() == [3, 7, 880]


def test_a_list_of_all_scans_of_scannet_is_read(tmp_path: Path):
    many = {f"scene{number:04d}_00": [number] for number in range(1201)}
    assert len(ListedPoints.read(write(tmp_path / "list.npz", many)).rows) == 1201


class Harmful:
    """Unpickled, it would call a function."""

    def __reduce__(self) -> tuple:
        return print, ("called",)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.json", [1, 2], "holds list"),
        ("a.json", {}, "holds dict"),
        ("a.json", {"room_0": []}, "at least one"),
        ("a.json", {"room_0": [1.5]}, "float64"),
        ("a.json", {"room_0": [[1], [2]]}, "whole numbers"),
        ("a.json", {"room_0": [-1, 4]}, "row -1"),
        ("a.json", {"room_0": "1 2"}, "whole numbers"),
        ("a.json", {"room_0": [2**70]}, "whole numbers"),
        ("a.txt", {"room_0": ["one"]}, "invalid literal"),
        ("a.pth", {0: [1]}, "not the name of a scene"),
        ("a.pth", {"room_0": Harmful()}, "not unpickled"),
        ("a.pth", {"room_0": torch.zeros(2, dtype=torch.bfloat16)}, "room_0"),
    ],
)
def test_what_is_no_list_is_refused_with_the_forms(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, content: Any, message: str
):
    with pytest.raises(UserError, match=rf"protocol\.point_list=.*{name}: .*{message}.*give scene -> rows"):
        ListedPoints.read(write(tmp_path / name, content))
    assert "called" not in capsys.readouterr().out


def test_a_missing_file_and_a_scene_with_two_lines_are_refused(tmp_path: Path):
    for name in ("none.json", "none.npz", "none.txt", "none"):
        with pytest.raises(UserError, match=rf"{name}: cannot be used"):
            ListedPoints.read(tmp_path / name)
    (tmp_path / "twice.txt").write_text("room_0 1\n\nroom_0 2\n")
    with pytest.raises(UserError, match="two lines"):
        ListedPoints.read(tmp_path / "twice.txt")


def test_only_the_listed_points_stay_labeled_whatever_is_drawn(tmp_path: Path):
    listed = ListedPoints.read(write(tmp_path / "list.json", LISTED))
    scene = room("room_0", 0)
    assert scene.segment is not None
    for sampling in (Sampling(), Sampling(num_points=400), Sampling(voxel=0.2, max_points=300, crop=RemoveBox())):
        limited = Sampling(**{**sampling.__dict__, "labels": (listed,)})
        found = limited(scene, np.random.default_rng(1))
        assert found.segment is not None
        kept = found.segment >= 0
        assert set(found.index[kept]) <= set(LISTED["room_0"])
        np.testing.assert_array_equal(found.segment[kept], scene.segment[found.index[kept]])
        assert kept.sum() == np.isin(found.index, LISTED["room_0"]).sum()
        assert found.num_points > 100  # points without a label are still fed


def test_rows_of_the_raw_mesh_are_rows_of_the_prepared_scan(tmp_path: Path):
    """Coordinate, color and label of a row are those of the vertex with that number."""
    generate("scannet", tmp_path / "raw", profile="tiny", quiet=True)
    data = prepare_dataset("scannet", tmp_path / "raw", tmp_path / "data", quiet=True)
    for name in data.scenes("train")[:2]:
        folder = tmp_path / "raw/scans" / name
        vertices, _ = read_ply(folder / f"{name}_vh_clean_2.ply")
        xyz, color = stack(vertices, ("x", "y", "z"), np.float64), stack(vertices, ("red", "green", "blue"), np.uint8)
        alignment = read_alignment(folder / f"{name}.txt")
        assert xyz is not None
        assert alignment is not None
        scene = data.load(name)
        np.testing.assert_allclose(scene.coord, xyz @ alignment[:3, :3].T + alignment[:3, 3], atol=1e-4)
        np.testing.assert_array_equal(scene.color, color)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_rooms(tmp_path_factory.mktemp("rooms"))


def test_a_fine_tuning_follows_the_list_and_records_which_it_was(root: Path, tmp_path: Path):
    path = write(tmp_path / "points20", LISTED)
    run_finetune(config(root, protocol={"point_list": str(path)}), tmp_path / "run")
    recorded = json.loads((tmp_path / "run/metrics.json").read_text())["point_list"]
    assert recorded["file"] == "points20"
    assert len(recorded["sha256"]) == 64


def test_a_list_of_other_scenes_or_another_mesh_stops_before_the_training(root: Path, tmp_path: Path):
    fewer = {name: rows for name, rows in LISTED.items() if name != "room_1"}
    path = write(tmp_path / "list.json", fewer)
    with pytest.raises(UserError, match=r"list\.json: lacks 1 of 3 training scenes, room_1 among them"):
        training_of(config(root, protocol={"point_list": str(path)}))
    (tmp_path / "scenes.txt").write_text("room_2\nroom_0\n")
    chosen = {"point_list": str(path), "scene_list": str(tmp_path / "scenes.txt")}
    assert training_of(config(root, protocol=chosen)).scenes == ["room_2", "room_0"]
    write(path, {**LISTED, "room_1": [3, 900000]})
    with pytest.raises(UserError, match=r"row 900000 of room_1, which has \d+ points; .* from the raw release"):
        training_of(config(root, protocol={"point_list": str(path)}))


def test_a_list_and_a_number_together_are_refused():
    with pytest.raises(UserError, match=r"protocol\.point_list and protocol\.points_per_scene"):
        protocol_of({"protocol": {"point_list": "a.json", "points_per_scene": 20}})
