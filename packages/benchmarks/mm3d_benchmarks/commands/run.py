"""``mm3d run``: one run by hand with all that it starts from, or a multirun."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import yaml

from mm3d_benchmarks.commands.common import forget_results, idle, launcher_settings, machine_file
from mm3d_benchmarks.launching.by_hand import chain_of, record_by_hand, requests_of, share_out_threads, with_machine
from mm3d_benchmarks.launching.choose import make_launcher
from mm3d_benchmarks.launching.ensure import describe, ensure
from mm3d_benchmarks.launching.outcome import DONE
from mm3d_benchmarks.launching.watching import Watcher
from mm3d_benchmarks.store.layout import SPEC
from mm3d_benchmarks.store.spec import RunSpec
from mm3d_benchmarks.store.store import Store
from mm3d_core.errors import UserError


def run(options: argparse.Namespace) -> int:
    """Ensure the runs that the overrides describe."""
    requests = requests_of(options.overrides, options.conf, options.profile)
    if len(requests) > 1 and not options.multirun:
        raise UserError("several values for one key; add -m (--multirun) to make a run for each combination")
    chains = [chain_of(request, options.dry_run) for request, _ in requests]
    specs = list({spec.key: spec for chain in chains for spec in chain}.values())
    if options.dry_run:
        for chain in chains:
            _show(chain)
        return 0
    _tell_profile(options)
    named = next((request.choices["launcher"] for request, _ in requests if "launcher" in request.choices), "")
    name = options.launcher or named or ("local" if len(chains) > 1 else "debug")
    settings = launcher_settings(name, options)
    specs = with_machine(specs, machine_file(options.machine).get("machine") or {})
    share_out_threads(name)
    store = Store(options.store)
    record_by_hand(store, options.overrides, options.conf, requests, chains)
    if options.force:
        _clear(store, options.results, specs if options.force == "chain" else [chain[-1] for chain in chains])
    with Watcher("runs", specs, sum(store.run(spec.key).is_done for spec in specs), store, {}) as watch:
        launcher = make_launcher(settings, store, specs)
        outcomes = ensure(specs, store, launcher, settings["max_attempts"], options.again, watch)
    failed = [outcome for outcome in outcomes if outcome.state != DONE]
    if failed:
        print(describe(failed, {}, store, 0 if name == "debug" else 5), file=sys.stderr)
    by_key = {outcome.spec.key: outcome for outcome in outcomes}
    for (_, differing), chain in zip(requests, chains, strict=True):
        if by_key[chain[-1].key].state == DONE:
            _tell(store, chain[-1], differing)
    return 1 if failed else 0


def _tell_profile(options: argparse.Namespace) -> None:
    """Nobody should take a toy for a training: say which profile was chosen where none was."""
    words = " ".join([*options.overrides, *sys.argv])
    if "profile" not in words and "MM3D_PROFILE" not in os.environ:
        print(
            f"mm3d: profile {options.profile} (shrunken networks, a few steps); --profile paper trains as published",
            file=sys.stderr,
        )


def _clear(store: Store, results: Path, specs: Sequence[RunSpec]) -> None:
    """Forget the results of these runs, so that they are computed again from their start."""
    keys = {spec.key for spec in specs}
    for key in sorted(keys):
        if store.run(key).exists:
            with idle(store.run(key)):
                store.run(key).clear()
        forget_results(results, key)
    after = [key for key in store.done() if keys & set((store.run(key).read(SPEC) or {}).get("upstream", {}).values())]
    if after:
        print(f"mm3d: {len(after)} finished runs started from what is run again, and stay as they are", file=sys.stderr)


def _show(chain: Sequence[RunSpec]) -> None:
    for spec in chain:
        print(f"# {spec.kind} {spec.key}" + "".join(f", starts from {key}" for key in spec.upstream.values()))
    print(yaml.safe_dump(chain[-1].effective_config(), sort_keys=True, allow_unicode=True))


def _tell(store: Store, spec: RunSpec, differing: Sequence[str]) -> None:
    """The folder and the result of a finished run."""
    folder = store.run(spec.key).folder
    metrics = store.run(spec.key).metrics().get("metrics", {})
    print(f"{' '.join([*differing, spec.kind])}: {folder}")
    print(json.dumps({name: value for name, value in metrics.items() if "/" not in name}, indent=1, sort_keys=True))
