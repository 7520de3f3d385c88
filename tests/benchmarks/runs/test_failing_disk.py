"""A disk that fails at any write of a run: the message names the file, and the next call ends with the same bytes."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from benchmarks.small_runs import config, write_rooms

from mm3d_benchmarks.runs.evaluate import run_evaluate
from mm3d_benchmarks.runs.finetune import run_finetune
from mm3d_benchmarks.runs.pretrain import run_pretrain
from mm3d_core.errors import UserError
from mm3d_core.observing.log import TrainingLog

Run = Callable[[Path], None]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """The three kinds, each with what it starts from already there."""
    base = tmp_path_factory.mktemp("disk")
    settings = config(
        write_rooms(base / "data"), recipe__pretrain__steps=2, recipe__finetune__steps=2, machine__checkpoint_every=1
    )
    run_pretrain(settings, base / "pretrain", {})
    run_finetune(settings, base / "finetune", {"pretrain": base / "pretrain"})
    return {
        "pretrain": lambda folder: run_pretrain(settings, folder, {}),
        "finetune": lambda folder: run_finetune(settings, folder, {"pretrain": base / "pretrain"}),
        "evaluate": lambda folder: run_evaluate(settings, folder, {"finetune": base / "finetune"}),
    }


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, int | None], list[str]]:
    """Count the calls of one of the file system's functions and let the n-th of them fail."""

    def arm(function: str, failing: int | None) -> list[str]:
        calls: list[str] = []
        original = getattr(os, function)

        def counted(*arguments, **options):
            calls.append(str(arguments[0]))
            if failing is not None and len(calls) == failing + 1:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return original(*arguments, **options)

        monkeypatch.setattr(os, function, counted)
        return calls

    return arm


@pytest.mark.parametrize("kind", ["finetune", "evaluate", pytest.param("pretrain", marks=pytest.mark.slow)])
@pytest.mark.parametrize("function", ["replace", pytest.param("fsync", marks=pytest.mark.slow)])
def test_a_full_disk_at_any_write_costs_one_more_call(
    runs: dict[str, Run], disk, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: str, function: str
):
    calls = disk(function, None)
    runs[kind](tmp_path / "whole")
    monkeypatch.undo()
    assert len(calls) >= 5
    for site in range(len(calls)):
        folder = tmp_path / f"cut_{site}"
        disk(function, site)
        try:
            runs[kind](folder)
            survived = True  # syncing a folder may fail silently: not every file system can
        except UserError as error:
            survived = False
            message = str(error)
        monkeypatch.undo()
        assert survived or str(folder) in message
        assert survived or not (folder / "metrics.json").exists()
        assert not list(folder.glob(".*.tmp"))
        if not survived:
            runs[kind](folder)
        assert (folder / "metrics.json").read_bytes() == (tmp_path / "whole/metrics.json").read_bytes()


def test_a_full_disk_under_the_log_names_the_log(runs: dict[str, Run], monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    original = TrainingLog.__init__

    def broken(self, *arguments, **options) -> None:
        original(self, *arguments, **options)
        stream = self._stream

        class Full:
            def write(self, _: str) -> None:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

            def close(self) -> None:
                stream.close()

        self._stream = Full()

    monkeypatch.setattr(TrainingLog, "__init__", broken)
    with pytest.raises(UserError, match=r"log\.jsonl: cannot be written \(No space left"):
        runs["finetune"](tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_is_named(runs: dict[str, Run], tmp_path: Path):
    tmp_path.chmod(0o500)
    with pytest.raises(UserError, match=str(tmp_path)):
        runs["finetune"](tmp_path / "run")
