"""Batch normalization of points, rows or neighbors: the one layer of all networks and decoders."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.distributed.nn.functional import all_reduce
from torch.nn import functional as F

from pointops import batch_norm


class PointNorm(nn.BatchNorm1d):
    """Batch normalization of the last axis over all leading ones, then what usually follows it: (..., C) -> (..., C).

    Parameters, buffers and their names are those of ``nn.BatchNorm1d``. On the CPU its sums are exact to
    float32 and all of it is one operation (:func:`pointops.batch_norm`); elsewhere torch's own kernels run.

    Args:
        channels: C.
        negative_slope: what negative results are multiplied by: 1 leaves them, 0 is ReLU, between them a leaky one.
        options: of ``nn.BatchNorm1d``: ``eps``, ``momentum``, ``affine``, ``track_running_stats``.

    Attributes:
        synchronized: statistics are those of all processes together; see :func:`synchronize_norms`.
    """

    def __init__(self, channels: int, negative_slope: float = 1.0, **options: Any) -> None:
        super().__init__(channels, **options)
        self.negative_slope = negative_slope
        self.synchronized = False

    def forward(self, input: Tensor, residual: Tensor | None = None) -> Tensor:
        """(..., C) -> (..., C); ``residual`` (..., C) is added before the activation.

        Raises:
            ValueError: in training, a single row, whose statistics mean nothing.
        """
        rows = input.reshape(-1, input.shape[-1])
        added = None if residual is None else residual.reshape(rows.shape)
        batch, share = self.training or self.running_mean is None, self._count()
        if batch and self.synchronized and distributed.is_initialized():
            return self._over_processes(rows, added, share).view(input.shape)
        if batch and len(rows) == 1:
            raise ValueError(
                "points: a level of this batch has a single point, which batch normalization cannot train on; "
                "use more points, more scenes in a batch, or fewer levels"
            )
        running = self._running()
        if rows.device.type != "cpu":
            rows = F.batch_norm(rows, *running, self.weight, self.bias, batch, share, self.eps)
            return self._finished(rows, added).view(input.shape)
        given = (rows, *running, self.weight, self.bias, batch, share, self.eps)
        return batch_norm(*given, residual=added, negative_slope=self.negative_slope).view(input.shape)

    def extra_repr(self) -> str:
        """As torch's, and the slope."""
        return f"{super().extra_repr()}, negative_slope={self.negative_slope}"

    def _count(self) -> float:
        """The batch's share in the running statistics, once it is counted."""
        if self.training and self.track_running_stats and self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
            if self.momentum is None:
                return 1.0 / float(self.num_batches_tracked)
        return 0.0 if self.momentum is None else self.momentum

    def _running(self) -> tuple[Tensor | None, Tensor | None]:
        """What is read in evaluation and moved in training."""
        used = not self.training or self.track_running_stats
        return (self.running_mean, self.running_var) if used else (None, None)

    def _finished(self, rows: Tensor, added: Tensor | None) -> Tensor:
        """Addition and activation."""
        rows = rows if added is None else rows + added
        if self.negative_slope == 1:
            return rows
        return torch.relu(rows) if self.negative_slope == 0 else F.leaky_relu(rows, self.negative_slope)

    def _over_processes(self, rows: Tensor, added: Tensor | None, share: float) -> Tensor:
        """The layer with the mean and variance of the rows of all processes, differentiably; float64 on the CPU."""
        wide = rows.double() if rows.device.type == "cpu" else rows.float()
        sums = all_reduce(torch.cat([wide.sum(0), wide.new_full((1,), len(rows))]))
        count = sums[-1].detach()
        apart = wide - sums[:-1] / count
        var = all_reduce(apart.square().sum(0)) / count
        running_mean, running_var = self._running()
        if running_mean is not None and running_var is not None:
            with torch.no_grad():
                running_mean.lerp_((sums[:-1] / count).to(running_mean.dtype), share)
                running_var.lerp_((var * (count / (count - 1))).to(running_var.dtype), share)
        scaled = apart * (var + self.eps).rsqrt()
        scaled = scaled if self.weight is None else scaled * self.weight
        scaled = scaled if self.bias is None else scaled + self.bias
        return self._finished(scaled.to(rows.dtype), added)


def synchronize_norms(module: nn.Module) -> None:
    """Let every batch norm inside ``module`` take the statistics of all processes; parameters stay the same.

    Norms of torch's own classes become ``nn.SyncBatchNorm`` where they are on a GPU; it knows no other device.
    """
    for name, layer in module.named_children():
        if isinstance(layer, PointNorm):
            layer.synchronized = True
        elif isinstance(layer, nn.modules.batchnorm._BatchNorm):
            if any(value.is_cuda for value in layer.state_dict().values()):
                setattr(module, name, nn.SyncBatchNorm.convert_sync_batchnorm(layer))
        else:
            synchronize_norms(layer)
