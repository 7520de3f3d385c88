"""VoteNet's losses, term by term (arXiv:1904.09664; facebookresearch/votenet, models/loss_helper.py, MIT).

Means over a mask divide by its sum + 1e-6, so that a batch without positives has finite losses.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from mm3d_backbones.detection_targets import BoxCodec, BoxTargets, Proposals, pick, take
from pointops import constant

NEAR, FAR = 0.3, 0.6  # metres: a clustered vote nearer to a box center is positive, one farther away negative
OBJECTNESS_WEIGHTS = (0.2, 0.8)
MASKED_MEAN_EPSILON = 1e-6


@dataclass(frozen=True)
class Assignment:
    """Which box each proposal answers for.

    Attributes:
        positive: (B, K) bool, nearer than NEAR.
        counted: (B, K) bool, positive or farther than FAR: what objectness is learned from.
        row: (B, K) int64, the nearest row of the targets.
    """

    positive: Tensor
    counted: Tensor
    row: Tensor


def masked_mean(value: Tensor, mask: Tensor) -> Tensor:
    """Sum of ``value`` where ``mask`` over the sum of ``mask`` + 1e-6; values outside of the mask may be anything."""
    mask = mask.to(value.dtype)
    return torch.where(mask > 0, value * mask, 0.0).sum() / (mask.sum() + MASKED_MEAN_EPSILON)


def huber(error: Tensor) -> Tensor:
    """0.5 e^2 up to |e| = 1, linear beyond, element by element."""
    return F.huber_loss(error, torch.zeros_like(error), reduction="none")


def squared_distances(first: Tensor, second: Tensor) -> Tensor:
    """(B, K, 3) and (B, G, 3) -> (B, K, G)."""
    return (first[:, :, None] - second[:, None]).square().sum(-1)


def vote_loss(seeds: Tensor, votes: Tensor, offsets: Tensor, mask: Tensor) -> Tensor:
    """Mean L1 distance between each labelled seed's votes and its candidate centers, of the nearest pair.

    Args:
        seeds: (S, 3) seed positions.
        votes: (S * F, 3) predicted votes, F for each seed, seed by seed.
        offsets: (S, T, 3) label: candidate centers minus the seed.
        mask: (S,) bool, seeds on objects.
    """
    centers = seeds[:, None] + offsets
    distance = (votes.view(len(seeds), -1, 1, 3) - centers[:, None]).abs().sum(-1).amin((1, 2))
    return masked_mean(distance, mask)


def assign(cluster: Tensor, targets: BoxTargets, count_padding: bool = True) -> Assignment:
    """Each clustered vote answers for the nearest box center.

    Args:
        cluster: (B, K, 3).
        targets: G rows per scene.
        count_padding: rows that pad a scene's list count as boxes at the origin, as in the release: a vote near the
            origin can then be positive without an object. False leaves them out.
    """
    distance = squared_distances(cluster.detach(), targets.center)
    if not count_padding:
        distance = distance.masked_fill(~targets.mask[:, None], math.inf)
    nearest, row = distance.min(-1)
    nearest = (nearest + 1e-6).sqrt()
    positive = nearest < NEAR
    return Assignment(positive, positive | (nearest > FAR), row)


def objectness_loss(logits: Tensor, assignment: Assignment) -> Tensor:
    """Weighted cross entropy over the counted proposals; logits (B, K, 2)."""
    return masked_mean(_cross_entropy(logits, assignment.positive.long(), OBJECTNESS_WEIGHTS), assignment.counted)


def center_loss(center: Tensor, targets: BoxTargets, assignment: Assignment, count_padding: bool = True) -> Tensor:
    """Squared distance from positive proposals to the nearest box, plus from each box to the nearest proposal."""
    distance = squared_distances(center, targets.center)
    to_box = distance if count_padding else distance.masked_fill(~targets.mask[:, None], math.inf)
    return masked_mean(to_box.amin(2), assignment.positive) + masked_mean(distance.amin(1), targets.mask)


def size_residual_loss(size_residuals: Tensor, targets: BoxTargets, assignment: Assignment, codec: BoxCodec) -> Tensor:
    """Huber on the labelled class's normalized size residuals (B, K, C, 3), mean over the axes."""
    box_class = take(targets.box_class, assignment.row)
    label = take(targets.size_residual, assignment.row) / codec.mean_sizes[box_class]
    return masked_mean(huber(pick(size_residuals, box_class) - label).mean(-1), assignment.positive)


def heading_residual_loss(
    heading_residuals: Tensor, targets: BoxTargets, assignment: Assignment, codec: BoxCodec
) -> Tensor:
    """Huber on the labelled bin's normalized heading residual (B, K, NH)."""
    label = take(targets.heading_residual, assignment.row) / (math.pi / codec.num_heading_bins)
    found = pick(heading_residuals, take(targets.heading_bin, assignment.row))
    return masked_mean(huber(found - label), assignment.positive)


def box_losses(
    proposals: Proposals, targets: BoxTargets, assignment: Assignment, codec: BoxCodec, count_padding: bool = True
) -> dict[str, Tensor]:
    """The terms of the box loss by name, and "semantic"; :func:`box_loss` weighs them."""
    row, positive = assignment.row, assignment.positive
    box_class = take(targets.box_class, row)
    return {
        "center": center_loss(proposals.center, targets, assignment, count_padding),
        "heading_class": masked_mean(
            _cross_entropy(proposals.heading_logits, take(targets.heading_bin, row)), positive
        ),
        "heading_residual": heading_residual_loss(proposals.heading_residuals, targets, assignment, codec),
        "size_class": masked_mean(_cross_entropy(proposals.size_logits, box_class), positive),
        "size_residual": size_residual_loss(proposals.size_residuals, targets, assignment, codec),
        "semantic": masked_mean(_cross_entropy(proposals.class_logits, box_class), positive),
    }


def box_loss(terms: dict[str, Tensor]) -> Tensor:
    """center + 0.1 heading class + heading residual + 0.1 size class + size residual + 0.1 semantic."""
    return (
        terms["center"]
        + 0.1 * terms["heading_class"]
        + terms["heading_residual"]
        + 0.1 * terms["size_class"]
        + terms["size_residual"]
        + 0.1 * terms["semantic"]
    )


def weighted_cross_entropy(logits: Tensor, target: Tensor, weights: tuple[float, float], mask: Tensor) -> Tensor:
    """Masked mean of the weighted cross entropy of two classes; logits (..., 2), target and mask (...)."""
    return masked_mean(_cross_entropy(logits, target.long(), weights), mask)


def _cross_entropy(logits: Tensor, target: Tensor, weights: tuple[float, ...] | None = None) -> Tensor:
    """Cross entropy of (..., C) logits, (...); ``weights`` scale the classes and are not normalized."""
    weight = None if weights is None else constant(weights, logits.dtype, logits.device)
    flat = F.cross_entropy(logits.reshape(-1, logits.shape[-1]), target.reshape(-1), weight=weight, reduction="none")
    return flat.view(target.shape)
