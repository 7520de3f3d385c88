"""What a command says while runs run: a bar on a terminal; elsewhere a line for each finished run, and now and then one
about those that are not.

    done finetune of table_07/iv/0 in 12 s (46 of 162, about 4 min left)
    running finetune of table_07/iii/0, step 210 of 400, loss 1.31 (46 of 162, about 4 min left)
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Mapping, Sequence
from types import TracebackType

from tqdm import tqdm

from mm3d_benchmarks.launching.outcome import DONE, Outcome
from mm3d_benchmarks.launching.progress import survey, what
from mm3d_benchmarks.store.layout import EFFICIENCY
from mm3d_benchmarks.store.spec import RunSpec
from mm3d_benchmarks.store.store import Store

QUIET_SECONDS = 30.0  # without a word, where there is no terminal; then what runs is told


class Watcher:
    """Tells how a set of runs gets on; a context, and the ``watch`` of :func:`ensure`.

    Args:
        title: of the bar.
        specs: all runs that are ensured.
        done: how many of them had a result before.
        names: key to the cells behind which a run stands; without one, it is described by what it is.
    """

    def __init__(
        self, title: str, specs: Sequence[RunSpec], done: int, store: Store, names: Mapping[str, Sequence[str]]
    ) -> None:
        self._specs, self._done, self._store, self._names = list(specs), done, store, names
        self._bar = tqdm(desc=title, total=len(specs) - done, unit="run", disable=not sys.stderr.isatty())
        self._seen: set[str] = set()
        self._started = self._spoke = time.monotonic()
        self._ended = threading.Event()
        self._pulse = threading.Thread(target=self._beat, daemon=True)

    def __enter__(self) -> Watcher:
        if self._bar.disable and self._done < len(self._specs):
            self._pulse.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._ended.set()
        if self._pulse.ident is not None:
            self._pulse.join()
        self._bar.close()

    def __call__(self, outcomes: Mapping[str, Outcome], total: int) -> None:
        """Say what ended since the last call."""
        for key, outcome in list(outcomes.items()):
            if key in self._seen or not (outcome.computed or outcome.state != DONE):
                continue
            self._seen.add(key)
            self._bar.update()
            self._bar.set_postfix_str(self._name(outcome.spec), refresh=False)
            took = (self._store.run(key).read(EFFICIENCY) or {}).get("seconds_total")
            spent = f" in {took:.0f} s" if type(took) in (int, float) and outcome.state == DONE else ""
            self._say(f"{outcome.state} {outcome.spec.kind} of {self._name(outcome.spec)}{spent} ({self._standing()})")

    def _say(self, text: str) -> None:
        if self._bar.disable:
            self._spoke = time.monotonic()
            print(text, file=sys.stderr, flush=True)

    def _beat(self) -> None:
        """Break a long silence with what is running."""
        while not self._ended.wait(1.0):
            if time.monotonic() - self._spoke > QUIET_SECONDS:
                self._say(f"{self._running()} ({self._standing()})")

    def _running(self) -> str:
        known = [spec for spec in self._specs if spec.key not in self._seen]
        found = [s for s in survey(known, self._store) if s.state in ("running", "queued")]
        if not found:
            return "waiting"
        specs = {spec.key: spec for spec in known}
        told = []
        for s in found[:2]:
            step = f", step {s.step} of {s.steps}" if s.step and s.steps else ""
            loss = f", loss {s.loss:.3g}" if s.loss is not None else ""
            told.append(f"{s.state} {s.kind} of {self._name(specs[s.key])}{step}{loss}")
        return "; ".join([*told, *([f"and {len(found) - 2} more"] if len(found) > 2 else [])])

    def _standing(self) -> str:
        """``46 of 162, about 4 min left``, from the time that those took which ended here."""
        ended, total = len(self._seen), len(self._specs) - self._done
        left = (time.monotonic() - self._started) / ended * (total - ended) if ended else None
        return f"{self._done + ended} of {len(self._specs)}" + (f", about {span(left)} left" if left else "")

    def _name(self, spec: RunSpec) -> str:
        return next(iter(self._names.get(spec.key, ())), "") or what(spec)


def span(seconds: float) -> str:
    """``40 s``, ``4 min`` or ``2.5 h``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
