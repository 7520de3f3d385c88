"""Labels of a user's own: from numbers or words in a column to train ids of the classes that the user names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mm3d_benchmarks.datasets.facts import IGNORE
from mm3d_core.errors import UserError
from mm3d_core.files.untrusted import parse_yaml

IGNORED = (-1, 255, -100)  # labels that mean "none" in other projects


def parse_classes(classes: Any) -> dict[str, str]:
    """Label, as text, -> class name, in the order of the train ids.

    Args:
        classes: a list of names (a label is the position in it, or the name itself), or a mapping of labels to names;
            or either as YAML text.

    Raises:
        UserError: neither, or a name twice.
    """
    value = classes
    if isinstance(classes, str):
        try:
            value = parse_yaml(classes) if classes.strip() else []
        except ValueError as error:
            raise UserError(f"classes={classes!r}: no YAML list ({error}); write classes='[floor, wall]'") from error
    value = [] if value is None else value
    if isinstance(value, Mapping):
        pairs = {str(label): str(name) for label, name in value.items()}
    elif isinstance(value, list | tuple) and all(isinstance(name, str | int | float) for name in value):
        pairs = {str(position): str(name) for position, name in enumerate(value)}
        if len(set(pairs.values())) < len(pairs):
            raise UserError(f"classes={classes}: a name stands twice")
    else:
        raise UserError(f"classes={classes!r}: is a list of names, classes='[floor, wall]' for example")
    if any(not name.strip() for name in pairs.values()) or len(set(pairs.values())) > 1000:
        raise UserError(f"classes={str(classes)[:100]}: every class needs a name, and there are at most 1000")
    return pairs


def class_names(pairs: Mapping[str, str]) -> tuple[str, ...]:
    """The classes in the order of their train ids."""
    return tuple(dict.fromkeys(pairs.values()))


def train_ids(labels: np.ndarray, pairs: Mapping[str, str]) -> tuple[np.ndarray, list[str]]:
    """(N,) int16 train ids of (N,) labels, -1 where none; and which labels are of no class, with counts."""
    number = {name: i for i, name in enumerate(class_names(pairs))}
    of_label = {label: number[name] for label, name in pairs.items()}
    of_name = {name.casefold().strip(): i for name, i in number.items()}
    plain = labels.astype(str) if labels.dtype.kind in "OUT" else labels
    values, inverse, counts = np.unique(plain, return_inverse=True, return_counts=True)
    ids, unknown = np.full(len(values), IGNORE, np.int16), {}
    for row, (value, count) in enumerate(zip(values.tolist(), counts.tolist(), strict=True)):
        whole = isinstance(value, float) and value == int_or_nan(value)
        text = str(int(value)) if whole else str(value)
        found = of_label.get(text, of_name.get(text.casefold().strip()))
        if found is not None:
            ids[row] = found
        elif not (text.lstrip("-").isdigit() and int(text) in IGNORED):
            unknown[text] = count
    if not unknown:
        return ids[inverse.reshape(-1)], []
    shown = ", ".join(f"{text} ({count:,} points)" for text, count in sorted(unknown.items(), key=lambda i: -i[1])[:8])
    return ids[inverse.reshape(-1)], [f"labels of no class ignored: {shown}; classes= names them"]


def int_or_nan(value: float) -> float:
    """The whole part; NaN for what has none."""
    return float(int(value)) if np.isfinite(value) else float("nan")


def instance_numbers(objects: np.ndarray, segment: np.ndarray | None) -> np.ndarray:
    """(N,) int32 objects from 0 on, -1 where none (a negative number, an ignored one, or a point without a class)."""
    _, inverse = np.unique(objects.astype(str) if objects.dtype.kind in "OUT" else objects, return_inverse=True)
    numbers = inverse.reshape(-1).astype(np.int32)
    none = np.zeros(len(numbers), bool)
    if objects.dtype.kind in "iuf":
        none |= (objects < 0) | (objects == 255) | ~np.isfinite(objects.astype(np.float64))
    return np.where(none | (segment < 0 if segment is not None else False), -1, numbers).astype(np.int32)


def boxes_of(coord: np.ndarray, segment: np.ndarray, instance: np.ndarray) -> np.ndarray:
    """(K, 8) float32 axis-aligned hulls of the objects, of their points' most frequent class; flat ones have none."""
    rows = np.flatnonzero((instance >= 0) & (segment >= 0))
    rows = rows[np.argsort(instance[rows], kind="stable")]
    boxes = []
    for part in np.split(rows, np.flatnonzero(np.diff(instance[rows])) + 1) if len(rows) else []:
        low, high = coord[part].min(axis=0).astype(np.float64), coord[part].max(axis=0).astype(np.float64)
        if (high > low).all():
            kind = int(np.bincount(segment[part]).argmax())
            boxes.append([*(low + high) / 2, *(high - low), 0.0, kind])
    return np.array(boxes, np.float32).reshape(-1, 8)
