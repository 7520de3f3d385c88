"""radius_search: every hit and no other, whatever the radius of each query; ragged lists in order."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pointops_scenes import EXAMPLES, batches

from pointops import Index, radius_search, segment_sum
from pointops.radius import radius_search_reference


@EXAMPLES
@given(
    data=st.data(),
    radius=st.sampled_from([0.0, 0.02, 0.5, 1e9]),
    order=st.sampled_from(["index", "nearest"]),
    inclusive=st.booleans(),
)
def test_the_kernels_agree_with_the_definition(kernels, threads, data, radius, order, inclusive):
    scenes = data.draw(st.integers(1, 2))
    (xyz, offset), (query, ends) = data.draw(batches(scenes)), data.draw(batches(scenes))
    radii = radius * torch.rand(len(query), generator=torch.Generator().manual_seed(data.draw(st.integers(0, 9))))
    got = radius_search(radii, xyz, offset, query, ends, order=order, inclusive=inclusive)
    want = radius_search_reference(radii, xyz, offset, query, ends, order=order, inclusive=inclusive)
    for one, other in zip(got, want, strict=True):
        assert torch.equal(one, other)


def test_each_query_has_its_own_radius(kernels):
    xyz = torch.tensor([[0.0, 0, 0], [1, 0, 0], [3, 0, 0], [3, 0, 0]])
    radii = torch.tensor([1.5, 0.5, 0.0, 10.0])
    found = radius_search(radii, xyz, torch.tensor([4]), order="nearest")
    assert found.offset.tolist() == [2, 3, 5, 9]
    assert found.index.tolist() == [0, 1, 1, 2, 3, 2, 3, 1, 0]
    assert found.distance.tolist() == [0, 1, 0, 0, 0, 0, 0, 2, 3]
    assert segment_sum(torch.ones(9, 1), found.offset)[:, 0].tolist() == [2, 1, 2, 4]
    assert torch.equal(radius_search(10.0, xyz, torch.tensor([4])).index, torch.arange(4).repeat(4).int())


def test_the_sphere_itself_is_outside_unless_included(kernels):
    xyz, one = torch.tensor([[0.0, 0, 0], [0.25, 0, 0]]), torch.tensor([2])
    assert radius_search(0.25, xyz, one).offset.tolist() == [1, 2]
    assert radius_search(0.25, xyz, one, inclusive=True).offset.tolist() == [2, 4]


def test_an_index_changes_nothing(generator):
    xyz, offset = torch.rand(500, 3, generator=generator), torch.tensor([200, 500])
    for one, other in zip(
        radius_search(0.2, xyz, offset, index=Index(xyz, offset)), radius_search(0.2, xyz, offset), strict=True
    ):
        assert torch.equal(one, other)


@pytest.mark.parametrize(
    ("argument", "radius"),
    [
        ("radius", -0.1),
        ("radius", float("nan")),
        ("radius", torch.ones(3)),
        ("radius", 1e30),
        ("radius", torch.ones(4, 1)),
    ],
)
def test_bad_radii_are_refused_by_name(argument, radius):
    with pytest.raises(ValueError, match=argument):
        radius_search(radius, torch.rand(4, 3), torch.tensor([4]))


def test_an_unknown_order_is_refused():
    with pytest.raises(ValueError, match="order"):
        radius_search(0.1, torch.rand(4, 3), torch.tensor([4]), order="first")
