"""What NumPy's arrays and numbers are pickled with: harmless names, for readers that unpickle nothing else.

Training programs save a best score beside their weights, which is a NumPy number more often than not; a reader that
knows tensors alone would refuse the whole file for it.
"""

from __future__ import annotations

from typing import Any


def array_globals() -> list[Any]:
    """For ``also`` of ``mm3d_core.training.checkpoint.read_tensors``: numbers only, under both names of NumPy."""
    from _codecs import encode

    import numpy as np
    from numpy._core import multiarray

    rebuild, scalar = multiarray._reconstruct, multiarray.scalar  # type: ignore[attr-defined]
    dtypes = [type(np.dtype(kind)) for kind in "?bhilqBHILQefdSU"]
    names = [(rebuild, f"numpy.{core}.multiarray._reconstruct") for core in ("core", "_core")]
    names += [(scalar, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")]
    return [*names, np.ndarray, np.dtype, encode, *dtypes]
