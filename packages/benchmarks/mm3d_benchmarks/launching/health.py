"""How pre-trainings fare, from the last line of their logs: what ``mm3d status`` shows below the open runs.

A pre-training has no score. Whether it is healthy shows in what its masks keep (``enrichment``, above 1 where furniture
is preferred), what each level adds to the loss with its weight, how far student and teacher agree on matched points and
on others, whether features collapse (``spread`` near 0), and in speed and memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from mm3d_benchmarks.store.spec import RunSpec
from mm3d_benchmarks.store.store import Store

COLUMNS = (
    "step", "enrichment", "reconstruction", "consistency", "agreement", "others", "spread", "teacher spread",
    "points/s", "peak memory",
)  # fmt: skip
_TERMS = {
    "reconstruction": "reconstruction",
    "consistency": "consistency",
    "agreement": "similarity",
    "others": "negative_similarity",
    "spread": "spread",
    "teacher spread": "teacher_spread",
}


def health(specs: Iterable[RunSpec], store: Store) -> dict[str, dict[str, str]]:
    """Key -> column -> text, for every pre-training that has logged a step."""
    found = {}
    for spec in specs:
        if spec.kind == "pretrain":
            record = store.run(spec.key).last_progress()
            if record.get("step"):
                found[spec.key] = described(record)
    return found


def described(record: Mapping[str, Any]) -> dict[str, str]:
    """One record of ``log.jsonl`` as texts by column; per level, finest first, where there are levels."""
    texts = {name: _levels(record, term) for name, term in _TERMS.items()}
    texts["step"] = str(record["step"])
    texts["enrichment"] = _short(record.get("enrichment"))
    seconds, points = record.get("seconds_per_step"), _points(record)
    texts["points/s"] = f"{points / seconds:,.0f}" if seconds and points else ""
    peak = record.get("peak_memory_bytes")
    texts["peak memory"] = f"{peak / 2**30:.2f} GiB" if peak else ""
    return {name: texts[name] for name in COLUMNS}


def _points(record: Mapping[str, Any]) -> float:
    """Points that networks read in a step."""
    return record.get("points") or record.get("student_points", 0.0) + record.get("target_points", 0.0)


def _levels(record: Mapping[str, Any], term: str) -> str:
    levels = sorted(
        (int(name.removeprefix(f"{term}_level")), value)
        for name, value in record.items()
        if name.startswith(f"{term}_level") and name.removeprefix(f"{term}_level").isdigit()
    )
    return " ".join(_short(value) for _, value in levels) or _short(record.get(term))


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, int | float) else ""
