"""The GPUs of this machine as places for runs: each run sees its own and no other."""

from __future__ import annotations

from collections.abc import Sequence

from mm3d_core.errors import UserError


class GpuSlots:
    """Hands out GPUs.

    Args:
        gpus: as ``CUDA_VISIBLE_DEVICES`` names them; without any, every run may start.
        runs: runs at once; more than there are GPUs share them evenly. None: one on each.
    """

    def __init__(self, gpus: Sequence[str], runs: int | None = None) -> None:
        self._gpus = list(gpus)
        self._share = 1 if runs is None or not gpus else -(-runs // len(gpus))
        self._taken: dict[str, list[str]] = {}

    def take(self, key: str, count: int = 1) -> str | None:
        """GPUs for a run of ``count`` processes, comma-separated ("" without GPUs); None while there is no room.

        Raises:
            UserError: more processes than there are GPUs.
        """
        if not self._gpus:
            return ""
        if count > len(self._gpus):
            raise UserError(
                f"machine.processes={count}: each needs a GPU of its own, and {len(self._gpus)} can be seen"
            )
        load = {gpu: sum(gpu in taken for taken in self._taken.values()) for gpu in self._gpus}
        free = sorted((gpu for gpu in self._gpus if load[gpu] < self._share), key=lambda gpu: load[gpu])
        if len(free) < count:
            return None
        self._taken[key] = free[:count]
        return ",".join(free[:count])

    def release(self, key: str) -> None:
        """The run ended."""
        self._taken.pop(key, None)
