"""A pretend GPU: tensors that say they lie on cuda:0 and hold CPU values, so that real code runs as it would on one.

What would go wrong or slow on a GPU is written into a :class:`Ledger`: operations that mix devices, places where the
host waits for the device, copies to it that block, and how often each operation is dispatched. Values are the CPU's.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from pointops import _register

GPU, CPU = torch.device("cuda", 0), torch.device("cpu")
OURS = ("/mm3d_core/", "/mm3d_backbones/", "/mm3d_benchmarks/", "/pointops/")
MAY_MIX = {"aten::copy_", "aten::_to_copy", "aten::to"}
INDEXING = {"aten::index", "aten::index_put", "aten::index_put_", "aten::_index_put_impl_", "aten::_unsafe_index"}
WAITS = {  # the host learns a value or a size
    *("aten::_local_scalar_dense", "aten::nonzero", "aten::masked_select", "aten::is_nonzero", "aten::equal"),
    *("aten::_unique2", "aten::unique_dim", "aten::unique_consecutive", "aten::bincount", "aten::repeat_interleave"),
}


@dataclass
class Ledger:
    """What happened, each with its place in the project's code.

    Attributes:
        mixed: operations on tensors of different devices.
        waits: places where the host waited.
        blocking: copies to the device that the host waited for: of pageable memory, or not ``non_blocking``.
        operations: dispatched, by name.
    """

    mixed: Counter[str] = field(default_factory=Counter)
    waits: Counter[str] = field(default_factory=Counter)
    blocking: Counter[str] = field(default_factory=Counter)
    operations: Counter[str] = field(default_factory=Counter)

    def note(self, column: Counter[str], what: str) -> None:
        """Count ``what`` at the nearest place of the project's own code."""
        frame = sys._getframe(2)
        while frame is not None and not any(part in frame.f_code.co_filename for part in OURS):
            frame = frame.f_back
        name = "torch" if frame is None else "/".join(frame.f_code.co_filename.split("/")[-2:])
        column[f"{what} at {name}:{0 if frame is None else frame.f_lineno}"] += 1


_ledger = Ledger()


class OnDevice(Tensor):
    """``inner``, a CPU tensor, that says it lies on the GPU."""

    inner: Tensor
    device = property(lambda _: GPU)  # pyright: ignore[reportAssignmentType, reportIncompatibleMethodOverride]
    is_cuda = property(lambda _: True)  # pyright: ignore[reportAssignmentType]
    is_cpu = property(lambda _: False)  # pyright: ignore[reportAssignmentType]

    @staticmethod
    def __new__(cls, inner: Tensor) -> OnDevice:
        made = Tensor._make_wrapper_subclass(  # pyright: ignore[reportAttributeAccessIssue]
            cls,
            inner.size(),
            strides=inner.stride(),
            storage_offset=inner.storage_offset(),
            dtype=inner.dtype,
            device=CPU,  # truly on cuda, a build without CUDA would abort in the autograd engine
        )
        made.inner = inner.detach()
        return made

    def __init__(self, inner: Tensor) -> None: ...

    def __repr__(self, *, tensor_contents: Any = None) -> str:
        return f"OnDevice({self.inner!r})"

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        made = OnDevice(self.inner.clone()).requires_grad_(self.requires_grad)
        if isinstance(self, torch.nn.Parameter):
            made._is_param = True  # pyright: ignore[reportAttributeAccessIssue]
        return made

    def __reduce_ex__(self, protocol: Any) -> Any:
        return self.inner.__reduce_ex__(protocol)  # a file holds plain tensors

    __torch_function__ = torch._C._disabled_torch_function_impl  # pyright: ignore[reportAssignmentType]

    # What never reaches the dispatcher, or would not see there that the device changes:

    def to(self, *args: Any, **kwargs: Any) -> Tensor:
        device, dtype, copy = kwargs.get("device"), kwargs.get("dtype"), kwargs.get("copy", False)
        for value in args:
            if isinstance(value, Tensor):
                device, dtype = value.device, value.dtype
            elif isinstance(value, torch.dtype):
                dtype = value
            elif isinstance(value, str | torch.device):
                device = value
        if device is None or torch.device(device).type == "cuda":
            return super().to(dtype or self.dtype, copy=copy)
        return self.cpu().to(dtype or self.dtype)

    def cpu(self, *_: Any, **__: Any) -> Tensor:
        _ledger.note(_ledger.waits, "cpu()")
        return self.inner.detach().clone()

    def cuda(self, *_: Any, **__: Any) -> Tensor:
        return self

    def tolist(self) -> Any:
        _ledger.note(_ledger.waits, "tolist()")
        return self.inner.tolist()

    def numpy(self, *_: Any, **__: Any) -> Any:
        _ledger.note(_ledger.mixed, "numpy()")
        return self.inner.detach().numpy()

    __array__ = numpy

    def new_tensor(self, data: Any, **kwargs: Any) -> Tensor:
        return _made(_TENSOR, data, **{"dtype": self.dtype, "device": GPU, **kwargs})

    def data_ptr(self) -> int:
        return self.inner.data_ptr()

    def get_device(self) -> int:
        return 0

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None) -> Any:
        return _dispatch(func, args, kwargs or {})


