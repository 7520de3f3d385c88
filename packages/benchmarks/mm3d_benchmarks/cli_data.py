"""``mm3d embed``, ``mm3d prepare`` and ``mm3d view``."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from mm3d_benchmarks.runs.compose import Request, compose
from mm3d_core.errors import UserError

EMBEDDED = ("scannet", "s3dis", "sunrgbd")


def embed(options: argparse.Namespace) -> int:
    """Generate a profile's embedded data sets, in the raw formats of the official ones."""
    from mm3d_benchmarks.datasets.embedded.generate import generate

    data = profile_of(options.profile)["data"]
    if data["source"] != "embedded":
        for dataset in options.dataset or EMBEDDED:
            if not (Path(data["raw"]) / dataset).is_dir():
                raise UserError(
                    f"profile {options.profile} uses the official data, there is nothing to embed: "
                    f"put or link the {dataset} release to {Path(data['raw']) / dataset}"
                )
        return 0
    for dataset in options.dataset or EMBEDDED:
        generate(
            dataset, Path(data["raw"]) / dataset, profile=data["size"], seed=options.seed, workers=_workers(options)
        )
    return 0


def prepare(options: argparse.Namespace) -> int:
    """Prepare one data set."""
    from mm3d_benchmarks.datasets.prepare import prepare_dataset

    settings = key_values(options.settings)
    dataset = settings.pop("dataset", None)
    if dataset is None:
        raise UserError("say which data set: mm3d prepare dataset=scannet raw=FOLDER")
    profile = settings.pop("profile", options.profile)
    data = profile_of(str(profile))["data"]
    raw = Path(settings.pop("raw", Path(data["raw"]) / str(dataset)))
    out = Path(settings.pop("out", Path(data["prepared"]) / str(dataset)))
    if options.check:
        return _check(out)
    ready = prepare_dataset(
        str(dataset), raw, out, workers=_workers(options), skip_broken=options.skip_broken, options=settings
    )
    left_out = ready.manifest.get("left_out") or {}
    scenes = {split: len(names) for split, names in ready.manifest["splits"].items()}
    print(f"{out}: {dataset}, " + ", ".join(f"{count} {split}" for split, count in scenes.items()))
    if left_out:
        print(f"left out: {', '.join(sorted(left_out))} (reasons in {out / 'manifest.json'})")
    return 0


def view(options: argparse.Namespace) -> int:
    """Show one prepared scene."""
    from mm3d_benchmarks.datasets import view as viewing

    settings = key_values(options.settings)
    if "dataset" not in settings:
        raise UserError("say which data set and scene: mm3d view dataset=scannet scene=scene0000_00 out=FOLDER")
    data = profile_of(options.profile)["data"]
    root = Path(settings.pop("root", Path(data["prepared"]) / str(settings.pop("dataset"))))
    scene, out = settings.pop("scene", None), Path(settings.pop("out", "view"))
    if settings:
        raise UserError(f"{sorted(settings)[0]}: unknown; mm3d view takes dataset, scene, root and out")
    for path in viewing.view_scene(root, None if scene is None else str(scene), out):
        print(path)
    return 0


def profile_of(name: str) -> dict[str, Any]:
    """A profile's settings."""
    return compose(Request({"profile": name}))["profile"]


def key_values(arguments: Sequence[str]) -> dict[str, Any]:
    """``key=value`` words; values as YAML.

    Raises:
        UserError: a word without ``=``.
    """
    settings: dict[str, Any] = {}
    for argument in arguments:
        key, separator, value = argument.partition("=")
        if not separator or not key:
            raise UserError(f"{argument!r}: write settings as key=value")
        try:
            parsed = yaml.safe_load(value)
        except yaml.YAMLError:
            parsed = value
        settings[key] = value if isinstance(parsed, dict | list) or (parsed is None and value) else parsed
    return settings


def _check(out: Path) -> int:
    from mm3d_benchmarks.datasets.check import check_prepared

    report = check_prepared(out)
    print(report.text)
    for line in report.problems:
        print(line)
    return 1 if report.problems else 0


def _workers(options: argparse.Namespace) -> int:
    """Processes for work on scenes: as asked, else one for each core."""
    return options.workers if options.workers is not None else len(os.sched_getaffinity(0))
