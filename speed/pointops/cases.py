"""The cases, with the bars that the package must hold."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch

from pointops import ball_query, chamfer_nearest, farthest_point_sampling, interpolate, knn_query
from pointops import plan as plans
from pointops.plan import PlanSpec, make_plan
from speed.pointops import peers as peer_work
from speed.pointops.clouds import room
from speed.pointops.timing import interleaved, once

BIG, SMALL = 80_000, 20_000  # Point Transformer's largest scene, VoteNet's scene
GRID = 0.034  # metres: at this cell our rooms keep 80,000 points


@dataclass(frozen=True)
class Row:
    """One line of the table; ``ratio`` is peer over ours, or ours itself where the bar is an upper limit."""

    case: str
    ours: str
    peer: str
    ratio: float | None
    bar: float
    at_most: bool = False

    @property
    def holds(self) -> str:
        """``yes``, ``no`` or ``not measured``."""
        if self.ratio is None:
            return "not measured"
        return "yes" if (self.ratio <= self.bar if self.at_most else self.ratio >= self.bar) else "no"


def knn_cases(peers: dict[str, Any]) -> Iterator[Row]:
    """Self search, search between levels, three nearest."""
    big, sample = _big(), _big()[:SMALL].copy()
    for case, cloud, query, k, bars in (
        ("kNN self 80k, k=16", big, big, 16, {"scipy": 7.0, "pykdtree": 4.0, "torch-cluster": 15.0}),
        ("kNN 20k in 80k, k=16", big, sample, 16, {"scipy": 6.0, "pykdtree": 3.2, "torch-cluster": 12.0}),
        ("3-NN 80k in 20k", sample, big, 3, {"scipy": 3.5, "pykdtree": 2.2, "torch-cluster": 3.0}),
    ):
        x, q = torch.from_numpy(cloud), torch.from_numpy(query)
        q = x if query is cloud else q
        ends, new_ends = torch.tensor([len(cloud)]), torch.tensor([len(query)])
        ours = lambda x=x, q=q, e=ends, n=new_ends, k=k: knn_query(k, x, e, q, n)  # noqa: E731
        yield from _against(case, ours, peer_work.knn(peers, cloud, query, k), bars)


def ball_cases(peers: dict[str, Any]) -> Iterator[Row]:
    """VoteNet's first set abstraction."""
    cloud = _rooms()[0]
    xyz, ends, new_ends = torch.from_numpy(cloud), torch.tensor([SMALL]), torch.tensor([2048])
    centers = xyz[farthest_point_sampling(xyz, ends, new_ends).long()]
    ours = lambda: ball_query(64, 0.2, 0.0, xyz, ends, centers, new_ends, padding="first_hit")  # noqa: E731
    bars = {"scipy": 6.0, "torch-cluster": 5.0, "pykdtree": 3.5}
    yield from _against(
        "ball 2,048 in 20k, r=0.2, row order", ours, peer_work.ball(peers, cloud, centers.numpy(), 0.2, 64), bars
    )


def chamfer_cases(peers: dict[str, Any]) -> Iterator[Row]:
    """Predictions near the target, and predictions collapsed in one place."""
    random = np.random.default_rng(0)
    target, count = room(40_000, 3), 40_000
    matched = (target[random.permutation(count)] + random.normal(0, 0.02, (count, 3))).astype(np.float32)
    collapsed = (random.normal(0, 0.05, (count, 3)) + np.array([3, 2, 1])).astype(np.float32)
    ends = torch.tensor([count])
    for name, cloud, bars in (
        ("matched", matched, {"scipy": 8.0, "pykdtree": 3.5}),
        ("collapsed", collapsed, {"scipy": 10.0, "pykdtree": 1.0}),
    ):
        x, y = torch.from_numpy(target), torch.from_numpy(cloud)
        ours = lambda x=x, y=y: chamfer_nearest(x, ends, y, ends)  # noqa: E731
        yield from _against(f"chamfer 40k, {name}", ours, peer_work.both_ways(peers, target, cloud), bars)


