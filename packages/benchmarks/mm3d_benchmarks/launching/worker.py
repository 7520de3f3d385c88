"""A warm process that imports torch once and forks a child for each run.

Importing torch costs more than a small run, so the local pool keeps one such process. It never computes and never
starts a thread, which keeps forking safe; each run is a process of its own, so that a killed run is an exit status and
nothing else.

Protocol: JSON lines. In: ``{"run": folder, "gpus": "0"}`` (without GPUs: no such key), ``{"stop": signal}``.
Out: ``{"ready": true}``, ``{"run": ..., "pid": ...}``, ``{"run": ..., "status": exit status or -signal}``. When
standard input closes, the children are left to finish.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import selectors
import signal
import sys
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Any

from mm3d_benchmarks.launching.execute import execute
from mm3d_benchmarks.store.layout import LOG_TEXT


def main(preload: list[str]) -> None:
    """Import ``preload``, then serve until standard input closes and the last child is gone."""
    for name in preload:
        with suppress(Exception):  # the run that needs it will say what is wrong, in its own log
            importlib.import_module(name)
    gc.collect()
    gc.freeze()  # children share these pages with us as long as nobody's collector touches them
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    children: dict[int, str] = {}
    chooser = selectors.DefaultSelector()
    chooser.register(reading, selectors.EVENT_READ)
    chooser.register(sys.stdin.buffer, selectors.EVENT_READ)
    _say(ready=True)
    serving, pending = True, b""
    while serving or children:
        for event, _ in chooser.select():
            if event.fd == reading:
                os.read(reading, 4096)
                continue
            chunk = os.read(event.fd, 65536)
            if not chunk:
                serving = False
                chooser.unregister(sys.stdin.buffer)
            *lines, pending = (pending + chunk).split(b"\n")
            for line in lines:
                _serve(json.loads(line), children)
        _reap(children)


def _serve(request: dict[str, Any], children: dict[int, str]) -> None:
    if "stop" in request:
        for child in children:
            with suppress(ProcessLookupError):
                os.kill(child, request["stop"])
        return
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        if "gpus" in request:
            os.environ["CUDA_VISIBLE_DEVICES"] = request["gpus"]  # nobody has started CUDA here yet
        _child(Path(request["run"]))
    children[child] = request["run"]
    _say(run=request["run"], pid=child)


def _child(folder: Path) -> None:
    """The forked child: a session and a log of its own, then the run. Never returns."""
    status = 1
    try:
        os.setsid()
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGUSR2):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        folder.mkdir(parents=True, exist_ok=True)
        log = os.open(folder / LOG_TEXT, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for target, source in ((0, nothing), (1, log), (2, log)):
            os.dup2(source, target)
        status = execute(folder)
    except BaseException:
        traceback.print_exc()
    finally:
        with suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)


def _reap(children: dict[int, str]) -> None:
    for child in list(children):
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            _say(run=children.pop(child), status=os.waitstatus_to_exitcode(status))


def _say(**message: Any) -> None:
    """One line to the driver; a driver that is gone is no reason to end the children."""
    try:
        sys.stdout.write(json.dumps(message) + "\n")
        sys.stdout.flush()
    except (BrokenPipeError, OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


if __name__ == "__main__":
    main(sys.argv[1:])
