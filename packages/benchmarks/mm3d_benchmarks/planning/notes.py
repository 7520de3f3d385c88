"""Sentences under a table that its plan knows before anything has run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mm3d_benchmarks.planning.given_weights import given_note, is_given
from mm3d_benchmarks.planning.sweepfile import Cell
from mm3d_benchmarks.store.spec import RunSpec

NAMED = 8  # scenes that a footnote names at most
CHOSEN_ON_TEST = (
    "The snapshot with the best quick score on the test scenes themselves was chosen, as in the released code"
)
MEASURED_NORMS = (
    "Frozen encoders of probes read with batch-norm statistics measured anew on whole training scenes, without labels "
    "(protocol.batch_norm: measured)"
)


def notes_of(
    profile: str, cheaper: Mapping[str, str], cells: Sequence[Cell], chains: Sequence[Mapping[str, RunSpec]]
) -> list[str]:
    """What a reader must know: cheaper evaluations, chosen snapshots, how probes read, adaptations, given weights.

    Args:
        cheaper: evaluations that the profile replaces, and by which.
        chains: each cell's runs by kind.
    """
    said, adapted = set[str](), dict[str, str]()
    chosen, carried, given = dict[str, None](), dict[str, None](), dict[str, str]()
    for cell, chain in zip(cells, chains, strict=True):
        wanted = cell.request.choices.get("evaluation", "")
        if "evaluate" in chain and wanted in cheaper:
            said.add(f"Profile {profile} evaluates by {cheaper[wanted]} in place of {wanted}.")
        if "evaluate" in chain and chain["evaluate"].config["evaluation"].get("select") == "best":
            chosen[cell.row] = None
        norms = _norms_of_probe(chain)
        if norms == "carried":
            carried[cell.row] = None
        elif norms:
            said.add(f"{MEASURED_NORMS}.")
        method = chain["pretrain"].config["pretrain"] if "pretrain" in chain else {}
        if is_given({"pretrain": method}):
            given.setdefault(cell.row, given_note(cell.row, chain["pretrain"]))
        if method.get("adaptation"):
            adapted[method["name"]] = f"{method['name']}: {' '.join(str(method['adaptation']).split())}."
    if chosen:
        said.add(f"{CHOSEN_ON_TEST} (rows: {', '.join(chosen)}).")
    if carried:
        said.add(f"Frozen encoders read with the batch-norm statistics of their pre-training: {', '.join(carried)}.")
    return [*sorted(said), *(adapted[name] for name in sorted(adapted)), *given.values()]


def _norms_of_probe(chain: Mapping[str, RunSpec]) -> str:
    """``measured`` or ``carried`` for a probe, empty for what trains the encoder."""
    protocol = chain["finetune"].config.get("protocol") if "finetune" in chain else None
    if not protocol or protocol.get("train", "all") == "all":
        return ""
    return str(protocol.get("batch_norm", "measured"))


def own_notes(profile: str, own: Mapping[str, Any]) -> list[str]:
    """One sentence about what a profile sets for a sweep."""
    told = ", ".join(f"{key}={value}" for key, value in own.items())
    return [f"Profile {profile} runs these rows with {told}."] if own else []


def rows_left_out(profile: str, dropped: Mapping[str, str]) -> list[str]:
    """One sentence for each reason why rows are not run under a profile."""
    return [
        f"Profile {profile} does not run {', '.join(row for row, why in dropped.items() if why == reason)}: {reason}."
        for reason in dict.fromkeys(dropped.values())
    ]


def left_out_note(dataset: str, manifest: Mapping[str, Any]) -> str:
    """A sentence about the scenes that preparation had to leave out; empty when there are none."""
    names = sorted(manifest.get("left_out") or {})
    if not names:
        return ""
    listed = ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")
    count = len(names) + len(manifest.get("scenes") or {})
    return f"{len(names)} of {count} scenes of {dataset} were damaged or missing and are left out: {listed}."
