"""Hypothesis strategies: packed batches of awkward clouds."""

from __future__ import annotations

import torch
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from torch import Tensor

from speed.pointops.clouds import KINDS, cloud

# The fixtures choose the kernels only; every example may use the same ones.
EXAMPLES = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@st.composite
def batches(draw: st.DrawFn, scenes: int | None = None, least: int = 0, most: int = 300) -> tuple[Tensor, Tensor]:
    """(xyz, offset) of up to three scenes, some empty, some of one point."""
    number = draw(st.integers(1, 3)) if scenes is None else scenes
    kinds = [draw(st.sampled_from(sorted(KINDS))) for _ in range(number)]
    sizes = [draw(st.one_of(st.integers(least, 20), st.integers(least, most))) for _ in range(number)]
    seed = draw(st.integers(0, 1000))
    parts = [torch.from_numpy(cloud(k, n, seed + i)) for i, (k, n) in enumerate(zip(kinds, sizes, strict=True))]
    return torch.cat(parts), torch.tensor(sizes).cumsum(0)