def sampling_cases(peers: dict[str, Any]) -> Iterator[Row]:
    """Sampling at VoteNet's and Point Transformer's sizes, and what a further level costs."""
    first = 0.0
    for case, clouds, count, bars in (
        ("FPS 8 x 20k -> 2,048", _rooms(), 2048, {"torch-quickfps": 2.3, "fpsample": 3.5, "torch-cluster": 150.0}),
        ("FPS 80k -> 20k", [_big()], SMALL, {"torch-quickfps": 4.0, "fpsample": 5.0, "torch-cluster": 500.0}),
    ):
        xyz = torch.from_numpy(np.concatenate(clouds))
        ends = torch.arange(1, len(clouds) + 1) * len(clouds[0])
        new_ends = torch.arange(1, len(clouds) + 1) * count
        work: dict[str, Callable[[], Any]] = {
            "ours": lambda x=xyz, e=ends, n=new_ends: farthest_point_sampling(x, e, n)
        }
        for peer, variants in peer_work.sampling(peers, clouds, count).items():
            work |= {f"{peer} {height}": run for height, run in variants.items()}
        times = interleaved(work)
        first = times["ours"]
        for peer, bar in bars.items():
            best = min((t for name, t in times.items() if name.startswith(peer)), default=None)
            yield Row(case, _ms(first), peer, None if best is None else best / first, bar)
    offset, level = torch.tensor([SMALL]), torch.tensor([SMALL // 4])
    further = interleaved({"prefix": lambda: plans._prefix(offset, level)})["prefix"]
    yield Row(
        "every further FPS level, share of the first", f"{further * 1e6:.0f} us", "-", further / first, 0.02, True
    )


def plan_cases(peers: dict[str, Any]) -> Iterator[Row]:
    """Whole geometry plans."""
    votenet, transformer = PlanSpec.pointnet2(), PlanSpec.point_transformer()
    for case, cloud, spec, work, bars in (
        (
            "plan VoteNet 20k",
            _rooms()[0],
            votenet,
            peer_work.votenet_plan,
            {"fpsample + scipy": 3.5, "torch-cluster": 80.0},
        ),
        (
            "plan Point Transformer 80k",
            _big(),
            transformer,
            peer_work.point_transformer_plan,
            {"fpsample + scipy": 5.0, "torch-cluster": 200.0},
        ),
    ):
        xyz, ends = torch.from_numpy(cloud), torch.tensor([len(cloud)])
        ours = lambda x=xyz, e=ends, s=spec: make_plan(x, e, s)  # noqa: E731
        yield from _against(case, ours, work(peers, cloud), bars)


def interpolation_cases(peers: dict[str, Any]) -> Iterator[Row]:
    """Three-NN interpolation against gather, multiply, sum in eager torch."""
    xyz, ends, new_ends = torch.from_numpy(_big()), torch.tensor([SMALL]), torch.tensor([BIG])
    idx, distance = knn_query(3, xyz[:SMALL].contiguous(), ends, xyz, new_ends)
    weight = torch.nn.functional.normalize(1 / (distance + 1e-8), p=1.0)
    feat, rows = torch.rand(SMALL, 64, generator=torch.Generator().manual_seed(0)), idx.long()
    ours = lambda: interpolate(feat, idx, weight)  # noqa: E731
    eager = {"gather-multiply-sum": lambda: (feat[rows] * weight.unsqueeze(-1)).sum(1)}
    yield from _against("3-NN interpolation 80k from 20k, C=64", ours, eager, {"gather-multiply-sum": 10.0})


def overhead_cases(peers: dict[str, Any]) -> Iterator[Row]:
    """The smallest operation through torch.ops, 64 points."""
    xyz = torch.rand(64, 3, generator=torch.Generator().manual_seed(0))
    offset, new_offset = torch.tensor([64]), torch.tensor([1])
    call = torch.ops.pointops.farthest_point_sampling

    def many() -> None:
        for _ in range(1000):
            call(xyz, offset, new_offset, False)

    microseconds = interleaved({"ours": many})["ours"] * 1e3
    yield Row("smallest op through torch.ops, 64 points, us", f"{microseconds:.1f} us", "-", microseconds, 15.0, True)


def scaling_cases(peers: dict[str, Any]) -> Iterator[Row]:
    """Exponent of the cost in points, 20k to 1M, by least squares in the logarithms; the best of three at each size."""
    sizes = (20_000, 60_000, 200_000, 1_000_000)
    knn, chamfer, fps = [], [], []
    for size in sizes:
        xyz, ends = torch.from_numpy(room(size, 5)), torch.tensor([size])
        other = torch.from_numpy(room(size, 6))
        knn.append(min(once(lambda x=xyz, e=ends: knn_query(16, x, e)) for _ in range(3)))
        chamfer.append(min(once(lambda x=xyz, y=other, e=ends: chamfer_nearest(x, e, y, e)) for _ in range(3)))
        fps.append(min(once(lambda x=xyz, e=ends: farthest_point_sampling(x, e, e // 4)) for _ in range(3)))
    for name, times, bar in (("kNN k=16", knn, 1.1), ("chamfer", chamfer, 1.1), ("FPS N/4", fps, 1.4)):
        slope = float(np.polyfit([math.log(size) for size in sizes], [math.log(t) for t in times], 1)[0])
        yield Row(f"exponent of {name}, 20k to 1M", f"{times[-1] * 1e3:.0f} ms at 1M", "-", slope, bar, True)


def memory_effect() -> str:
    """An eager attention step before and after the memory setting, in a process of its own."""
    done = subprocess.run([sys.executable, "-m", "speed.pointops.memory"], capture_output=True, text=True, check=True)
    return done.stdout.strip()


CASES: tuple[Callable[[dict[str, Any]], Iterator[Row]], ...] = (
    knn_cases,
    ball_cases,
    chamfer_cases,
    sampling_cases,
    plan_cases,
    interpolation_cases,
    overhead_cases,
    scaling_cases,
)


def _against(case: str, ours: Callable[[], Any], others: dict[str, Any], bars: dict[str, float]) -> Iterator[Row]:
    times = interleaved({"ours": ours, **others})
    for peer in [*bars, *(name for name in others if name not in bars)]:
        ratio = times[peer] / times["ours"] if peer in times else None
        yield Row(case, _ms(times["ours"]), peer, ratio, bars.get(peer, 0.0))


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:.2f} ms"


@cache
def _big() -> np.ndarray:
    return room(BIG, 0, GRID)


@cache
def _rooms() -> list[np.ndarray]:
    return [room(SMALL, seed) for seed in range(8)]
