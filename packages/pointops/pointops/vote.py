"""Votes added up where they point: the accumulators of Hough voting, and of predictions from overlapping crops.

VoteNet itself keeps one vote per seed, in the order of the seeds, and never adds votes up; its clusters are
:func:`pointops.ball_query` around sampled votes. This is for methods that pool votes into rows (proposals, voxels,
points).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from pointops import _dispatch
from pointops.gather import scatter_rows
from pointops.inverse import InverseTable


class Votes(NamedTuple):
    """What :func:`vote_scatter` returns.

    Attributes:
        total: (rows, C) sums of the votes for each row; differentiable.
        weight: (rows,) sums of their weights (their number, without weights); differentiable in the weights.
    """

    total: Tensor
    weight: Tensor

    def mean(self) -> Tensor:
        """(rows, C) weighted means; 0 for a row without votes."""
        blank = self.weight == 0
        return self.total / self.weight.masked_fill(blank, 1).unsqueeze(1)


def vote_scatter(
    vote: Tensor, idx: Tensor, rows: int, weight: Tensor | None = None, *, inverse: InverseTable | None = None
) -> Votes:
    """Add every vote to the row it is for.

    Args:
        vote: (M, C) what each vote says.
        idx: (M,) int32 or int64 row that each vote is for; -1 abstains.
        rows: how many rows there are.
        weight: (M,) how much each vote counts; None for 1.
        inverse: of ``idx`` over ``rows``, see :func:`pointops.gather.gather_rows`.

    Returns:
        :class:`Votes`, added in the order of the votes: the same bits every time. Gradients to ``vote`` and ``weight``.

    Raises:
        ValueError: bad shapes or types, rows out of range (on the CPU), or an inverse of another table.
    """
    _dispatch.check_index(idx, 1)
    _dispatch.check_features("vote", vote, idx.shape[0], None)
    if weight is None:
        counted = torch.ones_like(vote[:, :1])
    else:
        _dispatch.check_features("weight", weight, idx.shape[0])
        counted = weight.to(vote.dtype).unsqueeze(1)
        vote = vote * counted
    both = scatter_rows(torch.cat([vote, counted], 1), idx, rows, inverse=inverse)
    return Votes(both[:, :-1], both[:, -1])
