"""Two people, one store: a run that one left is the other's to go on with."""

from __future__ import annotations

import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import toy

from mm3d_benchmarks.launching.execute import execute
from mm3d_benchmarks.store.sharing import share_with_group
from mm3d_benchmarks.store.store import Store
from mm3d_core.errors import UserError

ONE, OTHER, GROUP = 23_001, 23_002, 23_000
as_root = pytest.mark.skipif(os.name != "posix" or os.getuid() != 0, reason="only root can be two people")


@pytest.fixture
def umask() -> Iterator[None]:
    """022, and afterwards what it was."""
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that everybody may enter."""
    folder = Path(tempfile.mkdtemp(prefix="mm3d-shared-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def group_folder(place: Path, mode: int) -> Path:
    store = place / "runs"
    store.mkdir()
    os.chown(store, ONE, GROUP)
    store.chmod(mode)
    return store


def as_user(user: int, work: Callable[[], int]) -> int:
    """The exit status of a process of that user, of the group, with umask 022."""
    child = os.fork()
    if child == 0:
        os.umask(0o022)
        os.setgroups([])
        os.setgid(GROUP)
        os.setuid(user)
        status = 99
        try:
            status = work()
        except UserError as error:
            print(error, file=sys.stderr)
            status = 2
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.parametrize(("mode", "shared"), [(0o2775, True), (0o2755, False), (0o775, False)])
def test_only_a_folder_made_for_a_group_is_shared(tmp_path: Path, umask, mode: int, shared: bool):
    tmp_path.chmod(mode)
    assert share_with_group(tmp_path) == shared
    (tmp_path / "file").touch()
    assert bool((tmp_path / "file").stat().st_mode & stat.S_IWGRP) == shared


@as_root
def test_a_colleague_goes_on_with_what_one_left(place: Path):
    root = group_folder(place, 0o2775)
    failing = toy.spec(steps=3, raise_at=2)

    def work() -> int:
        share_with_group(root)
        return execute(Store(root).register(failing).folder)

    assert as_user(ONE, work) == 1
    assert (root / failing.key / "checkpoint.json").stat().st_uid == ONE
    assert as_user(OTHER, work) == 1
    starts = (root / failing.key / "starts.txt").read_text().splitlines()
    assert [line.split()[1] for line in starts] == ["0", "2"], "the second goes on where the first stopped"


@as_root
def test_without_the_groups_bits_the_message_says_what_to_do(place: Path, capfd):
    root = group_folder(place, 0o755)
    spec = toy.spec(steps=1)
    assert as_user(ONE, lambda: execute(Store(root).register(spec).folder)) == 0
    assert as_user(OTHER, lambda: int(Store(root).register(toy.spec(steps=2)).is_done)) == 2
    assert "Permission denied" in (told := capfd.readouterr().err)
    assert "chmod -R g+rwXs" in told
