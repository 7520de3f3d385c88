"""PointBatch: scenes keep their points, and contradictions are refused."""

from __future__ import annotations

import pytest
import torch

from mm3d_core.points import PointBatch


def scene(count: int, seed: int = 0) -> PointBatch:
    generator = torch.Generator().manual_seed(seed)
    coord = torch.rand(count, 3, generator=generator)
    return PointBatch.single(coord, coord.repeat(1, 2), {"color": torch.rand(count, 3, generator=generator)})


def test_joined_scenes_split_into_what_they_were():
    parts = [scene(4, 0), scene(7, 1), scene(2, 2)]
    for before, after in zip(parts, PointBatch.join(parts).split(), strict=True):
        for name in ("coord", "feat", "offset", "index"):
            assert torch.equal(getattr(before, name), getattr(after, name))
        assert torch.equal(before.attributes["color"], after.attributes["color"])


def test_joined_batches_number_their_scenes_through():
    joined = PointBatch.join([PointBatch.join([scene(4), scene(7)]), scene(2)])
    assert joined.offset.tolist() == [4, 11, 13]
    assert joined.counts().tolist() == [4, 7, 2]
    assert joined.scene_of_point().tolist() == [0] * 4 + [1] * 7 + [2] * 2


def test_join_keeps_the_attributes_that_every_batch_has():
    joined = PointBatch.join([scene(3).with_attributes(score=torch.ones(3)), scene(3)])
    assert set(joined.attributes) == {"color"}


def test_selected_points_remember_their_input_rows():
    picked = scene(5).select(torch.tensor([4, 1]), torch.tensor([2]))
    assert picked.index.tolist() == [4, 1]
    assert torch.equal(picked.attributes["color"], scene(5).attributes["color"][[4, 1]])


def test_a_dense_view_of_unequal_scenes_is_refused():
    with pytest.raises(ValueError, match="equal size"):
        PointBatch.join([scene(3), scene(4)]).dense()
    assert PointBatch.join([scene(3), scene(3, 1)]).dense().shape == (2, 3, 6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"coord": torch.zeros(3, 2)}, "coord must be"),
        ({"feat": torch.zeros(4, 1)}, "feat has 4 rows"),
        ({"feat": torch.zeros(3)}, "feat must be"),
        ({"offset": torch.zeros(0, dtype=torch.int64)}, "at least one scene"),
        ({"attributes": {"score": torch.zeros(2)}}, "score has 2 rows"),
    ],
)
def test_contradicting_shapes_are_refused(change, message):
    good = {
        "coord": torch.zeros(3, 3),
        "feat": torch.zeros(3, 1),
        "offset": torch.tensor([3]),
        "index": torch.arange(3),
    }
    with pytest.raises(ValueError, match=message):
        PointBatch(**{**good, **change})
