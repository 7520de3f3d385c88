"""Optimizers whose parameter groups follow the parameters' names."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from mm3d_core.errors import UserError


def make_optimizer(
    module: nn.Module,
    kind: Callable[..., torch.optim.Optimizer],
    lr: float,
    groups: Sequence[Mapping[str, Any]] = (),
    **options: Any,
) -> torch.optim.Optimizer:
    """An optimizer over the parameters that require gradients.

    Args:
        groups: exceptions, first match wins: ``match`` (regular expression searched in the parameter's name), then
            ``lr_scale`` (factor on ``lr``) and any option of the optimizer, such as ``weight_decay``.

    Raises:
        UserError: an option that the optimizer does not know, or a group that matches no parameter.
    """
    chosen: list[list[nn.Parameter]] = [[] for _ in range(len(groups) + 1)]
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            first = next((i for i, group in enumerate(groups) if re.search(group["match"], name)), len(groups))
            chosen[first].append(parameter)
    parameters: list[dict[str, Any]] = []
    for group, members in zip([*groups, {}], chosen, strict=True):
        special = {key: value for key, value in group.items() if key not in ("match", "lr_scale")}
        if group and not members:
            raise UserError(f"optimizer.groups: no trainable parameter's name matches {group['match']!r}")
        if members:
            parameters.append({"params": members, "lr": lr * group.get("lr_scale", 1.0), **special})
    try:
        return kind(parameters, lr=lr, **options)
    except TypeError as error:
        raise UserError(f"optimizer: {error}") from error
