"""What the rivals that contrast matched points share: drawing matches, and features where the matches are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Generator, Tensor, nn

from mm3d_core.encoder import Encoder
from mm3d_core.methods.monitors import feature_spread, similarities
from mm3d_core.points import PointBatch
from pointops import interpolation, to_device

Level = int | Literal["all"]


def draw_matches(
    first: PointBatch, second: PointBatch, at_most: int | None, generator: Generator, per_scene: bool = False
) -> tuple[Tensor, Tensor]:
    """Rows of matched points in both views, (M,) and (M,) int64 of the whole batch, ordered by scene.

    Args:
        first, second: views with the attribute ``match`` (N,), rows within the other view's scene or -1.
        at_most: of the batch, or, with ``per_scene``, of each scene; drawn without replacement. None: all.
    """
    matches = first.attributes["match"].cpu()  # a GPU is waited for once, not scene by scene
    parts: list[Tensor] = []
    for rows, others in zip(first.scenes(), second.scenes(), strict=True):
        match = matches[rows]
        own = (match >= 0).nonzero().flatten()
        if per_scene:
            own = own[_drawn(len(own), at_most, generator)]
        parts.append(torch.stack([own + rows.start, match[own] + others.start]))
    pairs = torch.cat(parts, dim=1)
    if not per_scene:
        pairs = pairs[:, _drawn(pairs.shape[1], at_most, generator).sort().values]
    own, others = to_device(pairs, first.coord.device)
    return own, others


def ends_of_rows(points: PointBatch, rows: Tensor) -> Tensor:
    """(B,) cumulative ends of ``rows`` (M,), which are ordered by scene."""
    scenes = torch.arange(points.num_scenes, device=rows.device)
    return torch.searchsorted(points.scene_of_point()[rows], scenes, right=True)


def features_at(levels: Sequence[PointBatch], chosen: Level, points: PointBatch, rows: Tensor) -> Tensor:
    """(M, C) features of the chosen level, or of all side by side, at ``rows`` (M,) of the network's input.

    A level of all points is read directly; a coarser one is interpolated from its three nearest points.

    Args:
        levels: what the encoder returned for ``points``.
        rows: ordered by scene.
    """
    wanted = list(levels) if chosen == "all" else [levels[int(chosen)]]
    ends = None if all(level.num_points == points.num_points for level in wanted) else ends_of_rows(points, rows)
    return torch.cat([_features_at(level, points, rows, ends) for level in wanted], dim=1)


def _features_at(level: PointBatch, points: PointBatch, rows: Tensor, ends: Tensor | None) -> Tensor:
    if level.num_points == points.num_points or ends is None:
        return level.feat[rows]
    return interpolation(level.coord, points.coord[rows], level.feat, level.offset, ends)


def projection(channels: int, width: int | None) -> nn.Module:
    """A linear layer from a level's features to ``width``, or nothing for None."""
    return nn.Identity() if width is None else nn.Linear(channels, width)


def level_channels(encoder: Encoder, level: Level) -> int:
    """Width of one level of an encoder, or of all its levels together.

    Raises:
        ValueError: the encoder has no such level.
    """
    channels = encoder.channels
    if level == "all":
        return sum(channels)
    if isinstance(level, str) or not 0 <= level < len(channels):
        raise ValueError(f"level={level}, but the encoder has levels 0 to {len(channels) - 1}")
    return channels[level]


def match_terms(first: Tensor, second: Tensor, views: Mapping[str, PointBatch]) -> dict[str, Tensor]:
    """Monitors of matched features (M, C): mean cosines, spread, how many matches there were, how views were found."""
    terms = {"matches": torch.tensor(float(len(first))), "spread": feature_spread(first)}
    terms["points"] = torch.tensor(float(sum(view.num_points for view in views.values())))
    if len(first):
        terms["similarity"], terms["negative_similarity"] = similarities(first, second)
    tries = next(iter(views.values())).attributes.get("tries")
    if tries is not None and len(tries):
        each = torch.stack([tries[rows][0] for rows in next(iter(views.values())).scenes() if rows.stop > rows.start])
        terms["accepted_views"] = (each > 0).float().mean()
        terms["tries"] = each.mean()
    return terms


def _drawn(count: int, at_most: int | None, generator: Generator) -> Tensor:
    if at_most is None or count <= at_most:
        return torch.arange(count)
    return torch.randperm(count, generator=generator)[:at_most]
