"""Prints what :func:`pointops.memory.keep_freed_memory` does to an eager attention step; run by itself."""

from __future__ import annotations

import torch

from pointops import aggregation, subtraction
from pointops.memory import keep_freed_memory
from speed.pointops.timing import interleaved

POINTS, NEIGHBORS, CHANNELS, SHARE = 20_000, 16, 64, 8


def step() -> None:
    """Forward and backward of Point Transformer's vector attention in eager torch."""
    generator = torch.Generator().manual_seed(0)
    idx = torch.randint(0, POINTS, (POINTS, NEIGHBORS), generator=generator)
    feat = torch.rand(POINTS, CHANNELS, generator=generator, requires_grad=True)
    position = torch.rand(POINTS, NEIGHBORS, CHANNELS, generator=generator)
    logit = (subtraction(feat, feat, idx) + position).relu()[..., : CHANNELS // SHARE]
    aggregation(feat, position, logit.softmax(1), idx).sum().backward()


def main() -> None:
    """Time, set, time again."""
    before = interleaved({"step": step}, 5)["step"]
    done = keep_freed_memory()
    after = interleaved({"step": step}, 5)["step"]
    print(f"eager attention step {before * 1e3:.0f} ms, then {after * 1e3:.0f} ms ({before / after:.2f}x): {done}")


if __name__ == "__main__":
    main()
