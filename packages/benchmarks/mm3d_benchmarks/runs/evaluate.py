"""An evaluation run: a fine-tuned network and held-out scenes -> metrics.json. A bug in a metric costs only this."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from mm3d_benchmarks.evaluation.room_lists import room_protocol
from mm3d_benchmarks.viewing.run_pictures import save_prediction
from mm3d_benchmarks.runs.build import build_metric, build_network
from mm3d_benchmarks.runs.configuration import Evaluation
from mm3d_benchmarks.runs.machine import Machine
from mm3d_benchmarks.runs.selection import SELECTION_FILE, best_snapshot
from mm3d_benchmarks.runs.training import device_of, prepare_process, weights_file
from mm3d_benchmarks.store import layout
from mm3d_core.training import distributed
from mm3d_core.files.atomic import write_json
from mm3d_core.training.checkpoint import load_weights
from mm3d_core.observing.efficiency import device_name, peak_memory
from mm3d_core.errors import UserError
from mm3d_core.training.interruption import StopRequest
from mm3d_core.files.sealed import read_sealed, write_sealed
from mm3d_core.seeding import seed_everything

logger = logging.getLogger(__name__)

SAVE_SECONDS = 20.0  # of scoring are lost to a kill at most, besides what the protocol keeps of the scene at hand
PICTURED = 2  # scenes whose segmentation is kept for Figure 6


def run_evaluate(given: Mapping[str, Any], folder: Path, upstream: Mapping[str, Path] | None = None) -> None:
    """Score a fine-tuned network scene by scene; continues after the last finished scene.

    Args:
        given: configuration, resolved and plain: seed, task, backbone, dataset, evaluation, machine.
        folder: the run's folder; it gets partial.json, scenes.json (of each scene alone), prediction_<scene>.npz
            of the first segmented scenes, efficiency.json and, last, metrics.json.
        upstream: ``{"finetune": folder}`` (or a weights file).

    Raises:
        UserError: no weights or foreign ones, no snapshots to choose among (``evaluation.select=best``), and whatever is wrong with the configuration or the data.
        Preempted: a stop signal came; calling again continues.
    """
    config = Evaluation.of(given)
    prepare_process(config.machine)
    if not distributed.is_main():
        return  # scenes go one by one; a second process has nothing to do
    data, device = config.dataset.open(), device_of(config.machine)
    scenes = config.dataset.scenes(data, "evaluate")
    seed_everything(config.seed, "parameters")
    model = build_network(config, data)
    logger.info(load_weights(model, weights_of(upstream)).describe())
    model = model.to(device).eval()
    selection: dict[str, Any] = {}
    if config.select == "best":
        source = Path((upstream or {})["finetune"])
        selection = {"selection": best_snapshot(config, source, model, folder, data, scenes, device)}
    scores = _Scores(partial(build_metric, config), folder, scenes)
    layout.write_progress(folder, len(scenes))
    with StopRequest() as stop, scores:
        for name in tqdm(scenes, initial=len(scores.done), unit="scene", desc=folder.name, disable=_quiet(config.machine)):
            if name in scores.done:
                continue
            start = time.perf_counter()
            prediction, labels = config.way(model, data.load(name), config.backbone.inputs, device, folder / room_file(name))
            seconds = time.perf_counter() - start
            if name in scenes[:PICTURED] and config.task == "segmentation":
                save_prediction(folder, data.load(name), prediction, config.dataset.facts.segment_classes)
            scores.add(name, prediction, labels, seconds)
            if stop.signal is not None:
                scores.save()
                stop.hand_on(len(scores.done))
    for name in scenes:
        (folder / room_file(name)).unlink(missing_ok=True)
    write_json(folder / layout.SCENES, scores.done)
    write_json(folder / layout.EFFICIENCY, _cost(scores.seconds, model, device))
    named = {"protocol": config.name, "rooms": room_protocol(data.dataset, scenes)}
    layout.write_result(folder, "evaluate", scores.metric.compute(), scenes=len(scenes), **named, **selection)
    (folder / SELECTION_FILE).unlink(missing_ok=True)
    (folder / layout.PARTIAL).unlink(missing_ok=True)


class _Scores:
    """The metric over the scenes so far, and each scene's own scores; kept in ``partial.json``.

    Saved every ``SAVE_SECONDS`` and when the work ends early; after every scene would cost more than small scenes do.
    """

    def __init__(self, new_metric: Callable[[], Any], folder: Path, scenes: list[str]) -> None:
        self._new_metric, self._folder = new_metric, folder
        self._saved_at, self._finished = time.monotonic(), list[str]()
        self._adding = False
        self.metric = new_metric()
        self.done: dict[str, Any] = {}
        self.seconds: dict[str, float] = {}
        state = _read_partial(folder / layout.PARTIAL, scenes)
        if state is not None:  # whole, by its checksum
            self.metric.load_state(state["metric"])
            self.done, self.seconds = state["scenes"], state["seconds"]

    def __enter__(self) -> _Scores:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None and self._finished and not self._adding:
            with suppress(UserError):  # a full disk may be what ended the work
                self.save()

    def add(self, name: str, prediction: Any, labels: Any, seconds: float) -> None:
        """Score one scene."""
        own = _alone(self._new_metric(), prediction, labels)
        self._adding = True  # interrupted in here, the metric may hold the scene while the list does not
        self.metric.update(prediction, labels)
        self.done[name], self.seconds[name] = own, round(seconds, 4)
        self._finished.append(name)
        self._adding = False
        if time.monotonic() - self._saved_at > SAVE_SECONDS or len(self.done) == 1:
            self.save()

    def save(self) -> None:
        """Write the scores so far, then drop what the protocol kept of the scenes in them."""
        state = {"metric": self.metric.state(), "scenes": self.done, "seconds": self.seconds}
        write_sealed(self._folder / layout.PARTIAL, state)
        for name in self._finished:
            (self._folder / room_file(name)).unlink(missing_ok=True)
        self._finished, self._saved_at = [], time.monotonic()


def weights_of(upstream: Mapping[str, Path] | None) -> Path:
    """The file of the network to score."""
    source = (upstream or {}).get("finetune")
    if source is None:
        raise UserError("an evaluation needs the fine-tuning run whose network it scores (upstream finetune)")
    return weights_file(Path(source), layout.MODEL_WEIGHTS)


def room_file(name: str) -> str:
    """Where a protocol may keep what it has of a scene; always inside the run's folder."""
    return f"scene_{name}.npz".replace("/", "_").replace("\\", "_")


