"""farthest_point_sampling: the definition, its prefix property, and what small scenes give."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pointops_scenes import EXAMPLES, batches

from pointops import farthest_point_sampling
from pointops.bench.clouds import KINDS, cloud
from pointops.sampling import farthest_point_sampling_reference


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


def test_an_empty_scene_cannot_be_sampled():
    with pytest.raises(ValueError, match="scene 1, which is empty"):
        farthest_point_sampling(torch.rand(3, 3), torch.tensor([3, 3]), torch.tensor([1, 2]))


@pytest.mark.parametrize("kind", ["room", "lattice"])
def test_a_cloud_larger_than_the_caches_agrees(kernels, kind):
    xyz, offset, ends = torch.from_numpy(cloud(kind, 400_000, 6)), torch.tensor([400_000]), torch.tensor([60])
    assert torch.equal(farthest_point_sampling(xyz, offset, ends), farthest_point_sampling_reference(xyz, offset, ends))