class PretendGPU(TorchDispatchMode):
    """Sees what has no argument on the device: factories, and copies to it."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # there is no compiler to keep out, and importing it takes seconds

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _dispatch(func, args, kwargs or {})


def _dispatch(func: Any, args: Any, kwargs: Mapping[str, Any]) -> Any:
    """One operation: checked, counted, done on the CPU values, and put back on the device."""
    name = func.name()
    base = name.split(".")[0]
    flat = list(_leaves((args, tuple(kwargs.values()))))
    held = [value for value in flat if isinstance(value, OnDevice)]
    wanted = kwargs.get("device")
    if not held and (wanted is None or torch.device(wanted).type != "cuda"):
        return func(*args, **kwargs)
    _ledger.operations[name] += 1
    if base.startswith("pointops::"):
        if any(isinstance(value, Tensor) and type(value) is not OnDevice for value in flat):
            _ledger.note(_ledger.mixed, name)
        with PretendGPU():
            return _register.implementations[base.removeprefix("pointops::")](*args, **kwargs)
    _account(name, base, args, kwargs, flat)
    inner_kwargs = {key: _mapped(value, _inner) for key, value in kwargs.items()}
    if wanted is not None:
        inner_kwargs["device"] = CPU
    out = func(*_mapped(args, _inner), **inner_kwargs)
    if func._schema.is_mutable and args and isinstance(args[0], Tensor) and not isinstance(args[0], OnDevice):
        return out  # copied to the CPU
    known = {id(value.inner): value for value in held}
    return _mapped(out, lambda value: _wrapped(value, known))


def _leaves(value: Any) -> Iterator[Any]:
    for item in value:
        if isinstance(item, list | tuple):
            yield from _leaves(item)
        else:
            yield item


def _mapped(value: Any, change: Callable[[Any], Any]) -> Any:
    if isinstance(value, list | tuple):
        return type(value)([_mapped(item, change) for item in value])
    return change(value)


def _inner(value: Any) -> Any:
    return value.inner if isinstance(value, OnDevice) else value


def _wrapped(value: Any, known: Mapping[int, OnDevice]) -> Any:
    if not isinstance(value, Tensor) or isinstance(value, OnDevice):
        return value
    return known.get(id(value)) if id(value) in known else OnDevice(value)


def _account(name: str, base: str, args: Any, kwargs: Mapping[str, Any], flat: list[Any]) -> None:
    """Write down what this operation would cost, or break."""
    note, tensors = _ledger.note, [value for value in flat if isinstance(value, Tensor)]
    plain = [value for value in tensors if not isinstance(value, OnDevice)]
    if base in INDEXING:
        if not isinstance(args[0], OnDevice) or any(v.ndim for v in args[2:3] if v in plain):
            note(_ledger.mixed, name)
        indices = [index for index in args[1] if isinstance(index, Tensor)]
        if any(not isinstance(index, OnDevice) for index in indices):
            note(_ledger.blocking, f"{base} by an index on the CPU")
        if any(index.dtype in (torch.bool, torch.uint8) for index in indices):
            note(_ledger.waits, f"{base} by a mask")
    elif plain and base not in MAY_MIX:
        together = base in ("aten::cat", "aten::stack")
        made_by_autograd = torch._C._current_autograd_node() is not None and not any(v.any() for v in plain)
        if (together or any(value.ndim for value in plain)) and not made_by_autograd:  # zeros for what got no gradient
            note(_ledger.mixed, name)
    if base in WAITS and not (base == "aten::repeat_interleave" and kwargs.get("output_size") is not None):
        note(_ledger.waits, base)
    if base in ("aten::_to_copy", "aten::to") and not isinstance(args[0], OnDevice):
        _sent(args[0], bool(kwargs.get("non_blocking")))
    if base == "aten::copy_" and isinstance(args[0], OnDevice) != isinstance(args[1], OnDevice):
        if isinstance(args[0], OnDevice):
            _sent(args[1], len(args) > 2 and bool(args[2]))
        else:
            note(_ledger.waits, "copy to the CPU")


def _sent(value: Tensor, non_blocking: bool) -> None:
    if not (non_blocking and getattr(value, "pinned", False)):
        _ledger.note(_ledger.blocking, "copy" if non_blocking else "copy without non_blocking")


# ----------------------------------------------------------------------------- torch's own functions, replaced

_TENSOR, _AS_TENSOR = torch.tensor, torch.as_tensor


def _made(factory: Any, data: Any, *args: Any, **kwargs: Any) -> Tensor:
    """``torch.tensor`` or ``torch.as_tensor``, which copy to a device without the dispatcher."""
    device = kwargs.pop("device", None)
    if device is None or torch.device(device).type != "cuda" or isinstance(data, OnDevice):
        return data if isinstance(data, OnDevice) else factory(data, *args, **kwargs, device=device)
    made = factory(data, *args, **kwargs)
    _sent(made, False)
    return OnDevice(made)


def _pinned(tensor: Tensor, *_: Any) -> Tensor:
    """``Tensor.pin_memory``: a copy that remembers."""
    if isinstance(tensor, OnDevice):
        _ledger.note(_ledger.mixed, "pin_memory()")
        return tensor
    copy = tensor.clone()
    copy.pinned = True  # pyright: ignore[reportAttributeAccessIssue]
    return copy


def _grouped(lists: Sequence[Sequence[Tensor]], *_: Any) -> dict[Any, Any]:
    """Gradients by their device, which torch's own function asks of the C++ tensor."""
    groups: dict[Any, Any] = {}
    for number, tensor in enumerate(lists[0]):
        found, rows = groups.setdefault((tensor.device, tensor.dtype), ([[]], []))
        found[0].append(tensor)
        rows.append(number)
    return groups


