"""What a network costs: parameters, time of a training step and of an epoch, inference time, peak memory.

One command measures the columns of the paper's Tables 10 and 11 without training anything to the end:

    python -m speed.networks backbone=votenet dataset=scannet profile=paper --out votenet.json

The record names device, threads and versions; it is never mixed with results. What whole runs took stands in their own
``efficiency.json``.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mm3d_benchmarks.loading.loading import SceneLoader, ScenesToItems
from mm3d_benchmarks.runs.build import build_encoder, build_method, build_network, build_targets
from mm3d_benchmarks.runs.configuration import Evaluation, Finetuning
from mm3d_benchmarks.store.provenance import gather
from mm3d_core.errors import UserError
from mm3d_core.files.atomic import write_json
from mm3d_core.observing.efficiency import device_name, peak_memory
from mm3d_core.seeding import seed_everything
from mm3d_core.training.fit import DTYPES

WARM_UP = 1  # steps left out of the medians


def parameter_counts(module: nn.Module) -> dict[str, int]:
    """Trainable parameters: "total", and of each direct child by name."""
    counts = {name: _trainable(child) for name, child in module.named_children()}
    return {"total": _trainable(module), **{name: count for name, count in counts.items() if count}}


def time_steps(step: Callable[[int], None], steps: int, device: torch.device, warm_up: int = WARM_UP) -> list[float]:
    """Seconds of each of ``steps`` calls ``step(number)``, after ``warm_up`` calls that are not counted."""
    times = []
    for number in range(warm_up + steps):
        start = time.perf_counter()
        step(number)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - start)
    return times[warm_up:]


class ModuleClock:
    """Forward seconds spent in each direct child of a module, while used as a context.

    Children that run inside each other are not told apart; ``seconds`` holds sums over all calls.
    """

    def __init__(self, module: nn.Module, device: torch.device) -> None:
        self.seconds: dict[str, float] = {}
        self._module, self._device, self._handles = module, device, []

    def __enter__(self) -> ModuleClock:
        for name, child in self._module.named_children():
            leaves = child.values() if isinstance(child, nn.ModuleDict) else [child]
            for leaf in leaves:
                self._watch(name, leaf)
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()

    def _watch(self, name: str, module: nn.Module) -> None:
        started: list[float] = []

        def before(*_: object) -> None:
            started.append(self._now())

        def after(*_: object) -> None:
            self.seconds[name] = self.seconds.get(name, 0.0) + self._now() - started.pop()

        self._handles += [module.register_forward_pre_hook(before), module.register_forward_hook(after)]

    def _now(self) -> float:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return time.perf_counter()


def training_cost(
    model: nn.Module,
    batches: Sequence[Any],
    optimizer: torch.optim.Optimizer,
    steps: int,
    device: torch.device,
    precision: str = "fp32",
) -> dict[str, Any]:
    """Median seconds of a training step, and where they go.

    Args:
        model: a task model in training mode, on ``device``.
        batches: ``loading.Batch`` on ``device``, used in turn.
        optimizer: of the model.
        steps: counted steps.
        precision: of the recipe; "fp16" is timed without loss scaling.

    Returns:
        "seconds_per_step" (median), "shares": of forward (by child module), loss and the rest of the forward pass,
        backward pass and optimizer, as parts of the mean step.
    """
    spent, dtype = {"forward": 0.0, "backward": 0.0, "optimizer": 0.0}, DTYPES[precision]

    def step(number: int) -> None:
        batch = batches[number % len(batches)]
        marks = [clock._now()]
        with torch.autocast(device.type, dtype=dtype, enabled=dtype is not None):
            loss = model.loss(batch.points, batch.labels)["loss"]  # type: ignore[operator]
        marks.append(clock._now())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        marks.append(clock._now())
        optimizer.step()
        marks.append(clock._now())
        for name, start, end in zip(spent, marks, marks[1:], strict=False):
            spent[name] += end - start

    model.train()
    with ModuleClock(model, device) as clock:
        times = time_steps(step, steps, device)
    total = sum(spent.values())
    inside = sum(clock.seconds.values())
    shares = {f"forward/{name}": seconds / total for name, seconds in clock.seconds.items()}
    shares |= {"forward/losses": (spent["forward"] - inside) / total}
    shares |= {name: spent[name] / total for name in ("backward", "optimizer")}
    return {
        "seconds_per_step": round(statistics.median(times), 5),
        "shares": {name: round(share, 4) for name, share in shares.items()},
    }


def measure(config: Mapping[str, Any], steps: int = 5, scenes: int = 4) -> dict[str, Any]:
    """Measure the network of a composed configuration on its prepared data.

    Args:
        config: resolved and plain, with ``machine``.
        steps: training steps that count.
        scenes: held-out scenes to predict.

    Returns:
        A record fit for JSON: "parameters", "training", "inference", "peak_memory_bytes", "provenance".

    Raises:
        UserError: whatever is wrong with the configuration or the data.
    """
    if steps < 1 or scenes < 1:
        raise UserError(f"--steps {steps} --scenes {scenes}: both must be at least 1")
    tuned, scored = Finetuning.of(config), Evaluation.of(config)
    device, data, recipe = torch.device(tuned.machine.device), tuned.dataset.open(), tuned.recipe
    seed_everything(tuned.seed, "parameters")
    model: Any = build_network(tuned, data).to(device)
    names = tuned.dataset.scenes(data, "train")
    items = ScenesToItems(
        recipe.sampling(tuned.backbone.inputs),
        targets=build_targets(tuned.task, tuned.dataset.facts, recipe.votes),
        plan=tuned.machine.plan_spec(model.encoder),
    )
    loader = SceneLoader(
        data, names, items, batch=recipe.batch, seed=tuned.seed, loop=recipe.loop, drop_last=recipe.drop_last
    )
    start = time.perf_counter()
    batches = list(loader.stream(0, min(2, steps)))
    loading = (time.perf_counter() - start) / len(batches)
    there = [batch.to(device) for batch in batches]
    training = training_cost(model, there, recipe.build_optimizer(model), steps, device, recipe.precision)
    total_steps = recipe.settings(loader.steps_per_epoch, 0).steps
    training |= {
        "scenes_per_step": recipe.batch,
        "steps_per_epoch": loader.steps_per_epoch,
        "seconds_per_epoch": round(training["seconds_per_step"] * loader.steps_per_epoch, 3),
        "hours_expected": round(training["seconds_per_step"] * total_steps / 3600, 4),
        "loading_seconds_per_batch_one_process": round(loading, 4),
    }
    return {
        "backbone": tuned.backbone.name,
        "dataset": tuned.dataset.name,
        "recipe": config["recipe"]["name"],
        "parameters": parameter_counts(model) | _pretraining_parameters(tuned, config["pretrain"].get("method"), model),
        "training": training,
        "inference": _inference(scored, model, data, device, scenes),
        "peak_memory_bytes": peak_memory(device),
        "provenance": gather(device_name(device)),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; see the module."""
    from mm3d_benchmarks.planning.compose import compose, parse

    parser = argparse.ArgumentParser(prog="python -m speed.networks", description=__doc__)
    parser.add_argument(
        "overrides", nargs="*", help="group choices and values, such as backbone=votenet dataset=scannet"
    )
    parser.add_argument("--steps", type=int, default=5, help="training steps that count (default %(default)s)")
    parser.add_argument("--scenes", type=int, default=4, help="scenes to predict (default %(default)s)")
    parser.add_argument("--out", type=Path, help="JSON file to write; without it the record is printed")
    options = parser.parse_args(arguments)
    try:
        requests = parse(options.overrides)
        if len(requests) != 1:
            raise UserError("efficiency measures one configuration; call it once for each")
        record = measure(compose(requests[0][0]), options.steps, options.scenes)
        if options.out is None:
            print(json.dumps(record, indent=1))
        else:
            write_json(options.out, record)
    except UserError as error:
        print(f"efficiency: {error}", file=sys.stderr)
        return 1
    return 0


def _inference(config: Evaluation, model: nn.Module, data: Any, device: torch.device, scenes: int) -> dict[str, Any]:
    """Median seconds for one held-out scene: reading, sampling, searching, predicting, in the evaluation's protocol."""
    names = config.dataset.scenes(data, "evaluate")[:scenes]
    model.eval()
    loaded = [data.load(name) for name in names]

    def predict(number: int) -> None:
        config.way(model, loaded[number % len(loaded)], config.backbone.inputs, device, None)

    times = time_steps(predict, len(loaded), device)
    return {"seconds_per_scene": round(statistics.median(times), 5), "scenes": len(names)}


def _pretraining_parameters(config: Finetuning, method: Mapping[str, Any] | None, model: nn.Module) -> dict[str, int]:
    """The paper's count for a pre-trained row: the whole task network plus what pre-training adds to the encoder."""
    if method is None:
        return {}
    encoder = build_encoder(config.backbone)
    added = _trainable(build_method(method, encoder)) - _trainable(encoder)
    return {"pretraining_total": _trainable(model) + added, "pretraining_added": added}


def _trainable(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)


if __name__ == "__main__":
    sys.exit(main())
