"""A real Slurm on this machine, for tests and for trying things out. Neither systemd nor cgroups are needed.

    eval "$(python tests/slurm/local_cluster.py start /tmp/cluster --cpus 8 --nodes 2)"   # sets SLURM_CONF
    sinfo
    python tests/slurm/local_cluster.py stop /tmp/cluster

It runs munged, slurmctld, one slurmd for each node and, unless left out, mariadbd and slurmdbd (so that ``sacct``
works), all as the calling user with all state below the given folder. Two partitions: ``main``, whose jobs can be
preempted and are requeued after 20 seconds of grace, and ``urgent``, whose jobs preempt them. The Debian packages are
installed if that is possible. Processes are followed through /proc, so memory and CPU limits are scheduled and
not enforced.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

PACKAGES = {"munged": "munge", "slurmctld": "slurmctld", "slurmd": "slurmd", "sbatch": "slurm-client"}
ACCOUNTING = {"slurmdbd": "slurmdbd", "mariadbd": "mariadb-server-core", "mariadb": "mariadb-client-core"}
LONGEST_FOLDER = 70  # a unix socket's path is at most 107 characters, and Slurm appends to it


class CannotRunError(RuntimeError):
    """Slurm cannot be installed or started here; the message says why."""


@dataclass
class Cluster:
    """One local cluster.

    Args:
        folder: all state; a short path.
        cpus: of the whole cluster; may exceed the hardware.
        nodes: each with a slurmd of its own.
        accounting: with slurmdbd and MariaDB, so that ``sacct`` works.
        submissions: how many jobs a user may have in the cluster at once; None for any number. Needs accounting.
    """

    folder: Path
    cpus: int = 4
    nodes: int = 1
    accounting: bool = True
    submissions: int | None = None
    port: int = field(default_factory=lambda: _free_ports(8))

    def __post_init__(self) -> None:
        self.folder = self.folder.resolve()
        if len(str(self.folder)) > LONGEST_FOLDER or not re.fullmatch(r"[\w./+-]+", str(self.folder)):
            raise CannotRunError(
                f"{self.folder}: longer than {LONGEST_FOLDER} characters, or with characters that Slurm cannot quote"
            )

    @property
    def environment(self) -> dict[str, str]:
        """What a client needs."""
        path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
        return {**os.environ, "SLURM_CONF": str(self.folder / "slurm.conf"), "PATH": path}

    def start(self, install: bool = True) -> Cluster:
        """Start everything and wait until the nodes are usable.

        Raises:
            CannotRunError: packages are missing and cannot be installed, or a daemon does not come up.
        """
        if install:
            install_packages(self.accounting)
        for name in ("log", "run", "munge", "state", "database"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        (self.folder / "munge").chmod(0o711)
        self._write_configuration()
        self._start_munged()
        if self.accounting:
            self._start_database()
            self._start("slurmdbd", ["slurmdbd", "-D"], MYSQL_UNIX_PORT=str(self.folder / "database/socket"))
            self._wait(40, "slurmdbd", lambda: _listens(self.port + 1))
        self.start_controller()
        for number in range(1, self.nodes + 1):
            self.start_node(number)
        self._wait(60, "nodes", self._nodes_usable)
        if self.submissions is not None:
            self._limit_submissions(self.submissions)
        return self

    def _limit_submissions(self, jobs: int) -> None:
        """Make the calling user one with an account and a limit, and wait until the controller knows."""
        user = self.run("id", "-un").strip()
        self.run("sacctmgr", "-i", "add", "account", "main")
        self.run("sacctmgr", "-i", "add", "user", user, "account=main")
        self.run("sacctmgr", "-i", "modify", "qos", "normal", "set", f"MaxSubmitJobsPerUser={jobs}")
        probe = ["sbatch", "-H", "-o", "/dev/null", "-J", "probe", "--wrap", "true"]

        def known() -> bool:
            allowed = self.call(*probe, f"--array=1-{jobs}").returncode == 0
            refused = self.call(*probe).returncode != 0
            self.call("scancel", "-n", "probe")
            return allowed and refused

        self._wait(30, "the limit of submissions", known)

    def start_controller(self) -> None:
        """Start slurmctld (again)."""
        self._start("slurmctld", ["slurmctld", "-D"])
        self._wait(30, "slurmctld", lambda: "UP" in self.run("scontrol", "ping"))
        if self.accounting:
            self._wait(30, "sacct", lambda: self.call("sacct").returncode == 0)

    def start_node(self, number: int) -> None:
        """Start the slurmd of a node (again)."""
        (self.folder / f"spool/node{number}").mkdir(parents=True, exist_ok=True)
        self._start(f"slurmd-node{number}", ["slurmd", "-D", "-N", f"node{number}"])

    def kill(self, daemon: str) -> None:
        """SIGKILL one daemon: ``slurmctld``, ``slurmd-node1``, ..."""
        with suppress(ProcessLookupError, FileNotFoundError):
            os.kill(int((self.folder / f"run/{daemon}.pid").read_text()), signal.SIGKILL)

    def stop(self, purge: bool = True) -> None:
        """End the jobs, then the daemons; with ``purge`` delete the folder."""
        if (self.folder / "slurm.conf").exists():
            self.call("scancel", "--full", "--signal=KILL", "--user", str(os.getuid()))
            self.call("scancel", "--user", str(os.getuid()))
            with suppress(CannotRunError):
                self._wait(15, "jobs", lambda: not self.run("squeue", "-h").strip())
        for file in sorted(
            (self.folder / "run").glob("*.pid"), key=lambda f: f.name.startswith(("munged", "mariadbd"))
        ):
            _end(int(file.read_text()))
        if purge:
            shutil.rmtree(self.folder, ignore_errors=True)

    def call(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a Slurm client."""
        return subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=60)

    def run(self, *command: str) -> str:
        """The standard output of a Slurm client, empty if it fails."""
        answer = self.call(*command)
        return answer.stdout if answer.returncode == 0 else ""

    # ------------------------------------------------------------------ configuration

    def _write_configuration(self) -> None:
        host = socket.gethostname().split(".")[0]
        here, old = self.folder, _slurm_version() < (23, 2)
        loopback = _address_of_host().startswith("127.")  # Slurm listens on the address of the host's name
        node_cpus = -(-self.cpus // self.nodes)
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
        user = subprocess.run(["id", "-un"], capture_output=True, text=True, check=True).stdout.strip()
        lines = [
            "ClusterName=local",
            f"SlurmctldHost={host}({'127.0.0.1' if loopback else _address_of_host()})",
            f"SlurmctldPort={self.port}",
            f"SlurmUser={user}",
            f"SlurmdUser={user}",
            f"AuthInfo=socket={here}/munge/socket",
            "CommunicationParameters=NoInAddrAny,NoCtldInAddrAny" if loopback else "",
            f"StateSaveLocation={here}/state",
            f"SlurmdSpoolDir={here}/spool/%n",
            f"SlurmctldPidFile={here}/run/slurmctld.own",
            f"SlurmdPidFile={here}/run/slurmd-%n.own",
            f"SlurmctldLogFile={here}/log/slurmctld.log",
            f"SlurmdLogFile={here}/log/slurmd-%n.log",
            "ProctrackType=proctrack/linuxproc",
            "TaskPlugin=task/none",
            "MpiDefault=none",
            "SelectType=select/cons_tres",
            "SelectTypeParameters=CR_CPU",
            "SlurmdParameters=config_overrides",  # a node may claim more CPUs than there are
            "ReturnToService=2",
            "SchedulerParameters=batch_sched_delay=0,sched_interval=5,sched_min_interval=100000,bf_interval=2",
            "KillWait=10",
            "MinJobAge=3600",
            "SlurmdTimeout=30",
            "PreemptType=preempt/partition_prio",
            "PreemptMode=REQUEUE",
            "SlurmctldParameters=preempt_send_user_signal" if old else "PreemptParameters=send_user_signal",
            f"AccountingStorageType=accounting_storage/{'slurmdbd' if self.accounting else 'none'}",
            *(
                [
                    "AccountingStorageHost=127.0.0.1",
                    f"AccountingStoragePort={self.port + 1}",
                    f"AccountingStoragePass={here}/munge/socket",
                    *(["AccountingStorageEnforce=associations,limits,qos"] if self.submissions is not None else []),
                ]
                if self.accounting
                else []
            ),
            *(
                f"NodeName=node{n} NodeHostname={host} NodeAddr=127.0.0.1 Port={self.port + 1 + n} CPUs={node_cpus} "
                f"RealMemory={memory}"
                for n in range(1, self.nodes + 1)
            ),
            "PartitionName=main Nodes=ALL Default=YES PriorityTier=1 PreemptMode=REQUEUE GraceTime=20",
            "PartitionName=urgent Nodes=ALL PriorityTier=10 PreemptMode=OFF",
        ]
        (here / "slurm.conf").write_text("\n".join(lines) + "\n")
        if _slurm_version() >= (23, 11):
            (here / "cgroup.conf").write_text("CgroupPlugin=disabled\n")
        database = [
            f"AuthInfo=socket={here}/munge/socket",
            "DbdHost=localhost",
            "DbdAddr=127.0.0.1",
            f"DbdPort={self.port + 1}",
            "CommunicationParameters=NoInAddrAny" if loopback else "",
            f"SlurmUser={user}",
            "StorageType=accounting_storage/mysql",
            "StorageHost=localhost",
            f"StorageUser={user}",
            "StorageLoc=slurm",
            f"LogFile={here}/log/slurmdbd.log",
            f"PidFile={here}/run/slurmdbd.own",
        ]
        file = here / "slurmdbd.conf"
        file.touch(mode=0o600)
        file.chmod(0o600)  # slurmdbd insists
        file.write_text("\n".join(database) + "\n")

    # ------------------------------------------------------------------ daemons

    def _start_munged(self) -> None:
        place = self.folder / "munge"
        if not (place / "key").exists():
            (place / "key").touch(mode=0o600)
            (place / "key").write_bytes(os.urandom(1024))
        (place / "socket").unlink(missing_ok=True)
        options = [
            f"--key-file={place}/key",
            f"--socket={place}/socket",
            f"--seed-file={place}/seed",
            f"--pid-file={place}/pid",
        ]
        self._start(
            "munged", ["munged", "--foreground", "--force", *options, f"--log-file={self.folder}/log/munged.log"]
        )
        self._wait(15, "munged", lambda: self.call("munge", "-n", "-S", str(place / "socket")).returncode == 0)

    def _start_database(self) -> None:
        place = self.folder / "database"
        user = subprocess.run(["id", "-un"], capture_output=True, text=True, check=True).stdout.strip()
        if not (place / "data").exists():
            answer = self.call(
                "mariadb-install-db", "--no-defaults", f"--user={user}", f"--datadir={place}/data", "--skip-test-db",
                "--auth-root-authentication-method=socket", f"--auth-root-socket-user={user}",
            )  # fmt: skip
            if answer.returncode:
                raise CannotRunError(f"mariadb-install-db: {answer.stdout[-500:]}{answer.stderr[-500:]}")
        options = [f"--user={user}", f"--datadir={place}/data", f"--socket={place}/socket", "--skip-networking"]
        self._start("mariadbd", ["mariadbd", "--no-defaults", *options, "--innodb-buffer-pool-size=64M"])
        ask = ("mariadb", "--no-defaults", f"--socket={place}/socket", "-e", "select 1")
        self._wait(40, "mariadbd", lambda: self.call(*ask).returncode == 0)

    def _start(self, name: str, command: list[str], **environment: str) -> None:
        with open(self.folder / f"log/{name}.out", "ab") as log:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**self.environment, **environment},
                start_new_session=True,
            )
        (self.folder / f"run/{name}.pid").write_text(str(process.pid))

    def _nodes_usable(self) -> bool:
        states = self.run("sinfo", "-h", "-N", "-p", "main", "-o", "%T").split()
        return len(states) == self.nodes and set(states) <= {"idle", "mixed", "allocated", "completing"}

    def _wait(self, seconds: float, name: str, ready: Callable[[], bool]) -> None:
        deadline = time.monotonic() + seconds
        while not ready():
            if time.monotonic() > deadline:
                logs = [f.read_text(errors="replace")[-600:] for f in (self.folder / "log").glob(f"{name}*")]
                raise CannotRunError(f"{name} was not ready after {seconds:g} s\n" + "\n".join(logs))
            time.sleep(0.1)


