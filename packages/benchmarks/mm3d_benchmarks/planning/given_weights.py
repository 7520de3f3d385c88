"""Weights that are there already, in the place of a pre-training: ``pretrain=file pretrain.path=encoder.safetensors``.

Such a run takes the file into the store. Its key hashes the content and the encoder that it must fit: neither the
file's place nor data, recipe, seed and code make another run of it, and the same weights are the same run everywhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mm3d_benchmarks.planning.compose import strip_machine
from mm3d_benchmarks.store.layout import SPEAKS
from mm3d_benchmarks.store.spec import WEIGHTS, RunSpec
from mm3d_benchmarks.store.weights_card import UNKNOWN, read_card, sha256_of
from mm3d_core.errors import UserError
from mm3d_core.files.untrusted import parse_json
from mm3d_core.files.weights_header import read_header

NAME = "file"
FUNCTION = "mm3d_benchmarks.runs.given.run_given"
OF_TORCH = (".pth", ".pt", ".tar", ".ckpt", ".bin")
_ENCODER = ("name", "version", "input", "encoder")  # of the section `backbone`


def is_given(config: Mapping[str, Any]) -> bool:
    """Whether a configuration asks for weights from a file."""
    return (config.get("pretrain") or {}).get("name") == NAME


def given_spec(config: Mapping[str, Any], root: Path, needs_data: bool) -> RunSpec:
    """The run that takes ``pretrain.path`` into the store.

    Args:
        config: the composed configuration of what starts from it.
        root: of the prepared data.
        needs_data: refuse a file that is not there; otherwise its hash is left empty (a dry look).

    Raises:
        UserError: no file is named, there is none, it is no safetensors file, or says itself that it does not fit.
    """
    named = config["pretrain"].get("path")
    if not named:
        raise UserError("pretrain=file: say which file, pretrain.path=encoder.safetensors")
    path, digest = Path(str(named)), ""
    if needs_data or path.is_file():
        check_file(path, config["backbone"])
        digest = sha256_of(path)
        read_card(path, digest)
    _, local = strip_machine(dict(config))
    local["dataset"] = {**local.get("dataset", {}), "root": str(root)}
    local |= {"function": FUNCTION, "pretrain": {"path": str(path.absolute())}}
    backbone = {name: config["backbone"][name] for name in _ENCODER if name in config["backbone"]}
    kept = {"backbone": backbone, "pretrain": {"name": NAME, "version": config["pretrain"].get("version")}}
    return RunSpec("pretrain", kept, {}, {WEIGHTS: digest}, "", local)


def check_file(path: Path, backbone: Mapping[str, Any]) -> None:
    """Refuse what cannot be this backbone's encoder by what the file says of itself; its tensors are not looked at.

    Raises:
        UserError: see :func:`given_spec`.
    """
    name = backbone.get("name")
    if not path.is_file():
        raise UserError(f"{WEIGHTS}={path}: there is no such file; correct the path")
    if path.suffix.lower() in OF_TORCH:
        raise UserError(
            f"{WEIGHTS}={path}: is a checkpoint of another program; bring it in first: "
            f"mm3d import {path} backbone={name} out=encoder.safetensors"
        )
    told = description_in(path)
    if told.get("holds") not in (None, "encoder"):
        raise UserError(
            f"{WEIGHTS}={path}: is a whole model ({told['holds']}), no encoder; take its encoder out: "
            f"mm3d import {path} backbone={told.get('name', name)} out=encoder.safetensors"
        )
    theirs, ours = told.get("encoder"), backbone.get("encoder") or {}
    if isinstance(theirs, dict) and theirs.get("_target_") != ours.get("_target_"):
        raise UserError(
            f"{WEIGHTS}={path}: is an encoder of {told.get('name')}, not of {name}; choose "
            f"backbone={told.get('name')}, or another file"
        )
    inputs, wanted = inputs_in(told), list(backbone.get("input") or [])
    if inputs and wanted and inputs != wanted:
        raise UserError(
            f"{WEIGHTS}={path}: reads {', '.join(inputs)}, and backbone {name} is fed with {', '.join(wanted)}; choose "
            f"the backbone it is of, or 'backbone.input=[{','.join(inputs)}]'"
        )


def description_in(path: Path) -> dict[str, Any]:
    """What a weights file says of itself (pretrained/description.py); empty if it says nothing that can be read.

    Raises:
        UserError: not a safetensors file.
    """
    told, _ = read_header(path)
    try:
        value = parse_json(told.get(SPEAKS, "{}"))
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def inputs_in(told: Mapping[str, Any]) -> list[str]:
    """Names of what a described network reads, in order."""
    entries = told.get("inputs")
    known = isinstance(entries, list) and all(isinstance(entry, dict) for entry in entries)
    return [str(entry.get("name")) for entry in entries] if known else []  # type: ignore[union-attr]


def given_note(row: str, spec: RunSpec) -> str:
    """A footnote: which weights a row starts from, where they are from, their licence."""
    path, digest = Path(str(spec.local["pretrain"]["path"])), str(spec.data[WEIGHTS])
    card = (read_card(path, digest) if digest else None) or {}
    licence = card.get("licence", UNKNOWN)
    return (
        f"Row {row} starts from weights that were given: {path.name}, SHA-256 {digest[:12]}, from "
        f"{card.get('from', UNKNOWN)}, licence {licence}."
    )