def _read_partial(path: Path, scenes: list[str]) -> dict[str, Any] | None:
    """What an interrupted evaluation left; a damaged or foreign file means starting again."""
    state = read_sealed(path)
    if state is None or not {"metric", "scenes", "seconds"} <= state.keys():
        return None
    return state if set(state["scenes"]) <= set(scenes) else None


def _alone(metric: Any, prediction: Any, labels: Any) -> dict[str, Any] | None:
    """The scores of one scene by itself, in a fresh metric; None where it has nothing to score.

    A segmentation adds its counts per class: they add up over scenes, as the bootstrap of the reports needs.
    """
    metric.update(prediction, labels)
    try:
        scores: dict[str, Any] = {n: round(value, 4) for n, value in metric.compute().items() if value == value}
    except ValueError:
        return None
    state = metric.state()
    counts = {name: state[name] for name in ("intersection", "target", "predicted") if name in state}
    return scores | ({"counts": counts} if len(counts) == 3 else {})


def _cost(times: Mapping[str, float], model: torch.nn.Module, device: torch.device) -> dict[str, Any]:
    return {
        "device": device_name(device),
        "seconds_total": round(sum(times.values()), 3),
        "seconds_per_scene": dict(times),
        "peak_memory_bytes": peak_memory(device),
        "parameters": sum(p.numel() for p in model.parameters()),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
    }


def _quiet(machine: Machine) -> bool | None:
    return None if machine.progress is None else not machine.progress
