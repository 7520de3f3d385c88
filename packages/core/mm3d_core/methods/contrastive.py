"""Contrastive losses on matched features: InfoNCE, its spatially partitioned form, and the hardest-contrastive loss.

Sources: InfoNCE as in PointContrast (Xie et al., ECCV 2020, arXiv:2007.10985) and MM-3DScene (Xu et al., CVPR 2023,
arXiv:2212.09948, Eq. 5); partitions of Contrastive Scene Contexts (Hou et al., CVPR 2021, arXiv:2012.09165).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Generator, Tensor
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from pointops import to_device

CHUNK = 4096  # rows of a similarity table held at once


@dataclass(frozen=True)
class InfoNCE:
    """Cross-entropy of a similarity table of M matched features against its diagonal.

    Args:
        temperature: divides the similarities. 0.07 in MingyeXu/mm-3dscene, 1 in its paper, 0.4 in PointContrast's
            launch scripts.
        normalize: features are scaled to unit length first (released code) or taken as they are (paper).
        anchor: whose features are the rows of the table, each of which must find its match among all columns:
            ``first`` (for MM-3DScene the student: paper and detection code), ``second`` (segmentation code), or
            ``symmetric``, the mean of both.
        max_points: at most so many matches are drawn per table; None takes all.
        reduction: ``mean`` or ``sum`` over the rows (Eq. 5 of the paper sums).

    Raises:
        ValueError: a temperature or a number of points that is not positive, or an unknown choice.
    """

    temperature: float = 0.07
    normalize: bool = True
    anchor: Literal["first", "second", "symmetric"] = "first"
    max_points: int | None = 4096
    reduction: Literal["mean", "sum"] = "mean"

    def __post_init__(self) -> None:
        if self.temperature <= 0:
            raise ValueError(f"temperature must be positive, not {self.temperature}")
        if self.max_points is not None and self.max_points < 1:
            raise ValueError(f"max_points must be positive or None, not {self.max_points}")
        if self.anchor not in ("first", "second", "symmetric"):
            raise ValueError(f"anchor must be 'first', 'second' or 'symmetric', not {self.anchor!r}")
        if self.reduction not in ("mean", "sum"):
            raise ValueError(f"reduction must be 'mean' or 'sum', not {self.reduction!r}")

    def sample(self, matches: int, generator: Generator) -> Tensor:
        """Rows (M,) int64 of at most ``max_points`` of the ``matches``, drawn without replacement."""
        if self.max_points is None or matches <= self.max_points:
            return torch.arange(matches)
        return torch.randperm(matches, generator=generator)[: self.max_points]

    def __call__(self, first: Tensor, second: Tensor) -> Tensor:
        """The loss of M matches, given as (M, C) and (M, C) features; row i of one matches row i of the other.

        Similarities are made in float32, also under autocast: halves cannot tell the nearest of many negatives apart.
        """
        with torch.autocast(first.device.type, enabled=False):
            return self._loss(first.float(), second.float())

    def _loss(self, first: Tensor, second: Tensor) -> Tensor:
        if self.normalize:
            first, second = functional.normalize(first, dim=1), functional.normalize(second, dim=1)
        if self.anchor == "first":
            total = diagonal_cross_entropy(first, second, self.temperature)
        elif self.anchor == "second":
            total = diagonal_cross_entropy(second, first, self.temperature)
        else:
            both = (diagonal_cross_entropy(a, b, self.temperature) for a, b in ((first, second), (second, first)))
            total = sum(both, first.new_zeros(())) / 2
        return total / len(first) if self.reduction == "mean" else total


def diagonal_cross_entropy(rows: Tensor, columns: Tensor, temperature: float) -> Tensor:
    """Sum over i of -log softmax(rows @ columns.T / temperature)[i, i].

    Tables of more than ``CHUNK`` rows are made in pieces, which are made again for the gradient.
    """
    if len(rows) <= CHUNK:
        return _cross_entropy(rows, columns, torch.arange(len(rows), device=rows.device), temperature)
    total = rows.new_zeros(())
    for start in range(0, len(rows), CHUNK):
        target = torch.arange(start, min(start + CHUNK, len(rows)), device=rows.device)
        part = rows[start : start + CHUNK]
        total = total + _again(_cross_entropy, part, columns, target, temperature)
    return total


def hardest_contrastive(
    first: Tensor,
    second: Tensor,
    candidates: int,
    generator: Generator,
    positive_margin: float = 0.1,
    negative_margin: float = 1.4,
) -> Tensor:
    """PointContrast's other loss: matches closer than a margin, the nearest wrong candidate farther than another.

    Positive term: mean of max(0, |q - k|^2 - positive_margin). Negative term: mean of max(0, negative_margin - d)^2, d
    the distance to the nearest of ``candidates`` drawn features of the other side that is not the match; the mean of
    both sides. Margins of facebookresearch/PointContrast.

    Args:
        first: (M, C) unit features; row i matches row i of ``second`` (M, C). Distances are float32 under autocast too.
    """
    with torch.autocast(first.device.type, enabled=False):
        margins = positive_margin, negative_margin
        return _hardest(first.float(), second.float(), candidates, generator, *margins)


def _hardest(
    first: Tensor,
    second: Tensor,
    candidates: int,
    generator: Generator,
    positive_margin: float,
    negative_margin: float,
) -> Tensor:
    positive = ((first - second).square().sum(1) - positive_margin).clamp_min(0).mean()
    drawn = to_device(torch.randperm(len(first), generator=generator)[:candidates], first.device)
    own = torch.arange(len(first), device=first.device).unsqueeze(1) == drawn
    negative = first.new_zeros(())
    for query, key in ((first, second), (second, first)):
        # expanded by hand: cdist has no finite gradient at zero
        squares = 2 - 2 * query @ key[drawn].T
        distance = squares.clamp_min(1e-12).sqrt().masked_fill(own, torch.inf)
        negative = negative + (negative_margin - distance.amin(1)).clamp_min(0).square().mean() / 2
    return positive + negative


@dataclass(frozen=True)
class Partitions:
    """The regions around a point in which Contrastive Scene Contexts looks for negatives.

    Args:
        radii: bounds of distance in metres: (r1, r2], (r2, r3], ..., beyond the last; nearer pairs are in no region.
        azimuths: equal sectors around the vertical axis.
        elevations: 1, or 2 for below and above.
    """

    radii: tuple[float, ...] = (0.05, 0.5)
    azimuths: int = 1
    elevations: int = 2

    def __post_init__(self) -> None:
        object.__setattr__(self, "radii", tuple(self.radii))
        if not self.radii or list(self.radii) != sorted(self.radii) or self.radii[0] < 0:
            raise ValueError(f"radii must rise from 0 or more, not {self.radii}")
        if self.azimuths < 1 or self.elevations not in (1, 2):
            raise ValueError(f"azimuths={self.azimuths} must be 1 or more, elevations={self.elevations} 1 or 2")

    @property
    def count(self) -> int:
        """P, the number of regions."""
        return len(self.radii) * self.azimuths * self.elevations

    def __call__(self, coord: Tensor, others: Tensor) -> Tensor:
        """(M, K) int64 region of each of ``others`` (K, 3) as seen from ``coord`` (M, 3); -1 for none."""
        vector = others.unsqueeze(0) - coord.unsqueeze(1)
        distance = vector.norm(dim=2)
        shell = torch.stack([distance > radius for radius in self.radii]).sum(0) - 1
        turn = (torch.atan2(vector[..., 1], vector[..., 0]) / (2 * torch.pi)) % 1
        sector = (turn * self.azimuths).long().clamp_max(self.azimuths - 1)
        above = (vector[..., 2] > 0).long() if self.elevations == 2 else torch.zeros_like(sector)
        region = (shell * self.azimuths + sector) * self.elevations + above
        return region.masked_fill(shell < 0, -1)


def partitioned_info_nce(
    first: Tensor, second: Tensor, coord: Tensor, partitions: Partitions, temperature: float
) -> tuple[Tensor, Tensor]:
    """InfoNCE whose negatives come from one region at a time: the mean over regions and matches.

    The match itself stays in every denominator, also of an empty region (whose loss is then 0). Pairs in no region
    are left out; the re-implementation in Pointcept counts them as one more region, which this does not.

    Args:
        first: (M, C) unit features of one scene; row i matches row i of ``second`` (M, C).
        coord: (M, 3) places of the matches in the upright scan frame, metres.

    Returns:
        The loss, and the share of all ordered pairs that each region holds, (P,).
    """
    with torch.autocast(first.device.type, enabled=False):
        return _partitioned_loss(first.float(), second.float(), coord, partitions, temperature)


def _partitioned_loss(
    first: Tensor, second: Tensor, coord: Tensor, partitions: Partitions, temperature: float
) -> tuple[Tensor, Tensor]:
    total, counts = first.new_zeros(()), torch.zeros(partitions.count, device=first.device)
    for start in range(0, len(first), CHUNK // 4):
        rows = slice(start, start + CHUNK // 4)
        region = partitions(coord[rows], coord)
        counts += torch.stack([(region == number).sum() for number in range(partitions.count)])
        total = total + _again(_partitioned, first[rows], second, region, start, partitions.count, temperature)
    pairs = max(1, len(first) * (len(first) - 1))
    return total / (partitions.count * len(first)), counts / pairs


def _again(function: Callable[..., Tensor], *arguments: Any) -> Tensor:
    """The function's value; its intermediates are made again for the gradient (nothing in it is random)."""
    return checkpoint(function, *arguments, use_reentrant=False, preserve_rng_state=False)  # pyright: ignore[reportReturnType]


def _cross_entropy(rows: Tensor, columns: Tensor, target: Tensor, temperature: float) -> Tensor:
    return functional.cross_entropy(rows @ columns.T / temperature, target, reduction="sum")


def _partitioned(rows: Tensor, columns: Tensor, region: Tensor, start: int, regions: int, temperature: float) -> Tensor:
    logits = rows @ columns.T / temperature
    own = torch.arange(len(rows), device=rows.device)
    positive = logits[own, own + start]
    itself = torch.zeros_like(region, dtype=torch.bool)
    itself[own, own + start] = True
    total = rows.new_zeros(())
    for number in range(regions):
        allowed = logits.masked_fill(~((region == number) | itself), -torch.inf)
        total = total + (allowed.logsumexp(1) - positive).sum()
    return total
