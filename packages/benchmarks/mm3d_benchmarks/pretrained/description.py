"""What a weights file says about itself: enough to build its network and to feed it, and where it comes from.

One JSON object, under the name ``mm3dscene`` in the safetensors metadata:

    format      1, or 2 where an input has a scaling: older programs, which would feed it wrongly, refuse that
    holds       "encoder", "segmentation" or "detection"
    name        of the backbone, as in ``backbone=<name>``
    encoder     {"_target_": import path, ...}: the network's constructor and its arguments
    head        the same of the task's network around the encoder, classes and box sizes included (null: none)
    probe       the form of a probe (supervision/probe.py), "all" for a whole network
    inputs      [{"name", "columns", "values"}]: what stands in the columns that the network reads, in their order;
                of a network that learned on another scale also "scaling": [factor, shift] of these values
    sampling    {"voxel": metres | null, "max_points", "num_points", "shift"}: the samples of its training
    units, up   "metres", "z"
    classes     [{"name", "color": [r, g, b]}] of a model, in the order of its class numbers
    method      how it was pre-trained: {"name", "pretrain": key | null}
    data        {"name", "origin", "manifest", "licence"}: what it learned from
    run, commit, suite    the key of its run, the commit and the version of the program that made it
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from mm3d_benchmarks.pretrained.inputs import Inputs, Scaling, checked
from mm3d_benchmarks.store.layout import SPEAKS
from mm3d_core.errors import UserError
from mm3d_core.features import FEATURES
from mm3d_core.files.untrusted import parse_json
from mm3d_core.files.weights_header import read_header

FORMAT = 2  # the newest that is read; PLAIN is what is written where nothing newer is needed
PLAIN = 1
HOLDS = ("encoder", "segmentation", "detection")
NETWORKS = ("mm3d_backbones",)  # packages whose networks a file may name


@dataclass(frozen=True)
class Sampling:
    """The samples that a network was trained on.

    Attributes:
        voxel: metres; one point of every voxel. None: no grid.
        max_points: most points of a sample; None: no limit.
        num_points: exactly so many random points of a scene (detectors); None: all.
        shift: whether a sample's minimum corner is its origin.
    """

    voxel: float | None = None
    max_points: int | None = None
    num_points: int | None = None
    shift: bool = True

    @classmethod
    def of(cls, recipe: Mapping[str, Any]) -> Sampling:
        """As a recipe samples."""
        return cls(**{entry.name: recipe[entry.name] for entry in fields(cls) if entry.name in recipe})


@dataclass(frozen=True)
class Description:
    """See the module.

    Attributes:
        classes: names in the order of the class numbers; empty for an encoder.
        colors: (red, green, blue) 0..255 of each class.
        scaling: of inputs that the network reads on another scale than this suite's, see :class:`Inputs`.
    """

    holds: str
    name: str
    encoder: Mapping[str, Any]
    inputs: tuple[str, ...]
    sampling: Sampling
    head: Mapping[str, Any] | None = None
    probe: str = "all"
    classes: tuple[str, ...] = ()
    colors: tuple[tuple[int, int, int], ...] = ()
    method: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)
    run: str = ""
    commit: str = ""
    suite: str = ""
    scaling: Scaling = field(default_factory=dict)

    @property
    def reads(self) -> Inputs:
        """How a sample becomes what the network reads."""
        return Inputs(self.inputs, self.scaling)

    def to_json(self) -> dict[str, Any]:
        """Plain values, as they stand in the file; :meth:`from_json` reads them back."""
        known = ((name, FEATURES[name]) for name in self.inputs)
        inputs: list[dict[str, Any]] = [{"name": n, "columns": f.width, "values": f.says} for n, f in known]
        for entry in inputs:
            if entry["name"] in self.scaling:
                entry["scaling"] = list(self.scaling[entry["name"]])
        classes = [{"name": n, "color": list(c)} for n, c in zip(self.classes, self.colors, strict=True)]
        plain = {**asdict(self), "inputs": inputs, "classes": classes, "units": "metres", "up": "z"}
        plain["format"] = FORMAT if self.scaling else PLAIN
        del plain["colors"], plain["scaling"]
        return json.loads(json.dumps(plain))

    @classmethod
    def from_json(cls, value: Any, where: Path | str) -> Description:
        """The description that a file holds.

        Raises:
            UserError: a newer format, an input that this program does not know, or not a description.
        """
        if not isinstance(value, dict):
            raise UserError(f"{where}: its description is damaged (no object); restore the file")
        _check_version(value, where)
        try:
            inputs = tuple(str(entry["name"]) for entry in value["inputs"])
            classes = tuple(str(entry["name"]) for entry in value["classes"])
            colors = tuple((int(r), int(g), int(b)) for r, g, b in (entry["color"] for entry in value["classes"]))
            found = cls(
                holds=str(value["holds"]),
                name=str(value["name"]),
                encoder=_network(value["encoder"]),
                inputs=inputs,
                sampling=Sampling(**value["sampling"]),
                head=None if value["head"] is None else _network(value["head"]),
                probe=str(value["probe"]),
                classes=classes,
                colors=colors,
                method=dict(value["method"]),
                data=dict(value["data"]),
                run=str(value["run"]),
                commit=str(value["commit"]),
                suite=str(value["suite"]),
                scaling=checked(_scaling(value["inputs"]), inputs),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(f"{where}: its description is damaged ({error!r}); restore the file") from error
        unknown = [name for name in inputs if name not in FEATURES]
        if unknown or found.holds not in HOLDS:
            strange = f"input {unknown[0]!r}" if unknown else f"holds={found.holds!r}"
            raise UserError(f"{where}: its description names {strange}, which this program does not know; update it")
        return found


def read_description(path: Path, modules: tuple[str, ...] = ()) -> Description:
    """What a safetensors file says about itself.

    Args:
        modules: further packages whose networks the file may name: importing runs their code.

    Raises:
        UserError: no such file, not safetensors, without a description, of a newer format, or of a foreign network.
    """
    told, tensors = read_header(path)
    if SPEAKS not in told:
        some = ", ".join(sorted(tensors)[:3])
        raise UserError(
            f"{path}: does not describe itself (no {SPEAKS!r} in its metadata; it holds {some or 'no tensor'}). "
            "If a run of this suite wrote it: mm3d store describe KEY --file FILE; other projects' files cannot be read"
        )
    try:
        value = parse_json(told[SPEAKS])
    except ValueError as error:
        raise UserError(f"{path}: its description is damaged ({error}); restore the file") from error
    found = Description.from_json(value, path)
    for network in (found.encoder, found.head or {}):
        _check_targets(network, (*NETWORKS, *modules), path)
    return found


def _check_version(value: Mapping[str, Any], where: Path | str) -> None:
    version = value.get("format")
    if type(version) is int and version > FORMAT:
        made = f" (suite {value.get('suite')})" if value.get("suite") else ""
        raise UserError(
            f"{where}: describes itself in format {version}{made}, this program reads up to {FORMAT}; "
            "update it: pip install --upgrade mm3dscene"
        )
    if type(version) is not int or not PLAIN <= version <= FORMAT:
        raise UserError(f"{where}: its description has format {version!r}, which there never was; restore the file")


def _network(value: Any) -> dict[str, Any]:
    """A constructor and its arguments."""
    if not isinstance(value, dict) or not isinstance(value.get("_target_"), str):
        raise ValueError("a network without _target_")
    return value


def _scaling(entries: Any) -> Scaling:
    """The scaling that the entries of ``inputs`` tell."""
    pairs = {str(entry["name"]): entry["scaling"] for entry in entries if "scaling" in entry}
    return {name: (float(factor), float(shift)) for name, (factor, shift) in pairs.items()}


def _check_targets(value: Any, packages: tuple[str, ...], path: Path) -> None:
    """Whatever is imported for a file must be a network that the user has: a file may come from anywhere."""
    if isinstance(value, Mapping):
        target = value.get("_target_")
        if target is not None and str(target).split(".")[0] not in packages:
            package = str(target).split(".")[0]
            raise UserError(
                f"{path}: is of a foreign network, {target}; if {package} is a package of yours and you trust the "
                f'file, say modules={package} (in Python: load(..., modules=["{package}"]))'
            )
        for part in value.values():
            _check_targets(part, packages, path)
    elif isinstance(value, list):
        for part in value:
            _check_targets(part, packages, path)
