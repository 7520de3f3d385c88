"""``mm3d info``: what a run would train, without data and without training."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from typing import Any

from mm3d_benchmarks.launching.by_hand import requests_of
from mm3d_benchmarks.planning.compose import compose, strip_machine
from mm3d_benchmarks.planning.strictness import check_targets
from mm3d_benchmarks.store.spec import seen_by
from mm3d_core.errors import UserError


def info(options: argparse.Namespace) -> int:
    """Print the network of one run."""
    requests = requests_of(options.overrides, options.conf, options.profile)
    if len(requests) != 1:
        raise UserError("mm3d info describes one run; give each key one value")
    config = compose(requests[0][0])
    value = describe(config)
    memory = _memory(config) if options.memory is not None else None
    if options.json:
        print(json.dumps(value | ({"memory": asdict(memory)} if memory else {}), indent=1))
        return 0
    print(
        f"{value['kind']}: {value['network']}, {value['parameters']:,} parameters, {value['trainable']:,} of "
        f"them trainable"
    )
    if value["idle"]:
        print(f"{value['idle']:,} of them are the detector's heads, which pre-training carries along")
    if value["teacher_parameters"]:
        print(
            f"and a teacher of {value['teacher_parameters']:,} parameters that follows by moving average (not counted)"
        )
    if memory is not None:
        print("\n".join(memory.describe(f"recipe.{value['kind']}", options.memory or None)))
    for module in value["modules"]:
        print(f"  {module['name']:<40} {module['class']:<28} {module['parameters']:>12,}")
        for name, shape in module["shapes"].items() if options.tensors else ():
            print(f"      {name:<52} {'x'.join(map(str, shape)) or 'scalar'}")
    if not options.tensors:
        print("  (--tensors lists every tensor with its shape)")
    return 0


def _memory(config: dict[str, Any]) -> Any:
    """What a step holds, as the run itself would build it."""
    from mm3d_benchmarks.runs.memory import estimate

    kind = str(config["kind"])
    kept, _ = strip_machine(seen_by(kind, config))
    return estimate(kept | {"kind": kind})


def describe(config: dict[str, Any]) -> dict[str, Any]:
    """The network that a composed configuration describes.

    Returns:
        ``parameters``: every parameter of the network, frozen constants included, a teacher's excluded; ``idle`` of
        them are the heads of a detector in pre-training; ``trainable``;
        ``modules``: name, class, parameters and shapes of each direct part (and of the encoder's parts).
    """
    import torch

    from mm3d_benchmarks.runs.build import build_encoder, build_method, build_task
    from mm3d_benchmarks.runs.configuration import Backbone, facts_of
    from mm3d_core.seeding import seed_everything

    kind = str(config["kind"])
    kept, _ = strip_machine(seen_by(kind, config))
    check_targets(kept)
    with torch.no_grad():
        seed_everything(int(config["seed"]), "parameters")
        backbone = Backbone.of(kept)
        encoder = build_encoder(backbone)
        if kind == "pretrain":
            network = build_method(kept["pretrain"].get("method"), encoder)
        else:
            network = build_task(str(kept["task"]), backbone, encoder, facts_of(kept))
    teachers = {
        id(p) for name, part in network.named_modules() if name.split(".")[-1] == "teacher" for p in part.parameters()
    }
    own = [p for p in network.parameters() if id(p) not in teachers]
    idle = _idle_heads(kept, config) if kind == "pretrain" else 0
    return {
        "kind": kind,
        "network": type(network).__name__,
        "backbone": backbone.name,
        "dataset": kept["dataset"]["name"],
        "task": config.get("task"),
        "input": list(backbone.inputs),
        "channels": list(encoder.channels),
        "parameters": sum(p.numel() for p in own) + idle,
        "idle": idle,
        "trainable": sum(p.numel() for p in own if p.requires_grad),
        "teacher_parameters": len(teachers) and sum(p.numel() for p in network.parameters() if id(p) in teachers),
        "modules": list(_modules(network)),
    }


def _idle_heads(kept: dict[str, Any], config: dict[str, Any]) -> int:
    """Parameters of a detector's heads, which the published pre-training carries along without training them."""
    from mm3d_benchmarks.runs.build import build_encoder, build_task
    from mm3d_benchmarks.runs.configuration import Backbone, facts_of

    backbone = Backbone.of(config)
    if "detection" not in backbone.heads:
        return 0
    encoder = build_encoder(backbone)
    network = build_task("detection", backbone, encoder, facts_of(kept))
    return sum(p.numel() for p in network.parameters()) - sum(p.numel() for p in encoder.parameters())


def _modules(network: Any) -> Any:
    for name, part in network.named_children():
        if name == "teacher":
            continue
        yield {
            "name": name,
            "class": type(part).__name__,
            "parameters": sum(p.numel() for p in part.parameters()),
            "shapes": {key: list(value.shape) for key, value in part.state_dict().items()},
        }
