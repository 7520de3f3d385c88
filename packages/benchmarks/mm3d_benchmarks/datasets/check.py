"""Checks a prepared folder, and prints its statistics next to the published ones."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mm3d_benchmarks.datasets.facts import DatasetFacts
from mm3d_benchmarks.datasets.known import facts_of
from mm3d_benchmarks.datasets.manifest import origin_kind
from mm3d_benchmarks.datasets.scene import MANIFEST, PreparedDataset, open_dataset
from mm3d_benchmarks.datasets.summary import told
from mm3d_core.errors import UserError


@dataclass(frozen=True)
class CheckReport:
    """What was found.

    Attributes:
        problems: one sentence each; an empty list is good.
        text: statistics next to the published ones, and what was left out or repaired.
    """

    problems: list[str]
    text: str


def check_prepared(root: Path | str, hashes: bool = True) -> CheckReport:
    """Verify every scene of a prepared folder against its manifest and the contract.

    Args:
        root: folder that ``prepare_dataset`` wrote.
        hashes: compare the bytes of every file (otherwise only shapes and values).

    Raises:
        UserError: there is no manifest, or it is damaged.
    """
    dataset = open_dataset(root)
    facts = facts_of(dataset)
    problems: list[str] = []
    for name, entry in dataset.manifest["scenes"].items():
        wrong = dataset.verify(name) if hashes else []
        problems += [f"{path}: missing or changed since it was prepared" for path in wrong]
        if not wrong:
            problems += _problems_of_scene(dataset, name, entry, facts)
    try:
        return CheckReport(problems, statistics_text(dataset, facts))
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise UserError(f"{dataset.root / MANIFEST}: damaged ({error!r}); delete it and prepare again") from error


def statistics_text(dataset: PreparedDataset, facts: DatasetFacts) -> str:
    """Counts, class shares and box counts of every split, published values beside them."""
    manifest = dataset.manifest
    source = origin_kind(manifest["origin"]["kind"])
    lines = [f"{dataset.root}: {dataset.dataset}, source {source}, options {manifest['options']}"]
    for split, names in manifest["splits"].items():
        points = manifest["points"][split]
        mean = points // len(names) if names else 0
        lines.append(
            f"  {split}: {len(names)} scenes, {points:,} points ({mean:,} per scene), "
            f"{manifest['labelled'][split]:.1f} % labelled"
        )
    main = [split for split in ("train", "val") if manifest["splits"].get(split)]
    if facts.segment_classes:
        lines.append(
            _table(
                "share of labelled points, %",
                facts.segment_classes,
                main,
                manifest["class_shares"],
                facts.published_shares,
                "{:.2f}",
            )
        )
    if facts.detection_classes:
        per_scene = {s: {c: n / len(manifest["splits"][s]) for c, n in manifest["box_counts"][s].items()} for s in main}
        lines.append(
            _table("boxes per scene", facts.detection_classes, main, per_scene, facts.published_boxes, "{:.2f}")
        )
        lines.append(_sizes(manifest, facts))
    if looks_swapped(manifest):
        lines.append(
            "  more sofa than bookcase: these arrays may follow the other name list; prepare with swapped=true"
        )
    lines += [f"  left out: {name}: {why}" for name, why in manifest["left_out"].items()]
    lines += [f"  {line}" for line in told(dataset)]
    return "\n".join(lines)


def looks_swapped(manifest: dict[str, Any]) -> bool:
    """Whether foreign S3DIS arrays seem to number the classes 7 to 10 otherwise: sofas are by far the rarest there."""
    shares = manifest["class_shares"].get("train", {})
    foreign = manifest["dataset"] == "s3dis" and manifest["options"].get("form") == "postech"
    return foreign and shares["sofa"] > shares["bookcase"]


def _problems_of_scene(dataset: PreparedDataset, name: str, entry: dict[str, Any], facts: DatasetFacts) -> list[str]:
    """Values outside of what the manifest and the classes allow."""
    where = dataset.root / name
    try:
        scene = dataset.load(name, checksums=False)
        scene.check()
    except (UserError, ValueError) as error:
        return [f"{where}: {error}"]
    problems = []
    if scene.num_points != entry["points"]:
        problems.append(f"{where}: {scene.num_points} points, the manifest says {entry['points']}")
    if scene.segment is not None and not -1 <= scene.segment.min() <= scene.segment.max() < max(
        1, facts.num_segment_classes
    ):
        problems.append(
            f"{where}: segment ids from {scene.segment.min()} to {scene.segment.max()} are outside the classes"
        )
    if scene.boxes is not None and len(scene.boxes):
        classes = scene.boxes[:, 7]
        if classes.min() < 0 or classes.max() >= facts.num_detection_classes:
            problems.append(
                f"{where}: box classes from {classes.min():.0f} to {classes.max():.0f} are outside the classes"
            )
    return problems


def _table(title: str, classes: tuple[str, ...], splits: list[str], values: Any, published: Any, form: str) -> str:
    """One line per class: splits, then the published value."""
    header = f"  {title:<28}" + "".join(f"{split:>9}" for split in splits) + f"{'published':>11}"
    rows = [
        f"    {name:<26}" + "".join(f"{form.format(values[split][name]):>9}" for split in splits)
        + (f"{form.format(published[name]):>11}" if name in published else f"{'-':>11}")
        for name in classes
    ]  # fmt: skip
    return "\n".join([header, *rows])


def _sizes(manifest: dict[str, Any], facts: DatasetFacts) -> str:
    """Mean sizes of the train boxes."""
    rows = ["  mean box size l w h, m                   here                published"]
    for name, published in zip(facts.detection_classes, facts.mean_sizes, strict=True):
        here = manifest["mean_sizes"][name]
        mark = "" if manifest["mean_sizes_from"][name] == "train" else " (no train box)"
        rows.append(
            f"    {name:<26}"
            + " ".join(f"{v:6.3f}" for v in here)
            + "   "
            + " ".join(f"{v:6.3f}" for v in published)
            + mark
        )
    return "\n".join(rows)
