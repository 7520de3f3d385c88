"""Full voting, the published test protocol: every original point of a room is predicted, most of them many times.

    room -> views (augmentations; plain voting has one) -> passes over the voxels -> crops -> network -> sums -> arg max

Source: POSTECH-CVLab/point-transformer, tool/test.py; MM-3DScene on S3DIS does the same. The variants with augmentation
are those of Pointcept and Stratified Transformer. Numbers of different protocols must not stand in one column.
Changed: a point that occurs several times in one packed group gets all of its votes (``released_sums`` for the
published indexed ``+=``); results belong to a room, a network and a protocol, never to a file name.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mm3d_benchmarks.datasets.scene import Scene
from mm3d_benchmarks.evaluation.covers import potential_crops, voxel_passes
from mm3d_benchmarks.evaluation.votes import Votes
from mm3d_benchmarks.evaluation.voxel_validation import Prediction, planned_for, segment_of
from mm3d_benchmarks.loading.crops import shift_to_minimum
from mm3d_benchmarks.loading.features import points_of
from mm3d_benchmarks.loading.sample import Sample, sample_of
from mm3d_core.errors import UserError
from mm3d_core.points import PointBatch
from mm3d_core.seeding import numpy_generator


@dataclass(frozen=True)
class View:
    """A fixed change of the room.

    Attributes:
        degrees: turn about z.
        scale: factor on all axes.
        flip: mirror x and y.
        shift: metres added to every axis (without effect: each input's minimum is subtracted afterwards).
    """

    degrees: float = 0.0
    scale: float = 1.0
    flip: bool = False
    shift: float = 0.0

    def __call__(self, sample: Sample) -> Sample:
        """The changed sample."""
        if self == View():
            return sample
        cos, sin = np.cos(np.deg2rad(self.degrees)), np.sin(np.deg2rad(self.degrees))
        turn = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
        motion = (np.diag([-1.0, -1.0, 1.0]) if self.flip else np.eye(3)) @ turn
        coord = (sample.coord @ (self.scale * motion).T + self.shift).astype(np.float32)
        normal = None if sample.normal is None else (sample.normal @ motion.T).astype(np.float32)
        return replace(sample, coord=coord, normal=normal)


class Voting:
    """Voxel passes, crops and sums over one room.

    Args:
        voxel: metres, the training's voxel size.
        max_points: points of a crop, the training's largest sample. It bounds the memory of the network.
        sum_of: what is added up: ``logits``, or ``probabilities``.
        views: changes of the room, each voted in full; plain voting has the room as it is.
        equal_views: give every view the same weight at a point, however often it occurs in its passes (Stratified
            Transformer). It needs probabilities.
        crops: cut passes of more than ``max_points`` points; False (Pointcept) feeds them whole.
        packed: inputs of one forward pass. 0: as many as fit into ``max_points`` points. The release: 10.
        released_sums: of the votes of one point in one forward pass only the last counts, as in the release.
        seed: of the crops' start values, together with the room's name.
        save_seconds: how often unfinished votes are put aside.
    """

    name = "voting"

    def __init__(
        self,
        voxel: float,
        max_points: int,
        sum_of: str = "logits",
        views: Sequence[View] = (View(),),
        equal_views: bool = False,
        crops: bool = True,
        packed: int = 0,
        released_sums: bool = False,
        seed: int = 123,
        save_seconds: float = 60.0,
    ) -> None:
        if voxel <= 0 or max_points < 1 or packed < 0:
            raise ValueError(
                f"voxel={voxel}, max_points={max_points} must be positive and packed={packed} not negative"
            )
        if sum_of not in ("logits", "probabilities"):
            raise ValueError(f"sum_of must be 'logits' or 'probabilities', not {sum_of!r}")
        if not views:
            raise ValueError("views is empty; plain voting has one, the room as it is")
        if equal_views and sum_of != "probabilities":
            raise ValueError("equal_views needs sum_of='probabilities': logits have no common measure")
        self.voxel, self.max_points, self.sum_of, self.views = voxel, max_points, sum_of, tuple(views)
        self.equal_views, self.crops, self.packed, self.released_sums = equal_views, crops, packed, released_sums
        self.seed, self.save_seconds = seed, save_seconds

    @torch.no_grad()
    def __call__(
        self,
        model: Any,
        scene: Scene,
        inputs: tuple[str, ...],
        device: torch.device | str = "cpu",
        checkpoint: Path | None = None,
    ) -> Prediction:
        """Predict every point of one room.

        Args:
            model: a segmentation task model in evaluation mode.
            scene: the room; its labels may be missing, then all points count as ignored.
            inputs: what the network reads, by name, in order (``backbone.input``).
            checkpoint: where unfinished votes are put aside and an interrupted room goes on; removed at the end.

        Returns:
            prediction: ``segment`` (N,) classes, ``logits`` (N, classes) sums, ``votes`` (N,) how often each was seen;
            labels: ``segment`` (N,).

        Raises:
            UserError: the network's output is not finite.
        """
        sample = sample_of(scene)
        signature = self._signature(model, scene) if checkpoint else ""
        total = torch.zeros(0)
        seen = torch.zeros(sample.num_points, dtype=torch.int32)
        for number, view in enumerate(self.views):
            path = checkpoint.with_suffix(f".view{number}") if checkpoint else None
            votes = self._vote(model, view(sample), number, inputs, device, path, signature)
            scores = votes.scores / votes.scores.sum(1, keepdim=True) if self.equal_views else votes.scores
            total = scores if number == 0 else total + scores
            seen += votes.counts
        for number in range(len(self.views) if checkpoint else 0):
            checkpoint.with_suffix(f".view{number}").unlink(missing_ok=True)  # pyright: ignore[reportOptionalMemberAccess]
        return {"segment": total.argmax(1), "logits": total, "votes": seen}, {"segment": segment_of(sample)}

    def _vote(
        self,
        model: Any,
        sample: Sample,
        number: int,
        inputs: tuple[str, ...],
        device: torch.device | str,
        path: Path | None,
        signature: str,
    ) -> Votes:
        """All passes over one view."""
        votes = Votes(sample.num_points, model.num_classes, self.released_sums)
        done = votes.done if path and votes.load(path, signature) else 0
        saved = time.monotonic()
        for group_number, group in enumerate(self._groups(sample, number)):
            if group_number < done:
                continue
            points = PointBatch.join([points_of(shift_to_minimum(sample.take(rows)), inputs) for rows in group])
            logits = model.predict(planned_for(model, points, device))["logits"]
            try:
                votes.add(torch.from_numpy(np.concatenate(group)), self._votes_of(logits))
            except UserError as error:
                raise UserError(f"room {sample.name}: {error}") from error
            if path and time.monotonic() - saved >= self.save_seconds:
                votes.save(path, signature)
                saved = time.monotonic()
        if path and number < len(self.views) - 1:
            votes.save(path, signature)
        return votes

    def _votes_of(self, logits: Tensor) -> Tensor:
        return logits if self.sum_of == "logits" else logits.softmax(1)

    def _groups(self, sample: Sample, number: int) -> Iterator[list[np.ndarray]]:
        """The inputs of each forward pass, as rows of the room."""
        group: list[np.ndarray] = []
        for rows in self._inputs(sample, number):
            full = len(group) >= self.packed if self.packed else sum(map(len, group)) + len(rows) > self.max_points
            if group and full:
                yield group
                group = []
            group.append(rows)
        if group:
            yield group

    def _inputs(self, sample: Sample, number: int) -> Iterator[np.ndarray]:
        for turn, rows in enumerate(voxel_passes(sample.coord, self.voxel)):
            if not self.crops:
                yield rows
                continue
            random = numpy_generator(self.seed, self.name, sample.name, number, turn)
            for crop in potential_crops(sample.coord[rows], self.max_points, random):
                yield rows[crop]

    def _signature(self, model: Any, scene: Scene) -> str:
        """What unfinished votes belong to: room, protocol and the network's very weights."""
        settings = {name: value for name, value in vars(self).items() if name != "save_seconds"}
        text = json.dumps([scene.name, scene.num_points, settings], default=repr, sort_keys=True)
        digest = hashlib.sha256(text.encode())
        for name, tensor in model.state_dict().items():
            digest.update(name.encode())
            digest.update(_bytes(tensor))
        return digest.hexdigest()


def _bytes(tensor: Tensor) -> bytes:
    """The values of a tensor."""
    return tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes()
