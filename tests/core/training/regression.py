"""A small regression problem for the tests of the training loop; importable by child processes."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mm3d_core.seeding import generator, seed_everything
from mm3d_core.training import distributed
from mm3d_core.training.distributed import run_in_processes
from mm3d_core.training.fit import Reporting, Settings, fit
from mm3d_core.training.schedules import MultiStep


@dataclass
class Rows:
    """A batch."""

    names: list[str]
    x: Tensor
    y: Tensor

    def to(self, device: Any, non_blocking: bool = False) -> Rows:
        return self


@dataclass
class RowLoader:
    """Batches of 4 rows; ``bad`` steps hold a NaN; each step's batch is split between processes."""

    accumulation: int = 1
    bad: frozenset[int] = frozenset()
    steps_per_epoch: int = 5
    served: list[int] = field(default_factory=list)
    pause: float = 0.0

    def stream(self, first_step: int, steps: int) -> Iterator[Rows]:
        for step in range(first_step, steps):
            self.served.append(step)
            time.sleep(self.pause)
            x = torch.randn(4, 3, generator=generator("rows", step))
            if step in self.bad:
                x[0, 0] = float("nan")
            y = x.sum(1, keepdim=True)
            shares = self.accumulation * distributed.world_size()
            for micro in range(self.accumulation):
                rows = (
                    slice(None)
                    if shares == 1
                    else torch.arange(4).view(shares, -1)[micro * distributed.world_size() + distributed.rank()]
                )
                yield Rows([f"scene_{step}"], x[rows], y[rows])


class Network(nn.Module):
    """A perceptron with dropout and, if asked for, batch norm; counts its ``after_step`` calls in a buffer."""

    calls: Tensor

    def __init__(self, dropout: float = 0.2, norm: bool = True) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(3, 8),
            nn.BatchNorm1d(8) if norm else nn.Identity(),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(8, 1),
        )
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))

    def after_step(self) -> None:
        self.calls += 1


def objective(network: Network, batch: Rows, random: torch.Generator) -> dict[str, Tensor]:
    noise = 0.01 * torch.randn(batch.y.shape, generator=random)
    loss = (network.layers(batch.x) - batch.y + noise).square().mean()
    return {"loss": loss, "noise": noise.abs().mean().detach()}


def build(dropout: float = 0.2, norm: bool = True) -> tuple[Network, torch.optim.Optimizer]:
    seed_everything(0, "parameters")
    network = Network(dropout, norm)
    return network, torch.optim.AdamW(network.parameters(), lr=0.01)


def train(
    folder: Path,
    steps: int = 20,
    loader: RowLoader | None = None,
    dropout: float = 0.2,
    norm: bool = True,
    every: int = 5,
    **settings: Any,
) -> Network:
    """Fit the perceptron in ``folder``."""
    network, optimizer = build(dropout, norm)
    loader = loader or RowLoader(accumulation=settings.get("accumulation", 1))
    fit(
        network,
        objective,
        loader,
        optimizer,
        folder,
        Settings(steps, **settings),
        MultiStep([0.6, 0.8]),
        reporting=Reporting(log_every=1, checkpoint_every=every, progress=False, replay=f"replay {folder}"),
    )
    return network


def train_in_processes(folder: str, steps: int, accumulation: int, bad: int = -1) -> None:
    """What each process of a group does: no dropout, no batch norm, so that sharing the batch out changes nothing."""
    loader = RowLoader(accumulation=accumulation, bad=frozenset({bad}))
    network = train(Path(folder), steps, loader, dropout=0.0, norm=False, accumulation=accumulation)
    if distributed.is_main():
        torch.save(network.state_dict(), Path(folder) / "final.pt")


def refused_by_the_second(folder: str) -> None:
    """A group whose second process alone refuses its third batch."""
    network, optimizer = build(0.0, False)
    taken: list[int] = []

    def refusing(network: Network, batch: Rows, random: torch.Generator) -> dict[str, Tensor]:
        taken.append(1)
        if distributed.rank() == 1 and len(taken) == 3:
            raise ValueError("too few points")
        return objective(network, batch, random)

    loader, quiet = RowLoader(), Reporting(log_every=1, progress=False, replay=f"replay {folder}")
    fit(network, refusing, loader, optimizer, Path(folder), Settings(8), MultiStep([0.6, 0.8]), reporting=quiet)


if __name__ == "__main__":
    where, steps, pause, processes = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4])
    if processes == 1:
        trained = train(where, steps, RowLoader(pause=pause))
        torch.save(trained.state_dict(), where / "final.pt")
    else:
        run_in_processes(train_in_processes, (str(where), steps, 1), processes, "cpu")
