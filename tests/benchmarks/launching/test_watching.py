"""What a command says while runs run: row, kind, seconds and what is left; in a pipe, not only when something ends."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from mm3d_benchmarks.launching import watching
from mm3d_benchmarks.launching.outcome import DONE, FAILED, Outcome
from mm3d_benchmarks.launching.watching import Watcher, span
from mm3d_benchmarks.store.layout import EFFICIENCY, write_result
from mm3d_benchmarks.store.spec import RunSpec
from mm3d_benchmarks.store.store import Store


def spec(seed: int) -> RunSpec:
    return RunSpec("finetune", {"backbone": {"name": "votenet"}, "seed": seed}, {}, {}, "", {})


@pytest.fixture
def specs() -> list[RunSpec]:
    return [spec(seed) for seed in range(4)]


def test_a_finished_run_is_told_by_row_kind_seconds_and_what_is_left(tmp_path: Path, specs, capsys) -> None:
    store = Store(tmp_path)
    run = store.register(specs[0])
    run.write(EFFICIENCY, {"seconds_total": 12.3})
    write_result(run.folder, "finetune", {})
    with Watcher("runs", specs, 1, store, {specs[0].key: ["table_07/iv/0", "table_05/ours/0"]}) as watch:
        watch({specs[0].key: Outcome(specs[0], DONE, computed=True)}, 4)
        watch({specs[0].key: Outcome(specs[0], DONE, computed=True)}, 4)
    told = capsys.readouterr().err
    assert told.startswith("done finetune of table_07/iv/0 in 12 s (2 of 4, about ")
    assert told.count("\n") == 1


def test_what_failed_says_so_and_what_was_done_before_is_not_told(tmp_path: Path, specs, capsys) -> None:
    outcomes = {specs[0].key: Outcome(specs[0], DONE), specs[1].key: Outcome(specs[1], FAILED, "why", computed=True)}
    with Watcher("runs", specs, 1, Store(tmp_path), {}) as watch:
        watch(outcomes, 4)
    assert capsys.readouterr().err.startswith("failed finetune of votenet seed 1 (2 of 4")


def test_a_silence_is_broken_now_and_then(tmp_path: Path, specs, capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "QUIET_SECONDS", 0.5)
    with Watcher("runs", specs, 0, Store(tmp_path), {}):
        time.sleep(2.5)
    told = capsys.readouterr().err.splitlines()
    assert told
    assert set(told) == {"waiting (0 of 4)"}


@pytest.mark.parametrize(("seconds", "text"), [(3.4, "3 s"), (240, "4 min"), (9000, "2.5 h")])
def test_spans_are_words(seconds: float, text: str) -> None:
    assert span(seconds) == text
