"""Attention within patches of points that follow each other on a curve.

Source: Point Transformer V3 (Wu et al., CVPR 2024, arXiv:2312.10035); patches as in Pointcept/Pointcept,
pointcept/models/point_transformer_v3/point_transformer_v3m1_base.py with flash attention (MIT; nothing copied). A scene
is cut into patches of equal size; its last patch is filled up from the one before it, whose points are keys there once
more; a scene smaller than a patch is one patch. Changed: scaled_dot_product_attention stands for flash attention, so it
runs anywhere and in any precision.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pointops import gather_rows, to_device


class Patches(NamedTuple):
    """How the points of B scenes, in the order of a curve, are laid into P patches of K slots.

    Attributes:
        slots: (P, K) int32 positions on the curve (of the batch); -1 where a small scene leaves a slot empty.
        back: (n,) int32 the slot, counted through all patches, of each position.
        mask: (P, 1, 1, K) bool, True where a slot holds a point; None if all do.
    """

    slots: Tensor
    back: Tensor
    mask: Tensor | None

    @classmethod
    def of(cls, counts: Sequence[int], size: int, device: torch.device) -> Patches:
        """The patches of scenes of so many points.

        Args:
            counts: points of each scene.
            size: most slots of a patch; all patches have as many as the largest needs.
            device: where the tables are wanted; a GPU is not waited for.
        """
        width = max(1, min(size, max(counts)))
        slots, back, filled, start = [], [], 0, 0
        for count in counts:
            patches = -(-count // width)
            position = torch.arange(patches * width)
            if patches > 1:
                position[count:] -= width  # the same places in the patch before
            else:
                position[count:] = -1 - start
            slots.append(position + start)
            back.append(torch.arange(count) + filled)
            filled, start = filled + patches * width, start + count
        table = torch.cat(slots).int().view(-1, width)
        mask = None if bool((table >= 0).all()) else (table >= 0)[:, None, None]
        moved = (to_device(table, device), to_device(torch.cat(back).int(), device))
        return cls(*moved, None if mask is None else to_device(mask, device))


class PatchAttention(nn.Module):
    """Multi-head attention among the points of a patch.

    Args:
        channels: C.
        heads: a divisor of C.
    """

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query_key_value = nn.Linear(channels, 3 * channels)
        self.out = nn.Linear(channels, channels)

    def forward(self, feat: Tensor, patches: Patches, order: Tensor, place: Tensor) -> Tensor:
        """(n, C) -> (n, C).

        Args:
            feat: (n, C).
            patches: of the curve's positions.
            order: (n,) int32 point at each position of the curve.
            place: (n,) int32 position of each point.
        """
        if not len(feat):
            return self.out(feat)
        rows = torch.where(patches.slots < 0, patches.slots, order[patches.slots.clamp_min(0).long()])
        packed = gather_rows(self.query_key_value(feat), rows)
        query, key, value = packed.unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=patches.mask)
        return self.out(gather_rows(mixed.transpose(1, 2).flatten(2).flatten(0, 1), patches.back[place.long()]))


def patch_attention_reference(query: Tensor, key: Tensor, value: Tensor, counts: Sequence[int], size: int) -> Tensor:
    """What the attention means: scene by scene, patch by patch, head by head, over points in the order of a curve.

    Args:
        query, key, value: (n, heads, width).
        counts: points of each scene.
        size: most points of a patch.

    Returns:
        (n, heads, width).
    """
    width, out, start = max(1, min(size, max(counts))), [], 0
    for count in counts:
        scene = [part[start : start + count] for part in (query, key, value)]
        for low in range(0, count, width):
            high = min(low + width, count)
            seen = list(range(low, high))
            if count > width:  # the places that are missing, taken from the patch before
                seen += range(high - width, low)
            for_these = [part[rows] for part, rows in zip(scene, (slice(low, high), seen, seen), strict=True)]
            q, k, v = (part.transpose(0, 1) for part in for_these)
            weight = (q @ k.transpose(1, 2) / q.shape[2] ** 0.5).softmax(2)
            out.append((weight @ v).transpose(0, 1))
        start += count
    return torch.cat(out)
