"""MM-3DScene: reconstruct what an informative mask hides, and agree with a teacher that sees more.

Source: Xu et al., CVPR 2023, arXiv:2212.09948. Where paper and released code (MingyeXu/mm-3dscene) disagree, the
defaults are the code's unless the class that holds the choice says otherwise; conf/pretrain/mm3dscene_official.yaml and
conf/pretrain/mm3dscene_paper.yaml hold all values of the one and of the other.

    scan -> statistic -> student's points (share r) -> encoder -> levels -> folding decoders -> chamfer --+
                     \\                                        \\                                           +-> loss
                      -> target's points (r + gap) ----------> teacher -> levels -> InfoNCE at each level -+
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Any, Literal, NamedTuple, get_args

import torch
from torch import Generator, Tensor, nn
from torch.profiler import record_function

from mm3d_core.encoder import Encoder
from mm3d_core.methods.contrastive import InfoNCE
from mm3d_core.methods.distillation import Correspondence, Teacher, correspond
from mm3d_core.methods.masking import MaskedViews
from mm3d_core.methods.monitors import enrichment, feature_spread, similarities
from mm3d_core.methods.moved_views import ORIGIN, MovedViews
from mm3d_core.methods.nested import planned_together, with_nested_plans
from mm3d_core.methods.reconstruction import Chamfer, FoldingDecoder
from mm3d_core.points import PointBatch
from pointops import make_offset, to_device
from pointops.plan_spec import PlanSpec


class MM3DScene(nn.Module):
    """The method on any encoder; what has weight 0 is not built.

    Args:
        encoder: the student (``mm3d_core.encoder.Encoder``).
        views: makes the student's and the target's view in loader workers, and, if it is a
            :class:`mm3d_core.methods.moved_views.MovedViews`, one of the teacher's own.
        decoder: options of :class:`FoldingDecoder`, one of which is built for each level.
        chamfer: compares predicted points with all points of the target.
        teacher: options of :class:`Teacher`.
        contrast: compares student and teacher features, scene by scene and level by level.
        correspondence: see :func:`mm3d_core.methods.distillation.correspond`; ``nested`` samples both views so that
            every point of a student's level is also one of the target's, and matches exactly.
        outputs: the encoder's levels as it returns them (``decoder``, for networks that go down and up again, as in the
            released code), or what it knows on the way down (``encoder``, the paper's text), where it offers that.
        levels: which of the encoder's levels are used, finest is 0; None uses all.
        rec_weight: weight of the reconstruction, the sum of the levels' chamfer distances. With the mean over scenes, 4
            (S3DIS) and 2 (ScanNet) equal the released code, which sums over the 4 or 2 scenes of a GPU, and 1 its
            mean for detectors.
        csd_weight: weight of the consistency, the sum of the levels' InfoNCE.

    Raises:
        ValueError: both weights are 0 or one is negative, a level that the encoder does not have, or a choice that it
            does not offer.
    """

    def __init__(
        self,
        encoder: Encoder,
        *,
        views: MaskedViews | None = None,
        decoder: Mapping[str, Any] | None = None,
        chamfer: Chamfer | None = None,
        teacher: Mapping[str, Any] | None = None,
        contrast: InfoNCE | None = None,
        correspondence: Correspondence | Literal["nested"] = "interpolate",
        outputs: Literal["decoder", "encoder"] = "decoder",
        levels: Sequence[int] | None = None,
        rec_weight: float = 4.0,
        csd_weight: float = 1.0,
    ) -> None:
        super().__init__()
        if min(rec_weight, csd_weight) < 0 or rec_weight == csd_weight == 0:
            raise ValueError(f"rec_weight={rec_weight} and csd_weight={csd_weight} must not be negative, nor both 0")
        known = (*get_args(Correspondence), "nested")
        if correspondence not in known:
            raise ValueError(f"correspondence must be one of {known}, not {correspondence!r}")
        if correspondence == "nested" and not isinstance(encoder.plan_spec(), PlanSpec):
            raise ValueError("correspondence='nested' needs an encoder whose sampling can be planned (plan_spec)")
        _check_offers(encoder, outputs, views)
        if correspondence == "nested" and isinstance(views, MovedViews):
            raise ValueError(
                "correspondence='nested' needs views in one frame; take 'interpolate' or 'exact' for moved ones"
            )
        channels = encoder.channels
        self.levels = tuple(range(len(channels))) if levels is None else tuple(levels)
        if not self.levels or not set(self.levels) <= set(range(len(channels))):
            raise ValueError(f"levels={self.levels}, but the encoder has levels 0 to {len(channels) - 1}")
        self.encoder = encoder
        self.views = views or MaskedViews()
        self.nested = correspondence == "nested" and csd_weight > 0
        self.correspondence: Correspondence = "exact" if correspondence == "nested" else correspondence
        self.outputs = outputs
        self.rec_weight, self.csd_weight = rec_weight, csd_weight
        self.chamfer = chamfer or Chamfer()
        self.contrast = contrast or InfoNCE()
        self.decoders = (
            nn.ModuleList(FoldingDecoder(channels[level], **dict(decoder or {})) for level in self.levels)
            if rec_weight
            else None
        )
        self.teacher = Teacher(encoder, **dict(teacher or {})) if csd_weight else None

    @property
    def planned_views(self) -> tuple[str, ...]:
        """The views that a network reads, for which geometry plans are worth making."""
        if self.views.needs_batch or self.nested:
            return ()
        seen = "teacher" if isinstance(self.views, MovedViews) else "target"
        return ("student", seen) if self.teacher else ("student",)

    @property
    def plan_views(self) -> Callable[[Mapping[str, PointBatch], Any], dict[str, PointBatch]] | None:
        """What makes the plans of all views together, given the encoder's ``plan_spec()``; None: one by one."""
        return planned_together if self.nested and not self.views.needs_batch else None

    def loss(self, views: Mapping[str, PointBatch], generator: Generator) -> dict[str, Tensor]:
        """The loss of a batch of views, and what it is made of.

        Returns:
            ``loss``, to be differentiated; detached: ``reconstruction`` and ``consistency``, the sums over levels
            before weighting; ``reconstruction_level<l>`` and ``consistency_level<l>``, what each level adds to
            ``loss``, weight included; ``similarity_level<l>``, ``negative_similarity_level<l>``, ``spread_level<l>``
            and ``teacher_spread_level<l>``, see :mod:`mm3d_core.methods.monitors`; ``student_points`` and
            ``target_points`` of the batch; ``enrichment``
            where the scans were marked by :func:`mm3d_core.methods.monitors.mark_classes`.
        """
        if "scene" in views:
            views = self.views.finish(views["scene"], generator, self.embed)
        student, target = views["student"], views["target"]
        if self.nested and target.plan is None:
            student, target = with_nested_plans(student, target, self.encoder.plan_spec())
        terms = _mask_terms(student, target)
        with record_function("mm3dscene/student"):
            levels = self._levels_of(self.encoder, student)
        for number, level in zip(self.levels, levels, strict=True):
            terms[f"spread_level{number}"] = feature_spread(level.feat)
        total = student.coord.new_zeros(())
        if self.decoders is not None:
            total = total + self._reconstruct(levels, target, terms)
        if self.teacher is not None:
            with record_function("mm3dscene/teacher"):
                teacher_levels = self._levels_of(self.teacher, views.get("teacher", target))
            with record_function("mm3dscene/consistency"):
                total = total + self._agree(levels, teacher_levels, terms, generator)
        return {"loss": total, **{name: value.detach() for name, value in terms.items()}}

    def after_step(self) -> None:
        """Let the teacher follow; call after every optimizer step."""
        if self.teacher is not None:
            self.teacher.update(self.encoder)

    def predict_points(self, student: PointBatch) -> list[Tensor]:
        """What each level's decoder reconstructs from the student's view: (N_l * cells, 3) metres per level.

        Raises:
            ValueError: the method was built without decoders.
        """
        if self.decoders is None:
            raise ValueError("rec_weight is 0: this method has no decoders that could reconstruct")
        levels = self._levels_of(self.encoder, student)
        return [decoder(level) for decoder, level in zip(self.decoders, levels, strict=True)]

    def embed(self, points: PointBatch) -> Tensor:
        """(N, C) what the student's first layer makes of each point now, without gradient, for the local statistic."""
        encoder: Any = self.encoder
        return encoder.first_layer(points)

    def _levels_of(self, network: Any, points: PointBatch) -> list[PointBatch]:
        levels = network(points) if self.outputs == "decoder" else network.encode(points)
        return [levels[number] for number in self.levels]

    def _reconstruct(self, levels: list[PointBatch], target: PointBatch, terms: dict[str, Tensor]) -> Tensor:
        total = target.coord.new_zeros(())
        for number, level, decoder in zip(self.levels, levels, self.decoders or (), strict=True):
            assert isinstance(decoder, FoldingDecoder)
            with record_function("mm3dscene/decoders"):
                predicted = decoder(level)
            with record_function("mm3dscene/chamfer"), _full_precision(predicted):
                offset = make_offset([size * decoder.copies for size in level.sizes()], level.coord.device)
                loss = self.chamfer(predicted.float(), offset, target.coord, target.offset)
            terms[f"reconstruction_level{number}"] = self.rec_weight * loss
            total = total + loss
        terms["reconstruction"] = total
        return self.rec_weight * total

    def _agree(
        self, levels: list[PointBatch], teachers: list[PointBatch], terms: dict[str, Tensor], generator: Generator
    ) -> Tensor:
        pairs = [self._pair(level, teacher, generator) for level, teacher in zip(levels, teachers, strict=True)]
        total = levels[0].coord.new_zeros(())
        for number, teacher, pair, rows in zip(
            self.levels, teachers, pairs, self._matched(pairs, teachers), strict=True
        ):
            with _full_precision(pair.own.feat):
                loss, positive, negative = self._agree_at(pair, rows)
            terms[f"consistency_level{number}"] = self.csd_weight * loss
            terms[f"similarity_level{number}"] = positive
            terms[f"negative_similarity_level{number}"] = negative
            terms[f"teacher_spread_level{number}"] = feature_spread(teacher.feat)
            total = total + loss
        terms["consistency"] = total
        return self.csd_weight * total

    def _pair(self, level: PointBatch, teacher: PointBatch, generator: Generator) -> _Pair:
        """Points drawn from each scene of the student's level, and the teacher's features there."""
        with _full_precision(level.feat):
            level, teacher = _in_the_scan(level), _in_the_scan(teacher)
            drawn = [self.contrast.sample(rows.stop - rows.start, generator) + rows.start for rows in level.scenes()]
            device = level.coord.device
            own = level.select(to_device(torch.cat(drawn), device), make_offset([len(d) for d in drawn], device))
            return _Pair(own, *correspond(own, teacher, self.correspondence))

    def _matched(self, pairs: Sequence[_Pair], teachers: Sequence[PointBatch]) -> list[list[slice | Tensor]]:
        """The matched rows of every level and scene that has any; a GPU is waited for at most once."""
        if self.correspondence != "exact":  # then all points of a scene match, or none
            return [
                [rows for rows, size in zip(pair.own.scenes(), teacher.sizes(), strict=True) if size]
                for pair, teacher in zip(pairs, teachers, strict=True)
            ]
        masks = torch.cat([pair.matched for pair in pairs]).cpu().split([pair.own.num_points for pair in pairs])
        found = []
        for pair, mask in zip(pairs, masks, strict=True):
            rows = [mask[scene].nonzero().flatten() + scene.start for scene in pair.own.scenes()]
            found.append([to_device(part, pair.own.coord.device) for part in rows if len(part)])
        return found

    def _agree_at(self, pair: _Pair, matched: Sequence[slice | Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """One level: the loss, and the mean cosines of matched and of other points; means over scenes with matches."""
        values = []
        for rows in matched:
            own, its = pair.own.feat[rows], pair.feat[rows]
            if len(own):
                values.append((self.contrast(own, its), *similarities(own, its)))
        if not values:
            feat = pair.own.feat
            return feat.sum() * 0, feat.new_zeros(()), feat.new_zeros(())
        loss, positive, negative = (torch.stack(column).mean() for column in zip(*values, strict=True))
        return loss, positive, negative


class _Pair(NamedTuple):
    """Drawn points of the student with their features, the teacher's features there, and which of them match."""

    own: PointBatch
    feat: Tensor
    matched: Tensor


def _in_the_scan(level: PointBatch) -> PointBatch:
    """The level in float32, its points where they lay in the scan before any motion."""
    coord = level.attributes.get(ORIGIN, level.coord)
    return replace(level, coord=coord, feat=level.feat.float(), plan=None)


def _check_offers(encoder: Encoder, outputs: str, views: MaskedViews | None) -> None:
    """Raise ValueError for what this encoder cannot do."""
    if outputs not in ("decoder", "encoder"):
        raise ValueError(f"outputs must be 'decoder' or 'encoder', not {outputs!r}")
    if outputs == "encoder" and not hasattr(encoder, "encode"):
        raise ValueError(f"outputs='encoder': {type(encoder).__name__} has no encode(); set outputs to 'decoder'")
    if views is not None and views.statistic.needs_network and not hasattr(encoder, "first_layer"):
        name = type(encoder).__name__
        raise ValueError(f"the statistic's term first_layer: {name} has no first layer that reads each point alone")


def _mask_terms(student: PointBatch, target: PointBatch) -> dict[str, Tensor]:
    """What the masks kept."""
    terms = {
        "student_points": torch.tensor(float(student.num_points)),
        "target_points": torch.tensor(float(target.num_points)),
    }
    kept = enrichment(student)
    return terms if kept is None else {**terms, "enrichment": kept}


def _full_precision(tensor: Tensor) -> Any:
    """Distances and similarity tables are made in float32 also under autocast."""
    return (
        torch.autocast(tensor.device.type, enabled=False)
        if torch.is_autocast_enabled(tensor.device.type)
        else nullcontext()
    )
