"""Sonata*, self-distillation that takes no geometric shortcut, on scans alone.

A student that sees small parts of a scan, or large ones with most cells hidden, says to which prototypes its points
belong; its own slow average, which sees large parts whole, says it too; they have to agree. Every view has been moved
and recolored on its own, hidden points are jittered, and features come from the coarse levels on the way down, whose
points are far apart: so agreement cannot be read off from where a point lies.

Source: Wu et al., CVPR 2025, arXiv:2503.16429; losses and values of Pointcept/Pointcept,
pointcept/models/sonata/sonata_v1m1_base.py and configs/sonata/pretrain-sonata-v1m1-0-base.py (MIT; nothing copied).
Adaptation: any encoder takes the place of Point Transformer V3's variant (its batch norms use the batch's statistics in
the teacher too); one token replaces the features of hidden points at the input (there behind a linear layer); coarse
features reach finer points from the nearest coarse point (there from the voxel that pooled them); of the schedules only
the rise of the teacher's temperature is kept, in steps, and the momentum is constant (there it rises to 1).

    scan -> local views, masked views -> student -> levels -> up-cast -> prototypes ----------------+-> cross-entropy
         -> global views --------------> teacher -> levels -> up-cast -> prototypes -> Sinkhorn-Knopp -+
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from mm3d_core.encoder import Encoder
from mm3d_core.features import FeatureLayout
from mm3d_core.methods.distillation import Teacher
from mm3d_core.methods.monitors import feature_spread
from mm3d_core.methods.self_distillation.prototypes import Prototypes, sinkhorn_knopp
from mm3d_core.methods.self_distillation.views import GLOBALS, DistillationViews
from mm3d_core.points import PointBatch
from pointops import gather_rows, knn_query, segment_mean, to_device

ORIGIN = "origin"


class StillTeacher(Teacher):
    """A teacher in evaluation mode (no dropped paths, no shuffled orders), but normalized by the batch in training."""

    def train(self, mode: bool = True) -> StillTeacher:
        """Follows the student's mode in its batch norms only."""
        super().train(False)
        for module in self.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.train(mode and self.mode == "train")
        return self


