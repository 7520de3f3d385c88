"""Refusing bad input: every message names the argument and says what it must be."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

MAX_COORDINATE = 1e18  # squared distances between two such points still fit float32
MAX_ROWS = 2**31 - 1  # row numbers are int32


def tensors(**values: Tensor) -> None:
    """Raises ValueError for what is not a tensor; the dispatcher would raise a TypeError or a RuntimeError."""
    for name, value in values.items():
        if not isinstance(value, Tensor):
            raise ValueError(f"{name} must be a tensor, not {type(value).__name__}")


def points(name: str, xyz: Tensor, check_values: bool = True, axes: int | None = 3, double: bool = False) -> Tensor:
    """``xyz`` as a contiguous (N, 3) float32 tensor without gradient.

    Args:
        name: of the argument, for the message.
        xyz: the points.
        check_values: look at the coordinates too (on the CPU only; a GPU check would wait for the device). The C++
            kernels look for themselves.
        axes: of the space; None for any number from 1 on.
        double: let float64 pass as it is.

    Raises:
        ValueError: wrong shape or dtype, or a coordinate that is NaN, infinite or beyond ``MAX_COORDINATE``.
    """
    tensors(**{name: xyz})
    if xyz.ndim != 2 or xyz.shape[1] != (axes or max(1, xyz.shape[1])):
        raise ValueError(f"{name} must be (N, {axes or 'D'}), not {tuple(xyz.shape)}")
    if xyz.dtype in (torch.float16, torch.bfloat16):
        raise ValueError(f"{name} must be float32, not {xyz.dtype}, except under autocast; pass {name}.float()")
    if xyz.dtype != torch.float32 and not (double and xyz.dtype == torch.float64):
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
        ValueError: not an integer vector, negative, decreasing, or not ending at ``rows`` (no scenes: at 0).
    """
    if not isinstance(offset, Tensor):
        raise ValueError(f"{name} must be a tensor, not {type(offset).__name__}")
    if offset.ndim != 1:
        raise ValueError(f"{name} must be (B,), not {tuple(offset.shape)}")
    if offset.dtype not in (torch.int32, torch.int64):
        raise ValueError(f"{name} must be int32 or int64, not {offset.dtype}")
    values = list(known_ends(offset))
    if not values:
        if rows:
            raise ValueError(f"{name} has no scenes, but {rows_name} has {rows} rows")
        return values
    if values[0] < 0 or any(late < early for early, late in pairwise(values)):
        raise ValueError(f"{name} must be cumulative ends that never decrease, not {_short(values)}")
    if values[-1] > MAX_ROWS:
        raise ValueError(f"{name} ends at {values[-1]}; row numbers are int32")
    if rows is not None and values[-1] != rows:
        raise ValueError(f"{name} must end at the {rows} rows of {rows_name}, not at {values[-1]}")
    return values


def known_ends(offset: Tensor) -> list[int]:
    """The entries of an offset; read from the device once, then remembered with the tensor until it changes."""
    remembered = getattr(offset, "_known_ends", None)
    if remembered is not None and remembered[0] == offset._version:
        return remembered[1]
    values = offset.tolist()
    remember(offset, values)
    return values


def remember(offset: Tensor, values: list[int]) -> Tensor:
    """The offset, whose entries are these."""
    if offset.device.type != "cpu":
        offset._known_ends = (offset._version, values)  # pyright: ignore[reportAttributeAccessIssue]
    return offset


def same_scenes(name: str, ends_: Sequence[int], other_name: str, other: Sequence[int]) -> None:
    """Raises ValueError unless both offsets describe the same number of scenes."""
    if len(ends_) != len(other):
        raise ValueError(f"{name} has {len(ends_)} scenes, {other_name} has {len(other)}")


def integer(name: str, value: Any, least: int = 1) -> int:
    """``value``, of any integer type (NumPy's and tensors of one element too), as an int.

    Raises:
        ValueError: no integer, a bool, less than ``least``, or beyond int32.
    """
    if isinstance(value, torch.SymInt):
        return value  # pyright: ignore[reportReturnType]
    number = value if type(value) is int else _index(value)
    if number is None or not least <= number <= MAX_ROWS:
        raise ValueError(f"{name} must be an integer of at least {least}, not {value!r}")
    return number


def _index(value: Any) -> int | None:
    """The integer that ``value`` is, or None."""
    if isinstance(value, bool) or (isinstance(value, Tensor) and value.dtype == torch.bool):
        return None
    try:
        return operator.index(value)
    except (TypeError, RuntimeError):
        return None


def same(name: str, value: int, other_name: str, other: int) -> None:
    """Raises ValueError unless both numbers are one."""
    if value != other:
        raise ValueError(f"{name} is {value}, but {other_name} is {other}")


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


def no_gaps(name: str, idx: Tensor) -> None:
    """Raises ValueError where ``idx`` holds -1 (on the CPU only)."""
    if idx.device.type == "cpu" and idx.numel() and not torch.compiler.is_compiling() and int(idx.min()) < 0:
        raise ValueError(f"{name} must not hold -1: every entry names a row")


def _short(values: Sequence[int]) -> str:
    return str(list(values)) if len(values) <= 8 else f"{list(values[:8])} and {len(values) - 8} more"
