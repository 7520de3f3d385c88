"""Gradients of whole networks in float32 are those of float64, and the same bits for any number of threads."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from mm3d_backbones.h3dnet import FourTowers
from mm3d_backbones.point_transformer import PointTransformer
from mm3d_backbones.pointnet2 import PointNet2Encoder
from mm3d_backbones.stratified_transformer import StratifiedTransformer
from mm3d_core.points import PointBatch
from pointops.plan import make_plan

POINTS = 32_000
FLOAT32 = 6e-8  # what a number loses by being float32
NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "point_transformer": PointTransformer,
    "stratified_transformer": lambda: StratifiedTransformer(6, 0.04, drop_path=0.0),
    "votenet": lambda: PointNet2Encoder(6),
    "h3dnet": lambda: FourTowers(6, towers=2),
}


def room(points: int) -> PointBatch:
    """A floor and two walls, with colors."""
    random = torch.Generator().manual_seed(0)
    coord = torch.rand(points, 3, generator=random) * torch.tensor([4.0, 4.0, 2.5])
    coord[torch.arange(points), torch.randint(0, 3, (points,), generator=random)] = 0.0
    return PointBatch.single(coord, torch.cat([coord, torch.rand(points, 3, generator=random)], 1))


def planned(points: PointBatch, network: nn.Module) -> PointBatch:
    return points.with_plan(make_plan(points.coord, points.offset, network.plan_spec()))  # pyright: ignore[reportCallIssue]


def gradient(network: nn.Module, points: PointBatch) -> Tensor:
    """All of it, end to end, of a classifier that is to tell the surfaces apart."""
    torch.manual_seed(3)  # of what is dropped at random
    network.train().zero_grad(set_to_none=True)
    finest = network(points)[0]
    surface = (finest.coord == 0).int().argmax(1)
    head = torch.randn(3, finest.feat.shape[1], generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    nn.functional.cross_entropy(finest.feat @ head.to(finest.feat.dtype).T, surface).backward()
    return torch.cat([p.grad.double().flatten() for p in network.parameters() if p.grad is not None])


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_direction_and_length_of_the_gradient_are_those_of_float64(name):
    torch.manual_seed(0)
    network = NETWORKS[name]()
    points = planned(room(POINTS), network)
    found = gradient(copy.deepcopy(network), points)
    wide = PointBatch(points.coord, points.feat.double(), points.offset, points.index, plan=_wide_plan(points.plan))
    want = gradient(copy.deepcopy(network).double(), wide)
    moved = copy.deepcopy(network).double()
    random = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in moved.parameters():
            parameter *= 1 + FLOAT32 * torch.randn(parameter.shape, generator=random, dtype=torch.float64)
    off, least = (((each - want).norm() / want.norm()).item() for each in (found, gradient(moved, wide)))
    cosine, length = (found @ want / (found.norm() * want.norm())).item(), (found.norm() / want.norm()).item()
    # least: kinks of ReLU and maximum move the gradient by as much when weights move by what float32 cannot tell apart
    print(f"{name}: off by {off:.1e} (least {least:.1e}), 1 - cosine {1 - cosine:.1e}, norm by {length - 1:.1e}")
    assert abs(1 - cosine) <= 1e-3
    assert abs(length - 1) <= 1e-3


@pytest.mark.parametrize("name", NETWORKS)
def test_one_and_two_threads_give_the_same_bits(name, monkeypatch):
    from pointops import _native

    torch.manual_seed(0)
    network = NETWORKS[name]()
    points = planned(room(6000), network)
    found = []
    for count in (1, 2):
        monkeypatch.setattr(_native, "threads", lambda count=count: count)
        found.append(gradient(copy.deepcopy(network), points))
    assert torch.equal(*found)


def _wide_plan(plan):
    """The same tables; coordinates and weights in float64."""
    from dataclasses import fields, is_dataclass, replace

    if isinstance(plan, Tensor):
        return plan.double() if plan.is_floating_point() else plan
    if isinstance(plan, tuple) and not hasattr(plan, "_fields"):
        return tuple(_wide_plan(each) for each in plan)
    if isinstance(plan, tuple):
        return type(plan)(*(_wide_plan(each) for each in plan))
    if is_dataclass(plan) and not isinstance(plan, type) and type(plan).__name__ != "PlanSpec":
        return replace(plan, **{f.name: _wide_plan(getattr(plan, f.name)) for f in fields(plan) if f.init})
    return plan
