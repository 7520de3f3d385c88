"""Feature operations at the models' sizes against the same in eager torch, with the memory setting on both sides.

Eager means the form that networks are written in: ``index_select`` for gathering, broadcasting for the rest. Window
attention's peer is this package's own plain-torch form, which works head by head in blocks and is already frugal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from pointops import _window_torch, farthest_point_sampling, grouping2, interpolate, knn_query, window_attention
from pointops.memory import keep_freed_memory
from pointops.vector_attention import neighbor_relation, softmax_aggregation
from pointops.windows import table_length, window_pairs
from speed.pointops.cases import Row
from speed.pointops.clouds import room
from speed.pointops.timing import interleaved

SHARE = 8  # channels that share a weight in Point Transformer
LEVELS = ((80_000, 8, 32), (20_000, 16, 64), (5_000, 16, 128))  # its finest levels: points, neighbors, channels
WINDOW, QUANT, HEADS, WIDTH = 0.16, 0.01, 3, 16  # Stratified Transformer's first level


def eager_gather(feat: Tensor, idx: Tensor) -> Tensor:
    """feat[idx] as fast as stock torch does it."""
    return feat.index_select(0, idx.view(-1)).view(*idx.shape, -1)


def eager_relation(query: Tensor, key: Tensor, position: Tensor, idx: Tensor) -> Tensor:
    """key[idx] - query + position, operator by operator."""
    return eager_gather(key, idx) - query.unsqueeze(1) + position


def eager_aggregation(value: Tensor, position: Tensor, logit: Tensor, idx: Tensor) -> Tensor:
    """Softmax, gather, add, multiply, sum, operator by operator."""
    weight = logit.softmax(1)
    terms = (eager_gather(value, idx) + position).view(*idx.shape, -1, weight.shape[2])
    return (terms * weight.unsqueeze(2)).sum(1).flatten(1)


def eager_interpolation(feat: Tensor, idx: Tensor, weight: Tensor) -> Tensor:
    """Gather, multiply, sum."""
    return (eager_gather(feat, idx) * weight.unsqueeze(-1)).sum(1)


def feature_inputs(points: int, neighbors: int, channels: int, device: str = "cpu") -> dict[str, Tensor]:
    """Random features over the neighbors of a room."""
    random = torch.Generator().manual_seed(0)
    xyz = torch.from_numpy(room(points, 0))
    shapes = {
        "query": (points, channels),
        "key": (points, channels),
        "position": (points, neighbors, channels),
        "logit": (points, neighbors, channels // SHARE),
        "share": (points, neighbors),
    }
    made = {name: torch.randn(shape, generator=random).to(device).requires_grad_() for name, shape in shapes.items()}
    return made | {"idx": knn_query(neighbors, xyz, torch.tensor([points]))[0].to(device)}


def pairs_of_calls(
    given: dict[str, Tensor],
) -> dict[str, tuple[Callable[..., Tensor], Callable[..., Tensor], list[Tensor]]]:
    """Ours, the eager form, and the arguments of both, by name."""
    idx = given["idx"]
    attention = [given[name] for name in ("query", "key", "position")]
    weighted = [given[name] for name in ("key", "position", "logit")]
    return {
        "gather": (grouping2, eager_gather, [given["key"], idx]),
        "gather, subtract, add": (neighbor_relation, eager_relation, [*attention, idx]),
        "softmax-aggregate": (softmax_aggregation, eager_aggregation, [*weighted, idx]),
        "interpolate": (interpolate, eager_interpolation, [given["key"], idx, given["share"]]),
    }


def both_ways(run: Callable[..., Tensor], arguments: list[Tensor], grad: Tensor) -> Callable[[], Any]:
    """Forward and backward of one call."""
    wanted = [value for value in arguments if value.requires_grad]
    return lambda: torch.autograd.grad(run(*arguments), wanted, grad)


def feature_cases(peers: dict[str, Any]) -> Iterator[Row]:
    """Point Transformer's operations at its three finest levels."""
    keep_freed_memory()
    for points, neighbors, channels in LEVELS:
        given = feature_inputs(points, neighbors, channels)
        for name, (ours, eager, arguments) in pairs_of_calls(given).items():
            case = f"{name}, {points} x {neighbors}, C={channels}"
            grad = torch.ones_like(ours(*arguments))
            yield from _compared(case, lambda run, a=arguments: _silent(run, a), ours, eager)
            yield from _compared(
                f"{case}, both ways", lambda run, a=arguments, g=grad: both_ways(run, a, g), ours, eager
            )


def window_cases(peers: dict[str, Any]) -> Iterator[Row]:
    """Stratified Transformer's attention at its first level."""
    keep_freed_memory()
    xyz = torch.from_numpy(room(80_000, 0))
    offset, random = torch.tensor([len(xyz)]), torch.Generator().manual_seed(0)
    pairs = window_pairs(xyz, offset, farthest_point_sampling(xyz, offset, offset // 8 + 1), WINDOW, QUANT)
    length = table_length(WINDOW, QUANT)
    vectors = [torch.randn(len(xyz), HEADS, WIDTH, generator=random).requires_grad_() for _ in range(3)]
    tables = [(0.02 * torch.randn(length, HEADS, WIDTH, 3, generator=random)).requires_grad_() for _ in range(3)]
    grad, sorts = torch.ones_like(vectors[0]), pairs.by_key
    query, key, value = vectors
    query_table, key_table, value_table = tables
    bare, bare_tables = [part.detach() for part in vectors], [part.detach() for part in tables]

    def ours() -> Tensor:
        return window_attention(query, key, value, pairs, query_table, key_table, value_table)

    def torch_both() -> None:
        _, weight = _window_torch.forward(bare[0], bare[1], bare[2], bare_tables, pairs)
        _window_torch.backward(grad, weight, bare[0], bare[1], bare[2], bare_tables, pairs, sorts)

    case = f"window attention, {pairs.key.shape[0] / 1e6:.2f} M pairs, {HEADS} heads of {WIDTH}"
    times = interleaved(
        {
            "ours": torch.no_grad()(ours),
            "torch": lambda: _window_torch.forward(bare[0], bare[1], bare[2], bare_tables, pairs),
            "ours both": lambda: torch.autograd.grad(ours(), [*vectors, *tables], grad),
            "torch both": torch_both,
        },
        5,
    )
    yield Row(case, _ms(times["ours"]), "blocked torch", times["torch"] / times["ours"], 0.0)
    ratio = times["torch both"] / times["ours both"]
    yield Row(f"{case}, both ways", _ms(times["ours both"]), "blocked torch", ratio, 0.0)


def _silent(run: Callable[..., Tensor], arguments: list[Tensor]) -> Callable[[], Any]:
    return lambda: torch.no_grad()(run)(*arguments)


def _compared(
    case: str, prepare: Callable[[Callable[..., Tensor]], Callable[[], Any]], ours: Any, eager: Any
) -> Iterator[Row]:
    times = interleaved({"ours": prepare(ours), "eager": prepare(eager)}, 5)
    yield Row(case, _ms(times["ours"]), "eager torch", times["eager"] / times["ours"], 0.0)


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:.2f} ms"


CASES: tuple[Callable[[dict[str, Any]], Iterator[Row]], ...] = (feature_cases, window_cases)
