"""The search trees of some points, built once for several calls.

``knn_query``, ``ball_query`` and ``farthest_point_sampling`` build a tree each time they are called. Whoever searches
the same points, or from the same points, more than once makes an :class:`Index` and hands it over:

    index = Index(xyz, offset)
    rows = farthest_point_sampling(xyz, offset, new_offset, index=index)
    idx, _ = ball_query(64, 0.2, 0.0, xyz, offset, xyz[rows.long()], new_offset, index=index)

Results are the same with and without it.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

import torch
from torch import Tensor

from pointops import _check, _native


class Index:
    """Search trees of the points of a batch; they are built at the first use, and freed with the object.

    The points must not be changed while the index lives. On a GPU, and without the C++ kernels, it holds nothing.
    """

    def __init__(self, xyz: Tensor, offset: Tensor) -> None:
        """Remember the points.

        Args:
            xyz: (N, 3) float32, contiguous.
            offset: (B,) cumulative ends.

        Raises:
            ValueError: wrong shapes, dtypes or offsets, or points that are not contiguous.
        """
        self.xyz = _check.points("xyz", xyz, False)
        if self.xyz.data_ptr() != xyz.data_ptr():
            raise ValueError("xyz must be contiguous: an index names the points by where they lie")
        self.ends = _check.ends("offset", offset, xyz.shape[0], "xyz")
        self._handle: int | None = None
        self._free = None

    def handle(self) -> int | None:
        """The trees for the kernels, or None where there are no kernels.

        Raises:
            ValueError: coordinates that are NaN, infinite or beyond 1e18.
        """
        if self._handle is None and self.xyz.device.type == "cpu":
            kernels = _native.library()
            if kernels is not None:
                made = ctypes.c_void_p()
                size = len(self.ends)
                _native.call(
                    "pointops_index_make", self.xyz, self.ends, size, _native.threads(), ctypes.addressof(made)
                )
                self._handle, self._free = made.value, kernels.pointops_index_free
        return self._handle

    def __del__(self) -> None:
        """Free the trees."""
        if getattr(self, "_handle", None) is not None and self._free is not None:
            self._free(self._handle)

    def __reduce__(self) -> tuple[type, tuple[Tensor, Tensor]]:
        """A copy, or an index sent to another process, is built again there."""
        return Index, (self.xyz, torch.tensor(self.ends))


def handle(name: str, index: Index | None, points: str, xyz: Tensor, ends: Sequence[int]) -> int | None:
    """The trees of ``index`` after a check that it was made from these points; None without an index.

    Raises:
        ValueError: the index belongs to other points or ends.
    """
    if index is None:
        return None
    if index.xyz.data_ptr() != xyz.data_ptr() or index.xyz.shape != xyz.shape or index.ends != list(ends):
        raise ValueError(f"{name} was made from other points or ends than {points}")
    return index.handle()
