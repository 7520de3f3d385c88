# Triton gives its kernels no types:
# pyright: reportCallIssue=false, reportIndexIssue=false
"""The smallest kernel: does Triton compile and launch here at all?"""

from __future__ import annotations

import torch
import triton
import triton.language as tl


@triton.jit
def add_one_kernel(value):
    """Adds one to a single number."""
    tl.store(value, tl.load(value) + 1)


def launch() -> None:
    """Compile and run it once on the current GPU.

    Raises:
        RuntimeError: it ran and its result is wrong; and whatever Triton raises where it cannot compile.
    """
    value = torch.ones(1, device="cuda")
    add_one_kernel[(1,)](value)
    if value.item() != 2:
        raise RuntimeError("a kernel ran and computed nothing")
