"""Training from Python, in a notebook or a program: what ``mm3d run`` does, with results as values.

    from mm3d_benchmarks import experiment

    wanted = experiment.compose("kind=pretrain", "dataset=folder", "dataset.path=my_scans", profile="smoke")
    done = experiment.run(wanted)
    done.encoder            # runs/<key>/encoder.safetensors

The words are those of the command line, and so are the keys: what was run there is found here, and the other way round.
Data is prepared below the working folder (``data/``), runs are kept in it (``runs/``); nothing else is needed there.
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from mm3d_benchmarks.launching.by_hand import chain_of, record_by_hand, requests_of, share_out_threads, with_machine
from mm3d_benchmarks.launching.ensure import describe, ensure
from mm3d_benchmarks.launching.local import InProcess
from mm3d_benchmarks.launching.outcome import DONE
from mm3d_benchmarks.launching.prepared_data import generate_raw, tell
from mm3d_benchmarks.planning.compose import compose as compose_request
from mm3d_benchmarks.planning.request import Request
from mm3d_benchmarks.store import layout
from mm3d_benchmarks.store.spec import KINDS, RunSpec
from mm3d_benchmarks.store.store import Store
from mm3d_core.errors import UserError

ATTEMPTS = 1_000_000  # starts in a row: here somebody looks on


@dataclass(frozen=True)
class Experiment:
    """A run that is wanted, with all that it starts from; nothing has been computed.

    Attributes:
        overrides: the words it was composed from.
        request: the choices and values that they mean.
        config: the resolved configuration: the profile's changes laid over the groups, then the overrides. To look at;
            a change takes other words.
    """

    overrides: tuple[str, ...]
    request: Request
    config: Mapping[str, Any]

    @property
    def kind(self) -> str:
        """``pretrain``, ``finetune`` or ``evaluate``."""
        return str(self.config["kind"])

    @property
    def profile(self) -> str:
        """Name of the profile."""
        return str(self.config["profile"]["name"])

    def __str__(self) -> str:
        return yaml.safe_dump(dict(self.config), sort_keys=True, allow_unicode=True)


@dataclass(frozen=True)
class Finished:
    """A finished run.

    Attributes:
        kind: ``pretrain``, ``finetune`` or ``evaluate``.
        key: 12 hex digits, the name of its folder; other commands take it (``mm3d store show KEY``).
        folder: ``<store>/<key>``, with its log, weights and pictures.
        metrics: name -> value: of a training the last logged losses, of an evaluation its scores in percent, those of
            single classes as ``IoU/chair``.
        encoder: the pre-trained ``encoder.safetensors`` that this run wrote or started from; None from scratch.
        model: the fine-tuned ``model.safetensors`` likewise; None if there is none.
        pictures: of a pre-training: PNG files of scan, input, target and reconstruction.
        runs: kind -> key of every run of the chain, this one last.
    """

    kind: str
    key: str
    folder: Path
    metrics: Mapping[str, float]
    encoder: Path | None
    model: Path | None
    pictures: tuple[Path, ...]
    runs: Mapping[str, str]

    def log(self) -> list[dict[str, Any]]:
        """The records of ``log.jsonl``: step, loss and its terms, learning rate, seconds; ready for a data frame."""
        return list(layout.log_records(self.folder))

    def __str__(self) -> str:
        told = json.dumps({name: value for name, value in self.metrics.items() if "/" not in name}, sort_keys=True)
        return f"{self.kind}: {self.folder} {told}"


def compose(*overrides: str, profile: str = "smoke", conf: Sequence[Path | str] = ()) -> Experiment:
    """Compose one run from words such as ``"backbone=votenet"`` and ``"recipe.pretrain.steps=300"``.

    Args:
        overrides: group choices and values as on the command line; ``kind=pretrain`` asks for a pre-training,
            ``kind=finetune`` and ``kind=evaluate`` (the default) for a run that starts from one.
        profile: ``smoke`` (shrunken networks, a few steps), ``study``, ``mini`` or ``paper``.
        conf: further folders with group files.

    Raises:
        UserError: a word that is no override, an unknown choice or key, or several values for one key.
    """
    requests = requests_of(overrides, [Path(folder) for folder in conf], profile)
    if len(requests) != 1:
        raise UserError("several values for one key; compose an experiment for each of them")
    return Experiment(tuple(overrides), requests[0][0], compose_request(requests[0][0]))


def run(
    wanted: Experiment,
    store: Path | str = "runs",
    machine: Mapping[str, Any] | None = None,
    again: bool = False,
) -> Finished:
    """Compute a run and what it starts from, here and now; what is done already is found and not computed again.

    Own scans (``dataset.path``) are prepared on the way. An interrupted run goes on where it stopped when it is run
    again.

    Args:
        store: folder of the runs.
        machine: settings that move no number, such as ``{"device": "cpu", "progress": False}``; ``progress`` None
            shows bars on a terminal and in a notebook.
        again: forget this run's result and compute it anew; what it starts from stays.

    Raises:
        UserError: whatever is wrong with the configuration, the data or the training, named, with a remedy.
    """
    folder, place = Path(store), Store(Path(store))
    chain = chain_of(wanted.request, dry=False)
    share_out_threads("debug")
    specs = with_machine(chain, {"progress": _in_notebook() or None, **(machine or {})})
    record_by_hand(place, wanted.overrides, wanted.request.folders, [(wanted.request, [])], [chain])
    last = place.run(chain[-1].key)
    if again and last.exists:
        last.clear()
    with _callers_settings():
        outcomes = ensure(specs, place, InProcess(), ATTEMPTS)
    failed = [outcome for outcome in outcomes if outcome.state != DONE]
    if failed:
        raise UserError(describe(failed, {}, place, 0))
    return _finished(folder, chain, place)


def prepare(dataset: str, profile: str = "smoke", raw: Path | str | None = None, workers: int = 0) -> Path:
    """Prepare a data set for a profile: ``s3dis``, ``scannet`` or ``sunrgbd``; own scans need no such call.

    Profiles on synthetic scenes generate them first.

    Args:
        raw: the official release; None: where the profile looks for it.
        workers: processes; 0: this one. A program that takes some starts below ``if __name__ == "__main__":``.

    Returns:
        The folder of prepared scenes.

    Raises:
        UserError: an unknown data set or profile, or a release that is not there or damaged.
    """
    from mm3d_benchmarks.datasets.prepare import prepare_dataset

    data = compose_request(Request({"profile": profile}))["profile"]["data"]
    source = Path(raw) if raw is not None else Path(data["raw"]) / dataset
    if raw is None and data["source"] == "synthetic":
        source = generate_raw(dataset, data, 0, workers)
    ready = prepare_dataset(dataset, source, Path(data["prepared"]) / dataset, workers=workers)
    tell(ready)
    return ready.root


def _finished(folder: Path, chain: Sequence[RunSpec], store: Store) -> Finished:
    runs = {spec.kind: spec.key for kind in KINDS for spec in chain if spec.kind == kind}
    last = store.run(chain[-1].key)
    weights = {"pretrain": layout.ENCODER_WEIGHTS, "finetune": layout.MODEL_WEIGHTS}
    files = {kind: folder / runs[kind] / name for kind, name in weights.items() if kind in runs}
    return Finished(
        kind=chain[-1].kind,
        key=last.key,
        folder=last.folder,
        metrics=last.metrics()["metrics"],
        encoder=files.get("pretrain"),
        model=files.get("finetune"),
        pictures=tuple(sorted(last.folder.glob("*.png"))),
        runs=runs,
    )


@contextmanager
def _callers_settings() -> Iterator[None]:
    """Give back the random streams and torch's deterministic mode as they were: runs set their own."""
    import numpy as np
    import torch

    python, arrays, tensors = random.getstate(), np.random.get_state(), torch.get_rng_state()
    mode = torch.get_deterministic_debug_mode()
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(arrays)
        torch.set_rng_state(tensors)
        torch.set_deterministic_debug_mode(mode)


def _in_notebook() -> bool:
    """Whether a kernel runs this: its standard error is no terminal, and people look at it all the same."""
    return "ipykernel" in sys.modules
