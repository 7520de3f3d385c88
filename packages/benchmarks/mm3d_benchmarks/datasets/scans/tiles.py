"""Large scans in tiles: which rows of a file belong to which square of the ground, without a copy of the scan."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mm3d_benchmarks.datasets.scans.scan import Reading

PIECE = 2**20  # rows looked at at a time
MOST = 60_000  # tiles of one scan, numbered in 16 bits
FEWEST = 2_000  # points of a tile; smaller ones, at the rim, are left out and counted


@dataclass(frozen=True)
class Tiles:
    """The rows of a scan in the order of their tiles.

    Attributes:
        names: ``x0_y3`` of each tile that is kept, in rising order.
        starts: (tiles + 1,) where each tile's rows begin in ``order``.
        order: (N,) int64 rows, ascending within a tile.
        left_out: points in tiles that are too small.
    """

    names: list[str]
    starts: np.ndarray
    order: np.ndarray
    left_out: int

    def rows(self, name: str) -> np.ndarray:
        """Rows of one tile, ascending."""
        at = self.names.index(name)
        return self.order[self.starts[at] : self.starts[at + 1]]


def cut(reading: Reading, side: float) -> Tiles:
    """Squares of ``side`` metres over the ground, from the scan's minimum corner on.

    Raises:
        ValueError: more than ``MOST`` tiles.
    """
    count = len(reading.kept)
    pieces = [slice(start, min(start + PIECE, count)) for start in range(0, count, PIECE)]
    low, high = np.full(2, np.inf), np.full(2, -np.inf)
    for rows in pieces:
        ground = reading.coord(rows)[reading.kept[rows], :2]
        if len(ground):
            low, high = np.minimum(low, ground.min(axis=0)), np.maximum(high, ground.max(axis=0))
    across = np.floor((high - low) / side).astype(np.int64) + 1
    if across.prod() > MOST:
        raise ValueError(f"tile={side:g} makes {across[0]} x {across[1]} tiles; take larger ones")
    number = np.full(count, MOST + 1, np.uint16)  # rows that are no points come last
    for rows in pieces:
        kept = reading.kept[rows]
        cell = np.minimum(((reading.coord(rows)[kept, :2] - low) / side).astype(np.int64), across - 1)
        number[rows][kept] = cell[:, 0] * across[1] + cell[:, 1]
    order = np.argsort(number, kind="stable")  # a radix sort: 16 bits
    counts = np.bincount(number, minlength=MOST + 2)[: int(across.prod())]
    ends = np.cumsum(counts)
    chosen = np.flatnonzero(counts >= min(FEWEST, counts.max()))
    kept_order = np.concatenate([order[ends[i] - counts[i] : ends[i]] for i in chosen])
    names = [f"x{i // across[1]}_y{i % across[1]}" for i in chosen]
    starts = np.concatenate([[0], np.cumsum(counts[chosen])])
    return Tiles(names, starts, kept_order, int(counts.sum() - counts[chosen].sum()))
