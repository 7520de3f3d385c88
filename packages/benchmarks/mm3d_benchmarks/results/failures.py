"""Runs of a profile that have no result, as the pipeline records them: ``results/<profile>/failures/<kind>.json``.

A failed run must not stop the tables that do not need it, so the pipeline's stages write down what failed and go on; its
last stage, ``mm3d complete``, reads this and fails.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mm3d_benchmarks.store.spec import KINDS
from mm3d_benchmarks.store.layout import read_json
from mm3d_core.files.atomic import write_text_if_changed


@dataclass(frozen=True)
class Failure:
    """One run without a result: ``failed``, or ``blocked`` by another; why; the cells that need it."""

    state: str
    reason: str
    cells: Sequence[str]


def write_failures(results: Path, kind: str, failures: Mapping[str, Failure]) -> None:
    """Replace what is recorded for a kind; an empty record says that all is well."""
    value = {key: {"state": f.state, "reason": f.reason, "cells": list(f.cells)} for key, f in failures.items()}
    write_text_if_changed(_file(results, kind), json.dumps(value, sort_keys=True, indent=1) + "\n")


def read_failures(results: Path) -> dict[str, Failure]:
    """Key -> failure, of all kinds; what is damaged reads as nothing."""
    found = {}
    for kind in KINDS:
        for key, value in (read_json(_file(results, kind)) or {}).items():
            if isinstance(value, dict) and isinstance(value.get("cells"), list):
                found[key] = Failure(str(value.get("state")), str(value.get("reason")), list(map(str, value["cells"])))
    return found


def forget_failures(results: Path) -> None:
    """Remove the records that name failures: the stages that wrote them count as undone, and try again."""
    for kind in KINDS:
        if read_json(_file(results, kind)) != {}:
            _file(results, kind).unlink(missing_ok=True)


def _file(results: Path, kind: str) -> Path:
    return results / "failures" / f"{kind}.json"
