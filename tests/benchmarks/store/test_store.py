"""The run store: whole files, counted attempts, locks that die with their owner."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import toy

from mm3d_benchmarks.store import locks
from mm3d_benchmarks.store.store import Store, adopt
from mm3d_core.errors import UserError

HOLD = """
import sys, time
from pathlib import Path
from mm3d_benchmarks.store import locks
with locks.hold(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def holding(path: Path) -> subprocess.Popen[str]:
    """A process that holds a lock."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_run_is_what_it_was_registered_as(store: Store) -> None:
    spec = toy.spec(value=3.0)
    run = store.register(spec)
    assert run.spec() == spec
    assert not run.is_done
    assert store.keys() == [spec.key]
    assert store.find(spec.key[:6]).key == spec.key


@pytest.mark.parametrize("key", ["../../etc", "abc", "G" * 12, ""])
def test_a_key_cannot_leave_the_store(store: Store, key: str) -> None:
    with pytest.raises(UserError, match="no run key"):
        store.run(key)


def test_a_store_of_another_version_is_refused(tmp_path: Path) -> None:
    (tmp_path / "store.json").write_text('{"version": 99}')
    with pytest.raises(UserError, match="version 99"):
        Store(tmp_path)


def test_a_folder_whose_spec_was_edited_is_refused(store: Store) -> None:
    run = store.register(toy.spec(value=3.0))
    value = json.loads((run.folder / "spec.json").read_text())
    value["config"]["value"] = 4.0
    (run.folder / "spec.json").write_text(json.dumps(value))
    with pytest.raises(UserError, match="describes run"):
        run.spec()


def test_attempts_count_only_while_the_run_gets_no_further(store: Store) -> None:
    run = store.register(toy.spec())
    assert [run.begin_attempt(), run.begin_attempt()] == [1, 2]
    (run.folder / "checkpoint.pt").write_text("further")
    assert run.begin_attempt() == 1
    run.take_back_attempt()
    assert run.attempts() == 0
    assert (run.read("attempts.json") or {})["total"] == 3


def test_a_lock_is_refused_to_a_second_owner_who_learns_who_has_it(tmp_path: Path) -> None:
    process = holding(tmp_path / "lock")
    with pytest.raises(locks.BusyError) as busy, locks.hold(tmp_path / "lock"):
        pass
    assert busy.value.owner["pid"] == process.pid
    assert (locks.holder(tmp_path / "lock") or {})["pid"] == process.pid
    process.kill()
    process.wait()


@pytest.mark.parametrize("content", [b"", b"[" * 4096, b"\xff" * 100, b"7"])
def test_a_lock_with_a_damaged_text_is_a_lock(tmp_path: Path, content: bytes) -> None:
    # written there: a close here frees it
    code = "import sys; from pathlib import Path; from mm3d_benchmarks.store import locks; path = Path(sys.argv[1]); "
    code += "path.write_bytes(bytes.fromhex(sys.argv[2])); print(locks.holder(path))"
    with locks.hold(tmp_path / "lock"):
        command = [sys.executable, "-c", code, str(tmp_path / "lock"), content.hex()]
        assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "{}\n"


def test_a_lock_does_not_survive_its_killed_owner(tmp_path: Path) -> None:
    process = holding(tmp_path / "lock")
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert locks.holder(tmp_path / "lock") is None
    with locks.hold(tmp_path / "lock"):
        assert (locks.holder(tmp_path / "lock") or {})["pid"] == os.getpid()


def test_an_orphaned_child_does_not_keep_the_lock(tmp_path: Path) -> None:
    code = HOLD.replace(
        'print("held", flush=True)', 'import os; child = os.fork(); print("held", flush=True) if child else None'
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "lock")], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.readline()
    process.kill()
    process.wait()
    assert locks.holder(tmp_path / "lock") is None


def test_one_process_cannot_hold_a_lock_twice(tmp_path: Path) -> None:
    with locks.hold(tmp_path / "lock"), pytest.raises(locks.BusyError), locks.hold(tmp_path / "lock"):
        pass


def test_only_one_of_many_gets_a_lock(tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        winners = pool.map(_try, [tmp_path / "lock"] * 4)
    assert sum(winners) == 1


def _try(path: Path) -> bool:
    try:
        with locks.hold(path):
            time.sleep(3)
            return True
    except locks.BusyError:
        return False


def test_a_result_is_adopted_under_a_new_key_with_the_reason(store: Store) -> None:
    old = store.register(toy.spec(value=1.0))
    (old.folder / "model.safetensors").write_bytes(b"weights")
    old.write("metrics.json", {"metrics": {"mIoU": 1.0}})
    spec = toy.spec(value=1.0)
    new = adopt(
        store, old, type(spec)("pretrain", spec.config, {}, {}, "new code", spec.local), "me", "a comment changed"
    )
    assert new.metrics() == old.metrics()
    assert (new.folder / "model.safetensors").read_bytes() == b"weights"
    assert new.read("adopted.json") == {"from": old.key, "who": "me", "why": "a comment changed"}
    with pytest.raises(UserError, match="is done already"):
        adopt(store, old, new.spec(), "me", "again")


def test_an_unfinished_run_is_not_adopted(store: Store) -> None:
    with pytest.raises(UserError, match="no result to adopt"):
        adopt(store, store.register(toy.spec()), toy.spec(value=2.0), "me", "why")


def test_damaged_files_read_as_missing(store: Store) -> None:
    run = store.register(toy.spec())
    for content in (b"", b"{", b"[1]", b"\xff\xfe", b"[" * 100_000):
        (run.folder / "metrics.json").write_bytes(content)
        assert run.read("metrics.json") is None
