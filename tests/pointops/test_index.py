"""Index: one set of trees for many calls changes no result, and is refused for other points; nor do rows alone."""

from __future__ import annotations

import copy
import gc

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pointops_scenes import EXAMPLES, batches

from pointops import ball_query, farthest_point_sampling, knn_query
from pointops.index import Index
from speed.pointops.clouds import room

XYZ, OFFSET = torch.from_numpy(room(3000, 4)), torch.tensor([1000, 3000])


@EXAMPLES
@given(data=st.data(), k=st.integers(1, 20))
def test_searches_give_the_same_rows_with_an_index_and_without_distances(kernels, threads, data, k):
    scenes = data.draw(st.integers(1, 3))
    (xyz, offset), (query, ends) = data.draw(batches(scenes)), data.draw(batches(scenes))
    index, new_index = Index(xyz, offset), Index(query, ends)
    calls = [
        lambda **given: knn_query(k, xyz, offset, query, ends, **given),
        lambda **given: ball_query(k, 0.3, 0.0, xyz, offset, query, ends, **given),
    ]
    for call in calls:
        want = call()
        for given_ in ({"index": index}, {"new_index": new_index}, {"index": index, "new_index": new_index}):
            assert all(torch.equal(a, b) for a, b in zip(call(**given_), want, strict=True))
        rows, distance = call(distances=False)
        assert torch.equal(rows, want[0])
        assert distance.shape == (0,)


def test_sampling_gives_the_same_with_an_index_as_without(kernels, threads):
    ends = torch.tensor([300, 700])
    index = Index(XYZ, OFFSET)
    assert torch.equal(
        farthest_point_sampling(XYZ, OFFSET, ends, index=index), farthest_point_sampling(XYZ, OFFSET, ends)
    )


def test_an_index_can_be_used_again_and_freed_in_any_order(kernels):
    first, second = Index(XYZ, OFFSET), Index(XYZ, OFFSET)
    want = knn_query(5, XYZ, OFFSET, index=first)
    del first
    gc.collect()
    for _ in range(3):
        assert torch.equal(knn_query(5, XYZ, OFFSET, index=second, new_index=second)[0], want[0])
    other = copy.deepcopy(second)
    assert torch.equal(knn_query(5, other.xyz, OFFSET, index=other)[0], want[0])


def test_an_index_of_other_points_or_scenes_is_refused(kernels):
    index = Index(XYZ, OFFSET)
    with pytest.raises(ValueError, match=r"^index was made from other"):
        knn_query(3, XYZ.clone(), OFFSET, index=index)
    with pytest.raises(ValueError, match=r"^index was made from other"):
        farthest_point_sampling(XYZ, torch.tensor([3000]), torch.tensor([5]), index=index)
    with pytest.raises(ValueError, match=r"^new_index was made from other"):
        ball_query(3, 0.5, 0.0, XYZ, OFFSET, XYZ[1:], torch.tensor([1000, 2999]), new_index=index)


def test_points_that_cannot_be_indexed_are_refused(kernels):
    with pytest.raises(ValueError, match="xyz must be contiguous"):
        Index(torch.rand(4, 6)[:, ::2], torch.tensor([4]))
    with pytest.raises(ValueError, match="offset"):
        Index(XYZ, torch.tensor([5]))
    with pytest.raises(ValueError, match="xyz holds coordinates that are NaN"):
        Index(torch.full((2, 3), torch.nan), torch.tensor([2])).handle()


def test_without_kernels_an_index_holds_nothing_and_changes_nothing(monkeypatch):
    from pointops import _native

    want = knn_query(4, XYZ, OFFSET)[0]
    monkeypatch.setattr(_native, "library", lambda: None)
    index = Index(XYZ, OFFSET)
    assert index.handle() is None
    assert torch.equal(knn_query(4, XYZ, OFFSET, index=index)[0], want)
