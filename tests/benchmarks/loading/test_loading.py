"""Loading: the same batch for the same names, whatever the workers; bad scenes are named."""

from __future__ import annotations

# pyright: reportArgumentType=false, reportCallIssue=false, reportOptionalSubscript=false
# pyright: reportOptionalOperand=false, reportOptionalMemberAccess=false, reportAttributeAccessIssue=false
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from benchmarks.small_runs import room, write_rooms

from mm3d_benchmarks.datasets.readers.s3dis import facts
from mm3d_benchmarks.datasets.scene import PreparedDataset, open_dataset
from mm3d_benchmarks.loading.augment import ChromaticJitter, RandomScale
from mm3d_benchmarks.loading.crops import RemoveBox
from mm3d_benchmarks.loading.labels import detection_targets, object_segments, segmentation_targets
from mm3d_benchmarks.loading.loading import Batch, Sampling, SceneLoader, ScenesToItems
from mm3d_benchmarks.loading.sample import Sample
from mm3d_core.errors import UserError
from mm3d_core.methods.masking import MaskedViews
from pointops.plan import PlanSpec

SAMPLING = Sampling(
    inputs=("coord", "color"),
    augmentation=(RandomScale(), ChromaticJitter()),
    voxel=0.05,
    max_points=500,
    crop=RemoveBox(fallback=200),
)
PLAN = PlanSpec.point_transformer(strides=(1, 4), neighbors=(4, 4), down=4)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> PreparedDataset:
    return open_dataset(write_rooms(tmp_path_factory.mktemp("rooms"), train=5))


def loader(data: PreparedDataset, items: ScenesToItems | None = None, **options) -> SceneLoader:
    items = items or ScenesToItems(SAMPLING, targets=segmentation_targets, plan=PLAN)
    return SceneLoader(data, data.scenes("train"), items, **{"batch": 2, "seed": 7, **options})


def assert_same(first: Batch, second: Batch) -> None:
    assert first.names == second.names
    for name, view in first.views.items():
        other = second.views[name]
        assert torch.equal(view.coord, other.coord)
        assert torch.equal(view.feat, other.feat)
        assert torch.equal(view.index, other.index)
        if view.plan is not None:
            assert torch.equal(view.plan.levels[1].index, other.plan.levels[1].index)
    for name, value in first.labels.items():
        assert torch.equal(value, second.labels[name])


@pytest.mark.parametrize("workers", [1, 2])
def test_the_number_of_workers_changes_no_bit(data: PreparedDataset, workers: int):
    alone = list(loader(data).stream(0, 5))
    for first, second in zip(alone, loader(data, workers=workers).stream(0, 5), strict=True):
        assert_same(first, second)


def test_a_stream_can_start_at_any_step(data: PreparedDataset):
    whole = list(loader(data).stream(0, 6))
    for first, second in zip(whole[4:], loader(data).stream(4, 6), strict=True):
        assert_same(first, second)


def test_the_global_generators_are_neither_read_nor_moved(data: PreparedDataset):
    torch.manual_seed(1)
    np.random.seed(1)
    first = next(loader(data).stream(0, 1))
    assert torch.rand(1).item() == torch.rand(1, generator=torch.Generator().manual_seed(1)).item()
    torch.manual_seed(2)
    np.random.seed(2)
    assert_same(first, next(loader(data).stream(0, 1)))


def test_epochs_and_seeds_see_other_samples(data: PreparedDataset):
    one = loader(data, batch=5, drop_last=False)
    first, second = list(one.stream(0, 2))
    assert sorted(first.names) == sorted(second.names) == sorted(data.scenes("train"))
    assert not torch.equal(first.points.coord[:10], second.points.coord[:10])
    other = next(loader(data, batch=5, drop_last=False, seed=8).stream(0, 1))
    assert not torch.equal(first.points.coord[:10], other.points.coord[:10])


