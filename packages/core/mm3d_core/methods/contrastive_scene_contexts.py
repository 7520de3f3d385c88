"""CSC*, Contrastive Scene Contexts: contrast matched points, with negatives from one region around the point at a time.

Source: Hou et al., CVPR 2021, arXiv:2012.09165; values of facebookresearch/ContrastiveSceneContexts. Scan-only
adaptation: two crops of one reconstructed scan instead of two depth frames; the encoder under test instead of a sparse
U-Net; radii in metres whatever the voxel size.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional

from mm3d_core.encoder import Encoder
from mm3d_core.methods.contrastive import Partitions, partitioned_info_nce
from mm3d_core.methods.matches import (
    Level,
    draw_matches,
    ends_of_rows,
    features_at,
    level_channels,
    match_terms,
    projection,
)
from mm3d_core.methods.views import PairViews
from mm3d_core.points import PointBatch
from pointops import scene_slices


class ContrastiveSceneContexts(nn.Module):
    """Contrast of matched points, scene by scene and region by region.

    Args:
        encoder: what is pre-trained.
        views: makes the pair of views.
        width: of the linear projection before the loss; None for none.
        level: the encoder's level that is contrasted, or ``all``, side by side (for several towers).
        partitions: the regions around a point, in the scan's upright frame.
        temperature: divides the similarities.
        max_points: matches drawn in each scene.

    Raises:
        ValueError: a level that the encoder does not have.
    """

    planned_views = ("first", "second")

    def __init__(
        self,
        encoder: Encoder,
        *,
        views: PairViews | None = None,
        width: int | None = 32,
        level: Level = 0,
        partitions: Partitions | None = None,
        temperature: float = 0.4,
        max_points: int | None = 4096,
    ) -> None:
        super().__init__()
        if temperature <= 0:
            raise ValueError(f"temperature must be positive, not {temperature}")
        self.encoder = encoder
        self.views = views or PairViews(crop="camera")
        self.level: Level = level
        self.temperature, self.max_points = temperature, max_points
        self.partitions = partitions or Partitions()
        self.head = projection(level_channels(encoder, level), width)

    def loss(self, views: Mapping[str, PointBatch], generator: Generator) -> dict[str, Tensor]:
        """``loss``; detached: ``pairs_region<p>``, the share of ordered pairs in each region, and the match monitors.

        Raises:
            ValueError: not one match in the whole batch.
        """
        rows = draw_matches(views["first"], views["second"], self.max_points, generator, per_scene=True)
        first, second = (self._features(views[name], r) for name, r in zip(("first", "second"), rows, strict=True))
        if not len(first):
            raise ValueError("views: the batch has no matched points; use a larger overlap or larger crops")
        origin = views["first"].attributes["origin"][rows[0]]
        losses, shares = [], []
        for own in scene_slices(ends_of_rows(views["first"], rows[0])):
            if own.stop > own.start:
                found = partitioned_info_nce(first[own], second[own], origin[own], self.partitions, self.temperature)
                losses.append(found[0])
                shares.append(found[1])
        terms = match_terms(first, second, views)
        terms |= {f"pairs_region{p}": share for p, share in enumerate(torch.stack(shares).mean(0))}
        return {"loss": torch.stack(losses).mean(), **{name: value.detach() for name, value in terms.items()}}

    def after_step(self) -> None:
        """Nothing follows a step."""

    def _features(self, points: PointBatch, rows: Tensor) -> Tensor:
        """(M, width) float32 unit features at ``rows``."""
        feat = features_at(self.encoder(points), self.level, points, rows)
        with torch.autocast(feat.device.type, enabled=False):
            return functional.normalize(self.head(feat.float()), dim=1)
