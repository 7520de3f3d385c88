"""Which runs have to be made here, where some results came from elsewhere without the run that gave them.

A result file alone (``results/<profile>/runs/<kind>/<key>.json``, pulled from a colleague) is enough for a table. It is
not enough for what starts from that run: this takes its weights, which stay in the store that made them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from mm3d_benchmarks.store.spec import KINDS, RunSpec, in_order

_WORDS = {"pretrain": "pre-training", "finetune": "fine-tuning", "evaluate": "evaluation"}


@dataclass(frozen=True)
class Needed:
    """What is to be done.

    Attributes:
        to_do: keys of the runs to make.
        by_result: keys of runs that count as done by their result files alone.
        absent: those of ``to_do`` that have a result file, but whose weights other runs need.
    """

    to_do: frozenset[str]
    by_result: frozenset[str]
    absent: tuple[RunSpec, ...]
    starting: int

    def sentence(self) -> str:
        """Which weights are missing, for whom; empty where none are."""
        if not self.absent:
            return ""
        numbers = {kind: sum(spec.kind == kind for spec in self.absent) for kind in KINDS}
        listed = " and ".join(f"{n} {_WORDS[kind]}{'s' if n > 1 else ''}" for kind, n in numbers.items() if n)
        keys = ", ".join(spec.key for spec in self.absent[:5]) + (", ..." if len(self.absent) > 5 else "")
        return (
            f"the weights of {listed} are not in this store, only their results ({keys}): they are made again, since "
            f"{self.starting} runs to do start from them; or set --store to the store that holds them"
        )


def needed(specs: Iterable[RunSpec], in_store: Collection[str], with_result: Collection[str]) -> Needed:
    """Sort runs into those to do and those done.

    Args:
        in_store: keys of the finished runs of this store.
        with_result: keys of the runs whose result files are there.
    """
    ordered = in_order(specs)
    wanted: dict[str, int] = {}  # key -> runs to do that start from it
    to_do, by_result, absent = set(), set(), []
    for spec in reversed(ordered):
        if spec.key in in_store:
            continue
        if spec.key in with_result and spec.key not in wanted:
            by_result.add(spec.key)
            continue
        to_do.add(spec.key)
        if spec.key in with_result:
            absent.append(spec)
        for before in spec.upstream.values():
            wanted[before] = wanted.get(before, 0) + 1
    starting = sum(wanted[spec.key] for spec in absent)
    return Needed(frozenset(to_do), frozenset(by_result), tuple(reversed(absent)), starting)
