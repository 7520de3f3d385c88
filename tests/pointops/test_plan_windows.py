"""Plans with windows: keys are sampled once for all, and joined plans equal the plan of the joined batch."""

from __future__ import annotations

import pytest
import torch

import pointops.plan
from pointops import farthest_point_sampling
from pointops.plan import GeometryPlan, LevelSpec, PlanSpec, make_plan
from pointops.windows import WindowSpec, window_pairs


def spec(stride: int = 8, origin: str = "scene") -> PlanSpec:
    sizes = [WindowSpec(0.2 * 2**level, 0.0125 * 2**level, stride, origin) for level in range(3)]
    rest = [LevelSpec(stride=4, extra=1, down=8, up=3, windows=size) for size in sizes[1:]]
    return PlanSpec((LevelSpec(around=(0.2, 12), windows=sizes[0]), *rest))


def cloud(*sizes: int) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.rand(sum(sizes), 3, generator=torch.Generator().manual_seed(0)), torch.tensor(sizes).cumsum(0)


@pytest.mark.parametrize(("stride", "samplings"), [(8, 1), (4, 1), (2, 2)])
def test_sampled_keys_are_those_of_a_sampling_of_their_own(monkeypatch, stride: int, samplings: int):
    calls = []
    monkeypatch.setattr(
        pointops.plan, "farthest_point_sampling", lambda *a, **k: calls.append(1) or farthest_point_sampling(*a, **k)
    )
    xyz, ends = cloud(90, 41)
    plan = make_plan(xyz, ends, spec(stride))
    assert len(calls) == samplings
    for number, level in enumerate(plan.levels):
        counts = torch.diff(level.offset, prepend=torch.zeros(1).long())
        kept = torch.minimum(counts // stride + 1, counts).cumsum(0)
        sampled = farthest_point_sampling(level.coord, level.offset, kept)
        assert level.windows is not None
        for shifted, pairs in enumerate(level.windows):
            size = 0.2 * 2**number
            alone = window_pairs(level.coord, level.offset, sampled, size, size / 16, shifted=bool(shifted))
            assert torch.equal(pairs.key, alone.key)
            assert torch.equal(pairs.ends, alone.ends)


def test_joined_plans_equal_the_plan_of_the_joined_batch():
    xyz, ends = cloud(90, 41)
    parts = [make_plan(part, torch.tensor([len(part)]), spec()) for part in (xyz[:90], xyz[90:])]
    joined, whole = GeometryPlan.join(parts), make_plan(xyz, ends, spec())
    for ours, alone in zip(joined.levels, whole.levels, strict=True):
        assert ours.windows is not None
        assert alone.windows is not None
        for a, b in zip(ours.windows, alone.windows, strict=True):
            assert all(torch.equal(getattr(a, name), getattr(b, name)) for name in ("ends", "key", "bins"))
    assert joined.levels[0].around is not None
    assert whole.levels[0].around is not None
    assert torch.equal(joined.levels[0].around.index, whole.levels[0].around.index)
    assert torch.equal(joined.to("cpu").levels[1].windows[0].key, whole.levels[1].windows[0].key)  # pyright: ignore


def test_windows_of_the_whole_batch_cannot_be_joined():
    xyz, ends = cloud(50)
    plan = make_plan(xyz, ends, spec(origin="batch"))
    with pytest.raises(ValueError, match="whole batch"):
        GeometryPlan.join([plan, plan])
