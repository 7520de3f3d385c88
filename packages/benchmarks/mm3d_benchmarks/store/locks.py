"""Locks that die with their owner.

POSIX record locks (``fcntl.lockf``) are used: the kernel drops them when the process ends, however it ends; forked
loader workers do not inherit them, so an orphaned worker cannot keep a run locked; and NFS carries them between nodes
(version 4, or version 3 with a lock daemon). Their one trap, that closing any descriptor of the file drops the lock, is
avoided by opening a lock file nowhere but here. Where a file system refuses them, a clear error says so:
silently running twice is worse.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mm3d_core.errors import UserError
from mm3d_core.files.atomic import SHARED
from mm3d_core.files.untrusted import parse_json

_held: set[str] = set()  # record locks do not exclude their own process; this does


class BusyError(Exception):
    """Somebody else holds the lock. ``owner`` is what they wrote about themselves."""

    def __init__(self, path: Path, owner: dict[str, Any]) -> None:
        super().__init__(f"{path} is held by {owner.get('host', 'another process')} pid {owner.get('pid', '?')}")
        self.owner = owner


@contextmanager
def hold(path: Path, wait_seconds: float = 0.0) -> Iterator[None]:
    """Hold the lock ``path`` for the length of the block.

    Raises:
        BusyError: somebody else has it, still after ``wait_seconds``.
        UserError: the folder cannot be written, or its file system has no locks.
    """
    name = str(path.resolve())
    if name in _held:
        raise BusyError(path, _me())
    descriptor = _open(path)
    try:
        _acquire(descriptor, path, time.monotonic() + wait_seconds)
        _held.add(name)
        try:
            _write(descriptor, _me())
            yield
        finally:
            _held.discard(name)
    finally:
        os.close(descriptor)


def holder(path: Path) -> dict[str, Any] | None:
    """Who holds the lock now, or None when it is free or does not exist. Asking leaves no trace."""
    if str(path.resolve()) in _held:
        return _me()
    try:
        descriptor = os.open(path, os.O_RDWR)
    except OSError:
        return None
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return _read(descriptor)
    finally:
        os.close(descriptor)
    return None


def _open(path: Path) -> int:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        whose = (
            f"; {SHARED}" if isinstance(error, PermissionError) else "; check the folder's permissions and free space"
        )
        raise UserError(f"{path}: cannot be opened ({error.strerror}){whose}") from error


def _acquire(descriptor: int, path: Path, deadline: float) -> None:
    while True:
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EAGAIN):
                raise UserError(
                    f"{path}: this file system has no locks ({error.strerror}); put the run store on one that has"
                ) from error
            if time.monotonic() >= deadline:
                raise BusyError(path, _read(descriptor)) from error
            time.sleep(0.05)


def _me() -> dict[str, Any]:
    return {"host": socket.gethostname(), "pid": os.getpid()}


def _write(descriptor: int, value: dict[str, Any]) -> None:
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(value).encode(), 0)
    except OSError:
        return  # a full disk must not stop a run for the sake of a name in a message


def _read(descriptor: int) -> dict[str, Any]:
    try:
        value = parse_json(os.pread(descriptor, 4096, 0) or b"{}")
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
