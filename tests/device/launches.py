"""What the Triton kernels would compute, by the CPU's operations, on tensors that pretend to lie on a GPU."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from device.pretend import OnDevice
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_map

from pointops import _dispatch, _window_torch, vector_attention
from pointops._distance import squared_distances
from pointops.gather import gather_rows_reference
from pointops.interpolation import interpolate_reference
from pointops.knn import nearest_by_key
from pointops.sampling import _run as sample_rows
from pointops.windows import WindowPairs


class Nowhere:
    """A context that does nothing."""

    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...


class Launch:
    """Stands for a kernel: ``launch[grid](...)`` computes on the CPU values of its tensors."""

    def __init__(self, run: Callable[..., None]) -> None:
        self._run = run

    def __getitem__(self, grid: tuple[int, ...]) -> Callable[..., None]:
        assert all(0 < size < (2**31 if axis == 0 else 2**16) for axis, size in enumerate(grid)), grid
        return lambda *args, **kwargs: self._run(*map(_inner, args), **kwargs)


def install(patch: Any) -> None:
    """Let every launch compute on the CPU."""
    from pointops.triton import aggregate, features, search, window
    from pointops.triton import sampling as sampling_kernels

    patch.setattr(_dispatch, "has_triton", lambda: True)
    patch.setattr(features, "gather", _twin(gather_rows_reference))
    patch.setattr(features, "scatter", _twin(_scatter))
    patch.setattr(features, "scatter_weighted", _twin(_scatter_weighted))
    patch.setattr(features, "relation", _twin(_relation))
    patch.setattr(features, "sum_neighbors", _twin(lambda grad, sign: (sign * grad.float().sum(1)).to(grad.dtype)))
    patch.setattr(features, "interpolate", _twin(interpolate_reference))
    patch.setattr(features, "weight_gradient", _twin(_weight_gradient))
    patch.setattr(aggregate, "forward", _twin(_aggregate))
    patch.setattr(aggregate, "backward", _twin(_aggregate_backward))
    patch.setattr(window, "forward", _twin(_window))
    patch.setattr(window, "backward", _twin(_window_backward))
    patch.setattr(search, "nearest_kernel", Launch(_nearest))
    patch.setattr(search, "knn_kernel", Launch(_nearest))
    patch.setattr(sampling_kernels, "sample_kernel", Launch(_sample))


def _inner(value: Any) -> Any:
    assert type(value) is not Tensor, "a kernel was given a tensor of the CPU"
    if isinstance(value, OnDevice):
        assert value.inner.is_contiguous(), "a kernel was given a tensor that is not contiguous"
        return value.inner
    return value


def _twin(run: Callable[..., Any]) -> Callable[..., Any]:
    """``run`` on the CPU values of tensors on the device."""

    @torch.no_grad()
    def launched(*args: Any, **kwargs: Any) -> Any:
        assert any(isinstance(value, OnDevice) for value in tree_flatten((args, kwargs))[0])
        args, kwargs = tree_map(_inner, (args, kwargs))
        return tree_map(lambda value: OnDevice(value) if isinstance(value, Tensor) else value, run(*args, **kwargs))

    return launched


def _scatter(value: Tensor, start: Tensor, entry: Tensor, sign: float = 1.0) -> Tensor:
    flat = value.reshape(-1, value.shape[-1]).float()
    return (sign * _sums(flat[_entries(start, entry)], start)).to(value.dtype)


def _scatter_weighted(value: Tensor, weight: Tensor, start: Tensor, entry: Tensor) -> Tensor:
    named = _entries(start, entry)
    return _sums(value.float()[named // weight.shape[1]] * weight.reshape(-1, 1)[named].float(), start).to(value.dtype)


def _entries(start: Tensor, entry: Tensor) -> Tensor:
    return entry[: int(start[-1])].long()


def _sums(rows: Tensor, start: Tensor) -> Tensor:
    owner = torch.arange(len(start) - 1).repeat_interleave(start.diff().long())
    return rows.new_zeros(len(start) - 1, rows.shape[1]).index_add_(0, owner, rows)


def _relation(query: Tensor, key: Tensor, position: Tensor | None, idx: Tensor, sign: float) -> Tensor:
    return vector_attention.relation_reference(query, key, position, idx, sign < 0).to(query.dtype)


def _weight_gradient(grad: Tensor, feat: Tensor, idx: Tensor) -> Tensor:
    near = gather_rows_reference(feat.float(), idx)
    return (grad.float().unsqueeze(1) * near).sum(-1).to(grad.dtype)


def _aggregate(value: Tensor, position: Tensor, weight: Tensor, idx: Tensor, softmax: bool) -> Tensor:
    return vector_attention.aggregate_reference(value, position, weight, idx, softmax).to(value.dtype)


def _aggregate_backward(
    grad: Tensor, value: Tensor, position: Tensor, weight: Tensor, idx: Tensor, start: Tensor, entry: Tensor, soft: bool
) -> tuple[Tensor, Tensor, Tensor]:
    assert start.shape == (value.shape[0] + 1,)
    return vector_attention._aggregate_gradient_reference(grad, value, position, weight, idx, soft)


def _window(query: Tensor, key: Tensor, value: Tensor, tables: Any, ends: Tensor, keys: Tensor, bins: Tensor) -> Any:
    turned = [table.permute(2, 0, 3, 1) for table in tables]
    return _window_torch.forward(query, key, value, turned, WindowPairs(ends, keys, bins))


def _window_backward(
    grad: Tensor, weight: Tensor, query: Tensor, key: Tensor, value: Tensor, tables: Any, *lists: Any
) -> tuple[Tensor, ...]:
    ends, keys, bins, _, by_key = lists
    turned = [table.permute(2, 0, 3, 1) for table in tables]
    pairs = WindowPairs(ends, keys, bins)
    grads = _window_torch.backward(grad, weight, query, key, value, turned, pairs, by_key)
    return (*grads[:3], *(part.permute(1, 3, 0, 2).contiguous() for part in grads[3:]))


def _nearest(xyz: Tensor, query: Tensor, bounds: Tensor, out: Tensor, k: int = 1, **_: Any) -> None:
    """Keys of the k nearest: the bits of the squared distance above the row."""
    for first, last, low, high in bounds.tolist():
        near, distance2 = nearest_by_key(squared_distances(query[first:last], xyz[low:high]), k)
        bits = distance2.contiguous().view(torch.int32).long()
        out[first:last, : near.shape[1]] = (bits << 32) | (near + low)


def _sample(xyz: Tensor, bounds: Tensor, out: Tensor, radii2: Tensor, **constants: Any) -> None:
    for low, high, first, last, begin in bounds.tolist():
        assert high - low <= constants["WIDTH"]
        ends, start = (torch.tensor([high - low]), torch.tensor([last - first])), torch.tensor([begin - low])
        found, radii = sample_rows(xyz[low:high].contiguous(), *ends, constants["SKIP"], start)
        out[first:last], radii2[first:last] = found + low, radii
