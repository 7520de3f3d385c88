"""Space-filling curves: the place of a voxel on the z-order or the Hilbert curve of its scene.

Sources: Morton order; Hilbert's curve by Skilling, AIP Conference Proceedings 707, 2004. Orders and bits are those of
Point Transformer V3 (Wu et al., CVPR 2024, arXiv:2312.10035): of equal rank x comes first, and a transposed order
(``z-trans``, ``hilbert-trans``) exchanges x and y. Both curves nest: the code of a cell twice as large is the code
without its last three bits.
"""

from __future__ import annotations

import torch
from torch import Tensor

from pointops import _check

ORDERS = ("z", "z-trans", "hilbert", "hilbert-trans")
MAX_DEPTH = 16  # bits an axis, so that a code takes 48


def curve_code(cells: Tensor, depth: int | Tensor, order: str, *, check: bool = True) -> Tensor:
    """(V,) int64 places of the cells on a curve through 2^depth cells an axis.

    Args:
        cells: (V, 3) integers from 0 to 2^depth - 1.
        depth: bits an axis, 0 to 16, one number or (V,) int64. The Hilbert curve of a cube depends on it, z-order does
            not.
        order: one of ``ORDERS``.
        check: look at the values, for which a GPU is waited for.

    Raises:
        ValueError: an unknown order, another depth, or cells beyond it.
    """
    _check.choice("order", order, ORDERS)
    if cells.ndim != 2 or cells.shape[1] != 3 or cells.is_floating_point():
        raise ValueError(f"cells must be (V, 3) integers, not {cells.dtype} {tuple(cells.shape)}")
    bits = torch.as_tensor(depth, device=cells.device)
    if check:
        _check_values(cells, bits)
    x, y, z = cells.long().unbind(1)
    axes = [y, x, z] if order.endswith("trans") else [x, y, z]
    return _interleaved(axes) if order.startswith("z") else _hilbert(axes, bits)


def serialization_depth(largest: int) -> int:
    """Bits an axis for cells up to ``largest``, counted as Point Transformer V3 does: those of ``largest + 1``."""
    return (largest + 1).bit_length()


def _check_values(cells: Tensor, bits: Tensor) -> None:
    if bits.is_floating_point() or bits.ndim > 1 or not 0 <= int(bits.min()) <= int(bits.max()) <= MAX_DEPTH:
        raise ValueError(f"depth must be 0..{MAX_DEPTH} bits an axis, not {bits.tolist()}")
    if cells.numel() and (int(cells.min()) < 0 or bool((cells.amax(1) >> bits > 0).any())):
        raise ValueError(f"cells must lie in 0..2^depth - 1 (depth {int(bits.max())}), not up to {int(cells.max())}")


def _interleaved(axes: list[Tensor]) -> Tensor:
    """Bits of three numbers by turns, the first axis' highest."""
    x, y, z = (_spread(axis) for axis in axes)
    return x << 2 | y << 1 | z


def _spread(value: Tensor) -> Tensor:
    """16 bits with two empty ones between each: the bits are moved apart by halves."""
    value = (value | value << 16) & 0x0000FF0000FF
    value = (value | value << 8) & 0x00F00F00F00F
    value = (value | value << 4) & 0x0C30C30C30C3
    return (value | value << 2) & 0x249249249249


def _hilbert(axes: list[Tensor], bits: Tensor) -> Tensor:
    """Skilling's transform: undo the turns of the cubes from the largest to the smallest, then Gray code to binary."""
    axes = list(axes)
    for bit in reversed(range(1, MAX_DEPTH)):
        below = (bits > bit) * ((1 << bit) - 1)  # 0 above a scene's largest cube: nothing turns
        for number in range(3):
            is_set = (axes[number] >> bit & 1).bool()
            exchanged = torch.where(is_set, 0, (axes[0] ^ axes[number]) & below)
            axes[0] = axes[0] ^ torch.where(is_set, below, exchanged)
            if number:
                axes[number] = axes[number] ^ exchanged
    code = _interleaved(axes)
    for shift in (1, 2, 4, 8, 16, 32):  # a bit of the binary number is the parity of all Gray bits from it up
        code = code ^ code >> shift
    return code
