"""H3DNet: VoteNet's proposals, corrected by the faces and edges that the points show.

Source: Zhang et al., ECCV 2020, arXiv:2006.05682; values from zaiweizhang/H3DNet, models/hdnet.py and models/
proposal_module_{surface,refine}.py (MIT). Nothing is copied.
Changed: the towers' geometry is computed once and shared; refined class scores, which nobody reads, are not misread
from the size slice; the ground truth follows from votes and boxes (``h3dnet_primitives``).

    points -> 4 x PointNet++ -> 1024 seeds -> votes for centers -> 256 proposals ----------> refined boxes
                                    |                                  | 6 faces, 12 edges        |
                                    +-> votes for faces and edges -> 3 x 1024 primitives -> matching
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mm3d_backbones.detection_targets import BoxCodec, Proposals, predictions
from mm3d_backbones.h3dnet_losses import H3DNetOutput, h3dnet_losses
from mm3d_backbones.h3dnet_matching import Matching, Primitives, Refinement
from mm3d_backbones.h3dnet_primitives import PrimitiveRule, objects_of_points, primitive_targets
from mm3d_backbones.pointnet2 import PointNet2Encoder, SetAbstraction, seeds_of
from mm3d_backbones.votenet import Clustering, Head, Stack, Voting, check_detector, with_rows
from mm3d_core.encoder import Encoder
from mm3d_core.points import PointBatch
from pointops import ball_query

SCANNET_HEAD_BINS = 24  # H3DNet's ScanNet head predicts 24 heading bins, although its boxes are axis-aligned
KINDS = ("horizontal", "vertical", "edge")
EXTENTS = (2, 1, 0)  # numbers that describe a primitive beside its center: l and w; height; none


class FourTowers(Encoder):
    """Four PointNet++ encoders with their own weights on the same seeds.

    Args:
        in_channels: width of ``points.feat``.
        towers: how many.
        options: of each :class:`mm3d_backbones.pointnet2.PointNet2Encoder`.

    Shapes:
        in: as PointNet2Encoder; out: one level per tower, all with the same seeds.
    """

    def __init__(self, in_channels: int = 1, towers: int = 4, **options: Any) -> None:
        super().__init__()
        encoders = [PointNet2Encoder(in_channels, **options) for _ in range(towers)]
        self.in_channels = in_channels
        self.channels = tuple(encoder.channels[0] for encoder in encoders)
        self._spec = encoders[0].plan_spec()
        self.towers = nn.ModuleList(encoders)

    def plan_spec(self) -> Any:
        """One geometry for all towers."""
        return self._spec

    def forward(self, points: PointBatch) -> list[PointBatch]:
        """See the class."""
        points, plan = self.towers[0].prepared(points)  # type: ignore[operator]
        seeds = seeds_of(points, plan)
        return [seeds.with_feat(tower.seed_features(points.feat, plan)) for tower in self.towers]  # type: ignore[operator]


class H3DNet(nn.Module):
    """A detector on four levels of the same seeds.

    Args:
        encoder: its levels are concatenated; the published one is :class:`FourTowers`.
        num_classes: C.
        num_heading_bins: 1 for axis-aligned boxes (ScanNet; the head then predicts 24 bins that nobody reads), 12 for
            SUN RGB-D.
        mean_sizes: (C, 3) size template of each class, full l w h in metres.
        num_proposals: clusters per scene.
        cluster_radius: metres.
        cluster_neighbors: most votes in a cluster.
        train_sampling, eval_sampling, count_padding: see :class:`mm3d_backbones.votenet.VoteNet`.
        primitive_rule: when a face or edge counts as seen: keywords of PrimitiveRule; None: the data set's published
            values, which presume 40,000 points a scene.
        segment_gate: oriented boxes only: for each class the segment labels that its points may carry (the release's
            rule on SUN RGB-D is ``SUNRGBD_SEGMENTS``); None lets every point inside a box show its faces and edges.

    Shapes:
        labels: as VoteNet; votes must point to box centers (``votes: box`` of the loader on ScanNet).

    Raises:
        ValueError: as VoteNet, or a gate that does not fit the classes.
    """

    def __init__(
        self,
        encoder: Encoder,
        num_classes: int,
        num_heading_bins: int,
        mean_sizes: Sequence[Sequence[float]] | Tensor,
        num_proposals: int = 256,
        cluster_radius: float = 0.3,
        cluster_neighbors: int = 16,
        train_sampling: str = "vote_fps",
        eval_sampling: str = "seed_fps",
        count_padding: bool = True,
        primitive_rule: Mapping[str, Any] | None = None,
        segment_gate: Sequence[Sequence[int]] | None = None,
    ) -> None:
        super().__init__()
        check_detector(num_classes, mean_sizes, train_sampling, eval_sampling)
        if segment_gate is not None and (num_heading_bins == 1 or len(segment_gate) != num_classes):
            raise ValueError(
                f"segment_gate has {len(segment_gate)} rows for num_classes={num_classes} and num_heading_bins="
                f"{num_heading_bins}; it needs a row for each class, and oriented boxes"
            )
        self.segment_gate = segment_gate
        self.train_sampling, self.eval_sampling, self.count_padding = train_sampling, eval_sampling, count_padding
        self.codec = BoxCodec(num_heading_bins, mean_sizes, SCANNET_HEAD_BINS if num_heading_bins == 1 else None)
        published = PrimitiveRule() if self.codec.axis_aligned else PrimitiveRule.sunrgbd()
        self.rule = published if primitive_rule is None else PrimitiveRule(**primitive_rule)
        self.encoder = encoder
        self.fuse = Stack([sum(encoder.channels), 512, 256])
        self.flags = nn.ModuleDict({kind: Head([256, 128], 2) for kind in KINDS})
        self.votings = nn.ModuleDict({kind: Voting(256) for kind in ("center", *KINDS)})
        self.primitives = nn.ModuleDict(
            {kind: PrimitiveHead(extents, num_classes) for kind, extents in zip(KINDS, EXTENTS, strict=True)}
        )
        self.clustering = Clustering(256, num_proposals, cluster_radius, cluster_neighbors)
        self.head = Head([128, 128, 128], self.codec.width)
        self.matching = Matching()
        self.refinement = Refinement(self.codec.width)

    def forward(self, points: PointBatch, sampling: str) -> H3DNetOutput:
        """See :class:`H3DNetOutput`."""
        levels = self.encoder(points)
        seeds = levels[0].with_feat(self.fuse(torch.cat([level.feat for level in levels], 1)))
        seeds.dense()  # refuses scenes of unequal size
        votes = self.votings["center"](seeds)
        horizontal, vertical, edge = (
            self.primitives[kind](self.flags[kind](seeds.feat), self.votings[kind](seeds)) for kind in KINDS
        )
        cluster, feat = self.clustering(seeds, votes, sampling)
        scenes = seeds.num_scenes
        cluster, grouped = cluster.view(scenes, -1, 3), feat.view(scenes, -1, feat.shape[1])
        initial = self.codec.read(self.head(feat).view(scenes, -1, self.codec.width), cluster, grouped)
        sides, sides_feat, match, semantic = self.matching(self._boxes_to_match(initial), horizontal, vertical, edge)
        refined = self.codec.read(self.refinement(sides_feat, grouped), cluster, grouped)
        return H3DNetOutput(seeds, votes, (horizontal, vertical, edge), initial, refined, sides, match, semantic)

    def loss(self, points: PointBatch, labels: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The total as "loss" and its terms by name. Raises ValueError as VoteNet."""
        points = with_rows(points, labels)
        output = self(points, self.train_sampling)
        targets = self.codec.encode(labels)
        owner = objects_of_points(points, labels, targets, self.codec.axis_aligned, self.segment_gate)
        seen = primitive_targets(points.coord, owner, targets, self.rule)
        return h3dnet_losses(output, targets, seen, labels, self.codec, self.count_padding)

    @torch.no_grad()
    def predict(self, points: PointBatch) -> dict[str, Tensor]:
        """See :func:`mm3d_backbones.detection_targets.predictions`; call in evaluation mode."""
        output = self(points, self.eval_sampling)
        boxes = final_boxes(output.initial, output.refined, self.codec)
        return predictions(points, boxes, output.refined.objectness, output.initial.class_logits)

    def _boxes_to_match(self, initial: Proposals) -> Tensor:
        """(B, K, 7) initial boxes; the gradient passes through their centers only."""
        boxes = self.codec.decode(initial)
        return torch.cat([boxes[..., :3], boxes[..., 3:].detach()], -1)