class _Autocast(torch.autocast):
    """``torch.autocast("cuda")`` for tensors that hold CPU values."""

    def __init__(self, device_type: str, *args: Any, **kwargs: Any) -> None:
        super().__init__("cpu", *args, **kwargs)


class _Scaler(torch.amp.GradScaler):  # pyright: ignore[reportPrivateImportUsage]
    def __init__(self, device: str = "cuda", **kwargs: Any) -> None:
        super().__init__("cpu", **kwargs)


@contextmanager
def pretended(patch: Any) -> Iterator[Ledger]:
    """A GPU for what runs inside; ``patch`` is pytest's ``monkeypatch``, which takes it away again.

    Yields:
        The ledger of what happens there.
    """
    global _ledger
    from device import launches

    _ledger = Ledger()
    enabled = torch.is_autocast_enabled
    stop = {"is_available": True, "current_device": 0, "device_count": 1, "max_memory_allocated": 1 << 20}
    for name, value in {**stop, "get_device_name": "a pretended GPU", "_lazy_init": None}.items():
        patch.setattr(torch.cuda, name, lambda *_, value=value, **__: value)
    patch.setattr(torch.cuda, "synchronize", lambda *_: _ledger.note(_ledger.waits, "synchronize()"))
    patch.setattr(torch.cuda, "device_of", lambda _: launches.Nowhere())
    patch.setattr(torch.accelerator, "is_available", lambda: True)
    patch.setattr(torch.accelerator, "current_accelerator", lambda *_, **__: None)
    patch.setattr(torch, "tensor", lambda *args, **kwargs: _made(_TENSOR, *args, **kwargs))
    patch.setattr(torch, "as_tensor", lambda *args, **kwargs: _made(_AS_TENSOR, *args, **kwargs))
    patch.setattr(torch, "autocast", _Autocast)
    patch.setattr(torch.amp, "GradScaler", _Scaler)
    patch.setattr(torch, "is_autocast_enabled", lambda *_: enabled("cpu"))
    patch.setattr(Tensor, "pin_memory", _pinned)
    patch.setattr(torch.nn.utils.clip_grad, "_group_tensors_by_device_and_dtype", _grouped)
    patch.setattr(torch.__future__, "_overwrite_module_params_on_conversion", True)
    launches.install(patch)
    with PretendGPU():
        yield _ledger
