"""The words around a table: its number in the paper, its caption, and the sentences under it."""

from __future__ import annotations

import re

from mm3d_benchmarks.planning.table_spec import TableSpec
from mm3d_benchmarks.results.columns import COSTS
from mm3d_benchmarks.results.inputs import Inputs

_NUMBER = re.compile(r"(table|figure)_0*(\d+)(?:_|$)")


def number_of(name: str, table: str = "{kind} {number}", figure: str = "{kind} {number}") -> str:
    """What a sweep's name says of the paper's numbering, in one of two forms; empty for sweeps of ours."""
    found = _NUMBER.match(name)
    form = figure if found and found[1] == "figure" else table
    return form.format(kind=found[1].capitalize(), number=found[2]) if found else ""


def caption(spec: TableSpec, inputs: Inputs, profile: str) -> str:
    """Title, profile, data source, and how to read the numbers."""
    where = inputs.data_source()
    names = ", ".join(inputs.datasets()) or "none recorded"
    if not inputs.found:
        data = "no run yet; only published values are shown"
    elif where == "official":
        data = f"data: official releases ({names})"
    elif where == "user":
        data = "data: user data (own scans and labels), so measured and published values must not be compared"
    elif where == "synthetic":
        data = (
            f"data: synthetic scenes in the format of {names}, not the official data sets, "
            "so measured and published values must not be compared"
        )
    elif where == "mixed":
        parts = ", ".join(f"{name} {kind}" for name, kind in inputs.datasets().items())
        data = f"data: {parts}; values on other than official data must not be compared with published ones"
    else:
        data = "data source not recorded, so measured and published values must not be compared"
    seeds = len(inputs.seeds)
    spread = (
        f"Mean ± sample standard deviation over {seeds} seeds."
        if seeds > 1
        else "A single seed, so without a deviation."
    )
    return f"{_sentence(spec.title)} Profile {profile}; {data}. {spread if inputs.found else ''}".strip()


def remarks(spec: TableSpec, inputs: Inputs) -> tuple[str, ...]:
    """Sentences under the table: the sweep's own, the collector's (mixed provenance), and what costs depend on."""
    found = list(spec.footnotes)
    footnotes = inputs.provenance.get("footnotes") or []
    found += [str(note) for note in footnotes]
    if set(spec.columns) & set(COSTS) and inputs.provenance.get("devices"):
        devices = ", ".join(sorted({str(device) for device in inputs.provenance["devices"]}))
        found.append(f"Times and memory depend on the device; measured on: {devices}.")
    noted: dict[str, list[str]] = {}
    for entry in spec.published:
        if entry.note:
            noted.setdefault(entry.note, []).append(spec.label(entry.row))
    notes = [f"{', '.join(rows)}: {note}" for note, rows in noted.items()]
    return tuple(dict.fromkeys(_sentence(text) for text in [*found, *notes] if text))


def _sentence(text: str) -> str:
    text = text.strip()
    return text if not text or text[-1] in ".!?" else text + "."
