"""MSC*, Masked Scene Contrast: contrast two views of a scan, each with other cells hidden, and regress what is hidden.

Source: Wu et al., CVPR 2023, arXiv:2303.14191; values of Pointcept/Pointcept (MIT; nothing copied). Adaptation:
matches are the same point of one voxel grid, not a random one of 8 within 3 cm; the mask token replaces color (and
normal) columns only, since the networks here read coordinates as features too; a normal's loss is 1 - cosine (the
release adds +cosine).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional

from mm3d_core.encoder import Encoder
from mm3d_core.errors import UserError
from mm3d_core.methods.contrastive import InfoNCE
from mm3d_core.methods.matches import Level, draw_matches, features_at, level_channels, match_terms, projection
from mm3d_core.methods.views import PairViews
from mm3d_core.points import PointBatch
from pointops import make_offset

TOKEN_STD = 0.02


@dataclass(frozen=True)
class MaskedPairViews(PairViews):
    """A pair of views with disjoint masks: the attribute ``masked`` (N,) bool of each.

    Args:
        mask_share: of the cells that hold points of either view, this share is masked in the first view and as many
            others in the second; at most one half.
        cell: side of a cell in ``origin`` coordinates, metres.

    Raises:
        ValueError: a share outside (0, 0.5] or a cell that is not positive.
    """

    mask_share: float = 0.4
    cell: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.mask_share <= 0.5:
            raise ValueError(f"mask_share must be in (0, 0.5], not {self.mask_share}: the two masks share no cell")
        if self.cell <= 0:
            raise ValueError(f"cell must be positive metres, not {self.cell}")

    def __call__(self, points: PointBatch, generator: Generator) -> dict[str, PointBatch]:
        """The views ``first`` and ``second``, see :class:`PairViews`.

        Raises:
            UserError: the scan has no colors, which the method regresses.
        """
        if "color" not in points.attributes:
            raise UserError("Masked Scene Contrast regresses colors, but the scan has none; use scans with colors")
        views = super().__call__(points, generator)
        origins = [views[name].attributes["origin"] for name in ("first", "second")]
        masks = cross_masks(origins[0], origins[1], self.mask_share, self.cell, generator)
        return {
            name: views[name].with_attributes(masked=mask)
            for name, mask in zip(("first", "second"), masks, strict=True)
        }


def cross_masks(
    first: Tensor, second: Tensor, share: float, cell: float, generator: Generator
) -> tuple[Tensor, Tensor]:
    """Masks (N,) and (M,) bool of two views (coordinates (N, 3), (M, 3)) by cells; no cell is in both."""
    together = torch.cat([first, second])
    cells = torch.floor((together - together.amin(0)) / cell).long()
    number, owner = torch.unique(cells, dim=0, return_inverse=True)
    order = torch.randperm(len(number), generator=generator)
    count = int(share * len(number) + 1e-6)
    chosen = torch.zeros(2, len(number), dtype=torch.bool)
    chosen[0, order[:count]] = True
    chosen[1, order[count : 2 * count]] = True
    return chosen[0, owner[: len(first)]], chosen[1, owner[len(first) :]]


class MaskedSceneContrast(nn.Module):
    """Contrast of matched points, and regression of the colors (and normals) of masked ones.

    Args:
        encoder: what is pre-trained.
        views: makes the pair of masked views.
        level: the encoder's level that is contrasted and read out, or ``all``, side by side (for several towers).
        width: of a projection before the contrast; None contrasts the features themselves, as the original.
        contrast: the loss; ``max_points`` limits the matches of a batch.
        contrast_weight, color_weight, normal_weight: of the three losses; the last needs the attribute ``normal``.
        mix: probability that neighboring scans of the batch are laid over each other in the first view, never in the
            second. Views that may be mixed cannot have geometry plans.

    Raises:
        ValueError: a level that the encoder does not have, a negative weight, or a network that reads no color.
    """

    columns: Tensor

    def __init__(
        self,
        encoder: Encoder,
        *,
        views: MaskedPairViews | None = None,
        level: Level = 0,
        width: int | None = None,
        contrast: InfoNCE | None = None,
        contrast_weight: float = 1.0,
        color_weight: float = 1.0,
        normal_weight: float = 0.0,
        mix: float = 0.8,
    ) -> None:
        super().__init__()
        if min(contrast_weight, color_weight, normal_weight) < 0 or not 0 <= mix <= 1:
            raise ValueError("contrast_weight, color_weight and normal_weight must not be negative, mix within [0, 1]")
        self.encoder = encoder
        self.views = views or MaskedPairViews()
        self.level: Level = level
        self.mix = mix
        self.weights = {"contrast": contrast_weight, "color": color_weight, "normal": normal_weight}
        self.contrast = contrast or InfoNCE(temperature=0.4, max_points=8192)
        channels = level_channels(encoder, level)
        self.hidden_columns = self.views.layout.color_columns + self.views.layout.columns("normal")
        if not self.hidden_columns:
            raise ValueError(f"views.inputs={tuple(self.views.inputs)} hold no color or normal that could be masked")
        self.register_buffer("columns", torch.tensor(self.hidden_columns), persistent=False)
        self.token = nn.Parameter(torch.randn(len(self.hidden_columns)) * TOKEN_STD)
        self.head = projection(channels, width)
        self.color_head = nn.Linear(channels, 3)
        self.normal_head = nn.Linear(channels, 3) if normal_weight else None

    @property
    def planned_views(self) -> tuple[str, ...]:
        """The views whose points stay as the loader made them."""
        return ("second",) if self.mix else ("first", "second")

    def loss(self, views: Mapping[str, PointBatch], generator: Generator) -> dict[str, Tensor]:
        """``loss``; detached: ``contrast``, ``color``, ``normal`` (before weighting), ``mixed`` and the match monitors.

        Raises:
            ValueError: not one match in the whole batch.
        """
        rows = draw_matches(views["first"], views["second"], self.contrast.max_points, generator)
        if not len(rows[0]):
            raise ValueError("views: the batch has no matched points; use a larger overlap or larger crops")
        mixed = float(torch.rand((), generator=generator)) < self.mix
        shown = {name: self._masked(view) for name, view in views.items()}
        if mixed:
            shown["first"] = overlaid(shown["first"])
        levels = {name: self.encoder(view) for name, view in shown.items()}
        with torch.autocast(self.token.device.type, enabled=False):
            first, second = (
                self.head(features_at(levels[name], self.level, shown[name], r).float())
                for name, r in zip(("first", "second"), rows, strict=True)
            )
            terms = {"contrast": self.contrast(first, second), **self._regress(views, shown, levels)}
        total = sum((self.weights[name] * value for name, value in terms.items()), first.new_zeros(()))
        terms |= {"mixed": torch.tensor(float(mixed)), **match_terms(first, second, views)}
        return {"loss": total, **{name: value.detach() for name, value in terms.items()}}

    def after_step(self) -> None:
        """Nothing follows a step."""

    def _masked(self, view: PointBatch) -> PointBatch:
        """The view as the network sees it: hidden columns of masked points hold the token."""
        blank = view.feat.new_zeros(view.feat.shape[1])
        token = blank.index_put((self.columns,), self.token.to(view.feat))
        hideable = blank.bool().index_fill(0, self.columns, True)
        return view.with_feat(torch.where(view.attributes["masked"].unsqueeze(1) & hideable, token, view.feat))

    def _regress(
        self, views: Mapping[str, PointBatch], shown: Mapping[str, PointBatch], levels: Mapping[str, list[PointBatch]]
    ) -> dict[str, Tensor]:
        """Squared errors of colors, and 1 - cosine of normals, over the masked points of both views."""
        feats, colors, normals = [], [], []
        for name, view in views.items():
            hidden = view.attributes["masked"].nonzero().flatten()
            feats.append(features_at(levels[name], self.level, shown[name], hidden).float())
            colors.append(view.attributes["color"][hidden])
            if self.normal_head is not None:
                normals.append(view.attributes["normal"][hidden])
        feat = torch.cat(feats)
        if not len(feat):
            return {"color": feat.sum()}
        terms = {"color": (self.color_head(feat) - torch.cat(colors)).square().sum(1).mean()}
        if self.normal_head is not None:
            terms["normal"] = (1 - functional.cosine_similarity(self.normal_head(feat), torch.cat(normals))).mean()
        return terms


def overlaid(points: PointBatch) -> PointBatch:
    """Every two neighboring scenes as one, in the same place; a last odd scene stays alone. The plan is dropped."""
    counts = points.sizes()
    pairs = [sum(counts[first : first + 2]) for first in range(0, len(counts), 2)]
    return replace(points, offset=make_offset(pairs, points.coord.device), plan=None)
