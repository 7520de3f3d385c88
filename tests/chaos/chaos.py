"""Kill things at random while a sweep runs, let it finish, and compare every byte of its tables with a quiet run's.

    python tests/chaos/chaos.py --kills 100 --seed 1        # Table 7 of the smoke profile, in a folder of its own

Killed are run processes (SIGKILL, SIGTERM, and SIGUSR2, the warning of Slurm), the warm process they come from, and the
driver; some kills wait for a half-written file. The seed decides what is killed and when, so a failure can be
replayed as far as the machine's timing allows.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import psutil

from mm3d_benchmarks.store.store import Store

RUN_SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGUSR2)
MACHINE = "launcher: {max_attempts: 1000000}\nmachine: {checkpoint_every: 1, progress: false}\n"


class Killer:
    """Kills ``kills`` times, at moments and among targets that ``seed`` decides."""

    def __init__(self, store: Store, seed: int, kills: int, longest_pause: float) -> None:
        self._store, self._random, self._left, self._pause = store, random.Random(seed), kills, longest_pause
        self.tally: Counter[str] = Counter()

    @property
    def left(self) -> int:
        """Kills that are still to come."""
        return self._left

    def strike(self, driver: subprocess.Popen[bytes]) -> None:
        """Wait a random while, then kill something that is alive."""
        self._sleep(driver)
        runs = self._running()
        choice = self._random.random()
        if choice < 0.1:
            self._kill(driver.pid, signal.SIGKILL, "driver")
        elif runs:
            target = self._random.choice(sorted(runs))
            if choice < 0.2:
                with suppress(psutil.Error):
                    parent = psutil.Process(target).parent()
                    if parent is not None and "mm3d_benchmarks.launching.worker" in " ".join(parent.cmdline()):
                        self._kill(parent.pid, signal.SIGKILL, "worker")
                return
            number = self._random.choice(RUN_SIGNALS)
            self._kill(target, number, f"run {number.name}")

    def _sleep(self, driver: subprocess.Popen[bytes]) -> None:
        """A random pause; a third of them end early at the sight of a half-written file."""
        watchful = self._random.random() < 0.33
        deadline = time.monotonic() + self._random.uniform(0, self._pause)
        while time.monotonic() < deadline and driver.poll() is None:
            if watchful and any(self._store.root.glob("*/.*.tmp")):
                self.tally["while a file was being written"] += 1
                return
            time.sleep(0.002 if watchful else 0.05)

    def _running(self) -> set[int]:
        """Processes that hold the lock of a run."""
        holders = (self._store.run(key).holder() for key in self._store.keys())  # noqa: SIM118
        return {holder["pid"] for holder in holders if holder and holder.get("pid")}

    def _kill(self, pid: int, number: signal.Signals, what: str) -> None:
        with suppress(ProcessLookupError):
            os.kill(pid, number)
            self.tally[what] += 1
            self._left -= 1


def disturbed(
    command: Sequence[str], store: Store, seed: int, kills: int, folder: Path, longest_pause: float
) -> Counter[str]:
    """Run ``command`` again and again under fire until all kills are spent, then once in peace.

    Raises:
        RuntimeError: it does not succeed in peace.
    """
    killer = Killer(store, seed, kills, longest_pause)
    with open(folder / "chaos.log", "ab") as log:
        while killer.left > 0:
            driver = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)
            while driver.poll() is None and killer.left > 0:
                killer.strike(driver)
            if driver.poll() == 0:
                break  # it finished faster than it could be killed
            if driver.poll() is None:
                driver.wait()
        last = subprocess.run(command, cwd=folder, stdout=log, stderr=log)
    if last.returncode:
        tail = (folder / "chaos.log").read_text(errors="replace")[-3000:]
        raise RuntimeError(f"seed {seed}: the undisturbed call at the end failed\n{tail}")
    return killer.tally


def compare(one: Path, other: Path) -> list[str]:
    """Files that are missing in one of two folders or differ."""
    names = {
        path.name
        for folder in (one, other)
        for path in folder.glob("*.csv")
        if not path.name.endswith(".efficiency.csv")
    }
    if not names:
        return [f"no CSV in {one}"]
    return sorted(
        n
        for n in names
        if not all((f / n).exists() for f in (one, other)) or (one / n).read_bytes() != (other / n).read_bytes()
    )


def table(folder: Path, sweeps: Path, name: str, seed: int, kills: int) -> tuple[list[str], Counter[str]]:
    """One table of the smoke profile, undisturbed and under fire; returns the differing files and what was killed."""
    mm3d = [sys.executable, "-m", "mm3d_benchmarks.commands.main"]
    (folder / "sweeps").symlink_to(sweeps)
    (folder / "machine.yaml").write_text(MACHINE)
    for dataset in ("s3dis",):
        for command in (["generate", "--dataset", dataset], ["prepare", f"dataset={dataset}", "--profile", "smoke"]):
            subprocess.run([*mm3d, *command], cwd=folder, check=True, capture_output=True)
    sweep = [*mm3d, "sweep", name, "--profile", "smoke", "--machine", "machine.yaml"]
    subprocess.run(
        [*sweep, "--store", "quiet", "--results", "quiet-results"], cwd=folder, check=True, capture_output=True
    )
    loud = [*sweep, "--store", "loud", "--results", "loud-results"]
    tally = disturbed(loud, Store(folder / "loud"), seed, kills, folder, longest_pause=1.5)
    return compare(folder / "quiet-results/smoke/inputs", folder / "loud-results/smoke/inputs"), tally


def main() -> int:
    """The command line of this file."""
    parser = argparse.ArgumentParser(description="kill at random, then compare with an undisturbed run")
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1_000_000))
    parser.add_argument("--sweep", default="table_07")
    options = parser.parse_args()
    sweeps = Path(__file__).resolve().parents[2] / "sweeps"
    with tempfile.TemporaryDirectory(prefix="mm3d-chaos-") as folder:
        print(f"chaos: seed {options.seed}, {options.kills} kills, {options.sweep}", flush=True)
        different, tally = table(Path(folder), sweeps, options.sweep, options.seed, options.kills)
    print("killed: " + ", ".join(f"{what} {count}" for what, count in sorted(tally.items())))
    print("identical" if not different else f"DIFFERENT: {', '.join(different)}; replay with --seed {options.seed}")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
