"""Which kernel serves a feature operation, and its row numbers as kernels want them."""

from __future__ import annotations

import functools
import warnings
from importlib.util import find_spec

import torch
from torch import Tensor

from pointops import _check, _native
from pointops.inverse import InverseTable

TRITON_DTYPES = (torch.float32, torch.float16, torch.bfloat16)
OLDEST = (7, 0)  # compute capability (Volta); torch/_inductor/scheduler.py refuses older ones too


def kernels(*features: Tensor) -> str:
    """``C++`` for float32 on the CPU, ``Triton`` on a GPU that has it, else ``torch``: the plain definition."""
    device, dtype = features[0].device.type, features[0].dtype
    if device == "cpu" and dtype == torch.float32 and _native.library() is not None:
        return "C++"
    if device == "cuda" and dtype in TRITON_DTYPES and has_triton():
        return "Triton"
    return "torch"


@functools.cache
def has_triton() -> bool:
    """Whether Triton is installed and can compile for this GPU; where it cannot, one warning says so.

    CUDA builds of torch bring Triton, but its first launch needs a C compiler and Python's headers.
    """
    if find_spec("triton") is None:
        return False
    problem = triton_problem()
    if problem is not None:
        warnings.warn(
            f"pointops: Triton cannot compile here ({problem}); operations on the GPU run on plain torch, which is "
            f"slower; {triton_remedy(problem)}, or see mm3d doctor",
            stacklevel=2,
        )
    return problem is None


def triton_problem() -> str | None:
    """What keeps Triton from compiling and launching a kernel on the current GPU, in one line; None if nothing does."""
    try:
        found = torch.cuda.get_device_capability()
        if found < OLDEST:  # told before the try: what a compiler makes of an unknown GPU may end the process
            return f"too old: {torch.cuda.get_device_name()} is sm_{found[0]}{found[1]}, the oldest is sm_70"
        from pointops.triton.probe import launch

        launch()
    except Exception as error:  # whatever compilers, drivers and old GPUs make of it
        return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
    return None


def triton_remedy(problem: str) -> str:
    """What to do about what :func:`triton_problem` says."""
    if problem.startswith("too old"):
        return "take a newer GPU where time matters"
    return "install a C compiler (gcc) and Python's headers (python3-dev)"


def rows32(idx: Tensor, rows: int) -> Tensor:
    """``idx`` as contiguous int32; the kernels check the range of int32 rows themselves."""
    if idx.dtype == torch.int32:
        return idx.contiguous()
    return _check.index("idx", idx, rows).int()


def tables(inverse: InverseTable | None, idx: Tensor, rows: int) -> tuple[Tensor | None, Tensor | None]:
    """The two tensors of ``inverse``, or two times None.

    Raises:
        ValueError: an inverse of another table.
    """
    if inverse is None:
        return None, None
    start, entry = inverse
    if start.shape != (rows + 1,) or entry.ndim != 1 or entry.shape[0] > idx.numel():
        raise ValueError(
            f"inverse has {start.shape[0] - 1} rows and {entry.shape[0]} entries; idx: {idx.numel()} over {rows} rows"
        )
    if start.dtype != torch.int32 or entry.dtype != torch.int32 or start.device != idx.device:
        raise ValueError(f"inverse must be int32 on {idx.device}, not {start.dtype}, {entry.dtype} on {start.device}")
    return start, entry


def check_index(idx: Tensor, ndim: int | None = None) -> None:
    """Raises ValueError unless ``idx`` is a tensor of int32 or int64 with ``ndim`` axes."""
    if not isinstance(idx, Tensor) or idx.dtype not in (torch.int32, torch.int64):
        raise ValueError("idx must be an int32 or int64 tensor")
    if ndim is not None and idx.ndim != ndim:
        raise ValueError(f"idx must have {ndim} axes, not {tuple(idx.shape)}")


def check_features(name: str, value: Tensor, *axes: int | None) -> None:
    """Raises ValueError unless ``value`` is a floating-point tensor of this shape; None leaves an axis free."""
    if not isinstance(value, Tensor) or not value.is_floating_point():
        raise ValueError(f"{name} must be a floating-point tensor")
    if value.ndim != len(axes) or any(want is not None and want != size for want, size in zip(axes, value.shape)):
        wanted = ", ".join("any" if want is None else str(want) for want in axes)
        raise ValueError(f"{name} must be ({wanted}), not {tuple(value.shape)}")


def check_device(idx: Tensor, name: str, *features: Tensor) -> None:
    """Raises ValueError unless all live on one device; ``name`` is that of the first of ``features``."""
    for value in features:
        if value.device != idx.device:
            raise ValueError(f"idx is on {idx.device}, {name} or its like on {value.device}")


def common_dtype(*values: Tensor) -> list[Tensor]:
    """All in the widest of their types."""
    wide = functools.reduce(torch.promote_types, (value.dtype for value in values))
    return [value if value.dtype == wide else value.to(wide) for value in values]


def accumulated(value: Tensor) -> Tensor:
    """``value`` in the type in which sums are made: float32 for half precision."""
    return value.float() if value.dtype in (torch.float16, torch.bfloat16) else value
