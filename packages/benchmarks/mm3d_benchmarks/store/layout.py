"""A run's folder: the names of its files, their shapes, and how they are read. Nobody else spells or parses them.

    spec.json         what the run is (kind, configuration, upstream keys, data, code), written when first asked for
    config.yaml       the same configuration, for people
    lock              held by the process that runs it
    attempts.json     how often it was started without getting further
    job.json          where it was last sent: launcher, job id, submitter
    adopted.json      from which run, by whom and why it was re-keyed
    log.txt           what it printed;  log.jsonl  its loss, step by step
    checkpoint.pt     the state to go on from (checkpoint.previous.pt: the one before); dropped once the result is safe
    progress.json     {steps}: how many steps, or scenes, it takes in all
    partial.json      what an evaluation has scored so far
    failure.json      {error, traceback, log}: why the last attempt ended without a result
    provenance.json   commit, device, versions of the attempt that finished
    efficiency.json   seconds, memory and parameters
    scenes.json       an evaluation's scores of each scene alone
    description.json  what the weights will say about themselves (pretrained/description.py), written before the work
    encoder.safetensors, model.safetensors   what a pre-training, a fine-tuning leaves
    metrics.json      {kind, form, metrics, ...}: the result, written last, by rename; the only sign of being done

Nothing in here imports torch.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mm3d_benchmarks.store.result_form import FORM
from mm3d_benchmarks.store.spec import KEY_LENGTH
from mm3d_core.files.atomic import write_json
from mm3d_core.files.sealed import seal, unseal
from mm3d_core.files.untrusted import parse_json
from mm3d_core.files.weights_header import read_header, write_metadata
from mm3d_core.observing.logfile import LOG_FILE

SPEC, CONFIG, LOCK, ATTEMPTS, JOB, ADOPTED = (
    "spec.json", "config.yaml", "lock", "attempts.json", "job.json", "adopted.json",
)  # fmt: skip
PROGRESS, PARTIAL, FAILURE, LOG_TEXT = "progress.json", "partial.json", "failure.json", "log.txt"
PROVENANCE, EFFICIENCY, SCENES, METRICS = "provenance.json", "efficiency.json", "scenes.json", "metrics.json"
DESCRIPTION = "description.json"
CHECKPOINTS = ("checkpoint.pt", "checkpoint.previous.pt")
ENCODER_WEIGHTS, MODEL_WEIGHTS = "encoder.safetensors", "model.safetensors"
KEY = re.compile(rf"[0-9a-f]{{{KEY_LENGTH}}}")
SPEAKS = "mm3dscene"  # the name in a weights file's metadata under which it describes itself
LOG_BYTES = 4 * 2**20  # of log.jsonl that are read


def write_result(folder: Path, kind: str, metrics: Mapping[str, Any], **more: Any) -> None:
    """Write ``metrics.json``, with its checksum: the run is done.

    Args:
        more: what else the kind of run records, JSON-able. Weights among it (``weights``: file name -> SHA-256) first
            learn to describe themselves, where the folder says how; the recorded checksum is that of the final file.
    """
    description, weights = read_json(folder / DESCRIPTION), more.get("weights")
    if description is not None and isinstance(weights, Mapping):
        spoken = {n: describe(folder / n, description) for n in (ENCODER_WEIGHTS, MODEL_WEIGHTS) if n in weights}
        more["weights"] = {**weights, **spoken}
    write_json(folder / METRICS, seal({"kind": kind, "form": FORM, "metrics": dict(metrics), **more}))


def describe(weights: Path, description: Mapping[str, Any], target: Path | None = None) -> str:
    """Put a description into a weights file's metadata (or into a copy, ``target``); returns the file's new SHA-256.

    Raises:
        UserError: not a safetensors file, or the folder cannot be written.
    """
    told, _ = read_header(weights)
    return write_metadata(weights, {**told, SPEAKS: spoken(description)}, target)


def spoken(description: Mapping[str, Any]) -> str:
    """A description as it stands in the metadata."""
    return json.dumps(description, sort_keys=True, ensure_ascii=False, allow_nan=False)


def write_failure(folder: Path, error: str, traceback: str = "", log: str = "") -> None:
    """Say why an attempt ended without a result; ``log`` names the file of a job that never started its run."""
    write_json(folder / FAILURE, {"error": error, "traceback": traceback, "log": log})


def write_progress(folder: Path, steps: int) -> None:
    """Say how many steps (of an evaluation: scenes) the run takes in all."""
    write_json(folder / PROGRESS, {"steps": steps})


def read_json(path: Path) -> dict[str, Any] | None:
    """A JSON object; None when the file is missing, half-written or not an object."""
    try:
        value = parse_json(path.read_bytes())
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def read_result(folder: Path) -> dict[str, Any] | None:
    """The content of ``metrics.json``, which holds a mapping ``metrics``; None when it is missing or damaged."""
    try:
        value = unseal(read_json(folder / METRICS), required=False)
    except ValueError:
        return None
    return value if isinstance(value.get("metrics"), dict) else None


def read_error(folder: Path) -> str:
    """Why the last attempt ended, in one line; empty when no failure is recorded."""
    return " ".join(str((read_json(folder / FAILURE) or {}).get("error") or "").split())


def log_records(folder: Path, last: int | None = None) -> Iterator[dict[str, Any]]:
    """The whole records of ``log.jsonl`` in order, torn and foreign lines passed over.

    Args:
        last: read only so many bytes from the end; otherwise the first ``LOG_BYTES``.
    """
    path = folder / LOG_FILE
    for line in (tail(path, last) if last is not None else read_text(path, LOG_BYTES)).splitlines():
        try:
            value = parse_json(line)
        except ValueError:
            continue
        if isinstance(value, dict) and type(value.get("step")) in (int, float):
            yield value


def upstreams(store: Path, key: str) -> list[str]:
    """Keys of the runs from which a run starts, nearest first; empty when its spec cannot be read."""
    found, queue = [], [key]
    while queue:
        parents = (read_json(store / queue.pop(0) / SPEC) or {}).get("upstream")
        named = [str(k) for _, k in sorted(parents.items())] if isinstance(parents, dict) else []
        fresh = [k for k in named if KEY.fullmatch(k) and k not in found and k != key]
        found += fresh
        queue += fresh
    return found


def read_text(path: Path, size: int = 2**20) -> str:
    """The first ``size`` bytes of a text file; empty when there is none."""
    try:
        with path.open("rb") as stream:
            return stream.read(size).decode(errors="replace")
    except OSError:
        return ""


def tail(path: Path, size: int) -> str:
    """The last ``size`` bytes of a text file; empty when there is none."""
    try:
        with path.open("rb") as stream:
            stream.seek(0, os.SEEK_END)
            stream.seek(max(0, stream.tell() - size))
            return stream.read().decode(errors="replace")
    except OSError:
        return ""
