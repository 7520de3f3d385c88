"""How informative a point is: by how much it differs from its neighbors in place and in color.

Source: MM-3DScene (Xu et al., CVPR 2023, arXiv:2212.09948), Eq. 1. The paper names neither the number of neighbors nor
the weights; 30 (the point itself is one of them) and 1 : 1 are those of MingyeXu/mm-3dscene,
pointtransformer_pretrain.py. Changed: each term is scaled to [0, 1] within its own scene (the release does so over the
whole batch; ``scope`` chooses), and a term without contrast, such as a constant color,
counts as 0 (the release divides by zero).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from mm3d_core.errors import UserError
from mm3d_core.points import PointBatch
from pointops import knn_query, to_device

TERMS = ("coord", "color", "embedding", "first_layer")
Embed = Callable[[PointBatch], Tensor]  # points -> (N, C)


@dataclass(frozen=True)
class LocalStatistic:
    """The statistic D of every point; large where geometry or color changes.

    Args:
        terms: which differences to add up, of ``coord`` (metres), ``color`` (the attribute ``color``, (N, 3) in [0, 1])
            ``embedding`` (a frozen random map of both, see :func:`point_embedding`) and ``first_layer`` (what the
            student's first layer makes of each point at this moment; known in the training step only).
        weights: one factor per term; 1 each by default.
        neighbors: nearest points compared with, the point itself included; a smaller scene uses all it has.
        squared: add squared differences (released code) or plain distances (Eq. 1 of the paper).
        scope: each term is scaled to [0, 1] per ``scene``, or per ``batch`` as in the released code.
        missing_color: a scan without color is refused (``error``), or the color term is left out (``drop``).
        embedding_seed: draws the embedding's weights.

    Raises:
        ValueError: unknown, repeated or no terms, as many weights as there are not terms, or fewer than 2 neighbors.
    """

    terms: Sequence[str] = ("coord", "color")
    weights: Sequence[float] | None = None
    neighbors: int = 30
    squared: bool = True
    scope: Literal["scene", "batch"] = "scene"
    missing_color: Literal["error", "drop"] = "error"
    embedding_seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "terms", tuple(self.terms))
        object.__setattr__(self, "weights", (1.0,) * len(self.terms) if self.weights is None else tuple(self.weights))
        if not self.terms or set(self.terms) - set(TERMS) or len(set(self.terms)) != len(self.terms):
            raise ValueError(f"terms must be distinct names of {TERMS}, not {self.terms}")
        if len(self.weights or ()) != len(self.terms):
            raise ValueError(
                f"weights has {len(self.weights or ())} values for the {len(self.terms)} terms {self.terms}"
            )
        if self.neighbors < 2:
            raise ValueError(f"neighbors={self.neighbors}: the point itself is one of them, so 2 is the least")
        if self.scope not in ("scene", "batch"):
            raise ValueError(f"scope must be 'scene' or 'batch', not {self.scope!r}")
        if self.missing_color not in ("error", "drop"):
            raise ValueError(f"missing_color must be 'error' or 'drop', not {self.missing_color!r}")

    @property
    def needs_network(self) -> bool:
        """Whether a term asks for the student, which loader workers do not have."""
        return "first_layer" in self.terms

    def __call__(self, points: PointBatch, embed: Embed | None = None) -> Tensor:
        """(N,) float32 score of each point. Arguments and errors as of :meth:`differences`."""
        return self.combine(self.differences(points, embed), points)

    def differences(
        self, points: PointBatch, embed: Embed | None = None, only: Sequence[str] = TERMS
    ) -> dict[str, Tensor]:
        """Each term before scaling: (N,) float32 sums over the neighbors.

        Args:
            embed: the student's first layer, for the term ``first_layer``.
            only: terms to make now.

        Raises:
            UserError: a term needs colors and the scan has none.
            ValueError: ``first_layer`` without ``embed``.
        """
        names = [name for name in self._available(points) if name in only]
        if not names:
            return {}
        index, _ = knn_query(self.neighbors, points.coord, points.offset)
        own = torch.arange(points.num_points, device=points.coord.device).unsqueeze(1)
        index = torch.where(index < 0, own, index.long())  # a missing neighbor differs from the point by nothing
        return {name: self._difference(self._value(name, points, embed), index) for name in names}

    def combine(self, differences: Mapping[str, Tensor], points: PointBatch) -> Tensor:
        """The weighted sum of the scaled terms, (N,) float32."""
        weights = dict(zip(self.terms, self.weights or (), strict=True))
        scenes = points.scenes() if self.scope == "scene" else [slice(0, points.num_points)]
        score = torch.zeros(points.num_points, device=points.coord.device)
        for name, value in differences.items():
            for rows in scenes:
                score[rows] += weights[name] * min_max(value[rows])
        return score

    def _available(self, points: PointBatch) -> tuple[str, ...]:
        if "color" in points.attributes or set(self.terms) <= {"coord", "first_layer"}:
            return tuple(self.terms)
        if self.missing_color == "error" or self.terms == ("color",):
            raise UserError(
                f"the local statistic asks for {', '.join(self.terms)}, but the scan has no colors; "
                "set statistic.terms to [coord], or use scans with colors"
            )
        return tuple(name for name in self.terms if name != "color")

    def _value(self, name: str, points: PointBatch, embed: Embed | None) -> Tensor:
        if name == "first_layer":
            if embed is None:
                raise ValueError("the term first_layer needs the student's first layer, which is not known here")
            return embed(points).detach().float()
        if name == "coord":
            return points.coord
        if name == "color":
            return points.attributes["color"].float()
        return point_embedding(points, self.embedding_seed)

    def _difference(self, value: Tensor, index: Tensor) -> Tensor:
        squares = (value[index] - value.unsqueeze(1)).square().sum(-1)
        return (squares if self.squared else squares.sqrt()).sum(1)


def min_max(value: Tensor) -> Tensor:
    """``value`` scaled to [0, 1]; all zeros when it has no contrast."""
    if value.numel() == 0:
        return value
    low, high = torch.aminmax(value)
    span = high - low
    return torch.where(span > 0, (value - low) / torch.where(span > 0, span, torch.ones_like(span)), 0.0)


def point_embedding(points: PointBatch, seed: int = 0, width: int = 16) -> Tensor:
    """(N, width) values of a frozen random two-layer perceptron on coordinates (m) and, where present, colors.

    Stands for the "point embedding" of Table 9 (iv), of which the paper says only that it is made by perceptrons on
    each point; an untrained embedding of 16 channels is also what the released detection code contains.
    """
    parts = [points.coord]
    if "color" in points.attributes:
        parts.append(points.attributes["color"].float())
    value = torch.cat(parts, dim=1)
    generator = torch.Generator().manual_seed(seed)
    for last in (False, True):
        fan_in = value.shape[1]
        weight = torch.randn(fan_in, width, generator=generator) * (2 / fan_in) ** 0.5
        value = value @ to_device(weight, value.device).to(value.dtype)
        value = value if last else value.relu()
    return value
