"""A card per run: what it was, where it ran, what it found, and how its losses went."""

from __future__ import annotations

import html
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mm3d_benchmarks.reports.style import SERIES
from mm3d_benchmarks.store import layout
from mm3d_benchmarks.store.layout import read_json, upstreams
from mm3d_benchmarks.store.spec import KINDS

CARDS = 800  # runs with a card of their own; a larger store is for `mm3d store show`
CURVE = 60  # points of a curve
CURVES = 6  # curves of a card
WORDS = {"pretrain": "pre-training", "finetune": "fine-tuning", "evaluate": "evaluation"}
_KIND_ORDER = {kind: place for place, kind in enumerate(KINDS)}
_NO_CURVE = ("step", "epoch", "time", "seconds_per_step")


@dataclass(frozen=True)
class Card:
    """What the page shows of one run.

    Attributes:
        what: backbone, data set, method and seed.
        uses: the table rows that rest on it, in words.
        command: repeats the run, with all that it starts from; empty where no sweep names it.
    """

    key: str
    kind: str
    what: str
    uses: tuple[str, ...]
    upstream: tuple[str, ...]
    config: str
    provenance: str
    metrics: Mapping[str, float]
    curves: Mapping[str, Sequence[tuple[float, float]]]
    missing: str
    command: str = ""


def load_cards(
    store: Path, uses: Mapping[str, Sequence[str]], words: Mapping[str, str] | None = None
) -> tuple[list[Card], int]:
    """Cards of the runs that tables use and those they start from, pre-trainings first; and how many more there are.

    Args:
        uses: run key to the rows that rest on it, in order of importance.
        words: key of a row's last run to the words for ``mm3d run`` that ask for it, without its kind.
    """
    asked = dict(words or {})
    for key in list(asked):
        for ancestor in upstreams(store, key):
            asked.setdefault(ancestor, asked[key])
    rows = {key: list(named) for key, named in uses.items()}
    for key in list(rows)[:CARDS]:
        for ancestor in upstreams(store, key):
            known = rows.setdefault(ancestor, [])
            known += [row for row in rows[key] if row not in known]
    keys = list(rows)
    cards = [_card(store, key, tuple(rows[key]), asked.get(key, "")) for key in keys[:CARDS]]
    return sorted(cards, key=lambda c: (_KIND_ORDER.get(c.kind, 3), c.uses, c.key)), max(0, len(keys) - CARDS)


def card_html(card: Card) -> str:
    """One card, closed; opening it costs nothing but a click."""
    uses = "".join(f"<li>{html.escape(use)}</li>" for use in card.uses)
    above = " ".join(f'<a href="#run-{html.escape(k)}">{html.escape(k)}</a>' for k in card.upstream)
    numbers = "".join(
        f"<tr><td>{html.escape(name)}</td><td class='number'>{value:.4g}</td></tr>"
        for name, value in card.metrics.items()
    )
    parts = [f"<p>Stands behind</p><ul>{uses}</ul>" if uses else "", f"<p>Starts from {above}</p>" if above else ""]
    if card.command:
        parts.append(f'<p>Again, with what it starts from:</p><pre class="command">{html.escape(card.command)}</pre>')
    parts.append(f"<p class='absent'>{html.escape(card.missing)}</p>" if card.missing else "")
    parts.append('<div class="curves">' + "".join(curve_svg(n, p) for n, p in card.curves.items()) + "</div>")
    parts.append(f"<details><summary>metrics</summary><table>{numbers}</table></details>" if numbers else "")
    for name, text in (("config", card.config), ("provenance", card.provenance)):
        parts.append(f"<details><summary>{name}</summary><pre>{html.escape(text)}</pre></details>" if text else "")
    kind = WORDS.get(card.kind, card.kind)
    search = html.escape(" ".join([card.key, card.kind, kind, card.what, *card.uses]).lower())
    return (
        f'<details class="card" id="run-{html.escape(card.key)}" data-search="{search}"><summary><code>'
        f"{html.escape(card.key)}</code> <b>{html.escape(kind)}</b> {html.escape(card.what)}</summary>"
        f"{''.join(parts)}</details>"
    )


