"""PointContrast*: the same point seen in two views has the same feature, other points have others.

Source: Xie et al., ECCV 2020, arXiv:2007.10985; values of facebookresearch/PointContrast. Scan-only adaptation: two
crops of one reconstructed scan instead of two depth frames; the encoder under test instead of a sparse U-Net.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional

from mm3d_core.encoder import Encoder
from mm3d_core.methods.contrastive import InfoNCE, hardest_contrastive
from mm3d_core.methods.matches import Level, draw_matches, features_at, level_channels, match_terms, projection
from mm3d_core.methods.views import PairViews
from mm3d_core.points import PointBatch


class PointContrast(nn.Module):
    """Contrast of matched points across two views; negatives are the batch's other matches.

    Args:
        encoder: what is pre-trained.
        views: makes the pair of views.
        width: of the linear projection before the loss (32 in the original); None for none.
        level: the encoder's level that is contrasted (a coarse one is interpolated at the matches), or ``all``, side
            by side (for several towers).
        contrast: the loss; ``max_points`` limits the matches of a batch.
        objective: ``info_nce``, or ``hardest``, the paper's hardest-contrastive loss.
        candidates: drawn features of the other view among which ``hardest`` looks for a negative.

    Raises:
        ValueError: a level that the encoder does not have, or an unknown objective.
    """

    planned_views = ("first", "second")

    def __init__(
        self,
        encoder: Encoder,
        *,
        views: PairViews | None = None,
        width: int | None = 32,
        level: Level = 0,
        contrast: InfoNCE | None = None,
        objective: Literal["info_nce", "hardest"] = "info_nce",
        candidates: int = 256,
    ) -> None:
        super().__init__()
        if objective not in ("info_nce", "hardest"):
            raise ValueError(f"objective must be 'info_nce' or 'hardest', not {objective!r}")
        self.encoder = encoder
        self.views = views or PairViews(crop="camera")
        self.level: Level = level
        self.objective, self.candidates = objective, candidates
        self.contrast = contrast or InfoNCE(temperature=0.4)
        self.head = projection(level_channels(encoder, level), width)

    def loss(self, views: Mapping[str, PointBatch], generator: Generator) -> dict[str, Tensor]:
        """``loss``; detached: ``matches``, ``similarity``, ``negative_similarity``, ``spread``, ``accepted_views``, ...

        Raises:
            ValueError: not one match in the whole batch.
        """
        rows = draw_matches(views["first"], views["second"], self.contrast.max_points, generator)
        first, second = (self._features(views[name], r) for name, r in zip(("first", "second"), rows, strict=True))
        terms = match_terms(first, second, views)
        if not len(first):
            raise ValueError("views: the batch has no matched points; use a larger overlap or larger crops")
        if self.objective == "info_nce":
            loss = self.contrast(first, second)
        else:
            unit = functional.normalize(first, dim=1), functional.normalize(second, dim=1)
            loss = hardest_contrastive(*unit, self.candidates, generator)
        return {"loss": loss, **{name: value.detach() for name, value in terms.items()}}

    def after_step(self) -> None:
        """Nothing follows a step."""

    def _features(self, points: PointBatch, rows: Tensor) -> Tensor:
        """(M, width) float32 projected features at ``rows``."""
        feat = features_at(self.encoder(points), self.level, points, rows)
        with torch.autocast(feat.device.type, enabled=False):
            return self.head(feat.float())
