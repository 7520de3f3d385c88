"""What a pre-training sees and rebuilds in one scan, as arrays: the raw material of Figures 2, 7 and 8 of the paper."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Generator

from mm3d_core.methods.local_statistic import Embed, LocalStatistic
from mm3d_core.methods.masking import ROUNDING, MaskedViews
from mm3d_core.methods.mm3dscene import MM3DScene
from mm3d_core.points import PointBatch

Arrays = dict[str, np.ndarray]


@torch.no_grad()
def reconstruction_picture(method: MM3DScene, points: PointBatch, generator: Generator) -> Arrays:
    """One scan masked and reconstructed by a pre-trained method, which is left in the mode it was in.

    Returns:
        ``scan`` (N, 3) all points, ``scan_color`` (N, 3) in [0, 1] if it has colors, ``statistic`` (N,) of all points
        (Figure 2), ``input`` (n, 3) what the student sees, ``input_rows`` (n,) their rows of the scan, ``target``
        (m, 3), ``target_rows``, ``masked`` (m - n, 3) target points the student does not see, and per level, finest
        first, ``reconstruction_level<l>`` (k, 3), where the method has decoders. Coordinates in metres.
    """
    device = next(method.parameters()).device
    views = method.views(points.with_attributes(row=torch.arange(points.num_points)), generator)
    if "scene" in views:
        views = method.views.finish(views["scene"].to(device), generator, method.embed)
    embed = method.embed if method.views.statistic.needs_network else None
    arrays = statistic_picture(method.views, points.to(device), embed)
    for name, view in (("input", views["student"]), ("target", views["target"])):
        arrays |= {name: _array(view.coord), f"{name}_rows": _array(view.attributes["row"])}
    arrays["masked"] = arrays["target"][len(arrays["input"]) :]  # the student's points are the first of the target's
    if method.decoders is not None:
        was_training = method.training
        method.eval()
        try:
            predicted = method.predict_points(views["student"].to(device))
        finally:
            method.train(was_training)
        arrays |= {f"reconstruction_level{n}": _array(p) for n, p in zip(method.levels, predicted, strict=True)}
    return arrays


@torch.no_grad()
def statistic_picture(views: MaskedViews, points: PointBatch, embed: Embed | None = None) -> Arrays:
    """``scan``, ``scan_color`` (if present) and ``statistic`` of one scan, see :func:`reconstruction_picture`."""
    arrays = {"scan": _array(points.coord), "statistic": _array(_statistic(views)(points, embed))}
    if "color" in points.attributes:
        arrays["scan_color"] = _array(points.attributes["color"].float())
    return arrays


@torch.no_grad()
def mask_ladder(
    views: MaskedViews, points: PointBatch, ratios: Sequence[float], generator: Generator, embed: Embed | None = None
) -> Arrays:
    """What each of several keep ratios leaves of one scan (Figure 7).

    Returns:
        ``scan`` (N, 3) metres, ``statistic`` (N,) and ``kept`` (R, N) bool: ``kept[i]`` marks the points kept at
        ``ratios[i]``; the sets are nested, whatever the order.
    """
    statistic = _statistic(views)(points, embed).cpu()
    score = {
        "preserved": lambda: statistic,
        "abandoned": lambda: -statistic,
        "random": lambda: torch.rand(points.num_points, generator=generator),
    }[views.order]()
    order = score.argsort(descending=True, stable=True)
    kept = np.zeros((len(ratios), points.num_points), dtype=bool)
    for number, ratio in enumerate(ratios):
        kept[number, order[: int(ratio * points.num_points + ROUNDING)].numpy()] = True
    return {"scan": _array(points.coord), "statistic": _array(statistic), "kept": kept}


def _statistic(views: MaskedViews) -> LocalStatistic:
    """The views' statistic; where random masks do not need one, scans without color have one of their own."""
    return replace(views.statistic, missing_color="drop") if views.order == "random" else views.statistic


def _array(value: torch.Tensor) -> np.ndarray:
    return value.detach().cpu().numpy()
