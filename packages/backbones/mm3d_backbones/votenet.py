"""VoteNet: seeds vote for the centers of the objects they lie on; clustered votes become boxes.

Source: Qi et al., ICCV 2019, arXiv:1904.09664; values from facebookresearch/votenet, models/{voting,proposal}_module.py
(MIT). Nothing is copied.
Changed: vote features are divided by their norm with a floor of 1e-12 (the release divides by zero); sampling of the
clusters is an argument of training and one of evaluation.

    points -> encoder -> 1024 seeds -> voting -> 1024 votes -> clustering -> 256 proposals -> boxes
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from mm3d_backbones.detection_losses import assign, box_loss, box_losses, objectness_loss, vote_loss
from mm3d_backbones.detection_targets import BoxCodec, Proposals, predictions
from mm3d_backbones.pointnet2 import SetAbstraction
from mm3d_core.encoder import Encoder
from mm3d_core.norm import PointNorm
from mm3d_core.points import PointBatch
from pointops import ball_query, farthest_point_sampling, make_offset, to_device

SAMPLINGS = ("vote_fps", "seed_fps", "random")


class VoteNet(nn.Module):
    """A detector on one level of seeds.

    Args:
        encoder: its first level holds the seeds, equally many in every scene.
        num_classes: C.
        num_heading_bins: 1 for axis-aligned boxes (ScanNet), 12 for SUN RGB-D.
        mean_sizes: (C, 3) size template of each class, full l w h in metres.
        num_proposals: clusters per scene.
        cluster_radius: metres.
        cluster_neighbors: most votes in a cluster.
        train_sampling: where training takes cluster centers: ``vote_fps`` from the votes, ``seed_fps`` the votes of
            seeds that lie far apart, ``random`` any votes, with repeats.
        eval_sampling: the same for :meth:`predict`; the published evaluation uses ``seed_fps``. ``random`` is then one
            fixed draw, so that a prediction can be repeated.
        vote_factor: votes of each seed.
        count_padding: see :func:`mm3d_backbones.detection_losses.assign`.

    Shapes:
        labels: "center", "size" (B, G, 3); "heading", "box_class", "box_mask" (B, G); "votes" (N, T, 3) and
            "vote_mask" (N,), T candidate offsets to the centers of the objects that a point lies on.

    Raises:
        ValueError: an unknown sampling, or as many templates as there are no classes for.
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
        vote_factor: int = 1,
    ) -> None:
        super().__init__()
        check_detector(num_classes, mean_sizes, train_sampling, eval_sampling)
        self.train_sampling, self.eval_sampling, self.count_padding = train_sampling, eval_sampling, count_padding
        width = encoder.channels[0]
        self.encoder = encoder
        self.codec = BoxCodec(num_heading_bins, mean_sizes)
        self.voting = Voting(width, vote_factor)
        self.clustering = Clustering(width, num_proposals, cluster_radius, cluster_neighbors)
        self.head = Head([128, 128, 128], self.codec.width)

    def forward(self, points: PointBatch, sampling: str) -> tuple[PointBatch, PointBatch, Proposals]:
        """Seeds, votes (as points: their position and features) and proposals."""
        seeds = self.encoder(points)[0]
        seeds.dense()  # refuses scenes of unequal size
        votes = self.voting(seeds)
        cluster, feat = self.clustering(seeds, votes, sampling)
        scenes = seeds.num_scenes
        output = self.head(feat).view(scenes, -1, self.codec.width)
        return seeds, votes, self.codec.read(output, cluster.view(scenes, -1, 3), feat.view(scenes, -1, feat.shape[1]))

    def loss(self, points: PointBatch, labels: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The total as "loss", its terms by name, and the shares of positive and negative proposals.

        Raises:
            ValueError: labels that do not fit the points or the classes.
        """
        points = with_rows(points, labels)
        seeds, votes, proposals = self(points, self.train_sampling)
        targets, rows = self.codec.encode(labels), seeds.attributes["row"]
        assignment = assign(proposals.cluster, targets, self.count_padding)
        vote = vote_loss(seeds.coord, votes.coord, labels["votes"][rows], labels["vote_mask"][rows])
        objectness = objectness_loss(proposals.objectness, assignment)
        terms = box_losses(proposals, targets, assignment, self.codec, self.count_padding)
        total = 10 * (vote + 0.5 * objectness + box_loss(terms))
        shares = {
            "positive_share": assignment.positive.float().mean(),
            "negative_share": (assignment.counted & ~assignment.positive).float().mean(),
        }
        named = {"vote": vote, "objectness": objectness, **terms, **shares}
        return {"loss": total, **{name: value.detach() for name, value in named.items()}}

    @torch.no_grad()
    def predict(self, points: PointBatch) -> dict[str, Tensor]:
        """See :func:`mm3d_backbones.detection_targets.predictions`; call in evaluation mode."""
        _, _, proposals = self(points, self.eval_sampling)
        return predictions(points, self.codec.decode(proposals), proposals.objectness, proposals.class_logits)


def check_detector(
    num_classes: int, mean_sizes: Sequence[Sequence[float]] | Tensor, train_sampling: str, eval_sampling: str
) -> None:
    """Raises ValueError for arguments that a detector cannot be built from."""
    if len(mean_sizes) != num_classes:
        raise ValueError(f"mean_sizes has {len(mean_sizes)} rows for num_classes={num_classes}")
    for name, value in {"train_sampling": train_sampling, "eval_sampling": eval_sampling}.items():
        if value not in SAMPLINGS:
            raise ValueError(f"{name}={value!r}, but it is one of {', '.join(SAMPLINGS)}")


def with_rows(points: PointBatch, labels: Mapping[str, Tensor]) -> PointBatch:
    """The points with their row number as attribute "row", so that labels can follow the seeds."""
    if labels["votes"].shape[0] != points.num_points:
        raise ValueError(f"labels['votes'] has {labels['votes'].shape[0]} rows for {points.num_points} points")
    if labels["center"].shape[0] != points.num_scenes:
        raise ValueError(f"labels['center'] has {labels['center'].shape[0]} scenes, the points {points.num_scenes}")
    return points.with_attributes(row=torch.arange(points.num_points, device=points.coord.device))


class Stack(nn.Module):
    """Linear with bias, batch norm, ReLU for each pair of ``widths``; rows (R, C)."""

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        pairs = list(pairwise(widths))
        self.linears = nn.ModuleList(nn.Linear(first, second) for first, second in pairs)
        self.norms = nn.ModuleList(PointNorm(second, negative_slope=0.0) for _, second in pairs)

    def forward(self, rows: Tensor) -> Tensor:
        """(R, widths[0]) -> (R, widths[-1])."""
        for linear, norm in zip(self.linears, self.norms, strict=True):
            rows = norm(linear(rows))
        return rows


class Head(nn.Module):
    """A :class:`Stack` and a linear layer to ``out`` values."""

    def __init__(self, widths: Sequence[int], out: int) -> None:
        super().__init__()
        self.stack = Stack(widths)
        self.last = nn.Linear(widths[-1], out)

    def forward(self, rows: Tensor) -> Tensor:
        """(R, widths[0]) -> (R, out)."""
        return self.last(self.stack(rows))


class Voting(nn.Module):
    """Each seed moves by a learned offset and adds to its features, which are then scaled to norm 1.

    Args:
        channels: of the seeds.
        factor: votes of each seed, seed by seed.

    Raises:
        ValueError: ``factor`` below 1.
    """

    def __init__(self, channels: int, factor: int = 1) -> None:
        super().__init__()
        if factor < 1:
            raise ValueError(f"vote_factor={factor}, but each seed votes at least once")
        self.factor = factor
        self.head = Head([channels, channels, channels], (3 + channels) * factor)

    def forward(self, seeds: PointBatch) -> PointBatch:
        """The votes: points like the seeds, at other places with other features."""
        output = self.head(seeds.feat).view(seeds.num_points * self.factor, -1)
        rows = torch.arange(seeds.num_points, device=output.device).repeat_interleave(self.factor)
        offset = make_offset([size * self.factor for size in seeds.sizes()], seeds.coord.device)
        voters = seeds if self.factor == 1 else seeds.select(rows, offset)
        feat = nn.functional.normalize(voters.feat + output[:, 3:], dim=1)
        return PointBatch(voters.coord + output[:, :3], feat, voters.offset, voters.index, voters.attributes)


class Clustering(nn.Module):
    """Votes within a radius of sampled votes, pooled: the proposals.

    Args:
        channels: of the votes.
        num_proposals: clusters per scene.
        radius: metres.
        neighbors: most votes in a cluster.
    """

    def __init__(self, channels: int, num_proposals: int, radius: float, neighbors: int) -> None:
        super().__init__()
        self.num_proposals, self.radius, self.neighbors = num_proposals, radius, neighbors
        self.abstraction = SetAbstraction([channels, 128, 128, 128], radius)

    def forward(self, seeds: PointBatch, votes: PointBatch, sampling: str) -> tuple[Tensor, Tensor]:
        """Cluster positions (B * num_proposals, 3) and features (B * num_proposals, 128)."""
        offset = votes.offset
        ends = make_offset([self.num_proposals] * votes.num_scenes, offset.device)
        if sampling == "random":
            rows = self._any_votes(votes)
        elif sampling == "vote_fps":
            rows = farthest_point_sampling(votes.coord.detach(), offset, ends, skip_origin=True).long()
        else:  # the first vote of each chosen seed
            rows = farthest_point_sampling(seeds.coord.detach(), seeds.offset, ends, skip_origin=True).long()
            rows = rows * (votes.num_points // seeds.num_points)
        cluster = votes.coord[rows]
        searched = (votes.coord.detach(), offset, cluster.detach(), ends)
        ball, _ = ball_query(self.neighbors, self.radius, 0.0, *searched, padding="first_hit")
        return cluster, self.abstraction(votes.coord, votes.feat, cluster, ball)

    def _any_votes(self, votes: PointBatch) -> Tensor:
        """Rows of votes drawn with repeats: in training for each scene, otherwise one fixed draw for all scenes."""
        scenes = votes.num_scenes
        per_scene = votes.num_points // scenes
        if self.training:
            drawn = torch.randint(per_scene, (scenes, self.num_proposals))
        else:
            fixed = torch.Generator().manual_seed(0)
            drawn = torch.randint(per_scene, (1, self.num_proposals), generator=fixed).expand(scenes, -1)
        return to_device((drawn + per_scene * torch.arange(scenes)[:, None]).flatten(), votes.coord.device)