class Sonata(nn.Module):
    """The method on any encoder; it uses the levels on the way down, see :func:`levels_down`.

    Args:
        encoder: the student.
        views: makes the views of a scan in loader workers.
        head: options of :class:`Prototypes`; there is one for hidden points and one for small views.
        up_cast: the features of so many coarser levels are laid beside those of the level that is compared.
        momentum: of the teacher, see :class:`mm3d_core.methods.distillation.Teacher`.
        student_temperature: of the student's softmax.
        teacher_temperature: of the teacher's assignment, at the start and after ``warmup_steps``.
        warmup_steps: optimizer steps in which it rises linearly.
        iterations: of Sinkhorn and Knopp.
        match_radius: a student's point is compared with the teacher's nearest one within this distance in the scan,
            metres.
        max_matches: of each loss, drawn at random; None: all. Ours, since memory grows with it times the prototypes.
        masked_weight, crossed_weight, local_weight: of the losses of a masked view with its own large view, with the
            other large view, and of small views with the first large one.

    Raises:
        ValueError: an encoder of one level only (see ``up_cast``), or values that make no sense.
    """

    step: Tensor

    def __init__(
        self,
        encoder: Encoder,
        *,
        views: DistillationViews | None = None,
        head: Mapping[str, Any] | None = None,
        up_cast: int = 2,
        momentum: float = 0.994,
        student_temperature: float = 0.1,
        teacher_temperature: Sequence[float] = (0.04, 0.07),
        warmup_steps: int = 500,
        iterations: int = 3,
        match_radius: float = 0.32,
        max_matches: int | None = None,
        masked_weight: float = 0.25,
        crossed_weight: float = 0.25,
        local_weight: float = 0.5,
    ) -> None:
        super().__init__()
        _check_values(up_cast, student_temperature, teacher_temperature, match_radius)
        weights = {"masked": masked_weight, "crossed": crossed_weight, "local": local_weight}
        if min(weights.values()) < 0 or not any(weights.values()):
            raise ValueError(
                f"masked_weight, crossed_weight and local_weight must not be negative, nor all 0: {weights}"
            )
        self.encoder = encoder
        self.views = views or DistillationViews()
        self.weights = weights
        self.student_temperature, self.iterations, self.match_radius = student_temperature, iterations, match_radius
        self.teacher_temperature = (float(teacher_temperature[0]), float(teacher_temperature[1]))
        self.warmup_steps, self.max_matches = warmup_steps, max_matches
        channels = down_channels(encoder)
        self.up_cast = min(up_cast, len(channels) - 1)
        width = sum(channels[-1 - self.up_cast :])
        self.heads = nn.ModuleDict({name: Prototypes(width, **dict(head or {})) for name in ("hidden", "local")})
        self.token = nn.Parameter(torch.zeros(FeatureLayout(self.views.inputs).width))
        self.teacher = StillTeacher(encoder, momentum=momentum)
        self.teacher_heads = StillTeacher(self.heads, momentum=momentum)
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))

    @property
    def planned_views(self) -> tuple[str, ...]:
        """The views that a network reads: all of them."""
        return self.views.names

    def loss(self, views: Mapping[str, PointBatch], generator: Generator) -> dict[str, Tensor]:
        """``loss``; detached: ``masked``, ``crossed`` and ``local`` (before weighting), ``matched`` (share of the
        student's points that found a partner), ``used`` (prototypes in use, by the entropy of their mean weight) and
        the ``spread`` of student and teacher.
        """
        with torch.no_grad():
            wholes = [self._compared(self.teacher.network, views[f"global_{number}"]) for number in range(GLOBALS)]
        hidden = self._student([self._masked(views[f"masked_{number}"]) for number in range(GLOBALS)])
        small = self._student([views[f"local_{number}"] for number in range(self.views.locals)])
        pairs = {
            "masked": (hidden, PointBatch.join(wholes), "hidden"),
            "crossed": (hidden, PointBatch.join(wholes[::-1]), "hidden"),
            "local": (small, PointBatch.join(wholes[:1] * self.views.locals), "local"),
        }
        terms, shares, used = {}, [], []
        for name, (student, teacher, head) in pairs.items():
            if self.weights[name]:
                terms[name], share, count = self._agreement(student, teacher, head, generator)
                shares.append(share)
                used.append(count)
        total = torch.stack([self.weights[name] * value for name, value in terms.items()]).sum()
        terms |= {"matched": torch.stack(shares).mean(), "used": torch.stack(used).mean()}
        terms |= {"spread": feature_spread(hidden.feat), "teacher_spread": feature_spread(wholes[0].feat)}
        return {"loss": total, **{name: value.detach() for name, value in terms.items()}}

    def after_step(self) -> None:
        """Let the teacher and its heads follow, and the temperature rise."""
        self.teacher.update(self.encoder)
        self.teacher_heads.update(self.heads)
        self.step += 1

    def _masked(self, view: PointBatch) -> PointBatch:
        """The view as the student sees it: hidden points show the token."""
        return view.with_feat(torch.where(view.attributes["masked"].unsqueeze(1), self.token.to(view.feat), view.feat))

    def _student(self, views: Sequence[PointBatch]) -> PointBatch:
        """What is compared of several views, view after view; each is a batch of its own to batch norms."""
        return PointBatch.join([self._compared(self.encoder, view) for view in views])

    def _compared(self, network: Any, points: PointBatch) -> PointBatch:
        """The level that is compared: at each of its points the features of its own and of coarser levels."""
        level, *coarser = levels_down(network, points)[-1 - self.up_cast :]
        feats = [level.feat.float()]
        for each in coarser:
            index, _ = knn_query(1, each.coord, each.offset, level.coord, level.offset)
            feats.append(gather_rows(each.feat.float(), index[:, 0]))
        origin = level.attributes[ORIGIN]
        return PointBatch(origin, torch.cat(feats, dim=1), level.offset, level.index)

    def _agreement(
        self, student: PointBatch, teacher: PointBatch, head: str, generator: Generator
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Cross-entropy of matched points, mean over a view's and then over views that have any; share; prototypes."""
        index, distance = knn_query(1, teacher.coord, teacher.offset, student.coord, student.offset)
        near = (index[:, 0] >= 0) & (distance[:, 0] <= self.match_radius)
        rows = self._drawn(near.nonzero()[:, 0], generator)
        heads: Any = self.teacher_heads.network
        with torch.no_grad():
            its = heads[head](teacher.feat[index[rows, 0].long()])
            wanted = sinkhorn_knopp(its, self._temperature(), self.iterations)
            mean = wanted.sum(0) / max(1, len(rows))
            used = (-(mean * mean.clamp_min(1e-12).log()).sum()).exp()
        own = self.heads[head](student.feat[rows]).float() / self.student_temperature
        each = -(wanted * F.log_softmax(own, dim=1)).sum(1)
        views = torch.arange(student.num_scenes, device=rows.device)
        ends = torch.searchsorted(student.scene_of_point()[rows], views, right=True)
        there = torch.diff(ends, prepend=ends.new_zeros(1)) > 0
        mean_loss = segment_mean(each, ends).sum() / there.sum().clamp_min(1)
        return mean_loss + 0 * student.feat.sum(), near.float().mean(), used

    def _drawn(self, rows: Tensor, generator: Generator) -> Tensor:
        if self.max_matches is None or len(rows) <= self.max_matches:
            return rows
        some = torch.randperm(len(rows), generator=generator)[: self.max_matches].sort().values
        return rows[to_device(some, rows.device)]

    def _temperature(self) -> Tensor:
        """Of the teacher, at this step; a GPU is not waited for."""
        start, end = self.teacher_temperature
        return start + (end - start) * (self.step / max(1, self.warmup_steps)).clamp_max(1)


def down_channels(encoder: Encoder) -> tuple[int, ...]:
    """Widths of :func:`levels_down`: ``down_channels`` where the encoder says so, else ``channels``."""
    return tuple(getattr(encoder, "down_channels", None) or encoder.channels)


def levels_down(encoder: Encoder, points: PointBatch) -> list[PointBatch]:
    """The levels that an encoder knows on its way down, finest first; what it returns, where it has no other.

    ``encode()`` gives them in the widths of ``channels``, ``descend()`` in those of ``down_channels``.
    """
    way = getattr(encoder, "descend", None) or getattr(encoder, "encode", None) or encoder
    return way(points)


def _check_values(up_cast: int, student: float, teacher: Sequence[float], radius: float) -> None:
    if up_cast < 0 or radius <= 0:
        raise ValueError(f"up_cast={up_cast} must not be negative, match_radius={radius} must be positive metres")
    if len(teacher) != 2 or min(student, *teacher) <= 0:
        raise ValueError(
            f"student_temperature={student} and teacher_temperature={list(teacher)} (start, end) must be positive"
        )
