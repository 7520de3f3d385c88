"""The section ``protocol`` of a configuration: what a fine-tuning sees of the labels, and what it may move."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mm3d_benchmarks.supervision import batch_norm
from mm3d_benchmarks.supervision.data_efficient import FewBoxes, FewPoints, listed_scenes, scene_share
from mm3d_benchmarks.supervision.point_lists import ListedPoints
from mm3d_core.errors import UserError

LabelLimit = FewPoints | FewBoxes | ListedPoints


@dataclass(frozen=True)
class Protocol:
    """How much of the labels a fine-tuning sees and what it may move: the keys of the section ``protocol``.

    Raises:
        UserError: a value that cannot be.

    Attributes:
        scenes: share of the labeled scenes, see ``protocols.data_efficient``.
        scene_list: file with the names of the scenes to use instead of a share.
        list_seed: draws the lists of scenes, points and boxes; null in a configuration stands for the run's seed, so
            that the seeds of a table differ in their lists too.
        points_per_scene, boxes_per_scene: labels left in each scene; None: all.
        point_list: file with the labeled points of each scene instead of a number, see ``protocols.point_lists``.
        train: ``all`` or a form of probe, see ``protocols.probe``.
        batch_norm: what statistics a probe's frozen encoder reads with: ``measured`` on whole training scenes, or those
            that it ``carried`` out of its pre-training, see ``supervision.batch_norm``.
        longer: add the steps of the recipe's pre-training, so that a row from scratch takes as many steps in all.
    """

    scenes: float = 1.0
    scene_list: str | None = None
    list_seed: int = 0
    points_per_scene: int | None = None
    boxes_per_scene: int | None = None
    point_list: str | None = None
    train: str = "all"
    batch_norm: str = "measured"
    longer: bool = False

    def __post_init__(self) -> None:
        if self.batch_norm not in batch_norm.CHOICES:
            raise UserError(f"protocol.batch_norm={self.batch_norm}: choose one of {', '.join(batch_norm.CHOICES)}")
        seed = self.list_seed
        if not isinstance(seed, int) or isinstance(seed, bool) or seed < 0:
            raise UserError(f"protocol.list_seed={seed}: give a whole number from 0 on, or null for the run's seed")
        if self.point_list is not None and self.points_per_scene is not None:
            raise UserError("protocol.point_list and protocol.points_per_scene: the list says how many; leave one null")

    def chosen(self, scenes: Sequence[str]) -> list[str]:
        """The scenes to fine-tune on."""
        if self.scene_list is not None:
            return listed_scenes(scenes, Path(self.scene_list))
        return scene_share(scenes, self.scenes, self.list_seed)

    def limits(self) -> list[LabelLimit]:
        """What takes labels away within a scene.

        Raises:
            UserError: a point list that cannot be read.
        """
        limits: list[LabelLimit] = []
        if self.points_per_scene is not None:
            limits.append(FewPoints(self.points_per_scene, self.list_seed))
        if self.point_list is not None:
            limits.append(ListedPoints.read(Path(self.point_list)))
        if self.boxes_per_scene is not None:
            limits.append(FewBoxes(self.boxes_per_scene, self.list_seed))
        return limits