def test_an_epoch_shows_every_scene_loop_times(data: PreparedDataset):
    looped = loader(data, loop=4, batch=4)
    names = [name for batch in looped.stream(0, looped.steps_per_epoch) for name in batch.names]
    assert looped.steps_per_epoch == 5
    assert all(names.count(name) == 4 for name in data.scenes("train"))


def test_an_incomplete_batch_is_dropped_or_kept(data: PreparedDataset):
    assert loader(data).steps_per_epoch == 2
    kept = loader(data, drop_last=False)
    assert [len(batch.names) for batch in kept.stream(0, kept.steps_per_epoch)] == [2, 2, 1]


def test_a_batch_larger_than_the_data_repeats_scenes_with_other_samples(data: PreparedDataset):
    batch = next(SceneLoader(data, ["room_0"], ScenesToItems(SAMPLING), batch=3, seed=0).stream(0, 1))
    assert batch.names == ["room_0"] * 3
    first, second, _ = batch.points.split()
    assert first.num_points != second.num_points or not torch.equal(first.coord, second.coord)


def test_processes_and_micro_batches_share_a_batch_without_overlap(data: PreparedDataset):
    whole = [key for keys in loader(data, batch=4).keys(0) for key in keys]
    parts = [loader(data, batch=4, accumulation=2, rank=rank, world_size=2).keys(0) for rank in (0, 1)]
    assert sorted(key for part in parts for keys in part for key in keys) == sorted(whole)
    assert [len(part) for part in parts] == [2, 2]


def test_a_batch_that_cannot_be_shared_out_is_refused(data: PreparedDataset):
    with pytest.raises(UserError, match="batch=3"):
        loader(data, batch=3, world_size=2)


def test_scenes_beyond_the_point_limit_are_left_out_but_one_always_stays(data: PreparedDataset):
    assert len(next(loader(data, batch=4, max_batch_points=1100).stream(0, 1)).names) == 2
    assert len(next(loader(data, batch=4, max_batch_points=1).stream(0, 1)).names) == 1


def test_mixed_scenes_are_laid_over_each_other_with_their_labels_and_a_plan_of_both(data: PreparedDataset):
    alone = next(loader(data, batch=4).stream(0, 1))
    mixed = next(loader(data, batch=4, mix=1.0).stream(0, 1))
    assert mixed.points.num_scenes == 2
    assert mixed.names == ["+".join(alone.names[:2]), "+".join(alone.names[2:])]
    assert torch.equal(mixed.points.coord, alone.points.coord)
    assert torch.equal(mixed.labels["segment"], alone.labels["segment"])
    assert mixed.points.plan.levels[0].offset.tolist() == mixed.points.offset.tolist()
    for workers in (0, 1):
        some = [len(batch.names) for batch in loader(data, batch=2, mix=0.5, workers=workers).stream(0, 12)]
        assert 2 < some.count(1) < 10


def test_views_are_made_per_scene_and_joined_with_their_plans(data: PreparedDataset):
    items = ScenesToItems(SAMPLING, views=MaskedViews(keep_ratio=(0.5, 0.6)), plan=PLAN, planned_views=("student",))
    batch = next(loader(data, items).stream(0, 1))
    assert set(batch.views) == {"student", "target"}
    assert batch.views["student"].num_scenes == 2
    assert batch.views["student"].plan.levels[0].coord.shape[0] == batch.views["student"].num_points
    assert batch.views["target"].plan is None


def test_labels_follow_their_points(data: PreparedDataset):
    batch = next(loader(data).stream(0, 1))
    for name, points, rows in zip(batch.names, batch.points.split(), batch.points.scenes(), strict=True):
        expected = data.load(name).segment
        assert expected is not None
        assert batch.labels["segment"][rows].tolist() == expected[points.index.numpy()].tolist()


