"""Operations for torch's dispatcher: ``torch.ops.pointops.*``, with shapes for ``torch.compile``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

DEVICES = ("CPU", "CUDA", "MPS", "XPU")
_library = torch.library.Library("pointops", "DEF")
implementations: dict[str, Callable[..., Any]] = {}  # what serves an operation on every device, by name


def operation(
    schema: str, run: Callable[..., Any], fake: Callable[..., Any], direct: bool = False
) -> Callable[..., Any]:
    """Define ``pointops::<schema>``; ``run`` serves every device, ``fake`` makes outputs of the right shapes only.

    With ``direct``, calls without gradient skip the dispatcher where nothing listens there: for operations that are
    called on few rows too, where the way costs more than the work.
    """
    name = schema.split("(")[0]
    implementations[name] = run
    _library.define(schema, tags=(torch.Tag.needs_fixed_stride_order,))
    for device in DEVICES:
        _library.impl(name, run, device)
    torch.library.register_fake(f"pointops::{name}", fake, lib=_library)
    done = getattr(torch.ops.pointops, name).default
    if not direct:
        return done
    return lambda *inputs: run(*inputs) if _plain(inputs[0]) and not torch.is_grad_enabled() else done(*inputs)


def differentiable(
    schema: str,
    run: Callable[..., Any],
    fake: Callable[..., Any],
    save: Callable[..., Any],
    backward: Callable[..., Any],
    direct: bool = False,
) -> Callable[..., Any]:
    """As :func:`operation`, with a gradient: ``save(ctx, inputs, output)``, then ``backward(ctx, *grads)``.

    ``torch.library.register_autograd`` would do the same at more than twice the cost of a call.
    """
    done = operation(schema, run, fake)
    name = schema.split("(")[0]

    def below(*inputs: Any) -> Any:
        with torch._C._AutoDispatchBelowAutograd():
            return done(*inputs)

    _library.impl(name, _with_gradient(name, below, save, backward), "Autograd")
    if not direct:
        return done
    quick = _with_gradient(name, run, save, backward)
    return lambda *inputs: quick(*inputs) if _plain(inputs[0]) else done(*inputs)


def _with_gradient(
    name: str, run: Callable[..., Any], save: Callable[..., Any], backward: Callable[..., Any]
) -> Callable[..., Any]:
    def forward(ctx: Any, *inputs: Any) -> Any:
        output = run(*inputs)
        save(ctx, inputs, output)
        return output

    members = {"forward": staticmethod(forward), "backward": staticmethod(backward)}
    function: Any = type(f"pointops_{name}", (torch.autograd.Function,), members)

    def chosen(*inputs: Any) -> Any:
        wanted = torch.is_grad_enabled() and any(isinstance(each, Tensor) and each.requires_grad for each in inputs)
        return function.apply(*inputs) if wanted else run(*inputs)

    return chosen


def _plain(value: Any) -> bool:
    """Whether the value is an ordinary tensor and no compiler, mode or transform wants to see what is done to it."""
    return (
        not torch.compiler.is_compiling()
        and type(value) in (Tensor, torch.nn.Parameter)
        and torch._C._len_torch_dispatch_stack() == 0
        and torch._C._functorch.peek_interpreter_stack() is None  # pyright: ignore[reportAttributeAccessIssue]
    )


def composed(schema: str, run: Callable[..., Any]) -> Any:
    """Define ``pointops::<schema>`` by other operations: gradients, shapes and devices follow from these."""
    name = schema.split("(")[0]
    _library.define(schema)
    _library.impl(name, run, "CompositeImplicitAutograd")
    return getattr(torch.ops.pointops, name).default
