"""Runs that somebody asks for by hand, in a shell or in a notebook: from words to chains of runs, put on record."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mm3d_benchmarks.launching.prepared_data import prepare_own
from mm3d_benchmarks.planning.compose import compose, parse
from mm3d_benchmarks.planning.given_weights import is_given
from mm3d_benchmarks.planning.planner import Planner
from mm3d_benchmarks.planning.request import Request
from mm3d_benchmarks.store.asks import BY_HAND, Ask, record
from mm3d_benchmarks.store.spec import KINDS, RunSpec, merge
from mm3d_benchmarks.store.store import Store
from mm3d_core.errors import UserError


def requests_of(
    overrides: Sequence[str], folders: Sequence[Path], profile: str | None = None
) -> list[tuple[Request, list[str]]]:
    """What the words on the command line ask for, one request for each combination of a multirun.

    Raises:
        UserError: a group file folder that is not there, or a word that is no override.
    """
    for folder in folders:
        if not folder.is_dir():
            raise UserError(f"--conf {folder}: there is no such folder")
    chosen = any(word.lstrip("+").startswith("profile=") for word in overrides)
    named = [*overrides, *([f"profile={profile}"] if profile and not chosen else [])]
    return [(replace(request, folders=tuple(folders)), name) for request, name in parse(named)]


def chain_of(request: Request, dry: bool) -> list[RunSpec]:
    """The run that a request asks for and those before it, upstreams first.

    A user's own scans are prepared on the way.
    """
    config = compose(request)
    if config["kind"] not in KINDS:
        raise UserError(f"kind={config['kind']}: there is no such kind of run; choose one of {', '.join(KINDS)}")
    machine = [key for key in request.overrides if key.startswith(("launcher.", "profile."))]
    if machine:
        raise UserError(f"{machine[0]}: is no setting of a run; write launcher settings into a file for --machine")
    profile = config["profile"]["name"]
    _check_passed_over(request, config)
    if config["dataset"].get("path") and not dry:
        prepare_own(config["dataset"], Planner.root_of(config))
    planner = Planner(profile, needs_data=not dry, folders=request.folders)
    chain = planner.chain(request, str(config["kind"]))
    if is_given(config) and not dry:
        from mm3d_benchmarks.runs.given import check_fit  # it brings torch

        check_fit(Path(config["pretrain"]["path"]), config)
    return [chain[kind] for kind in KINDS if kind in chain]


def _check_passed_over(request: Request, config: Mapping[str, Any]) -> None:
    """Nothing that somebody says is passed over without a word because a profile says something else.

    Raises:
        UserError: epochs under a profile that counts in steps, which go before.
    """
    profile = config["profile"]["name"]
    for part in ("pretrain", "finetune"):
        key, steps = f"recipe.{part}", config["recipe"].get(part, {}).get("steps")
        if f"{key}.epochs" in request.overrides and f"{key}.steps" not in request.overrides and steps is not None:
            raise UserError(
                f"{key}.epochs={request.overrides[f'{key}.epochs']}: profile {profile} trains {steps} steps whatever "
                f"the epochs; write {key}.steps=N, or {key}.steps=null beside the epochs"
            )
    asked = request.choices.get("evaluation")
    cheaper = ((config["profile"].get("replace") or {}).get("evaluation") or {}).get(asked)
    if config["kind"] == "evaluate" and cheaper:
        print(f"mm3d: profile {profile} evaluates by {cheaper} in place of {asked}, as its tables do", file=sys.stderr)


def record_by_hand(
    store: Store,
    overrides: Sequence[str],
    folders: Sequence[Path],
    requests: Sequence[tuple[Request, list[str]]],
    chains: Sequence[Sequence[RunSpec]],
) -> None:
    """Put on record that these runs are asked for, so that nobody takes them for garbage."""
    profile = requests[0][0].choices["profile"]
    cells = {
        " ".join(differing): {spec.kind: spec.key for spec in chain}
        for (_, differing), chain in zip(requests, chains, strict=True)
    }
    words = [*sorted(overrides), *(f"--conf {folder}" for folder in folders)]
    record(store, Ask(profile, BY_HAND, " ".join(words), cells))


def with_machine(specs: Sequence[RunSpec], machine: Mapping[str, Any]) -> list[RunSpec]:
    """The same runs, with this machine's settings; their keys stay.

    Raises:
        UserError: a setting that ``conf/run.yaml`` does not know.
    """
    changed = []
    for spec in specs:
        strange = sorted(set(machine) - set(spec.local.get("machine", {})))
        if strange:
            raise UserError(f"machine.{strange[0]}: no such setting; see `machine:` in conf/run.yaml")
        changed.append(replace(spec, local=merge(merge({}, spec.local), {"machine": machine})))
    return changed


def share_out_threads(launcher: str) -> None:
    """All cores for one run after the other in this process, one for each of several beside each other."""
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, len(os.sched_getaffinity(0)))) if launcher == "debug" else "1")
