"""``mm3d generate`` and ``mm3d prepare``."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mm3d_benchmarks.launching.prepared_data import generate_raw, prepared_root, tell
from mm3d_benchmarks.planning.compose import compose
from mm3d_benchmarks.planning.request import Request
from mm3d_benchmarks.planning.strictness import did_you_mean
from mm3d_core.errors import UserError
from mm3d_core.files.untrusted import parse_yaml

SOURCES = ("synthetic", "official")
LITERAL = (
    "raw",
    "out",
    "root",
    "run",
    "scan",
    "features",
    "modules",
    "dataset",
    "path",
    "dataset.path",
    "scene",
    "columns",
    "segment",
    "instance",
    "formats",
)


def generate(options: argparse.Namespace) -> int:
    """Generate a profile's synthetic data sets, in the raw formats of the official ones."""
    from mm3d_benchmarks.datasets.known import DATASETS
    from mm3d_benchmarks.datasets.manifest import origin_kind

    if options.command == "embed":
        print("mm3d embed: is called mm3d generate now; the old name goes with the next release", file=sys.stderr)
    if options.room is not None:
        from mm3d_benchmarks.synthetic.one_room import write_room_scan

        print(f"{options.room}: {len(write_room_scan(options.room, options.seed, options.kind)):,} points")
        return 0
    data = profile_of(options.profile)["data"]
    generated = [name for name, known in DATASETS.items() if known.generated]
    if data["source"] not in SOURCES:
        raise UserError(
            f"profile {options.profile}: data.source is {data['source']!r}"
            f"{did_you_mean(origin_kind(data['source']), SOURCES)}; write one of {', '.join(SOURCES)}"
        )
    if data["source"] != "synthetic":
        for dataset in options.dataset or generated:
            if not (Path(data["raw"]) / dataset).is_dir():
                raise UserError(
                    f"profile {options.profile} uses the official data, there is nothing to generate: "
                    f"put or link the {dataset} release to {Path(data['raw']) / dataset}"
                )
        return 0
    for dataset in options.dataset or generated:
        generate_raw(dataset, data, options.seed, _workers(options))
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
    raw = Path(settings.pop("raw", Path(data["raw"]) / dataset))
    if options.check:
        return _check(Path(settings["out"]) if "out" in settings else prepared_root(dataset, data))
    if options.check_raw:
        return _check_raw(dataset, raw, settings)
    if not raw.exists() and raw == Path(data["raw"]) / dataset and data["source"] == "synthetic":
        raise UserError(
            f"{raw}: not there yet; generate it first: mm3d generate --dataset {dataset} --profile {profile}"
        )
    out = Path(settings.pop("out", Path(data["prepared"]) / dataset))
    ready = prepare_dataset(
        dataset,
        raw,
        out,
        workers=_workers(options),
        skip_broken=options.skip_broken,
        options=settings,
        again=options.again,
    )
    tell(ready)
    return 0


def profile_of(name: str) -> dict[str, Any]:
    """A profile's settings."""
    return compose(Request({"profile": name}))["profile"]


def key_values(arguments: Sequence[str]) -> dict[str, Any]:
    """``key=value`` words; values as YAML, but for names and paths, which are taken as they stand.

    Raises:
        UserError: a word without ``=``.
    """
    settings: dict[str, Any] = {}
    for argument in arguments:
        key, separator, value = argument.partition("=")
        if not separator or not key:
            raise UserError(f"{argument!r}: write settings as key=value")
        try:
            parsed = parse_yaml(value)
        except ValueError:
            parsed = value
        text = key in LITERAL or isinstance(parsed, dict | list) or (parsed is None and value)
        settings[key] = value if text else parsed
    return settings


def _check_raw(dataset: str, raw: Path, settings: dict[str, Any]) -> int:
    """Say what is missing of a release; status 1 where something is."""
    from mm3d_benchmarks.datasets.check_raw import check_raw, report
    from mm3d_benchmarks.datasets.prepare import make_reader

    settings.pop("out", None)
    missing = check_raw(dataset, raw, lambda: make_reader(dataset, raw, settings))
    print("\n".join(report(dataset, raw, missing)))
    return 1 if missing else 0


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
