"""Few labels: nested lists by place, the same labels always, and nothing leaks from what was taken away."""

from __future__ import annotations

# pyright: reportArgumentType=false, reportCallIssue=false, reportOptionalSubscript=false
# pyright: reportOptionalOperand=false, reportOptionalMemberAccess=false, reportAttributeAccessIssue=false
import hashlib
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from benchmarks.small_runs import room

from mm3d_benchmarks.datasets.readers.s3dis import facts
from mm3d_benchmarks.loading.labels import detection_targets, object_segments
from mm3d_benchmarks.loading.loading import Sampling
from mm3d_benchmarks.loading.sample import sample_of
from mm3d_benchmarks.supervision.data_efficient import FewBoxes, FewPoints, listed_scenes, place_of, scene_share
from mm3d_core.errors import UserError
from mm3d_core.seeding import derive

SCANS = [f"scene{place:04d}_{visit:02d}" for place in range(60) for visit in range(3)]


def test_shares_have_their_size_and_are_nested():
    lists = [scene_share(SCANS, share) for share in (0.1, 0.2, 0.4, 0.8, 1.0)]
    assert [len(names) for names in lists] == [18, 36, 72, 144, 180]
    for small, large in pairwise(lists):
        assert set(small) <= set(large)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_lists_of_every_seed_are_nested_at_all_shares(seed: int):
    lists = [scene_share(SCANS, share, seed) for share in (0.1, 0.2, 0.4, 0.6, 0.8, 1.0)]
    assert [len(names) for names in lists] == [18, 36, 72, 108, 144, 180]
    for small, large in pairwise(lists):
        assert set(small) <= set(large)


def test_another_list_seed_gives_another_list():
    drawn = {seed: set(scene_share(SCANS, 0.2, seed)) for seed in range(3)}
    assert len({frozenset(names) for names in drawn.values()}) == 3
    assert drawn[0] == set(scene_share(SCANS, 0.2))
    assert len(drawn[0] & drawn[1]) < 24  # 7 of 36 by chance


def test_the_hash_is_the_documented_one():
    """BLAKE2b, 8 bytes, big-endian, less the last bit, of the typed words; written down so that it never moves."""
    words = "str:data_efficient\x1fint:1\x1fstr:scene0007"
    value = int.from_bytes(hashlib.blake2b(words.encode(), digest_size=8).digest(), "big") >> 1
    assert derive("data_efficient", 1, "scene0007") == value
    places = sorted({place_of(name) for name in SCANS}, key=lambda place: derive("data_efficient", 1, place))
    assert scene_share(SCANS, 3 / 180, 1) == [f"{places[0]}_{visit:02d}" for visit in range(3)]
    assert scene_share(["scene0000_00", "scene0001_00", "scene0002_00", "scene0003_00"], 0.5, 0) == [
        "scene0002_00",
        "scene0003_00",
    ]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_visits_of_a_place_stay_together(seed: int):
    chosen = scene_share(SCANS, 0.4, seed)
    counts = {place: sum(place_of(name) == place for name in chosen) for place in {place_of(name) for name in SCANS}}
    assert sum(count not in (0, 3) for count in counts.values()) <= 1


def test_the_order_of_the_list_does_not_matter():
    assert set(scene_share(SCANS[::-1], 0.2)) == set(scene_share(SCANS, 0.2))


def test_one_scene_is_the_least_and_a_foreign_share_is_refused():
    assert len(scene_share(["a", "b"], 0.01)) == 1
    for share in (0, 1.5, -0.1):
        with pytest.raises(UserError, match=r"protocol\.scenes"):
            scene_share(["a"], share)


def test_rooms_are_places_of_their_own():
    assert place_of("Area_1_office_2") == "Area_1_office_2"
    assert place_of("scene0012_01") == "scene0012"


def test_an_official_list_is_followed_or_refused(tmp_path: Path):
    path = tmp_path / "list.txt"
    path.write_text("b\na\n")
    assert listed_scenes(["a", "b", "c"], path) == ["b", "a"]
    path.write_text("z\n")
    with pytest.raises(UserError, match=r"list\.txt: z"):
        listed_scenes(["a"], path)
    with pytest.raises(UserError, match="cannot be read"):
        listed_scenes(["a"], tmp_path / "missing")


def test_a_scene_keeps_the_same_few_labeled_points_and_more_include_fewer():
    scene = room("a", 0, 4000)
    few, more = (set(labeled(FewPoints(count)(sample_of(scene), 4000))) for count in (20, 50))
    assert len(few) == 20
    assert few <= more
    subset = np.arange(0, 4000, 2)
    assert set(labeled(FewPoints(50)(sample_of(scene, subset), 4000))) == more & set(subset.tolist())


def test_another_list_seed_labels_other_points_and_boxes():
    scene = room("a", 0, 4000)
    points = [set(labeled(FewPoints(50, seed)(sample_of(scene), 4000))) for seed in range(3)]
    assert all(len(chosen) == 50 for chosen in points)
    assert len(points[0] & points[1]) < 10
    boxes = [FewBoxes(1, seed)(sample_of(scene), scene.num_points).boxes.tobytes() for seed in range(8)]
    assert len(set(boxes)) > 1
    assert FewBoxes(1, 0)(sample_of(scene), scene.num_points).boxes.tobytes() == boxes[0]


def labeled(sample) -> list[int]:
    return sample.index[sample.segment >= 0].tolist()


def test_voxels_prefer_their_labeled_points():
    scene = room("a", 0, 4000)
    sampling = Sampling(voxel=0.2, labels=(FewPoints(20),))
    shown = set(labeled(sampling(scene, np.random.default_rng(0))))
    assert len(shown) >= 15  # two labeled points may share a voxel; without preference about 4 would be left


def test_objects_without_their_box_do_not_vote():
    scene = room("a", 0)
    sample = FewBoxes(1)(sample_of(scene), scene.num_points)
    labels = detection_targets(sample, objects=object_segments(facts()))
    assert int(labels["box_mask"].sum()) == 1
    ends = sample.coord[labels["vote_mask"].numpy()] + labels["votes"][labels["vote_mask"], 0].numpy()
    assert len(ends) > 50
    assert np.abs(ends - labels["center"][0].numpy()).max() < 0.05
