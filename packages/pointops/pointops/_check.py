"""Refusing bad input: every message names the argument and says what it must be."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

MAX_COORDINATE = 1e18  # squared distances between two such points still fit float32
MAX_ROWS = 2**31 - 1  # row numbers are int32


def tensors(**values: Tensor) -> None:
    """Raises ValueError for what is not a tensor; the dispatcher would raise a TypeError or a RuntimeError."""
    for name, value in values.items():
        if not isinstance(value, Tensor):
            raise ValueError(f"{name} must be a tensor, not {type(value).__name__}")


def points(name: str, xyz: Tensor, check_values: bool = True) -> Tensor:
    """``xyz`` as a contiguous (N, 3) float32 tensor without gradient.

    Args:
        name: of the argument, for the message.
        xyz: the points.
        check_values: look at the coordinates too (on the CPU only; a GPU check would wait for the device). The C++
            kernels look for themselves.

    Raises:
        ValueError: wrong shape or dtype, or a coordinate that is NaN, infinite or beyond ``MAX_COORDINATE``.
    """
    tensors(**{name: xyz})
    if xyz.ndim != 2 or xyz.shape[1] != 3:
        raise ValueError(f"{name} must be (N, 3), not {tuple(xyz.shape)}")
    if xyz.dtype != torch.float32:
        raise ValueError(f"{name} must be float32, not {xyz.dtype}")
    if xyz.shape[0] > MAX_ROWS:
        raise ValueError(f"{name} has {xyz.shape[0]} rows; row numbers are int32")
    xyz = xyz.detach().contiguous()
    if check_values and xyz.device.type == "cpu" and not bool((xyz.abs() <= MAX_COORDINATE).all()):
        raise ValueError(f"{name} holds coordinates that are NaN, infinite or beyond {MAX_COORDINATE:g}")
    return xyz


def ends(name: str, offset: Tensor, rows: int | None, rows_name: str = "") -> list[int]:
    """The cumulative scene ends of ``offset`` (B,) as integers; ``rows`` None leaves the last end free.

    Raises:
        ValueError: not an integer vector, empty, negative, decreasing, or not ending at ``rows``.
    """
    if not isinstance(offset, Tensor):
        raise ValueError(f"{name} must be a tensor, not {type(offset).__name__}")
    if offset.ndim != 1 or offset.numel() == 0:
        raise ValueError(f"{name} must be (B,) with at least one scene, not {tuple(offset.shape)}")
    if offset.dtype not in (torch.int32, torch.int64):
        raise ValueError(f"{name} must be int32 or int64, not {offset.dtype}")
    values = offset.tolist()
    if values[0] < 0 or any(late < early for early, late in pairwise(values)):
        raise ValueError(f"{name} must be cumulative ends that never decrease, not {_short(values)}")
    if values[-1] > MAX_ROWS:
        raise ValueError(f"{name} ends at {values[-1]}; row numbers are int32")
    if rows is not None and values[-1] != rows:
        raise ValueError(f"{name} must end at the {rows} rows of {rows_name}, not at {values[-1]}")
    return values


def same_scenes(name: str, ends_: Sequence[int], other_name: str, other: Sequence[int]) -> None:
    """Raises ValueError unless both offsets describe the same number of scenes."""
    if len(ends_) != len(other):
        raise ValueError(f"{name} has {len(ends_)} scenes, {other_name} has {len(other)}")


def at_least(name: str, value: int, least: int = 1) -> None:
    """Raises ValueError unless ``value`` is an integer of at least ``least`` that fits int32."""
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= MAX_ROWS:
        raise ValueError(f"{name} must be an integer of at least {least}, not {value!r}")


def choice(name: str, value: str, allowed: Sequence[str]) -> None:
    """Raises ValueError unless ``value`` is one of ``allowed``."""
    if value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(allowed)}, not {value!r}")


def same_device(name: str, value: Tensor, other_name: str, other: Tensor) -> None:
    """Raises ValueError unless both tensors live on one device."""
    if value.device != other.device:
        raise ValueError(f"{name} is on {value.device}, {other_name} on {other.device}")


def index(name: str, idx: Tensor, rows: int, ndim: int | None = None) -> Tensor:
    """``idx`` as contiguous integers in -1..rows-1.

    The range is checked on the CPU only: a GPU check would wait for the device, and a compiled graph would break.

    Raises:
        ValueError: wrong dtype, shape or range.
    """
    if not isinstance(idx, Tensor) or idx.dtype not in (torch.int32, torch.int64):
        raise ValueError(f"{name} must be an int32 or int64 tensor")
    if ndim is not None and idx.ndim != ndim:
        raise ValueError(f"{name} must have {ndim} axes, not {tuple(idx.shape)}")
    if idx.device.type == "cpu" and idx.numel() and not torch.compiler.is_compiling():
        low, high = (int(end) for end in idx.aminmax())
        if low < -1 or high >= rows:
            raise ValueError(f"{name} must lie in -1..{rows - 1}, not {low}..{high}")
    return idx.contiguous()


def _short(values: Sequence[int]) -> str:
    return str(list(values)) if len(values) <= 8 else f"{list(values[:8])} and {len(values) - 8} more"