def test_detection_batches_are_dense_and_their_votes_end_in_box_centers(data: PreparedDataset):
    targets = partial(detection_targets, objects=object_segments(facts()))
    sampling = Sampling(inputs=("color_votenet", "height"), num_points=600, shift=False)
    batch = next(loader(data, ScenesToItems(sampling, targets)).stream(0, 1))
    assert batch.points.dense().shape == (2, 600, 4)
    assert batch.labels["center"].shape == (2, 64, 3)
    assert batch.labels["box_mask"].sum(1).tolist() == [2, 2]
    ends = batch.points.coord + batch.labels["votes"][:, 0]
    for rows, centers in zip(batch.points.scenes(), batch.labels["center"], strict=True):
        voting = batch.labels["vote_mask"][rows]
        distance = torch.cdist(ends[rows][voting], centers[:2]).amin(1)
        assert int(voting.sum()) > 50
        assert float(distance.max()) < 0.1  # hulls of the sampled points are slightly smaller than the boxes


def test_a_scene_too_small_for_the_network_is_named(data: PreparedDataset):
    items = ScenesToItems(
        Sampling(voxel=2.0), plan=PlanSpec.point_transformer(strides=(1, 4), neighbors=(40, 4), missing="refuse")
    )
    for workers in (0, 1):
        with pytest.raises(UserError, match=r"^scene (room|held)_\d .*points sampled"):
            next(loader(data, items, workers=workers).stream(0, 1))


@pytest.mark.parametrize("workers", [0, 1])
def test_a_batch_without_points_is_never_made(data: PreparedDataset, workers: int):
    items = ScenesToItems(Sampling(crop=nothing))
    with pytest.raises(UserError, match=r"scene room_\d: no point is left after sampling"):
        next(loader(data, items, workers=workers).stream(0, 1))


def nothing(sample: Sample, _: np.random.Generator) -> Sample:
    return sample.take(np.zeros(0, int))


def test_a_missing_attribute_is_named(data: PreparedDataset):
    with pytest.raises(UserError, match="no normal"):
        next(loader(data, ScenesToItems(Sampling(inputs=("normal",)))).stream(0, 1))


def test_a_damaged_file_is_named_from_a_worker(tmp_path: Path):
    broken = open_dataset(write_rooms(tmp_path))
    (tmp_path / "room_1/coord.npy").write_bytes(b"\x93NUMPY")
    with pytest.raises(UserError, match=r"room_1/coord\.npy"):
        list(loader(broken, workers=1).stream(0, 3))


def test_height_is_measured_before_sampling_from_the_lowest_hundredth():
    scene = room("a", 0, points=4000)
    sample = Sampling(inputs=("height",), num_points=100)(scene, np.random.default_rng(0))
    floor = np.percentile(scene.coord[:, 2], 0.99)
    np.testing.assert_allclose(sample.height, scene.coord[sample.index, 2] - floor, atol=1e-6)


def test_points_are_repeated_only_when_a_scene_has_too_few():
    scene = room("a", 0, points=400)
    few = Sampling(num_points=300)(scene, np.random.default_rng(0))
    many = Sampling(num_points=500)(scene, np.random.default_rng(0))
    assert len(set(few.index.tolist())) == 300
    assert len(many.index) == 500


def test_one_scene_is_in_memory_at_a_time(data: PreparedDataset, monkeypatch: pytest.MonkeyPatch):
    import weakref

    alive: list[weakref.ref] = []
    most = 0
    original = PreparedDataset.load

    def load(self, name: str, memory_map: bool = True):
        nonlocal most
        most = max(most, sum(reference() is not None for reference in alive))
        scene = original(self, name, memory_map)
        assert isinstance(scene.coord, np.memmap)
        alive.append(weakref.ref(scene))
        return scene

    monkeypatch.setattr(PreparedDataset, "load", load)
    for _ in loader(data, batch=4).stream(0, 2):
        pass
    assert len(alive) == 8
    assert most == 0  # the scene before was gone when the next one came
