"""What a room's points have been voted to be so far; it can be put aside and taken up again."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from mm3d_benchmarks.evaluation.segmentation_metric import DIVERGED
from mm3d_core.errors import UserError
from mm3d_core.files.atomic import atomic_write
from mm3d_core.files.untrusted import parse_json


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
        about = {"signature": signature, "done": str(self.done), "checksum": _checksum(tensors, signature, self.done)}
        with atomic_write(path) as stream:
            stream.write(save_tensors(tensors, about))

    def load(self, path: Path, signature: str) -> bool:
        """Take up what :meth:`save` put aside; False, and nothing changed, if none is whole and of this signature."""
        try:
            data = path.read_bytes()
            tensors = load_tensors(data)
            header = parse_json(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]
            scores, counts, done = tensors["scores"], tensors["counts"], int(header["done"])
            whole = header["checksum"] == _checksum(tensors, header["signature"], done)
        except (OSError, SafetensorError, ValueError, KeyError, TypeError):
            return False
        if not whole or header["signature"] != signature or scores.shape != self.scores.shape:
            return False
        self.scores, self.counts, self.done = scores, counts, done
        return True


def _checksum(tensors: Mapping[str, Tensor], signature: str, done: int) -> str:
    """SHA-256 of all that is put aside; safetensors has none."""
    digest = hashlib.sha256(f"{signature} {done}".encode())
    for name in ("scores", "counts"):
        digest.update(tensors[name].contiguous().numpy().tobytes())
    return digest.hexdigest()
