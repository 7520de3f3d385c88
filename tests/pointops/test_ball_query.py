"""ball_query: strict comparison, row order or nearest, named paddings; the same rows on every back end."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pointops_scenes import EXAMPLES, batches

from pointops import ball_query, random_ball_query
from pointops.ball_query import ball_query_reference


@EXAMPLES
@given(
    data=st.data(),
    nsample=st.integers(1, 40),
    radius=st.sampled_from([1e-30, 0.02, 0.25, 0.5, 2.0, 1e9, 3e17]),
    order=st.sampled_from(["index", "nearest"]),
    padding=st.sampled_from(["first_hit", "minus_one"]),
    inclusive=st.booleans(),
    hollow=st.booleans(),
)
def test_the_kernels_agree_with_the_definition(
    kernels, threads, data, nsample, radius, order, padding, inclusive, hollow
):
    scenes = data.draw(st.integers(1, 2))
    (xyz, offset), (query, ends) = data.draw(batches(scenes)), data.draw(batches(scenes))
    if data.draw(st.booleans()):
        query, ends = xyz, offset
    arguments = (nsample, radius, radius / 2 if hollow else 0.0, xyz, offset, query, ends)
    options = {"order": order, "padding": padding, "inclusive": inclusive}
    got, want = ball_query(*arguments, **options), ball_query_reference(*arguments, **options)
    assert torch.equal(got[0], want[0])
    assert torch.equal(got[1], want[1])


def test_a_lattice_separates_strict_from_inclusive(kernels):
    axis = torch.arange(-4.0, 5)
    lattice = torch.cartesian_prod(axis, axis, axis)
    center = torch.zeros(1, 3)
    count = {}
    for inclusive in (False, True):
        offset, one = torch.tensor([729]), torch.tensor([1])
        idx, _ = ball_query(100, 2.0, 0.0, lattice, offset, center, one, padding="minus_one", inclusive=inclusive)
        count[inclusive] = int((idx >= 0).sum())
    assert count == {False: 27, True: 33}


def test_the_first_hits_in_row_order_are_kept_and_the_first_is_repeated(kernels):
    xyz = torch.tensor([[9.0, 0, 0], [0.3, 0, 0], [0.1, 0, 0], [0.2, 0, 0]])
    center, one = torch.zeros(1, 3), torch.tensor([1])
    assert ball_query(2, 0.5, 0.0, xyz, torch.tensor([4]), center, one)[0].tolist() == [[1, 2]]
    repeated, _ = ball_query(5, 0.5, 0.0, xyz, torch.tensor([4]), center, one, padding="first_hit")
    assert repeated.tolist() == [[1, 2, 3, 1, 1]]
    assert ball_query(2, 0.5, 0.0, xyz, torch.tensor([4]), center, one, order="nearest")[0].tolist() == [[2, 3]]


def test_an_empty_ball_gives_the_first_row_of_its_scene(kernels):
    xyz = torch.tensor([[0.0, 0, 0], [5, 5, 5], [6, 6, 6]])
    queries = (torch.zeros(2, 3), torch.tensor([1, 2]))
    idx, distance = ball_query(2, 0.1, 0.0, xyz, torch.tensor([1, 3]), *queries, padding="first_hit")
    assert idx.tolist() == [[0, 0], [1, 1]]
    assert distance.tolist() == [[0, 0], [1e5, 1e5]]


def test_short_balls_are_filled_with_minus_one_unless_asked_otherwise(kernels):
    xyz, offset = torch.tensor([[0.0, 0, 0], [0.3, 0, 0], [9, 9, 9]]), torch.tensor([3])
    for idx, distance in (
        ball_query(4, 0.5, 0.0, xyz, offset),
        ball_query_reference(4, 0.5, 0.0, xyz, offset),
        random_ball_query(4, 0.5, 0.0, xyz, offset),
    ):
        assert [sorted(row) for row in idx.tolist()] == [[-1, -1, 0, 1], [-1, -1, 0, 1], [-1, -1, -1, 2]]
        assert (distance[idx < 0] == 1e5).all()
        assert (idx[:, 2:] == -1).all()
    alone = torch.tensor([[5.0, 5, 5]]), torch.tensor([1])
    assert ball_query(2, 0.5, 0.0, xyz, offset, *alone)[0].tolist() == [[-1, -1]]


def test_random_hits_are_hits_and_follow_the_generator(generator):
    xyz, offset = torch.rand(300, 3, generator=generator), torch.tensor([100, 300])
    draw = lambda seed: random_ball_query(  # noqa: E731
        8, 0.3, 0.0, xyz, offset, padding="minus_one", generator=torch.Generator().manual_seed(seed)
    )
    idx, distance = draw(1)
    assert torch.equal(idx, draw(1)[0])
    assert not torch.equal(idx, draw(2)[0])
    found = idx >= 0
    true = (xyz[idx.long().clamp_min(0)] - xyz[:, None]).norm(dim=-1)
    assert (true[found] < 0.3).all()
    torch.testing.assert_close(distance[found], true[found])
    counts = ball_query(300, 0.3, 0.0, xyz, offset, padding="minus_one")[0].ge(0).sum(1)
    assert torch.equal(found.sum(1), counts.clamp_max(8))


@pytest.mark.parametrize(
    ("argument", "value"),
    [("max_radius", 0.0), ("max_radius", float("nan")), ("min_radius", -1.0), ("order", "x"), ("padding", "x")],
)
def test_bad_options_are_refused_by_name(argument, value):
    xyz, offset = torch.rand(4, 3), torch.tensor([4])
    arguments = {"nsample": 2, "max_radius": 1.0, "min_radius": 0.0, "xyz": xyz, "offset": offset}
    with pytest.raises(ValueError, match=argument):
        ball_query(**{**arguments, argument: value})