def install_packages(accounting: bool) -> None:
    """Install what is missing with apt-get.

    Raises:
        CannotRunError: no apt-get, no right to use it, or no network.
    """
    wanted = {**PACKAGES, **(ACCOUNTING if accounting else {})}
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    missing = [package for program, package in wanted.items() if shutil.which(program, path=path) is None]
    if not missing:
        return
    if shutil.which("apt-get") is None or os.getuid() != 0:
        raise CannotRunError(
            f"Slurm is not installed; as root: apt-get install --no-install-recommends {' '.join(missing)}"
        )
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["apt-get", "update"], ["apt-get", "install", "-y", "--no-install-recommends", *missing]):
        answer = subprocess.run(command, env=environment, capture_output=True, text=True)
    if answer.returncode:
        raise CannotRunError(f"{' '.join(missing)} cannot be installed: {answer.stderr.strip()[-300:]}")


def _slurm_version() -> tuple[int, int]:
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    text = subprocess.run(["slurmctld", "-V"], capture_output=True, text=True, env={**os.environ, "PATH": path}).stdout
    found = re.search(r"(\d+)\.(\d+)", text)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def _address_of_host() -> str:
    try:
        return socket.gethostbyname(socket.gethostname())
    except OSError:
        return "127.0.0.1"


def _free_ports(count: int) -> int:
    """The first of ``count`` consecutive free ports."""
    for port in range(26000 + os.getpid() % 5000, 60000, count):
        if not any(_listens(port + offset) for offset in range(count)):
            return port
    raise CannotRunError("no free ports")


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _end(pid: int) -> None:
    """SIGTERM, then SIGKILL after ten seconds."""
    for number, patience in ((signal.SIGTERM, 10.0), (signal.SIGKILL, 2.0)):
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            with suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
            try:
                os.kill(pid, 0)
            except ProcessLookupError:
                return
            time.sleep(0.05)


def main() -> None:
    """The command line of this file."""
    parser = argparse.ArgumentParser(description="start or stop a local Slurm cluster")
    parser.add_argument("action", choices=("start", "stop"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--cpus", type=int, default=os.cpu_count() or 2)
    parser.add_argument("--nodes", type=int, default=1)
    parser.add_argument("--no-accounting", action="store_true")
    options = parser.parse_args()
    if options.action == "stop":
        Cluster(options.folder, port=0).stop()
        return
    try:
        cluster = Cluster(options.folder, options.cpus, options.nodes, not options.no_accounting).start()
    except CannotRunError as error:
        sys.exit(f"local cluster: {error}")
    print(f"export SLURM_CONF={cluster.folder / 'slurm.conf'}")


if __name__ == "__main__":
    main()
