"""``mm3d import``: a released checkpoint, or a model of this suite, becomes an encoder file with a weights card."""

from __future__ import annotations

import argparse
import importlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mm3d_benchmarks.launching.by_hand import requests_of
from mm3d_benchmarks.planning.compose import available, compose
from mm3d_benchmarks.planning.given_weights import description_in
from mm3d_benchmarks.planning.request import GROUPS, Request
from mm3d_benchmarks.pretrained.description import Description, Sampling, read_description
from mm3d_benchmarks.pretrained.network import build
from mm3d_benchmarks.pretrained.released import scaling_of
from mm3d_benchmarks.runs.configuration import Backbone
from mm3d_benchmarks.store.layout import SPEAKS
from mm3d_benchmarks.store.weights_card import KNOWN, UNKNOWN, card_path, read_card, sha256_of, write_card
from mm3d_core import __version__
from mm3d_core.errors import UserError
from mm3d_core.training.checkpoint import read_weights, save_weights
from mm3d_core.training.released import read_released

IMPORTERS = "mm3d_backbones.released_encoders"  # stands with the networks; found by import path, as they are
DATASETS = ("s3dis", "scannet", "sunrgbd")  # whose recipe is read where none is named, in this order
SAFE = ".safetensors"


def import_weights(options: argparse.Namespace) -> int:
    """Write ``out`` and its card; print what became of every name."""
    words, known = _sorted_out(options.settings)
    source, out = Path(options.file), Path(words.pop("out", "encoder.safetensors"))
    _check_target(out)
    ours = source.suffix == SAFE and source.is_file() and bool(description_in(source))
    if ours:
        described = _of_model(source, words)
        known = {**(read_card(source, sha256_of(source)) or {}), **known}
    else:
        described = _of_release(source, words, known, options.conf)
    state = read_weights(source) if source.suffix == SAFE else read_released(source)
    if not ours:
        described = replace(described, scaling=scaling_of(state))
    encoder = build(described, source)
    account = importlib.import_module(IMPORTERS).import_encoder(encoder, state, str(source))
    _check_finite(encoder, source)
    said = json.dumps(described.to_json(), sort_keys=True, ensure_ascii=False)
    save_weights(out, encoder.state_dict(), {SPEAKS: said})
    counts = {"taken": len(account.taken), "left_out": len(account.left_out), "missing": len(account.missing)}
    write_card(out, known, {"file": source.name, "sha256": sha256_of(source), **counts, "suite": __version__})
    print(account.describe(options.names))
    print(f"{out}: backbone {described.name}, reads {', '.join(described.inputs)}; its card is {card_path(out)}")
    for name, (factor, shift) in described.scaling.items():
        print(
            f"it learned to read {name} x {factor:g} + {shift:g}: `mm3d features` feeds it so; a fine-tuning from it "
            f"learns to read {name} as it is"
        )
    silent = [name for name in ("from", "licence", "trained_on") if known.get(name, UNKNOWN) == UNKNOWN]
    if silent:
        print(f"the card does not know: {', '.join(silent)}; write it into the card, or say licence=MIT, for example")
    return 0


def _sorted_out(settings: Sequence[str]) -> tuple[dict[str, str], dict[str, str]]:
    """Words of the command by key: settings and overrides, and what goes onto the card.

    Raises:
        UserError: a word without ``=``.
    """
    words: dict[str, str] = {}
    for word in settings:
        key, separator, value = word.partition("=")
        if not separator or not key:
            raise UserError(f"{word!r}: write settings as key=value, for example backbone=point_transformer")
        words[key] = value
    return {k: v for k, v in words.items() if k not in KNOWN}, {k: v for k, v in words.items() if k in KNOWN}


def _check_target(out: Path) -> None:
    if out.suffix != SAFE:
        raise UserError(f"out={out}: weights are written as safetensors; end the name with {SAFE}")
    for path in (out, card_path(out)):
        if path.exists():
            raise UserError(f"out={out}: {path} is there already; choose another name, or delete it")


def _of_model(source: Path, words: Mapping[str, str]) -> Description:
    """Of a file that describes itself: the same network, less its head."""
    was = read_description(source)
    strange = [f"{key}={value}" for key, value in words.items() if (key, value) != ("backbone", was.name)]
    if strange:
        raise UserError(f"{strange[0]}: {source} says itself what it is ({was.name}); leave this setting out")
    return replace(was, holds="encoder", head=None, probe="all", classes=(), colors=())


def _of_release(source: Path, words: Mapping[str, str], known: Mapping[str, str], conf: Sequence[Path]) -> Description:
    """Of any other file: the backbone as its configuration has it, at its published size."""
    if "backbone" not in words:
        choices = ", ".join(available("backbone", tuple(conf)))
        raise UserError(f"{source}: say which network it is of, backbone=NAME; choose one of {choices}")
    config = _composed(words, conf)
    backbone, recipe = Backbone.of(config), config["recipe"].get("pretrain", {})
    licence, trained_on = known.get("licence", UNKNOWN), known.get("trained_on", UNKNOWN)
    return Description(
        holds="encoder",
        name=backbone.name,
        encoder=backbone.encoder,
        inputs=backbone.inputs,
        sampling=Sampling.of(recipe),
        method={"name": known.get("method", "released"), "from": known.get("from", UNKNOWN)},
        data={"name": trained_on, "origin": UNKNOWN, "manifest": "", "licence": licence},
        suite=__version__,
    )


def _composed(words: Mapping[str, str], conf: Sequence[Path]) -> dict[str, Any]:
    """The backbone's configuration with a recipe that exists for it."""
    words, backbone = dict(words), words["backbone"]
    recipes = available("recipe", tuple(conf))
    if "recipe" not in words and "dataset" not in words:
        words["dataset"] = next((d for d in DATASETS if f"{backbone}_{d}" in recipes), DATASETS[0])
        if backbone in recipes:  # a backbone that is of one data set has that recipe's name
            words |= {"recipe": backbone, "dataset": backbone.rpartition("_")[2]}
    groups = {key: value for key, value in words.items() if key in GROUPS}
    if "evaluation" not in words and not _composes({**groups, "evaluation": "segmentation"}, conf):
        words["evaluation"] = "detection"  # a detector's recipe has no voxel, which a segmentation reads
    return compose(_request(words, conf))


def _composes(words: Mapping[str, str], conf: Sequence[Path]) -> bool:
    try:
        compose(_request(words, conf))
    except UserError:
        return False
    return True


def _request(words: Mapping[str, str], conf: Sequence[Path]) -> Request:
    return requests_of([f"{key}={value}" for key, value in words.items()], conf, "paper")[0][0]


def _check_finite(encoder: nn.Module, source: Path) -> None:
    weights: Mapping[str, Tensor] = encoder.state_dict()
    for name, value in weights.items():
        if value.is_floating_point() and not torch.isfinite(value).all():
            raise UserError(f"{source}: {name} holds values that are not finite; choose another checkpoint")
