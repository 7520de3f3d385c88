"""The generator: same seed, same bytes; visits share a layout; splits share no place; refuses what it cannot do."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from mm3d_benchmarks.datasets.manifest import origin_of
from mm3d_benchmarks.datasets.prepare import prepare_dataset
from mm3d_benchmarks.datasets.readers.s3dis import CLASSES as ROOM_CLASSES
from mm3d_benchmarks.datasets.readers.scannet import nyu40_to_train
from mm3d_benchmarks.datasets.readers.sunrgbd import CLASSES as FRAME_CLASSES
from mm3d_benchmarks.synthetic.generate import generate, make_room
from mm3d_benchmarks.synthetic.rooms.floor_plan import (
    PROFILES,
    area_style,
    frame_rooms,
    is_complete,
    place_kinds,
    room_names,
    scan_names,
)
from mm3d_benchmarks.synthetic.rooms.knobs import Knobs
from mm3d_benchmarks.synthetic.rooms.labels import RAW_TO_NYU40, s3dis_name, sunrgbd_name
from mm3d_benchmarks.synthetic.rooms.shell import Style
from mm3d_benchmarks.synthetic.sensors.handheld import scan_room
from mm3d_benchmarks.synthetic.sensors.scan import LabelledScan
from mm3d_core.errors import UserError


def tree(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


@pytest.mark.parametrize("dataset", ["scannet", "sunrgbd"])
def test_the_same_seed_gives_the_same_bytes(dataset: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    first = request.getfixturevalue(f"raw_{dataset}")
    again = generate(dataset, tmp_path / "again", profile="tiny", workers=2, quiet=True)
    assert tree(again) == tree(first)


def test_data_that_were_generated_under_their_former_names_are_kept(raw_sunrgbd: Path, tmp_path: Path) -> None:
    old = tmp_path / "old"
    shutil.copytree(raw_sunrgbd, old)
    (old / "synthetic.json").rename(old / "embedded.json")
    (old / "synthetic_frames").rename(old / "embedded_frames")
    assert origin_of(old)["kind"] == "synthetic"
    written = {path: path.stat().st_mtime_ns for path in old.rglob("*.mat")}
    generate("sunrgbd", old, profile="tiny", quiet=True)
    assert tree(old) == tree(raw_sunrgbd)
    assert {path: path.stat().st_mtime_ns for path in old.rglob("*.mat")} == written


def test_another_seed_gives_other_rooms(raw_scannet: Path, tmp_path: Path) -> None:
    other = generate("scannet", tmp_path, profile="tiny", seed=1, quiet=True)
    mesh = "scans/scene0000_00/scene0000_00_vh_clean_2.ply"
    assert (other / mesh).read_bytes() != (raw_scannet / mesh).read_bytes()


def test_an_interrupted_generation_goes_on(raw_s3dis: Path, tmp_path: Path) -> None:
    def stop(done: int, total: int) -> None:
        if done == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        generate("s3dis", tmp_path / "out", profile="tiny", progress=stop)
    calls: list[tuple[int, int]] = []
    generate("s3dis", tmp_path / "out", profile="tiny", progress=lambda *c: calls.append(c))
    assert calls[-1] == (6, 6)
    assert tree(tmp_path / "out") == tree(raw_s3dis)


def test_other_settings_and_foreign_folders_are_not_mixed(raw_scannet: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="other settings"):
        generate("scannet", raw_scannet, profile="ci", quiet=True)
    (tmp_path / "mine.txt").write_text("do not touch")
    with pytest.raises(UserError, match="not empty"):
        generate("scannet", tmp_path, profile="tiny", quiet=True)
    with pytest.raises(UserError, match="choose one of"):
        generate("kitti", tmp_path, quiet=True)
    with pytest.raises(UserError, match="profile=huge"):
        generate("scannet", tmp_path, profile="huge", quiet=True)


@pytest.mark.parametrize("profile", list(PROFILES))
def test_splits_go_by_place(profile: str) -> None:
    splits = scan_names(PROFILES[profile], 0)
    places = {split: {place for _, place, _ in scans} for split, scans in splits.items()}
    assert not places["train"] & places["val"]
    assert (len(splits["train"]), len(splits["val"])) == PROFILES[profile].scannet
    frames = frame_rooms(PROFILES[profile], 0)
    halves = {split: {place for place, _, _, s in frames if s == split} for split in ("train", "test")}
    assert not halves["train"] & halves["test"]
    assert sum(split == "train" for _, _, _, split in frames) == PROFILES[profile].sunrgbd[0]


def test_the_default_profile_scans_places_again_and_mixes_kinds() -> None:
    profile = PROFILES["default"]
    scans = scan_names(profile, 0)["train"]
    assert 30 < sum(visit == 1 for _, _, visit in scans) < 70
    kinds = place_kinds(profile, 0)
    assert len(set(kinds)) == 11
    rooms = [kind for area in range(1, 7) for _, kind in room_names(profile, 0, area)]
    assert len(rooms) == 48
    assert rooms.count("office") > 15


def test_a_second_visit_finds_the_same_place_with_a_few_things_moved() -> None:
    first, again = (make_room("scannet", 0, 7, visit, "office", Style(), Knobs())[0] for visit in (0, 1))
    np.testing.assert_array_equal(first.size, again.size)
    fixed = [[(o.label, *o.center.round(6)) for o in room.objects if not o.free] for room in (first, again)]
    assert fixed[0][:8] == fixed[1][:8]  # the shell
    assert first.parts[0].material == again.parts[0].material


def test_test_area_is_a_shift() -> None:
    assert area_style(5, 1).glass > max(area_style(a, 1).glass for a in (1, 2, 3, 4, 6))
    assert area_style(5, 1).beams < min(area_style(a, 1).beams for a in (1, 2, 3, 4, 6))
    assert area_style(5, 1).columns > max(area_style(a, 1).columns for a in (1, 2, 3, 4, 6))


def test_the_knobs_turn() -> None:
    def scan(knobs: Knobs) -> LabelledScan:
        room, (tour, sensor) = make_room("scannet", 0, 3, 0, "bedroom", Style(), knobs)
        return scan_room(room, 0.1, knobs, tour, sensor)

    base = scan(Knobs())
    assert (scan(Knobs(unlabelled=0.6)).owner == -1).mean() > (base.owner == -1).mean() + 0.05
    assert len(scan(Knobs(tour=0.3)).coord) < 0.9 * len(base.coord)


@pytest.mark.slow
def test_every_class_of_the_ci_profile_occurs_in_train_and_val(tmp_path: Path) -> None:
    for dataset in ("scannet", "s3dis"):
        raw = generate(dataset, tmp_path / "raw" / dataset, profile="ci", quiet=True)
        manifest = prepare_dataset(dataset, raw, tmp_path / dataset, quiet=True).manifest
        for split in ("train", "val"):
            assert min(manifest["class_shares"][split].values()) > 0, (dataset, split)
            assert dataset == "s3dis" or min(manifest["box_counts"][split].values()) > 0
    raw = generate("sunrgbd", tmp_path / "raw" / "sunrgbd", profile="ci", quiet=True)
    counts = prepare_dataset("sunrgbd", raw, tmp_path / "sunrgbd", quiet=True).manifest["box_counts"]
    assert min(counts["train"].values()) > 0
    assert sum(n > 0 for n in counts["val"].values()) >= 7


@pytest.mark.slow
def test_every_class_of_the_default_profile_stands_in_rooms_of_train_and_val() -> None:
    profile = PROFILES["default"]
    kinds, train_id = place_kinds(profile, 0), nyu40_to_train()
    for split, scans in scan_names(profile, 0).items():
        rooms = [make_room("scannet", 0, place, visit, kinds[place], Style(), Knobs())[0] for _, place, visit in scans]
        found = {int(train_id[RAW_TO_NYU40.get(o.label, 0)]) for room in rooms for o in room.objects}
        assert found >= set(range(20)), (split, set(range(20)) - found)
    for areas in ((1, 2, 3, 4, 6), (5,)):
        found = set()
        for area in areas:
            for number, (name, kind) in enumerate(room_names(profile, 0, area)):
                style, complete = area_style(area, number), is_complete(profile, name)
                room = make_room("s3dis", 0, area * 1000 + number, 0, kind, style, Knobs(), complete)[0]
                found |= {s3dis_name(o.label) for o in room.objects}
        assert found >= set(ROOM_CLASSES), (areas, set(ROOM_CLASSES) - found)
    for half in ("train", "test"):
        frames = [frame for frame in frame_rooms(profile, 0) if frame[3] == half]
        rooms = [make_room("sunrgbd", 0, place, visit, kind, Style(), Knobs())[0] for place, visit, kind, _ in frames]
        found = {sunrgbd_name(o.label) for room in rooms for o in room.objects}
        assert found >= set(FRAME_CLASSES), (half, set(FRAME_CLASSES) - found)
