"""One local cluster for all tests of this folder; they are skipped, with the reason, where Slurm cannot run."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from slurm.local_cluster import CannotRunError, Cluster

TOYS = Path(__file__).resolve().parents[1] / "toys"


def start(accounting: bool, nodes: int = 2, submissions: int | None = None) -> Cluster:
    """A cluster in a folder with a short path."""
    folder = Path(tempfile.mkdtemp(prefix="mm3d-slurm-", dir="/tmp"))
    try:
        return Cluster(folder, cpus=8, nodes=nodes, accounting=accounting, submissions=submissions).start()
    except CannotRunError as error:
        shutil.rmtree(folder, ignore_errors=True)
        pytest.skip(f"no Slurm on this machine: {error}")


def use(cluster: Cluster) -> dict[str, str]:
    """Point this process and its jobs at the cluster; returns what was there before."""
    before = {name: os.environ.get(name, "") for name in ("SLURM_CONF", "PATH", "PYTHONPATH")}
    os.environ.update(SLURM_CONF=cluster.environment["SLURM_CONF"], PATH=cluster.environment["PATH"])
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(TOYS), before["PYTHONPATH"]]))
    return before


@pytest.fixture(scope="session")
def cluster_with_accounting() -> Iterator[Cluster]:
    """A cluster of two nodes where ``sacct`` works."""
    cluster = start(accounting=True)
    yield cluster
    cluster.stop()


@pytest.fixture
def cluster(cluster_with_accounting: Cluster) -> Iterator[Cluster]:
    """The same, with this process pointed at it."""
    before = use(cluster_with_accounting)
    yield cluster_with_accounting
    os.environ.update(before)


@pytest.fixture
def bare_cluster() -> Iterator[Cluster]:
    """A cluster without accounting."""
    cluster = start(accounting=False, nodes=1)
    before = use(cluster)
    yield cluster
    os.environ.update(before)
    cluster.stop()


@pytest.fixture
def limited_cluster() -> Iterator[Cluster]:
    """A cluster where a user may have three jobs at once."""
    cluster = start(accounting=True, nodes=1, submissions=3)
    before = use(cluster)
    yield cluster
    os.environ.update(before)
    cluster.stop()
