"""What a geometry plan holds: its levels and their tables (:mod:`pointops.plan` makes it)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pointops.windows import WindowSpec


@dataclass(frozen=True)
class LevelSpec:
    """What one level needs. Level 0 is the input itself; every other level samples the level before it.

    Attributes:
        stride: keeps floor(n / stride) + extra of the n points of each scene, at least one of a scene that has any.
        extra: see ``stride`` (Stratified Transformer: 1).
        samples: keeps exactly this many per scene instead; a smaller scene repeats its first point.
        neighbors: k of the self search, this level among itself; 0 for none.
        down: k of the search for this level's points among the level before; 0 for none.
        up: sources per point when the level before is interpolated from this one; 0 for none.
        ball: (radius in metres, nsample): this level's points query the level before, VoteNet's rule; None for none.
        around: (radius in metres, nsample): kernel point convolution's neighbors within this level; None for none.
        around_order: which neighbors are kept when there are too many, see :func:`pointops.kpconv.kpconv_neighbors`.
        windows: pairs for window attention on this level; None for none.
    """

    stride: int = 1
    extra: int = 0
    samples: int | None = None
    neighbors: int = 0
    down: int = 0
    up: int = 0
    ball: tuple[float, int] | None = None
    around: tuple[float, int] | None = None
    around_order: str = "nearest"
    windows: WindowSpec | None = None


@dataclass(frozen=True)
class PlanSpec:
    """All levels, finest first.

    Attributes:
        levels: one LevelSpec each.
        missing: what stands for a neighbor that a small scene does not have: ``first_point`` (the scene's first row
            of that level, as POSTECH's kernels), ``minus_one`` or ``refuse``. Interpolation gives them weight 0.
        inverse: also make the inverse tables, for deterministic parallel backward passes.
        skip_origin: VoteNet's sampling rule, see :func:`pointops.sampling.farthest_point_sampling`.
    """

    levels: tuple[LevelSpec, ...]
    missing: str = "first_point"
    inverse: bool = False
    skip_origin: bool = False

    @classmethod
    def point_transformer(
        cls,
        strides: Sequence[int] = (1, 4, 4, 4, 4),
        neighbors: Sequence[int] = (8, 16, 16, 16, 16),
        down: int = 16,
        up: int = 3,
        **options: Any,
    ) -> PlanSpec:
        """Self search on every level; down and up search between neighboring levels."""
        first = LevelSpec(neighbors=neighbors[0])
        rest = [
            LevelSpec(stride=stride, neighbors=k, down=down, up=up)
            for stride, k in zip(strides[1:], neighbors[1:], strict=True)
        ]
        if strides[0] != 1:
            raise ValueError(f"strides must start with 1, since level 0 is the input; not {strides[0]}")
        return cls((first, *rest), **options)

    @classmethod
    def pointnet2(
        cls,
        samples: Sequence[int] = (2048, 1024, 512, 256),
        radii: Sequence[float] = (0.2, 0.4, 0.8, 1.2),
        nsample: Sequence[int] = (64, 32, 16, 16),
        up_from: int = 3,
        up: int = 3,
        **options: Any,
    ) -> PlanSpec:
        """VoteNet's PointNet++: ball queries downwards, three-NN upwards from level ``up_from`` and those above.

        Level 0 is the input cloud, level 1 the first set abstraction.
        """
        levels = [
            LevelSpec(samples=count, ball=(radius, most), up=up if number >= up_from else 0)
            for number, (count, radius, most) in enumerate(zip(samples, radii, nsample, strict=True), start=1)
        ]
        return cls((LevelSpec(), *levels), **options)
