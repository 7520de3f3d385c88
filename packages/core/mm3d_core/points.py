"""PointBatch: B scenes laid end to end, the currency between loaders, encoders, methods and heads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from pointops import known_counts, known_ends, make_offset, moved_offset


@dataclass(frozen=True)
class PointBatch:
    """N points of B scenes, scene after scene.

    Attributes:
        coord: (N, 3) float32, metres, z up.
        feat: (N, C) float32, what the network reads (C may be 0).
        offset: (B,) int64, cumulative end of each scene; the last entry is N.
        index: (N,) int64, the row of the scene's own input from which each point came.
        attributes: further values per point, (N, ...) each; they follow the points through ``select`` and ``join``
            but no network reads them (``color`` in [0, 1], ``score``, ``normal``, ``match``, ...).
        plan: neighbor tables for exactly these points (``pointops.plan.GeometryPlan``); None: they are searched.

    Raises:
        ValueError: shapes or offsets that contradict each other.
    """

    coord: Tensor
    feat: Tensor
    offset: Tensor
    index: Tensor
    attributes: Mapping[str, Tensor] = field(default_factory=dict)
    plan: Any = None

    def __post_init__(self) -> None:
        points = self.coord.shape[0]
        if self.coord.ndim != 2 or self.coord.shape[1] != 3:
            raise ValueError(f"coord must be (N, 3), not {tuple(self.coord.shape)}")
        if self.feat.ndim != 2:
            raise ValueError(f"feat must be (N, C), not {tuple(self.feat.shape)}")
        for name, value in {"feat": self.feat, "index": self.index, **self.attributes}.items():
            if value.shape[0] != points:
                raise ValueError(f"{name} has {value.shape[0]} rows, coord has {points}")
        if self.offset.ndim != 1 or self.offset.numel() == 0:
            raise ValueError("offset must be (B,) with at least one scene")

    @classmethod
    def single(cls, coord: Tensor, feat: Tensor, attributes: Mapping[str, Tensor] | None = None) -> PointBatch:
        """One scene, whose points are their own input rows."""
        count = coord.shape[0]
        return cls(
            coord,
            feat,
            make_offset([count], coord.device),
            torch.arange(count, device=coord.device),
            dict(attributes or {}),
        )

    @classmethod
    def join(cls, batches: Sequence[PointBatch]) -> PointBatch:
        """Lay batches end to end. Plans are joined when every batch has one, attributes when every batch has them."""
        if not batches:
            raise ValueError("join needs at least one batch")
        counts = [count for batch in batches for count in batch.sizes()]
        common = set(batches[0].attributes).intersection(*(set(b.attributes) for b in batches))
        plans = [b.plan for b in batches]
        return cls(
            coord=torch.cat([b.coord for b in batches]),
            feat=torch.cat([b.feat for b in batches]),
            offset=make_offset(counts, batches[0].coord.device),
            index=torch.cat([b.index for b in batches]),
            attributes={name: torch.cat([b.attributes[name] for b in batches]) for name in sorted(common)},
            plan=None if any(p is None for p in plans) else type(plans[0]).join(plans),
        )

    @property
    def num_points(self) -> int:
        """N, the points of all scenes."""
        return self.coord.shape[0]

    @property
    def num_scenes(self) -> int:
        """B."""
        return self.offset.shape[0]

    def counts(self) -> Tensor:
        """(B,) int64 points per scene."""
        return torch.diff(self.offset, prepend=self.offset.new_zeros(1))

    def sizes(self) -> list[int]:
        """Points per scene as integers; a GPU is asked at most once (:mod:`pointops.offsets`)."""
        return known_counts(self.offset)

    def scenes(self) -> list[slice]:
        """The rows of each scene."""
        ends = known_ends(self.offset)
        return [slice(start, end) for start, end in zip([0, *ends[:-1]], ends, strict=True)]

    def scene_of_point(self) -> Tensor:
        """(N,) int64 scene number of each point."""
        scene = torch.arange(self.num_scenes, device=self.offset.device)
        return scene.repeat_interleave(self.counts(), output_size=self.num_points)

    def split(self) -> list[PointBatch]:
        """The scenes, one batch each (without plans)."""
        return [
            PointBatch(
                self.coord[rows],
                self.feat[rows],
                make_offset([rows.stop - rows.start], self.coord.device),
                self.index[rows],
                {name: value[rows] for name, value in self.attributes.items()},
            )
            for rows in self.scenes()
        ]

    def select(self, rows: Tensor, offset: Tensor) -> PointBatch:
        """The given rows, which must be ordered by scene as ``offset`` (B,) says. The plan does not survive."""
        return PointBatch(
            self.coord[rows],
            self.feat[rows],
            offset,
            self.index[rows],
            {name: value[rows] for name, value in self.attributes.items()},
        )

    def with_feat(self, feat: Tensor) -> PointBatch:
        """The same points with other features; the plan stays, since no point moved."""
        return replace(self, feat=feat)

    def with_attributes(self, **attributes: Tensor) -> PointBatch:
        """The same points with attributes added or replaced."""
        return replace(self, attributes={**self.attributes, **attributes})

    def with_plan(self, plan: Any) -> PointBatch:
        """The same points with a geometry plan made for them."""
        return replace(self, plan=plan)

    def dense(self, value: Tensor | None = None) -> Tensor:
        """``value`` (N, ...), by default ``feat``, as (B, P, ...) when every scene has P points.

        Raises:
            ValueError: the scenes differ in size; padding would let networks read points that do not exist.
        """
        value = self.feat if value is None else value
        counts = self.sizes()
        if len(set(counts)) != 1:
            raise ValueError(f"a dense view needs scenes of equal size, these have {counts} points")
        return value.view(self.num_scenes, counts[0], *value.shape[1:])

    def to(self, device: torch.device | str, non_blocking: bool = False) -> PointBatch:
        """A copy on another device, plan and attributes included."""
        made = self._map(
            lambda t: t.to(device, non_blocking=non_blocking), lambda p: p.to(device, non_blocking=non_blocking)
        )
        return replace(made, offset=moved_offset(self.offset, device, non_blocking))

    def sent_to(self, device: torch.device | str) -> PointBatch:
        """A copy on another device; a GPU is not waited for."""
        return (
            self.pin_memory().to(device, non_blocking=True) if torch.device(device).type == "cuda" else self.to(device)
        )

    def pin_memory(self) -> PointBatch:
        """A copy in page-locked memory (called by torch's DataLoader)."""
        return self._map(lambda t: t.pin_memory(), lambda p: p.pin_memory())

    def _map(self, tensor: Any, plan: Any) -> PointBatch:
        return PointBatch(
            tensor(self.coord),
            tensor(self.feat),
            tensor(self.offset),
            tensor(self.index),
            {name: tensor(value) for name, value in self.attributes.items()},
            None if self.plan is None else plan(self.plan),
        )
