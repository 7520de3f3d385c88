"""Operations for torch's dispatcher: ``torch.ops.pointops.*``, with shapes for ``torch.compile``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

DEVICES = ("CPU", "CUDA", "MPS", "XPU")
_library = torch.library.Library("pointops", "DEF")


def operation(schema: str, run: Callable[..., Any], fake: Callable[..., Any]) -> Any:
    """Define ``pointops::<schema>``; ``run`` serves every device, ``fake`` makes outputs of the right shapes only."""
    name = schema.split("(")[0]
    _library.define(schema, tags=(torch.Tag.needs_fixed_stride_order,))
    for device in DEVICES:
        _library.impl(name, run, device)
    torch.library.register_fake(f"pointops::{name}", fake, lib=_library)
    return getattr(torch.ops.pointops, name).default


def differentiable(
    schema: str,
    run: Callable[..., Any],
    fake: Callable[..., Any],
    save: Callable[..., Any],
    backward: Callable[..., Any],
) -> Any:
    """As :func:`operation`, with a gradient: ``save(ctx, inputs, output)``, then ``backward(ctx, *grads)``."""
    done = operation(schema, run, fake)
    torch.library.register_autograd(done.name().split(".")[0], backward, setup_context=save, lib=_library)
    return done


def composed(schema: str, run: Callable[..., Any]) -> Any:
    """Define ``pointops::<schema>`` by other operations: gradients, shapes and devices follow from these."""
    name = schema.split("(")[0]
    _library.define(schema)
    _library.impl(name, run, "CompositeImplicitAutograd")
    return getattr(torch.ops.pointops, name).default
