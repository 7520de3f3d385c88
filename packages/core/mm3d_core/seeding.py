"""Seeds that depend on names, not on the order in which work happens.

Every random number of a run comes from a generator made for one purpose: ``generator(seed, "sample", epoch, index)``
is the same whichever worker asks, after whatever interruption. The global generators (parameter initialization,
dropout) are set here and nowhere else.
"""

from __future__ import annotations

import hashlib
import os
import random

import numpy as np
import torch


def derive(*keys: int | str) -> int:
    """A 63-bit seed from any names and numbers; equal keys give equal seeds on every machine and Python version."""
    text = "\x1f".join(f"{type(key).__name__}:{key}" for key in keys)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def generator(*keys: int | str, device: torch.device | str = "cpu") -> torch.Generator:
    """A torch generator for one purpose."""
    return torch.Generator(device).manual_seed(derive(*keys))


def numpy_generator(*keys: int | str) -> np.random.Generator:
    """A NumPy generator for one purpose."""
    return np.random.default_rng(derive(*keys))


def seed_everything(*keys: int | str) -> None:
    """Set the global generators of Python, NumPy and torch (every device)."""
    seed = derive(*keys)
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def set_deterministic(enabled: bool) -> None:
    """Ask torch for the same bits on every execution on one kind of device.

    On the CPU this makes accumulating index operations sequential; everything else that this project uses is so
    already. On a GPU it forbids cuDNN's autotuning and lets operations that have no deterministic kernel warn; atomics
    of third-party kernels are outside its reach.
    """
    if enabled:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # must be set before cuBLAS starts
    torch.set_deterministic_debug_mode("warn" if enabled else "default")  # the other setter imports the compiler: 1.3 s
    # Nothing here reads memory that it has not written, so filling it first would only cost time.
    torch.utils.deterministic.fill_uninitialized_memory = False  # pyright: ignore[reportAttributeAccessIssue]
    torch.backends.cudnn.deterministic = enabled
    torch.backends.cudnn.benchmark = False
