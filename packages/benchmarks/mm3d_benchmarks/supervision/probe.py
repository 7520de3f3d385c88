"""Probes: how good are features that fine-tuning may not touch?

Four forms. ``head``: the task's own head on the frozen encoder (the paper's Figure 5). ``linear``: one linear layer on
the finest level. ``levels``: one linear layer on all levels, interpolated at the points and concatenated
(arXiv:2504.06719). ``neighbors``: no training at all, a vote of the k most similar labeled points. The frozen encoder
stays in evaluation mode: its batch norms keep the statistics of pre-training; a fingerprint before and after proves
that nothing moved.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from mm3d_core.encoder import Encoder
from mm3d_core.errors import UserError
from mm3d_core.norm import PointNorm
from mm3d_core.points import PointBatch
from pointops import interpolation, to_device

FORMS = ("all", "head", "linear", "levels", "neighbors")
TEMPERATURE = 0.07  # of the neighbors' vote, as in instance discrimination (arXiv:1805.01978)


class LinearProbe(nn.Module):
    """A linear layer on frozen features of every point.

    Args:
        levels: use all levels of the encoder instead of the finest.
        ignore_label: points with this label bear no loss.
    """

    def __init__(self, encoder: Encoder, num_classes: int, levels: bool = False, ignore_label: int = -1) -> None:
        super().__init__()
        self.encoder, self.levels, self.ignore_label = encoder, levels, ignore_label
        self.norm = PointNorm(_width(encoder, levels), affine=False)  # encoders differ in the scale of their features
        self.head = nn.Linear(_width(encoder, levels), num_classes)

    def predict(self, points: PointBatch) -> dict[str, Tensor]:
        """``logits`` (N, classes) float32."""
        return {"logits": self.head(self.norm(point_features(self.encoder, points, self.levels))).float()}

    def loss(self, points: PointBatch, labels: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Mean cross-entropy over the labeled points (0 if there is none)."""
        logits, segment = self.predict(points)["logits"], labels["segment"]
        total = functional.cross_entropy(logits, segment, ignore_index=self.ignore_label, reduction="sum")
        labeled = segment != self.ignore_label
        accuracy = (logits.argmax(1) == segment)[labeled].float().sum() / labeled.sum().clamp(min=1)
        return {"loss": total / labeled.sum().clamp(min=1), "accuracy": accuracy.detach()}


class NeighborProbe(nn.Module):
    """A vote of the ``k`` most similar of remembered labeled points, weighted by exp(cosine / temperature).

    Args:
        per_class: remembered points of each class; until that many are seen the rest of the memory is empty.
    """

    memory: Tensor
    filled: Tensor

    def __init__(self, encoder: Encoder, num_classes: int, k: int = 20, per_class: int = 1000) -> None:
        super().__init__()
        self.encoder, self.k = encoder, k
        self.register_buffer("memory", torch.zeros(num_classes, per_class, _width(encoder, False)))
        self.register_buffer("filled", torch.zeros(num_classes, dtype=torch.int64))

    @torch.no_grad()
    def remember(self, points: PointBatch, segment: Tensor, generator: torch.Generator) -> None:
        """Fill the memory with random points of each class that still has room."""
        features = functional.normalize(point_features(self.encoder, points, False), dim=1)
        for number in range(len(self.memory)):
            rows = (segment == number).nonzero().flatten()
            room = self.memory.shape[1] - int(self.filled[number])
            share = max(1, self.memory.shape[1] // 20)  # from many scenes rather than from the first
            drawn = torch.randperm(len(rows), generator=generator)[: min(room, share)]
            rows = rows[to_device(drawn, rows.device)]
            start = int(self.filled[number])
            self.memory[number, start : start + len(rows)] = features[rows]
            self.filled[number] += len(rows)

    @torch.no_grad()
    def predict(self, points: PointBatch) -> dict[str, Tensor]:
        """``logits`` (N, classes): logarithms of the votes' shares."""
        known = torch.arange(self.memory.shape[1], device=self.memory.device) < self.filled.unsqueeze(1)
        bank, label = self.memory[known], known.nonzero()[:, 0]
        if len(bank) == 0:
            raise ValueError("the memory is empty: no labeled point was remembered")
        features = functional.normalize(point_features(self.encoder, points, False), dim=1)
        shares = [self._vote(part, bank, label) for part in features.split(4096)]
        return {"logits": torch.cat(shares).clamp_min(1e-12).log()}

    def _vote(self, features: Tensor, bank: Tensor, label: Tensor) -> Tensor:
        similarity, nearest = (features @ bank.T).topk(min(self.k, len(bank)), dim=1)
        votes = features.new_zeros(len(features), len(self.memory))
        votes.scatter_add_(1, label[nearest], (similarity / TEMPERATURE).softmax(1))
        return votes


def probed(model: nn.Module, form: str) -> nn.Module:
    """The network of a form: the task model itself, or a probe on its encoder; frozen where it must not move.

    Raises:
        UserError: an unknown form, or one that needs point classes on a detector.
    """
    if form not in FORMS:
        raise UserError(f"protocol.train={form}: choose one of {', '.join(FORMS)}")
    if form == "all":
        return model
    encoder: Any = model.encoder
    if form != "head":
        classes = getattr(model, "num_classes", None)
        if classes is None or not hasattr(model, "ignore_label"):
            raise UserError(f"protocol.train={form}: only segmentation has this probe; choose head for detection")
        model = (
            NeighborProbe(encoder, classes) if form == "neighbors" else LinearProbe(encoder, classes, form == "levels")
        )
    encoder.requires_grad_(False)
    return model


def fingerprint(module: nn.Module) -> str:
    """SHA-256 of all parameters and buffers, names included."""
    digest = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def point_features(encoder: Encoder, points: PointBatch, levels: bool) -> Tensor:
    """(N, C) features of every point, from the finest level or from all.

    Raises:
        ValueError: the encoder has no feature for every point.
    """
    found = encoder(points)
    if found[0].num_points != points.num_points:
        raise ValueError("this probe needs an encoder whose finest level holds all points")
    if not levels:
        return found[0].feat.float()
    rest = [
        interpolation(level.coord, points.coord, level.feat.float(), level.offset, points.offset) for level in found[1:]
    ]
    return torch.cat([found[0].feat.float(), *rest], dim=1)


def _width(encoder: Encoder, levels: bool) -> int:
    return sum(encoder.channels) if levels else encoder.channels[0]
