"""``mm3d store``: look into the run store, clean it, re-key results."""

from __future__ import annotations

import argparse
import json
import sys

from mm3d_benchmarks.commands.common import forget_results, idle
from mm3d_benchmarks.commands.standing import pretraining_of
from mm3d_benchmarks.commands.store.garbage import collect_garbage, plans_in
from mm3d_benchmarks.commands.store.prune import prune
from mm3d_benchmarks.launching.outcome import last_error
from mm3d_benchmarks.launching.progress import look, what
from mm3d_benchmarks.planning.planner import Plan
from mm3d_benchmarks.store.asks import asks, users_of
from mm3d_benchmarks.store.layout import (
    ADOPTED,
    ATTEMPTS,
    CONFIG,
    EFFICIENCY,
    FAILURE,
    JOB,
    LOG_TEXT,
    METRICS,
    PROVENANCE,
    tail,
)
from mm3d_benchmarks.store.spec import RunSpec
from mm3d_benchmarks.store.store import Run, Store, adopt
from mm3d_core.errors import UserError


def store(options: argparse.Namespace) -> int:
    """Do one action."""
    actions = {
        "ls": _list, "show": _show, "rm": _remove, "gc": collect_garbage, "prune": prune, "adopt": _adopt,
        "describe": _describe,
    }  # fmt: skip
    return actions[options.action](options)


def _list(options: argparse.Namespace) -> int:
    """A line for each run: what it is, how it stands or how long it took, and who asks for it."""
    where = Store(options.store)
    specs = {key: where.run(key).spec() for key in where.keys() if where.run(key).exists}  # noqa: SIM118
    users = users_of(asks(where))
    for s in look([spec for spec in specs.values() if options.kind in (None, spec.kind)], where):
        record = where.run(s.key).read(EFFICIENCY) or {}
        took = record.get("seconds_total") if s.state == "done" else s.seconds_left
        time = f"{took:8.0f} s" if type(took) in (int, float) else " " * 10
        asked = users.get(s.key) or ["nobody on record"]
        more = f" and {len(asked) - 1} more" if len(asked) > 1 else ""
        why = f" [{s.error or s.reason}]" if s.error or s.reason else ""
        pretraining = pretraining_of(specs[s.key], specs) or "?"
        print(f"{s.key}  {s.kind:9} {s.state:9} {time}  {s.what}, {pretraining}; for {asked[0]}{more}{why}")
    return 0


def _show(options: argparse.Namespace) -> int:
    run = Store(options.store).find(options.key)
    spec = run.spec()
    print(tail(run.folder / CONFIG, 2**20))
    for role, key in spec.upstream.items():
        print(f"starts from {role} {key}")
    for name in (METRICS, PROVENANCE, ATTEMPTS, JOB, ADOPTED):
        value = run.read(name)
        if value is not None:
            print(f"{name}: {json.dumps(value, indent=1, sort_keys=True)}")
    if not run.is_done and run.read(FAILURE):
        print(f"failed: {last_error(run)}")
    print(tail(run.folder / LOG_TEXT, 2000))
    return 0


def _remove(options: argparse.Namespace) -> int:
    run = Store(options.store).find(options.key)
    with idle(run):
        run.remove()
    forget_results(options.results, run.key)
    print(f"removed {run.key}")
    return 0


def _describe(options: argparse.Namespace) -> int:
    """Let the weights of finished runs, or a copy of one run's, describe themselves."""
    from mm3d_benchmarks.pretrained.describe_old import WEIGHTS, describe_copy, describe_run

    where = Store(options.store)
    if options.file:
        if len(options.key) != 1:
            raise UserError("--file: name the one run that the file was copied from, by its key")
        print(describe_copy(where.find(options.key[0]), options.file))
        return 0
    named = [where.find(key) for key in options.key]
    failed = 0
    for run in named or [where.run(key) for key in sorted(where.done()) if where.run(key).spec().kind in WEIGHTS]:
        try:
            with idle(run):
                print(describe_run(run))
        except UserError as error:
            print(f"mm3d store describe: {error}", file=sys.stderr)
            failed = 1
    return failed


def _adopt(options: argparse.Namespace) -> int:
    """Re-key finished runs whose plan differs from them in the code alone, and in upstreams that were re-keyed so."""
    where = Store(options.store)
    old = [where.find(key) for key in options.key] if options.key else [where.run(key) for key in sorted(where.done())]
    by_content: dict[str, Run] = {}
    for run in old:
        by_content.setdefault(_without_code(run.spec(), {}), run)
    renamed: dict[str, str] = {}
    for plan in plans_in(options.plans):
        for spec in _upstreams_first(plan):
            if where.run(spec.key).is_done:
                continue
            run = by_content.get(_without_code(spec, {new: known for known, new in renamed.items()}))
            if run is None:
                continue
            renamed[run.key] = spec.key
            print(
                f"{'would adopt' if options.dry_run else 'adopted'} {run.key} as {spec.key} ({spec.kind} {what(spec)})"
            )
            if not options.dry_run:
                adopt(where, run, spec, options.who, options.why)
    if not renamed:
        print("nothing to adopt: no finished run differs from the plan in its code alone")
    return 0


def _without_code(spec: RunSpec, old_name: dict[str, str]) -> str:
    identity = {**spec.identity(), "code": "", "upstream": {r: old_name.get(k, k) for r, k in spec.upstream.items()}}
    return json.dumps(identity, sort_keys=True)


def _upstreams_first(plan: Plan) -> list[RunSpec]:
    from mm3d_benchmarks.store.spec import in_order

    return in_order(plan.specs.values())
