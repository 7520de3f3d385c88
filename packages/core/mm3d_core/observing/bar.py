"""How often progress bars are drawn."""

from __future__ import annotations

import sys


def seconds_between_updates() -> float:
    """For tqdm's ``mininterval``: smooth on a terminal, now and then in a file or a pipe, which keep every update."""
    return 0.1 if sys.stderr.isatty() else 10.0
