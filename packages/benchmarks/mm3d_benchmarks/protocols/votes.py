"""What a room's points have been voted to be so far; it can be put aside and taken up again."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from mm3d_benchmarks.metrics.segmentation import DIVERGED
from mm3d_core.atomic import atomic_write
from mm3d_core.errors import UserError


class Votes:
    """Sums of what the network said of each point.

    Args:
        num_points: N, the room's points.
        num_classes: classes.
        last_wins: of a point that occurs several times in one call of :meth:`add` only the last occurrence counts: what
            the released indexed ``+=`` does (there, on a GPU, an unspecified one). Default: all count.

    Attributes:
        scores: (N, classes) float32 sums.
        counts: (N,) int32 votes of each point.
        done: calls of :meth:`add` so far.
    """

    def __init__(self, num_points: int, num_classes: int, last_wins: bool = False) -> None:
        self.scores = torch.zeros(num_points, num_classes)
        self.counts = torch.zeros(num_points, dtype=torch.int32)
        self.last_wins = last_wins
        self.done = 0

    def add(self, rows: Tensor, scores: Tensor) -> None:
        """Add ``scores`` (M, classes) of the points ``rows`` (M,); rows may repeat.

        Raises:
            UserError: scores that are not finite.
        """
        scores = scores.float().cpu()
        if not bool(torch.isfinite(scores).all()):
            raise UserError(f"the network's output is not finite: {DIVERGED}")
        if self.last_wins:
            last = torch.full((len(self.counts),), -1)
            last.scatter_reduce_(0, rows, torch.arange(len(rows)), "amax")
            kept = last[last >= 0].sort().values
            rows, scores = rows[kept], scores[kept]
        self.scores.index_add_(0, rows, scores)
        self.counts.index_add_(0, rows, torch.ones(len(rows), dtype=torch.int32))
        self.done += 1

    def save(self, path: Path, signature: str) -> None:
        """Put aside, in one step. ``signature`` says what the votes belong to (room, network, protocol)."""
        tensors = {"scores": self.scores, "counts": self.counts}
        with atomic_write(path) as stream:
            stream.write(save_tensors(tensors, {"signature": signature, "done": json.dumps(self.done)}))

    def load(self, path: Path, signature: str) -> bool:
        """Take up what :meth:`save` put aside; False, and nothing changed, if there is none with this signature."""
        try:
            data = path.read_bytes()
            tensors = load_tensors(data)
        except (FileNotFoundError, SafetensorError):
            return False
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]
        if header.get("signature") != signature or tensors["scores"].shape != self.scores.shape:
            return False
        self.scores, self.counts, self.done = tensors["scores"], tensors["counts"], json.loads(header["done"])
        return True
