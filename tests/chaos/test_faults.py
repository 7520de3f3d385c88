"""A file system that fails at every write site in turn: the run says so, leaves nothing half-written, ends right."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mm3d_benchmarks.launching.ensure import ensure
from mm3d_benchmarks.launching.execute import execute
from mm3d_benchmarks.launching.local import InProcess
from mm3d_benchmarks.store.store import Store
from mm3d_core.errors import UserError
from mm3d_core.files import atomic

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "toys"))
import toy  # pyright: ignore[reportMissingImports]

SITES = 24  # more than the writes of one toy run; the last ones never happen and change nothing
CODES = {"disk full": errno.ENOSPC, "no permission": errno.EACCES, "quota": errno.EDQUOT, "device error": errno.EIO}


def failing_at(site: int, code: int, monkeypatch: pytest.MonkeyPatch, step: str) -> Callable[[], int]:
    """Make the ``site``-th call of a step of ``atomic_write`` fail; returns a counter of the calls."""
    original: Any = atomic._open if step == "write" else getattr(os, step)
    calls = 0

    def faulty(*arguments: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == site and step == "write":
            return ShortWrite(original(*arguments, **options), code)
        if calls == site:
            raise OSError(code, os.strerror(code))
        return original(*arguments, **options)

    monkeypatch.setattr(
        "mm3d_core.files.atomic._open" if step == "write" else f"mm3d_core.files.atomic.os.{step}", faulty
    )
    return lambda: calls


class ShortWrite:
    """A file that takes half of what is first written to it, then fails."""

    def __init__(self, stream: Any, code: int) -> None:
        self._stream, self._code = stream, code

    def __enter__(self) -> ShortWrite:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, data: Any) -> int:
        self._stream.write(data[: len(data) // 2])
        self._stream.flush()
        raise OSError(self._code, os.strerror(self._code))


@pytest.mark.parametrize("fault", CODES)
@pytest.mark.parametrize("step", ["write", "fsync", "replace"])
def test_a_fault_at_any_write_is_told_and_costs_nothing_but_a_second_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str, step: str
) -> None:
    spec = toy.spec(value=3.0, steps=3)
    reached = 0
    for site in range(1, SITES):
        store = Store(tmp_path / str(site))
        with monkeypatch.context() as patch:
            calls = failing_at(site, CODES[fault], patch, step)
            try:
                [outcome] = ensure([spec], store, InProcess())
            except UserError as error:
                told = str(error)
            else:
                told = outcome.reason if outcome.state == "failed" else "done"
            if calls() >= site:
                reached += 1
                assert told == "done" or "written" in told or os.strerror(CODES[fault]) in told, told
        assert not list(store.root.rglob("*.tmp"))
        [outcome] = ensure([spec], store, InProcess(), again=True)
        assert outcome.state == "done"
        assert store.run(spec.key).metrics()["metrics"] == {"mIoU": 3.0, "mAcc": 1.5}
    assert reached >= 8, "the faults must meet the writes of spec, attempts, provenance, checkpoints and result"


@pytest.mark.parametrize("content", [b"", b"{", b"\x00" * 100, b'{"count": "x"}', b"[" * 50_000])
@pytest.mark.parametrize("name", ["attempts.json", "job.json", "provenance.json", "log.jsonl", "lock", "failure.json"])
def test_damaged_bookkeeping_never_stops_a_run(tmp_path: Path, name: str, content: bytes) -> None:
    store, spec = Store(tmp_path), toy.spec(value=3.0)
    run = store.register(spec)
    (run.folder / name).write_bytes(content)
    assert execute(run.folder) == 0
    assert run.metrics()["metrics"]["mIoU"] == 3.0


@pytest.mark.parametrize("content", [b"", b"{", b"\x00" * 100, b"[]"])
def test_a_damaged_result_is_named_with_the_remedy(tmp_path: Path, content: bytes) -> None:
    run = Store(tmp_path).register(toy.spec())
    (run.folder / "metrics.json").write_bytes(content)
    with pytest.raises(UserError, match=f"mm3d store rm {run.key}"):
        run.metrics()


def test_a_changed_digit_in_a_result_is_noticed(tmp_path: Path) -> None:
    run = Store(tmp_path).register(toy.spec(value=3.0))
    assert execute(run.folder) == 0
    path = run.folder / "metrics.json"
    path.write_text(path.read_text().replace("3.0", "8.0"))
    with pytest.raises(UserError, match=f"mm3d store rm {run.key}"):
        run.metrics()
