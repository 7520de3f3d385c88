"""What is built from several searches gives, on awkward clouds, the same with the kernels as on plain torch."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pointops_scenes import EXAMPLES, batches

from pointops import _native, kpconv_neighbors, random_ball_query, three_nn
from pointops import plan as plans
from pointops.ball_query import ball_query_reference
from pointops.interpolation import interpolation_weights
from pointops.knn import knn_query_reference
from pointops.plan import LevelSpec, PlanSpec, make_plan
from pointops.windows import WindowSpec

SPECS = {
    "point transformer": PlanSpec.point_transformer((1, 2, 3), (3, 5, 5), down=6, inverse=True),
    "pointnet2": PlanSpec.pointnet2((24, 12, 5), (0.2, 0.5, 1.5), (9, 6, 4), up_from=2, skip_origin=True),
    "everything": PlanSpec(
        (
            LevelSpec(neighbors=4, around=(0.4, 7), windows=WindowSpec(0.5, 0.05, 2)),
            LevelSpec(stride=2, extra=1, neighbors=3, down=5, up=3, around=(0.8, 7)),
        ),
        missing="minus_one",
    ),
}


def tensors(value: object) -> list[torch.Tensor]:
    found: list[torch.Tensor] = []
    plans._map(value, lambda tensor: (found.append(tensor), tensor)[1])
    return found


@pytest.mark.parametrize("spec", [SPECS["point transformer"], SPECS["pointnet2"]], ids=["attention", "balls"])
@EXAMPLES
@given(batch=batches(least=0, most=150))
def test_a_whole_plan_is_the_same_on_plain_torch(kernels, threads, spec, batch):
    xyz, offset = batch
    made = make_plan(xyz, offset, spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_native, "library", lambda: None)
        slow = make_plan(xyz, offset, spec)
    for mine, want in zip(tensors(made.levels), tensors(slow.levels), strict=True):
        assert torch.equal(mine, want)


def test_a_plan_of_convolutions_and_windows_is_the_same_on_plain_torch(kernels, generator):
    xyz, offset = torch.rand(300, 3, generator=generator) * 2, torch.tensor([120, 120, 300])
    made = make_plan(xyz, offset, SPECS["everything"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_native, "library", lambda: None)
        slow = make_plan(xyz, offset, SPECS["everything"])
    for mine, want in zip(tensors(made.levels), tensors(slow.levels), strict=True):
        assert torch.equal(mine, want)


@EXAMPLES
@given(data=st.data())
def test_three_sources_and_their_weights(kernels, threads, data):
    scenes = data.draw(st.integers(1, 3))
    (xyz, offset), (query, ends) = data.draw(batches(scenes)), data.draw(batches(scenes))
    rows, weight = three_nn(xyz, offset, query, ends)
    want, distance = knn_query_reference(3, xyz, offset, query, ends)
    assert torch.equal(rows, want)
    assert torch.equal(weight, interpolation_weights(want, distance))
    some = (rows >= 0).any(1)
    torch.testing.assert_close(weight[some].sum(1), torch.ones(int(some.sum())))
    assert not weight[rows < 0].any()


@EXAMPLES
@given(batch=batches(), nsample=st.integers(1, 40), radius=st.sampled_from([0.02, 0.25, 1.0, 1e9]))
def test_neighbors_of_convolutions(kernels, threads, batch, nsample, radius):
    for order in ("nearest", "index"):
        got = kpconv_neighbors(nsample, radius, *batch, order=order)
        want = ball_query_reference(nsample, radius, 0.0, *batch, order=order, padding="minus_one", inclusive=True)[0]
        assert torch.equal(got, want)


@EXAMPLES
@given(data=st.data(), nsample=st.integers(1, 12), radius=st.sampled_from([0.02, 0.25, 2.0]))
def test_random_hits_are_the_first_of_one_shuffle_per_scene(kernels, threads, data, nsample, radius):
    scenes = data.draw(st.integers(1, 2))
    (xyz, offset), (query, ends) = data.draw(batches(scenes)), data.draw(batches(scenes))
    draw = lambda: random_ball_query(  # noqa: E731
        nsample, radius, 0.0, xyz, offset, query, ends, generator=torch.Generator().manual_seed(3)
    )
    rows, distance = draw()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_native, "library", lambda: None)
        want, far = draw()
    assert torch.equal(rows, want)
    assert torch.equal(distance, far)
