"""farthest_point_sampling: the definition, its prefix property, and what small scenes give."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pointops_scenes import EXAMPLES, batches

from pointops import Index, _native, continued_sampling, farthest_point_sampling
from pointops._distance import root
from pointops.sampling import _swept, farthest_point_sampling_reference
from speed.pointops.clouds import KINDS, cloud


@EXAMPLES
@given(batch=batches(least=1), share=st.floats(0, 1.3), skip_origin=st.booleans())
def test_the_kernels_agree_with_the_definition(kernels, threads, batch, share, skip_origin):
    xyz, offset = batch
    counts = torch.diff(offset, prepend=torch.zeros(1, dtype=torch.int64))
    ends = (counts * share).long().cumsum(0)
    got = farthest_point_sampling(xyz, offset, ends, skip_origin=skip_origin)
    assert torch.equal(got, farthest_point_sampling_reference(xyz, offset, ends, skip_origin=skip_origin))


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_thousands_of_points_of_every_kind_agree(kernels, kind):
    xyz, offset, ends = torch.from_numpy(cloud(kind, 3000, 2)), torch.tensor([3000]), torch.tensor([800])
    assert torch.equal(farthest_point_sampling(xyz, offset, ends), farthest_point_sampling_reference(xyz, offset, ends))


@pytest.mark.parametrize("kind", ["room", "lattice", "clustered"])
def test_a_smaller_sample_is_the_prefix_and_a_sample_of_the_sample_is_in_order(kernels, kind):
    xyz, offset = torch.from_numpy(cloud(kind, 2000, 3)), torch.tensor([2000])
    most = len(torch.unique(xyz, dim=0))
    large = farthest_point_sampling(xyz, offset, torch.tensor([min(500, most)]))
    small = farthest_point_sampling(xyz, offset, torch.tensor([100]))
    assert torch.equal(large[:100], small)
    again = farthest_point_sampling(xyz[large.long()], torch.tensor([len(large)]), torch.tensor([100]))
    assert again.tolist() == list(range(100))


def test_distances_to_the_sample_never_grow(kernels, generator):
    xyz = torch.rand(400, 3, generator=generator)
    chosen = xyz[farthest_point_sampling(xyz, torch.tensor([400]), torch.tensor([50])).long()]
    gaps = [float((chosen[:j] - chosen[j]).norm(dim=1).min()) for j in range(1, 50)]
    assert gaps == sorted(gaps, reverse=True)


def test_asking_for_more_than_there_is_repeats_the_first_row(kernels):
    xyz = torch.tensor([[9.0, 9, 9], [0, 0, 0], [1, 0, 0], [4, 0, 0]])
    assert farthest_point_sampling(xyz, torch.tensor([1, 4]), torch.tensor([2, 7])).tolist() == [0, 0, 1, 3, 2, 1, 1]


def test_the_origin_rule_leaves_out_points_near_the_origin(kernels):
    xyz = torch.tensor([[1.0, 0, 0], [0.03, 0, 0], [2, 0, 0], [0, 0.01, 0]])
    one, three = torch.tensor([4]), torch.tensor([3])
    assert farthest_point_sampling(xyz, one, three, skip_origin=True).tolist() == [0, 2, 0]
    assert farthest_point_sampling(xyz, one, three).tolist() == [0, 3, 2]
    assert farthest_point_sampling(xyz * 0.001, one, three, skip_origin=True).tolist() == [0, 0, 0]


@EXAMPLES
@given(batch=batches(least=1), share=st.floats(0, 1.3), skip_origin=st.booleans(), seed=st.integers(0, 9))
def test_any_start_and_its_radii_agree_with_the_definition(kernels, threads, batch, share, skip_origin, seed):
    xyz, offset = batch
    counts = torch.diff(offset, prepend=torch.zeros(1, dtype=torch.int64))
    ends = (counts * share).long().cumsum(0)
    drawn = torch.rand(len(counts), generator=torch.Generator().manual_seed(seed))
    start = offset - counts + (drawn * counts).long()
    rows, radii = farthest_point_sampling(xyz, offset, ends, start=start, skip_origin=skip_origin, radii=True)
    want, wanted = _swept(xyz, offset, ends, skip_origin, start)
    assert torch.equal(rows, want)
    assert torch.equal(radii, root(wanted))
    assert torch.equal(farthest_point_sampling(xyz, offset, ends, start=start, skip_origin=skip_origin), rows)


def test_a_sample_from_a_start_is_that_of_the_scene_in_another_order(kernels, generator):
    xyz, offset, ends = torch.rand(300, 3, generator=generator), torch.tensor([100, 300]), torch.tensor([9, 40])
    start = [37, 205]
    order = torch.tensor([37, *range(37), *range(38, 100), 205, *range(100, 205), *range(206, 300)])
    rows = farthest_point_sampling(xyz, offset, ends, start=start)
    assert rows[[0, 9]].tolist() == start
    assert torch.equal(rows.long(), order[farthest_point_sampling(xyz[order], offset, ends).long()])


def test_radii_are_the_gaps_left_at_each_step(kernels, generator):
    xyz, offset, ends = torch.rand(200, 3, generator=generator), torch.tensor([200]), torch.tensor([12])
    rows, radii = farthest_point_sampling(xyz, offset, ends, radii=True)
    assert radii[0].isinf()
    for step in range(1, 12):
        gap = torch.cdist(xyz, xyz[rows[:step].long()]).amin(1).max()
        torch.testing.assert_close(radii[step], gap)
    twice = farthest_point_sampling(torch.zeros(2, 3), torch.tensor([2]), torch.tensor([3]), radii=True)
    assert twice[1].tolist() == [torch.inf, 0, 0]


def test_random_starts_follow_the_generator_and_stay_in_their_scene(kernels):
    xyz, offset, ends = torch.rand(300, 3), torch.tensor([100, 100, 300]), torch.tensor([1, 1, 2])
    draw = lambda seed: farthest_point_sampling(  # noqa: E731
        xyz, offset, ends, start="random", generator=torch.Generator().manual_seed(seed)
    )
    first = torch.stack([draw(seed) for seed in range(40)])
    assert torch.equal(first[3], draw(3))
    assert len(first[:, 0].unique()) > 10
    assert bool((first[:, 0] < 100).all() & (first[:, 1] >= 100).all())


def test_an_index_serves_any_start(kernels, generator):
    xyz, offset, ends = torch.rand(300, 3, generator=generator), torch.tensor([300]), torch.tensor([30])
    plain = farthest_point_sampling(xyz, offset, ends, start=[7])
    assert torch.equal(farthest_point_sampling(xyz, offset, ends, start=[7], index=Index(xyz, offset)), plain)


@pytest.mark.parametrize("start", ["last", [5], [0, 2], [0, 3.5], [-1, 3], [0, 7]])
def test_a_bad_start_is_refused(start):
    with pytest.raises(ValueError, match="start"):
        farthest_point_sampling(torch.rand(7, 3), torch.tensor([3, 7]), torch.tensor([1, 2]), start=start)


def test_an_empty_scene_cannot_be_sampled():
    with pytest.raises(ValueError, match="scene 1, which is empty"):
        farthest_point_sampling(torch.rand(3, 3), torch.tensor([3, 3]), torch.tensor([1, 2]))


@pytest.mark.parametrize("kind", ["room", "lattice"])
def test_a_cloud_larger_than_the_caches_agrees(kernels, kind):
    xyz, offset, ends = torch.from_numpy(cloud(kind, 400_000, 6)), torch.tensor([400_000]), torch.tensor([60])
    assert torch.equal(farthest_point_sampling(xyz, offset, ends), farthest_point_sampling_reference(xyz, offset, ends))


@pytest.mark.parametrize("compiled", [True, False])
def test_sampling_goes_on_as_if_it_had_chosen_the_first_rows_itself(compiled, monkeypatch):
    if not compiled:
        monkeypatch.setattr(_native, "library", lambda: None)
    xyz, offset = torch.rand(300, 3, generator=torch.Generator().manual_seed(0)), torch.tensor([120, 300])
    ends = torch.tensor([40, 90])
    whole = farthest_point_sampling(xyz, offset, ends)
    chosen = torch.cat([whole[:15], whole[40:47]])
    assert torch.equal(continued_sampling(xyz, offset, chosen, torch.tensor([15, 22]), ends), whole)


@pytest.mark.parametrize("compiled", [True, False])
def test_going_on_repeats_count_once_copies_come_last_and_a_small_scene_repeats_its_first_row(compiled, monkeypatch):
    if not compiled:
        monkeypatch.setattr(_native, "library", lambda: None)
    xyz = torch.rand(6, 3, generator=torch.Generator().manual_seed(0))
    xyz[5] = xyz[2]
    ends = torch.tensor([6]), torch.tensor([4]), torch.tensor([9])
    rows = continued_sampling(xyz, ends[0], torch.tensor([2, 4, 2, 2]), ends[1], ends[2]).tolist()
    assert rows[:2] == [2, 4]
    assert sorted(rows[2:5]) == [0, 1, 3]
    assert rows[5:] == [5, 0, 0, 0]


def test_going_on_from_rows_of_another_scene_is_refused():
    xyz, ends = torch.rand(10, 3), torch.tensor([5, 10])
    with pytest.raises(ValueError, match="outside of their scene"):
        continued_sampling(xyz, ends, torch.tensor([7, 1]), torch.tensor([1, 2]), torch.tensor([2, 4]))
