"""One objective over all processes of a training: their gradients are averaged while they are made.

torch's DistributedDataParallel has to be told whether a step may leave parameters without a gradient (as a pre-training
of an encoder does with the decoder): looking for them costs a walk through the graph in every step, not looking for
them breaks the training. The first step shows it: it is taken with the search, and where every parameter of every
process got its gradient, the search ends.
"""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from mm3d_core.training import distributed

logger = logging.getLogger(__name__)

SHOWN = 3  # parameters named in a message


class Parallel:
    """An objective as a module, wrapped for as many processes as there are; alone it is the module itself.

    Args:
        module: its forward takes a micro-batch and returns named losses.
        varies: whether a later step may leave out parameters that the first one uses.
    """

    def __init__(self, module: nn.Module, device: torch.device, varies: bool = False) -> None:
        self.module, self._device, self._varies = module, device, varies
        self.searching: bool | None = None  # for parameters without a gradient; None before the first step
        self._wrapped: Any = self._wrap(search=True) if distributed.world_size() > 1 else module

    def __call__(self, batch: Any, random: torch.Generator) -> dict[str, Tensor]:
        return self._wrapped(batch, random)

    def micro_batch(self, last: bool) -> AbstractContextManager[Any]:
        """Around the passes of one of a step's micro-batches: only the last exchanges gradients."""
        return nullcontext() if last or self._wrapped is self.module else self._wrapped.no_sync()

    def settle(self) -> None:
        """After the last backward pass of a step: learn from the first, watch the others; every process calls it.

        Raises:
            ValueError: parameters that the first step used got no gradient in this one.
        """
        if self._wrapped is self.module or self.searching:
            return
        unused = [name for name, p in self.module.named_parameters() if p.requires_grad and p.grad is None]
        if self.searching is None:
            self.searching = self._varies or distributed.any_process(bool(unused))[0]
            if not self.searching:
                self._wrapped = None  # its hooks go first
                self._wrapped = self._wrap(search=False)
            if distributed.is_main():
                found = f"{len(unused)} parameters get no gradient" if unused else "every parameter gets a gradient"
                logger.info("%s; they are looked for in each step: %s", found, "yes" if self.searching else "no")
        elif unused:
            raise ValueError(
                f"{len(unused)} parameters that the first step used got no gradient ({', '.join(unused[:SHOWN])}): "
                f"several processes must know that; set parameters_vary = True in the class of the method or network"
            )

    def _wrap(self, search: bool) -> DistributedDataParallel:
        ids = [self._device] if self._device.type == "cuda" else None
        return DistributedDataParallel(self.module, device_ids=ids, find_unused_parameters=search)
