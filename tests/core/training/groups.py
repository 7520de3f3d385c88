"""What the processes of a group do in the tests; importable by child processes."""

from __future__ import annotations

import json
import os
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from core.training.regression import RowLoader, Rows
from torch import Tensor, nn
from torch.distributed import TCPStore, all_reduce  # pyright: ignore[reportPrivateImportUsage]

from mm3d_core.files.atomic import write_json, write_text
from mm3d_core.training import distributed, fit
from mm3d_core.training.group import joined
from mm3d_core.training.schedules import MultiStep


class Spare(nn.Module):
    """A layer that is always used, one that never is, and one that is used in the steps that say so."""

    def __init__(self, varies: bool = False) -> None:
        super().__init__()
        self.always, self.sometimes = nn.Linear(3, 1), nn.Linear(3, 1)
        self.never: nn.Module = nn.Identity()
        self.parameters_vary = varies

    def loss(self, batch: Rows, extra: bool) -> dict[str, Tensor]:
        out = self.always(batch.x) + (self.sometimes(batch.x) if extra else 0)
        return {"loss": (out - batch.y).square().mean()}


def train_spares(folder: str) -> None:
    """Train some networks one after the other."""
    for name, (never, left_out, varies) in SPARES.items():
        train_spare(str(Path(folder) / name), never, left_out, varies)


#: name -> has a layer that is never used, the step in which the second process leaves a layer out, says that it may
SPARES = {
    "all used": (False, 0, False),
    "searched": (False, 0, True),
    "unused": (True, 0, False),
    "varied": (False, 3, True),
}


def train_spare(folder: str, never: bool, left_out: int, varies: bool) -> None:
    """Train a :class:`Spare`.

    Writes ``<rank>.json``: whether DistributedDataParallel looks for unused parameters in the end, and the weights.
    """
    torch.manual_seed(0)
    network = Spare(varies)
    if never:
        network.never = nn.Linear(2, 2)
    steps: list[int] = []

    def objective(network: Spare, batch: Rows, random: torch.Generator) -> dict[str, Tensor]:
        steps.append(1)
        return network.loss(batch, extra=not (len(steps) == left_out and distributed.rank() == 1))

    loop = fit._Loop(
        network,
        objective,
        torch.optim.SGD(network.parameters(), lr=0.05),
        Path(folder),
        fit.Settings(5),
        MultiStep([0.6, 0.8]),
        None,
        fit.Reporting(progress=False),
        torch.device("cpu"),
    )
    loop.run(RowLoader(), 0, fit.StopRequest())
    wrapped: Any = loop.parallel._wrapped
    weights = {name: value.flatten().tolist() for name, value in network.state_dict().items()}
    found = {"search": wrapped.find_unused_parameters, "weights": weights}
    write_json(Path(folder) / f"{distributed.rank()}.json", found)


def second_fails_while_the_first_sleeps(folder: str) -> None:
    """As on a GPU: whoever waits for a process that is gone does not notice."""
    if distributed.rank() == 1:
        raise RuntimeError("the second has failed")
    time.sleep(3600)


def first_is_slow_to_end(folder: str) -> None:
    """The others reach the end at once and wait for the first, without a collective."""
    if distributed.is_main():
        time.sleep(2)
        (Path(folder) / "result").touch()
    distributed.barrier()
    assert (Path(folder) / "result").is_file()
    (Path(folder) / f"seen by {distributed.rank()}").touch()


def member(rank: int, folder: str, what: str) -> None:
    """A process of a group of two that nobody watches from outside, as on two nodes of a cluster."""
    place = Path(folder) / "port.json"
    if rank == 0:
        store = TCPStore("localhost", 0, 2, True, timedelta(seconds=60), wait_for_workers=False)
        write_json(place, {"port": store.port})
    else:
        while not place.is_file():
            time.sleep(0.05)
        port = json.loads(place.read_text())["port"]
        store = TCPStore("localhost", port, 2, False, timedelta(seconds=60))
    with joined(store, rank, 2, "gloo") as group:
        group.watch(lambda reason: write_text(Path(folder) / f"reason {rank}", reason))
        all_reduce(torch.ones(1))
        if what == "words" and rank == 0:
            time.sleep(1)
            group.tell("go")
            group.tell("")
        elif what == "words":
            (Path(folder) / "heard").write_text(f"{group.hear()},{group.hear()}")
        elif what == "the second reports" and rank == 1:
            group.report("its batch is bad")
            os._exit(1)
        elif what == "the first dies" and rank == 0:
            os._exit(9)
        else:
            time.sleep(3600)