def final_boxes(initial: Proposals, refined: Proposals, codec: BoxCodec) -> Tensor:
    """Boxes (B, K, 7): refined centers and residuals, heading bins and size classes of the initial head."""
    size = codec.sizes(initial.size_logits.argmax(-1), refined.size_residuals)
    heading = codec.headings(initial.heading_logits.argmax(-1), refined.heading_residuals)
    return torch.cat([refined.center, size, heading[..., None]], -1)


class PrimitiveHead(nn.Module):
    """Votes for one kind of primitive, each pooled over the votes around it, become primitives.

    Args:
        extents: numbers that describe the primitive beside its center.
        num_classes: C.
    """

    radius, neighbors = 0.3, 16

    def __init__(self, extents: int, num_classes: int) -> None:
        super().__init__()
        self._split = [3, extents, num_classes]
        self.abstraction = SetAbstraction([256, 128, 128, 128], self.radius)
        self.head = Head([128, 128, 128], sum(self._split))

    def forward(self, flags: Tensor, votes: PointBatch) -> Primitives:
        """Primitives of votes (R rows) and their existence logits (R, 2)."""
        where = votes.coord.detach()
        ball, _ = ball_query(self.neighbors, self.radius, 0.0, where, votes.offset, padding="first_hit")
        feat = self.abstraction(votes.coord, votes.feat, votes.coord, ball)
        offset, extent, class_logits = self.head(feat).split(self._split, dim=1)
        return Primitives(flags, votes.coord, votes.coord + offset, extent, class_logits, feat, votes.offset)