def curve_svg(name: str, points: Sequence[tuple[float, float]]) -> str:
    """A small line chart with the range of both axes written out."""
    xs, ys = [p[0] for p in points], [p[1] for p in points]
    low, high, start, end = min(ys), max(ys), min(xs), max(xs)
    width, height = 220.0, 70.0
    path = " ".join(
        f"{(x - start) / ((end - start) or 1) * width:.1f},{height - (y - low) / ((high - low) or 1) * height:.1f}"
        for x, y in points
    )
    label = html.escape(name)
    return (
        f'<figure class="curve"><svg viewBox="-4 -4 {width + 8:.0f} {height + 8:.0f}" role="img" '
        f'aria-label="{label}: {low:.4g} to {high:.4g}"><polyline points="{path}" fill="none" stroke="{SERIES[0]}" '
        f'stroke-width="1.5"/></svg><figcaption>{label}: {ys[0]:.4g} → {ys[-1]:.4g}, steps {start:.0f}–{end:.0f}'
        "</figcaption></figure>"
    )


def _card(store: Path, key: str, uses: tuple[str, ...], words: str) -> Card:
    folder = store / key
    spec, result = read_json(folder / layout.SPEC) or {}, layout.read_result(folder)
    error = layout.read_error(folder)
    missing = "" if result else "no result" + (f": {error}" if error else "")
    if not folder.is_dir():
        missing = "not in this store"
    provenance = {
        **(read_json(folder / layout.PROVENANCE) or {}),
        "efficiency": _brief(read_json(folder / layout.EFFICIENCY) or {}),
    }
    kind = str(spec.get("kind", "unknown"))
    return Card(
        key=key,
        kind=kind,
        what=_what(spec.get("config")),
        uses=uses,
        upstream=tuple(upstreams(store, key)),
        config=layout.read_text(folder / layout.CONFIG),
        provenance=json.dumps(provenance, indent=1, sort_keys=True) if any(provenance.values()) else "",
        metrics=_numbers(result["metrics"]) if result else {},
        curves=_curves(folder),
        missing=missing,
        command=f"mm3d run kind={kind} {words}" if words and kind in KINDS else "",
    )


def _what(config: Any) -> str:
    """Backbone, data set, method and seed of a run, as far as its configuration names them."""
    if not isinstance(config, Mapping):
        return ""
    groups = [config.get(group) for group in ("backbone", "dataset", "pretrain", "evaluation")]
    names = [str(group["name"]) for group in groups if isinstance(group, Mapping) and group.get("name")]
    return ", ".join([*names, *([f"seed {config['seed']}"] if "seed" in config else [])])


def _curves(folder: Path) -> dict[str, list[tuple[float, float]]]:
    """Name to (step, value), thinned; losses first."""
    points: dict[str, list[tuple[float, float]]] = {}
    for record in map(_numbers, layout.log_records(folder)):
        for name, value in record.items() if "step" in record else ():
            if name not in _NO_CURVE:
                points.setdefault(name, []).append((record["step"], value))
    names = sorted(points, key=lambda n: (n != "loss", "loss" not in n, n))
    return {n: points[n][:: max(1, -(-len(points[n]) // CURVE))] for n in names[:CURVES] if len(points[n]) > 1}


def _numbers(found: Mapping[str, Any]) -> dict[str, float]:
    """Finite numbers by name."""
    kept = {str(k): v for k, v in found.items() if isinstance(v, int | float) and not isinstance(v, bool)}
    return {k: float(v) for k, v in kept.items() if abs(v) <= sys.float_info.max}


def _brief(record: Mapping[str, Any]) -> dict[str, Any]:
    """An efficiency record without its lists."""
    return {k: v for k, v in record.items() if not isinstance(v, list | dict)}
