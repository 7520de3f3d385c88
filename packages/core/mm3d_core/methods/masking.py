"""Which points the student sees and which the target shows: keep sets nested by one score per point.

Source: MM-3DScene (Xu et al., CVPR 2023, arXiv:2212.09948), sections 3.1 and 3.2; keep ratios and gap of
MingyeXu/mm-3dscene, pointtransformer_pretrain.py (which names the kept share a mask rate).

A scene is sorted once by a score, and both views are prefixes of that order: the student keeps the first share r, the
target the first r + gap. So the student's points are always among the target's, whatever the score is:

    order         the first points are                                     paper
    preserved     the most informative (largest statistic)                 informative-preserved masking
    abandoned     the least informative                                    Table 8 (c)
    random        any: the score is drawn                                  PointMAE*, Table 8 (a), (b)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Generator, Tensor

from mm3d_core.methods.local_statistic import Embed, LocalStatistic
from mm3d_core.points import PointBatch
from pointops import make_offset

ORDERS = ("preserved", "abandoned", "random")
ROUNDING = 1e-6  # 0.29 * 100 is 28.999...: a share asked for in decimals must give its whole number of points


@dataclass(frozen=True)
class MaskedViews:
    """Makes the student's and the target's view of a scan; runs in loader workers, one scene at a time.

    Args:
        statistic: scores the points (unused by ``order='random'``).
        order: ``preserved``, ``abandoned`` or ``random``, see the module's table.
        keep_ratio: the share r of points the student keeps: a number, the two ends of a uniform draw, or, with
            ``discrete``, the list it is drawn from.
        discrete: ``keep_ratio`` lists the only values of r.
        gap: what the target shows beyond the student, as a share of the scene; ``random`` draws it from U(0, 1 - r).
            A target that would pass the end of the scene shows all of it.
        target: ``progressive`` (r + gap) or ``intact`` (the complete scene, the gap is not used).
        draw: one r per ``scene``, or one for the ``batch`` as in the released detection code.

    Raises:
        ValueError: a ratio outside (0, 1), a gap outside (0, 1], or an unknown choice.
    """

    statistic: LocalStatistic = field(default_factory=LocalStatistic)
    order: Literal["preserved", "abandoned", "random"] = "preserved"
    keep_ratio: float | Sequence[float] = (0.2, 0.9)
    discrete: bool = False
    gap: float | Literal["random"] = 0.1
    target: Literal["progressive", "intact"] = "progressive"
    draw: Literal["scene", "batch"] = "scene"

    def __post_init__(self) -> None:
        ratio = self.keep_ratio
        ratios = (float(ratio),) if isinstance(ratio, int | float) else tuple(float(r) for r in ratio)
        object.__setattr__(self, "keep_ratio", ratios)
        if not ratios or any(not 0 < r < 1 for r in ratios) or list(ratios) != sorted(ratios):
            raise ValueError(f"keep_ratio must rise within (0, 1), not {ratios}")
        if not self.discrete and len(ratios) > 2:
            raise ValueError(f"keep_ratio has {len(ratios)} values: give one or two, or set discrete")
        if self.gap != "random" and (isinstance(self.gap, str) or not 0 < self.gap <= 1):
            raise ValueError(f"gap must be in (0, 1] or 'random', not {self.gap!r}: otherwise nothing is reconstructed")
        for name, allowed in (("order", ORDERS), ("target", ("progressive", "intact")), ("draw", ("scene", "batch"))):
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} must be one of {allowed}, not {getattr(self, name)!r}")

    @property
    def needs_batch(self) -> bool:
        """Whether masking has to wait for the training step (scaling or ratio per batch, a term of the student's)."""
        waits = self.statistic.scope == "batch" or self.statistic.needs_network
        return self.draw == "batch" or (waits and self.order != "random")

    def __call__(self, points: PointBatch, generator: Generator) -> dict[str, PointBatch]:
        """The two views of one scene: ``student`` and ``target``, both in falling order of score.

        Both carry the attribute ``score`` (N,), the student also ``match`` (N,), its row within the target's scene.
        Where masking has to wait, the one view is ``scene``, with the statistic's terms as attributes, for
        :meth:`finish`.

        Raises:
            ValueError: the scene has too few points for this ratio and gap.
            UserError: the statistic needs colors and the scan has none.
        """
        known = [name for name in self.statistic.terms if name != "first_layer"]
        differences = {} if self.order == "random" else self.statistic.differences(points, only=known)
        if self.needs_batch:
            named = {f"difference_{name}": value for name, value in differences.items()}
            return {"scene": points.with_attributes(**named)}
        return self._mask(points, differences, generator)

    def finish(self, scenes: PointBatch, generator: Generator, embed: Embed | None = None) -> dict[str, PointBatch]:
        """The two views of a batch of prepared scenes; ``embed`` is the student's first layer, if a term needs it.

        Raises as :meth:`__call__`.
        """
        prefix = "difference_"
        differences = {n.removeprefix(prefix): v for n, v in scenes.attributes.items() if n.startswith(prefix)}
        if self.statistic.needs_network and self.order != "random":
            differences |= self.statistic.differences(scenes, embed, only=["first_layer"])
        return self._mask(scenes, differences, generator)

    def draw_ratio(self, generator: Generator, size: int) -> tuple[float, float]:
        """The kept share of the student and of the target, each in (0, 1].

        Args:
            size: points of the scene; a random gap is never less than one of them.
        """
        ratios = tuple(self.keep_ratio) if isinstance(self.keep_ratio, Sequence) else (self.keep_ratio,)
        if self.discrete:
            keep = ratios[int(torch.randint(len(ratios), (), generator=generator))]
        else:
            keep = ratios[0] + (ratios[-1] - ratios[0]) * float(torch.rand((), generator=generator))
        if self.target == "intact":
            return keep, 1.0
        if isinstance(self.gap, str):
            gap = max(1 / size, (1 - keep) * float(torch.rand((), generator=generator)))
        else:
            gap = self.gap
        return keep, min(1.0, keep + gap)

    def _mask(self, points: PointBatch, differences: dict[str, Tensor], generator: Generator) -> dict[str, PointBatch]:
        sizes = points.sizes()
        together = self.draw_ratio(generator, min(sizes)) if self.draw == "batch" else None
        ratios = [together or self.draw_ratio(generator, size) for size in sizes]
        if self.order == "random":
            score = torch.rand(points.num_points, generator=generator).to(points.coord)
        else:
            score = self.statistic.combine(differences, points)
            score = -score if self.order == "abandoned" else score
        return nested_views(points, score, ratios)


def nested_views(points: PointBatch, score: Tensor, ratios: Sequence[tuple[float, float]]) -> dict[str, PointBatch]:
    """Two prefixes of each scene's order by falling ``score`` (N,); ties keep the order of the points.

    Args:
        ratios: per scene the shares of the ``student`` and of the ``target``; of P points, int(share * P) are kept.

    Raises:
        ValueError: in some scene the student is empty, or the target shows nothing that the student does not see.
    """
    kept: dict[str, list[Tensor]] = {"student": [], "target": [], "match": []}
    for number, (rows, (keep, show)) in enumerate(zip(points.scenes(), ratios, strict=True)):
        size = rows.stop - rows.start
        few, many = (math.floor(share * size + ROUNDING) for share in (keep, show))
        if not 0 < few < many:
            raise ValueError(
                f"scene {number} has {size} points: keeping {keep:.3f} for the student and {show:.3f} for the target "
                f"leaves {few} and {many} points, so there is nothing to see or nothing to reconstruct; "
                "use a larger gap, a larger scene or another keep_ratio"
            )
        order = score[rows].argsort(descending=True, stable=True) + rows.start
        kept["student"].append(order[:few])
        kept["target"].append(order[:many])
        kept["match"].append(torch.arange(few, device=score.device))
    scored = points.with_attributes(score=score)
    views = {
        name: scored.select(torch.cat(kept[name]), make_offset([len(k) for k in kept[name]], score.device))
        for name in ("student", "target")
    }
    views["student"] = views["student"].with_attributes(match=torch.cat(kept["match"]))
    return views
