"""H3DNet's losses (arXiv:2006.05682; zaiweizhang/H3DNet, models/loss_helper.py, MIT).

Changed: the semantic match compares each side's primitive with the class of the proposal's own box; the release lays
the classes out in another order than the sides.

    total = 30 flags + 10 primitive votes + horizontal + vertical + 2 edges + 10 center votes + 5 objectness + 10 box
            + 5 (match + semantic match + refined objectness) + 10 potential
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from mm3d_backbones.detection_losses import (
    NEAR,
    OBJECTNESS_WEIGHTS,
    Assignment,
    assign,
    box_loss,
    box_losses,
    center_loss,
    heading_residual_loss,
    masked_mean,
    objectness_loss,
    size_residual_loss,
    vote_loss,
    weighted_cross_entropy,
)
from mm3d_backbones.detection_targets import BoxCodec, BoxTargets, Proposals, take
from mm3d_backbones.h3dnet_matching import Primitives
from mm3d_backbones.h3dnet_primitives import PrimitiveTargets, box_edges, box_faces
from mm3d_core.points import PointBatch
from pointops import constant, knn_query, make_offset

FLAG_WEIGHTS = (0.4, 0.6)
MATCH_WEIGHTS = (0.3, 0.7)


@dataclass(frozen=True)
class H3DNetOutput:
    """Everything one forward pass says; the losses read all of it.

    Attributes:
        seeds: with the attribute "row".
        votes: for box centers.
        primitives: horizontal faces, vertical faces, edges.
        initial: proposals as VoteNet makes them.
        refined: the same clusters, read from the refinement's head.
        sides: (B, 18, K, 3) face and edge centers of the initial boxes, metres.
        match: (B, 18, K, 2) logits: does a primitive of the object lie there?
        semantic_match: (B, 18, K, 2) logits: and is it of the object's class?
    """

    seeds: PointBatch
    votes: PointBatch
    primitives: tuple[Primitives, Primitives, Primitives]
    initial: Proposals
    refined: Proposals
    sides: Tensor
    match: Tensor
    semantic_match: Tensor


def h3dnet_losses(
    output: H3DNetOutput,
    targets: BoxTargets,
    seen: tuple[PrimitiveTargets, PrimitiveTargets, PrimitiveTargets],
    labels: Mapping[str, Tensor],
    codec: BoxCodec,
    count_padding: bool = True,
) -> dict[str, Tensor]:
    """The total as "loss" and its terms, unweighted, by name.

    Args:
        output: of the network.
        targets: the boxes.
        seen: the primitives that each point lies on: horizontal, vertical, edges.
        labels: "votes", "vote_mask" of the points.
        codec: of the network.
        count_padding: see :func:`mm3d_backbones.detection_losses.assign`.
    """
    rows = output.seeds.attributes["row"]
    assignment = assign(output.initial.cluster, targets, count_padding)
    terms = primitive_losses(output.primitives, tuple(kind.rows(rows) for kind in seen))
    terms["vote"] = vote_loss(output.seeds.coord, output.votes.coord, labels["votes"][rows], labels["vote_mask"][rows])
    terms["objectness"] = objectness_loss(output.initial.objectness, assignment)
    box_terms = box_losses(output.initial, targets, assignment, codec, count_padding)
    match, semantic = match_labels(output, targets, assignment)
    counted = assignment.counted[:, None].expand_as(match)
    terms["match"] = weighted_cross_entropy(output.match, match, MATCH_WEIGHTS, counted)
    terms["semantic_match"] = weighted_cross_entropy(output.semantic_match, semantic, MATCH_WEIGHTS, counted)
    terms["refined_objectness"] = refined_objectness_loss(output.refined.objectness, assignment, match)
    terms["potential"] = potential_loss(output, targets, assignment, match, codec, count_padding)
    total = (
        30 * (terms["flag_horizontal"] + terms["flag_vertical"] + terms["flag_edge"])
        + 10 * (terms["vote_horizontal"] + terms["vote_vertical"] + terms["vote_edge"])
        + terms["horizontal"]
        + terms["vertical"]
        + 2 * terms["edge"]
        + 10 * terms["vote"]
        + 5 * terms["objectness"]
        + 10 * box_loss(box_terms)
        + 5 * (terms["match"] + terms["semantic_match"] + terms["refined_objectness"])
        + 10 * terms["potential"]
    )
    named = {**terms, **box_terms, "positive_share": assignment.positive.float().mean()}
    named["match_share"] = match.float().mean()
    return {"loss": total, **{name: value.detach() for name, value in named.items()}}


def primitive_losses(primitives: tuple[Primitives, ...], seen: tuple[PrimitiveTargets, ...]) -> dict[str, Tensor]:
    """Existence, votes and shape of the three kinds; all on the seeds."""
    terms = {}
    for name, found, truth in zip(("horizontal", "vertical", "edge"), primitives, seen, strict=True):
        weight = constant(FLAG_WEIGHTS, found.flags.dtype, found.flags.device)
        terms[f"flag_{name}"] = F.cross_entropy(found.flags, truth.mask.long(), weight, reduction="none").mean()
        terms[f"vote_{name}"] = masked_mean((found.votes - truth.center).abs().sum(1), truth.mask)
        shape = 0.5 * masked_mean((found.center - truth.center).abs().sum(1), truth.mask)
        if truth.extent.shape[1]:
            shape = shape + 0.5 * masked_mean((found.extent - truth.extent).abs().sum(1), truth.mask)
        class_loss = F.cross_entropy(found.class_logits, truth.box_class, reduction="none")
        terms[name] = shape + masked_mean(class_loss, truth.mask)
    return terms


def match_labels(output: H3DNetOutput, targets: BoxTargets, assignment: Assignment) -> tuple[Tensor, Tensor]:
    """Whether the primitive nearest to each side of the assigned box is near it and near the proposal's own side.

    Returns:
        match: (B, 18, K) bool.
        semantic: (B, 18, K) bool, the same and the primitive's most likely class is that of the box.
    """
    truth, box_class = take(targets.boxes, assignment.row), take(targets.box_class, assignment.row)
    horizontal, vertical, edge = output.primitives
    faces = _nearest(box_faces(truth), output.sides[:, :6], (horizontal, vertical))
    edges = _nearest(box_edges(truth), output.sides[:, 6:], (edge,))
    match = torch.cat([faces[0], edges[0]], 1)
    primitive_class = torch.cat([faces[1], edges[1]], 1)
    return match, match & (primitive_class == box_class[:, None])


def refined_objectness_loss(logits: Tensor, assignment: Assignment, match: Tensor) -> Tensor:
    """Mean of two: over proposals with a matching primitive, and over the counted proposals; logits (B, K, 2)."""
    masks = match.any(1), assignment.counted
    return sum(weighted_cross_entropy(logits, assignment.positive, OBJECTNESS_WEIGHTS, mask) for mask in masks) / 2  # type: ignore[return-value]


def potential_loss(
    output: H3DNetOutput,
    targets: BoxTargets,
    assignment: Assignment,
    match: Tensor,
    codec: BoxCodec,
    count_padding: bool = True,
) -> Tensor:
    """How far the refined boxes are from the truth: centers, matched sides, sizes and, if oriented, headings."""
    refined, truth = output.refined, take(targets.boxes, assignment.row)
    boxes = boxes_under_potential(output.initial, refined, codec)
    gap = torch.cat([box_faces(boxes) - box_faces(truth), box_edges(boxes) - box_edges(truth)], 1)
    distance = (gap.square().sum(-1) + 1e-6).sqrt()
    total = center_loss(refined.center, targets, assignment, count_padding)
    total = total + masked_mean(distance, match & assignment.positive[:, None])
    total = total + size_residual_loss(refined.size_residuals, targets, assignment, codec)
    if not codec.axis_aligned:
        total = total + heading_residual_loss(refined.heading_residuals, targets, assignment, codec)
    return total


def boxes_under_potential(initial: Proposals, refined: Proposals, codec: BoxCodec) -> Tensor:
    """Refined boxes (B, K, 7) by the initial head's classes; no gradient passes through their headings."""
    size = codec.sizes(initial.size_logits.argmax(-1), refined.size_residuals)
    heading = codec.headings(initial.heading_logits.argmax(-1), refined.heading_residuals.detach())
    return torch.cat([refined.center, size, heading[..., None]], -1)


def _nearest(truth: Tensor, own: Tensor, kinds: tuple[Primitives, ...]) -> tuple[Tensor, Tensor]:
    """Whether both sides (B, F, K, 3) are near the primitive nearest to the true one, and that primitive's class."""
    centers = torch.cat([kind.reachable_centers() for kind in kinds], 1).detach()
    classes = torch.cat([kind.per_scene(kind.class_logits).argmax(-1) for kind in kinds], 1)
    scenes, supports = centers.shape[:2]
    sides = truth.shape[1] * truth.shape[2]
    ends, asked = (make_offset([each] * scenes, centers.device) for each in (supports, sides))
    support = centers.flatten(0, 1)
    index, _ = knn_query(1, support, ends, truth.detach().flatten(0, 2), asked)
    nearest = index[:, 0].long().view(truth.shape[:3])
    close = [((side.detach() - support[nearest]).square().sum(-1) + 1e-6).sqrt() < NEAR for side in (truth, own)]
    return close[0] & close[1], classes.flatten()[nearest]
