"""Weights that were given, as a run: a file becomes the ``encoder.safetensors`` that others start from.

Nothing is computed. The file is held against the encoder that it must fit, before anything trains, and copied byte for
byte, so that the store keeps what its runs started from.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mm3d_benchmarks.planning.given_weights import check_file, description_in
from mm3d_benchmarks.runs.build import build_encoder
from mm3d_benchmarks.runs.configuration import Backbone
from mm3d_benchmarks.runs.controls import leave_untrained
from mm3d_benchmarks.runs.instantiate import value_at
from mm3d_benchmarks.store import layout
from mm3d_benchmarks.store.spec import WEIGHTS
from mm3d_benchmarks.store.weights_card import read_card, sha256_of
from mm3d_core.encoder import Encoder
from mm3d_core.errors import UserError
from mm3d_core.files.atomic import atomic_write, write_json
from mm3d_core.files.weights_header import read_header
from mm3d_core.observing.logfile import LOG_FILE
from mm3d_core.training.checkpoint import read_weights

logger = logging.getLogger(__name__)


def run_given(config: Mapping[str, Any], folder: Path, upstream: Mapping[str, Path] | None = None) -> None:
    """Take a file of weights into the store.

    Args:
        config: resolved: backbone, pretrain.path.
        folder: the run's folder; it gets encoder.safetensors, log.jsonl, efficiency.json and, last, metrics.json; which
            file it was, its hash and its card stand in metrics.json and in provenance.json.
        upstream: not used.

    Raises:
        UserError: the file is not there, is not what was planned, or does not fit the encoder.
    """
    path = Path(str(value_at(config, WEIGHTS)))
    encoder = check_fit(path, config)
    digest = sha256_of(path)
    planned = ((layout.read_json(folder / layout.SPEC) or {}).get("data") or {}).get(WEIGHTS)
    if planned not in (None, digest):
        raise UserError(f"{WEIGHTS}={path}: changed since it was asked for; run the same command again")
    _check_finite(path)
    given = {"file": path.name, "path": str(path), "sha256": digest, "card": read_card(path, digest)}
    target = folder / layout.ENCODER_WEIGHTS
    with open(path, "rb") as source, atomic_write(target) as stream:
        shutil.copyfileobj(source, stream)
    leave_untrained(folder, encoder, LOG_FILE, layout.EFFICIENCY)
    write_json(folder / layout.PROVENANCE, {**(layout.read_json(folder / layout.PROVENANCE) or {}), "weights": given})
    size = sum(parameter.numel() for parameter in encoder.parameters())
    layout.write_result(
        folder, "pretrain", {"parameters": float(size)}, steps=0, weights={target.name: digest}, given=given
    )
    logger.info("%s: taken as the encoder, SHA-256 %s", path, digest[:12])


def check_fit(path: Path, config: Mapping[str, Any]) -> Encoder:
    """The encoder of a configuration, which a file fits: every tensor by name and shape.

    Raises:
        UserError: it does not, in one line, with what to set.
    """
    check_file(path, config["backbone"])
    backbone = Backbone.of(config)
    encoder = build_encoder(backbone)
    ours = {name: list(value.shape) for name, value in encoder.state_dict().items()}
    _, header = read_header(path)
    theirs = {name: said.get("shape") for name, said in header.items()}
    name, shared = backbone.name, ours.keys() & theirs.keys()
    where = f"{WEIGHTS}={path}"
    if {f"encoder.{tensor}" for tensor in ours} <= theirs.keys():
        raise UserError(
            f"{where}: is a whole model, no encoder; take its encoder out: mm3d import {path} backbone={name} "
            "out=encoder.safetensors"
        )
    if 2 * len(shared) < len(ours):
        some = ", ".join(sorted(theirs)[:3]) or "no tensor"
        raise UserError(f"{where}: is no encoder of backbone {name} (it holds {some}); choose the backbone it is of")
    strange = sorted(tensor for tensor in shared if ours[tensor] != theirs[tensor])
    if strange:
        first = strange[0]
        raise UserError(
            f"{where}: is of another width than backbone {name} here, {first} is {_size(theirs[first])} for "
            f"{_size(ours[first])}; {_remedy(path, backbone.encoder)}"
        )
    if ours.keys() != theirs.keys():
        lacking, beyond = sorted(ours.keys() - theirs.keys()), sorted(theirs.keys() - ours.keys())
        what = f"lacks {len(lacking)} tensors, {lacking[0]}" if lacking else f"has {len(beyond)} more, {beyond[0]}"
        raise UserError(
            f"{where}: is of another depth than backbone {name} here, it {what}; "
            f"{_remedy(path, backbone.encoder)}"
        )
    return encoder


def _remedy(path: Path, ours: Mapping[str, Any]) -> str:
    """What to set so that the encoder is the file's, where the file says what it is."""
    theirs = description_in(path).get("encoder")
    theirs = theirs if isinstance(theirs, Mapping) else {}
    words = [
        f"'backbone.encoder.{name}={json.dumps(value)}'"
        for name, value in theirs.items()
        if name in ours and ours[name] != value
    ]
    if not words:
        return "choose the profile and the sizes (backbone.encoder.*) with which it was trained"
    return f"choose the profile with which it was trained, or set {' '.join(words)}"


def _check_finite(path: Path) -> None:
    """No NaN and no infinity among the weights, which would end a training at its first step."""
    for name, value in read_weights(path).items():
        if value.is_floating_point() and not torch.isfinite(value).all():
            raise UserError(f"{WEIGHTS}={path}: {name} holds values that are not finite; choose another checkpoint")


def _size(shape: Any) -> str:
    return "x".join(map(str, shape)) if isinstance(shape, list) and shape else "scalar"
