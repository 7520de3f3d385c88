"""H3DNet's second half: each proposal looks for primitives at its faces and edges, and is corrected by what it finds.

Source: arXiv:2006.05682; values from zaiweizhang/H3DNet, models/proposal_module_refine.py (MIT). Nothing is copied.
The first 6 (faces) and 12 (edges) input channels are always zero, as in the release, whose one-hot side numbers never
reach the grouped points; they count as parameters.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mm3d_backbones.h3dnet_primitives import box_edges, box_faces
from mm3d_backbones.pointnet2 import SetAbstraction
from mm3d_backbones.votenet import Head, Stack
from pointops import ball_query, make_offset

OUT_OF_REACH = 100.0  # metres, added to every coordinate of primitives that probably do not exist
SIDE_CHANNELS = 32


@dataclass(frozen=True)
class Primitives:
    """Predicted primitives of one kind, S in each of B scenes, as R = B * S rows.

    Attributes:
        flags: (R, 2) logits that the seed lies on such a primitive.
        votes: (R, 3) metres.
        center: (R, 3) metres.
        extent: (R, d) metres.
        class_logits: (R, C).
        feat: (R, 128).
        offset: (B,) ends.
    """

    flags: Tensor
    votes: Tensor
    center: Tensor
    extent: Tensor
    class_logits: Tensor
    feat: Tensor
    offset: Tensor

    def reachable_centers(self) -> Tensor:
        """(B, S, 3) centers; those with a flag probability of at most one half are moved out of reach."""
        absent = (self.flags.softmax(1)[:, 1] <= 0.5).to(self.center.dtype)
        return self.per_scene(self.center + OUT_OF_REACH * absent[:, None])

    def per_scene(self, value: Tensor) -> Tensor:
        """(R, ...) as (B, S, ...)."""
        return value.unflatten(0, (self.offset.shape[0], -1))


class Matching(nn.Module):
    """Pools the primitives around the sides of proposals, and says whether one matches.

    Args:
        radius: metres around the center of a side.
        neighbors: most primitives there.
    """

    def __init__(self, radius: float = 0.5, neighbors: int = 32) -> None:
        super().__init__()
        self.radius, self.neighbors = radius, neighbors
        self.faces = SetAbstraction([6 + 128, 128, 64, SIDE_CHANNELS], radius)
        self.edges = SetAbstraction([12 + 128, 128, 64, SIDE_CHANNELS], radius)
        self.match = Head([SIDE_CHANNELS, SIDE_CHANNELS], 2)
        self.semantic_match = Head([SIDE_CHANNELS, SIDE_CHANNELS], 2)

    def forward(
        self, boxes: Tensor, horizontal: Primitives, vertical: Primitives, edge: Primitives
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Sides (B, 18, K, 3) of boxes (B, K, 7), their features (B, 18, K, 32), and two logits (B, 18, K, 2) each."""
        faces, edges = box_faces(boxes), box_edges(boxes)
        centers = torch.cat([kind.reachable_centers() for kind in (horizontal, vertical)], 1)
        feats = torch.cat([kind.per_scene(kind.feat) for kind in (horizontal, vertical)], 1)
        found = [
            self._pool(self.faces, 6, faces, centers, feats),
            self._pool(self.edges, 12, edges, edge.reachable_centers(), edge.per_scene(edge.feat)),
        ]
        feat = torch.cat(found, 1)
        rows, shape = feat.flatten(0, 2), feat.shape[:3]
        match, semantic = self.match(rows).view(*shape, 2), self.semantic_match(rows).view(*shape, 2)
        return torch.cat([faces, edges], 1), feat, match, semantic

    def _pool(self, module: SetAbstraction, blocks: int, sides: Tensor, centers: Tensor, feats: Tensor) -> Tensor:
        """Primitives (B, S, 3) with features (B, S, 128) pooled around sides (B, blocks, K, 3): (B, blocks, K, 32)."""
        scenes, proposals = sides.shape[0], sides.shape[2]
        ends, asked = (make_offset([each] * scenes, sides.device) for each in (centers.shape[1], blocks * proposals))
        query, support = sides.flatten(0, 2), centers.flatten(0, 1)
        points = (support.detach(), ends, query.detach(), asked)
        ball, _ = ball_query(self.neighbors, self.radius, 0.0, *points, padding="first_hit")
        padded = nn.functional.pad(feats.flatten(0, 1), (blocks, 0))
        return module(support, padded, query, ball).view(scenes, blocks, proposals, -1)


class Refinement(nn.Module):
    """From the features of a proposal's 18 sides to a second reading of the box."""

    def __init__(self, out: int) -> None:
        super().__init__()
        self.faces = Stack([SIDE_CHANNELS] * 3)
        self.edges = Stack([SIDE_CHANNELS] * 3)
        self.first = Stack([18 * SIDE_CHANNELS, 128])
        self.head = Head([128, 128, 128], out)

    def forward(self, sides: Tensor, feat: Tensor) -> Tensor:
        """(B, 18, K, 32) and the clusters' features (B, K, 128) -> (B, K, out)."""
        faces, edges = self._flat(self.faces, sides[:, :6]), self._flat(self.edges, sides[:, 6:])
        rows = self.first(torch.cat([faces, edges], 1)) + feat.flatten(0, 1)
        return self.head(rows).view(*feat.shape[:2], -1)

    @staticmethod
    def _flat(module: Stack, sides: Tensor) -> Tensor:
        """(B, blocks, K, 32) -> (B * K, 32 * blocks), channel by channel."""
        rows = module(sides.flatten(0, 2)).view(*sides.shape[:3], -1)
        return rows.permute(0, 2, 3, 1).flatten(2).flatten(0, 1)
