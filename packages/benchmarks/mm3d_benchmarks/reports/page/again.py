"""The command that asks for a run of a sweep again, by hand."""

from __future__ import annotations

import json
import shlex
from typing import Any

from mm3d_benchmarks.planning.request import Request
from mm3d_benchmarks.planning.sweepfile import Sweep
from mm3d_benchmarks.results.inputs import Inputs


def words_of(request: Request, profile: str) -> str:
    """A request as the words of ``mm3d run``, quoted for a shell, without the kind of run."""
    values = {**request.choices, **request.overrides}
    values.pop("profile", None)
    words = [shlex.quote(f"{key}={_value(value)}") for key, value in values.items()]
    return " ".join([*words, f"--profile {shlex.quote(profile)}"])


def words_of_runs(sweep: Sweep, inputs: Inputs, profile: str) -> dict[str, str]:
    """Key of a row's last run to the words that ask for it."""
    seeds = [int(seed) for seed in inputs.seeds if seed.lstrip("-").isdigit()]
    columns: dict[str, list[str]] = {}
    for row, name in inputs.cells:
        columns.setdefault(row, []).append(name)
    found: dict[str, str] = {}
    for cell in sweep.cells(profile, seeds) if seeds else ():
        for name in columns.get(cell.row, ()):
            key = inputs.run_of(cell.row, name, str(cell.seed))
            if key and key not in found:
                found[key] = words_of(cell.request, profile)
    return found


def _value(value: Any) -> str:
    """A value in Hydra's syntax: null, true and false, lists and mappings without quotes around plain words."""
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        return "{" + ",".join(f"{key}:{_value(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(_value, value)) + "]"
    return json.dumps(value)
