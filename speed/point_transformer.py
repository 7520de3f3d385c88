"""A training step of our Point Transformer against Pointcept's module on the same point operations.

    python -m speed.point_transformer --points 20000 40000

Both run in one process on one thread and take turns; what counts is the ratio of processor time. Where Pointcept is
installed its own ``PointTransformerSeg50`` runs on this package's ``pointops``; elsewhere the same network in
plain torch (:mod:`speed.point_transformer_peer`). Searches are inside both steps: ours are made once for all blocks.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from mm3d_backbones.point_transformer import PointTransformer
from mm3d_core.points import PointBatch
from pointops.memory import keep_freed_memory
from speed.point_transformer_peer import PeerPointTransformer
from speed.pointops.clouds import room

BAR = 3.5  # how many times less processor time ours must take


def peer() -> tuple[str, nn.Module]:
    """Pointcept's module and its name, or the restatement of it."""
    try:
        from pointcept.models.point_transformer.point_transformer_seg import (  # pyright: ignore[reportMissingImports]
            PointTransformerSeg50,
        )
    except ImportError:
        return "Pointcept's network in plain torch", PeerPointTransformer(6, 13)
    return "Pointcept's PointTransformerSeg50", PointTransformerSeg50(in_channels=6, num_classes=13)


def steps(points: int) -> tuple[str, Callable[[], None], Callable[[], None]]:
    """The peer's name, and one training step (forward, backward) of ours and of the peer's on a room of ``points``."""
    torch.manual_seed(0)
    xyz = torch.from_numpy(room(points, 0))
    feat, offset = torch.cat([xyz, torch.rand(points, 3)], 1), torch.tensor([points])
    ours, head = PointTransformer(), nn.Linear(32, 13)
    name, theirs = peer()
    batch = PointBatch(xyz, feat, offset, torch.arange(points))

    def our_step() -> None:
        _back(head(ours(batch)[0].feat), ours)

    def their_step() -> None:
        _back(theirs({"coord": xyz, "feat": feat, "offset": offset}), theirs)

    return name, our_step, their_step


def measure(points: int, repeats: int = 5) -> tuple[str, float, float]:
    """The peer's name, and median seconds of processor time of a step: ours, the peer's."""
    name, ours, theirs = steps(points)
    seconds: list[list[float]] = [[], []]
    for turn in range(repeats + 1):
        for step, kept in zip((ours, theirs), seconds, strict=True):
            start = time.process_time()
            step()
            if turn:
                kept.append(time.process_time() - start)
    return name, statistics.median(seconds[0]), statistics.median(seconds[1])


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m speed.point_transformer", description=__doc__)
    parser.add_argument("--points", type=int, nargs="+", default=[20_000, 40_000])
    parser.add_argument("--repeats", type=int, default=5, help="of each step, after one that does not count")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    keep_freed_memory()
    print("| points | ours, s | peer | peer, s | ratio | bar |\n|---|---|---|---|---|---|")
    for points in given.points:
        name, ours, theirs = measure(points, given.repeats)
        print(f"| {points:,} | {ours:.2f} | {name} | {theirs:.2f} | {theirs / ours:.2f}x | {BAR}x |", flush=True)
    return 0


def _back(out: Tensor, network: nn.Module) -> None:
    network.zero_grad(set_to_none=True)
    out.square().mean().backward()


if __name__ == "__main__":
    sys.exit(main())
