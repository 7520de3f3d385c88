"""From group choices and overrides to one resolved, plain configuration. The only place that imports Hydra.

Composing costs tens of milliseconds, nearly independent of what is composed. So each combination of group choices is
composed once; scalar overrides are then set on copies, with the same strictness: a key that neither the files nor the
constructor behind a ``_target_`` knows is refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from mm3d_benchmarks.planning.groupfiles import read_group
from mm3d_benchmarks.planning.request import GROUPS, Request, dotted, split_request
from mm3d_benchmarks.planning.strictness import did_you_mean, set_value
from mm3d_benchmarks.planning.sweep_values import check_seed, refuse_hydras_own, values_of
from mm3d_benchmarks.store.spec import LISTS, WEIGHTS
from mm3d_core.errors import UserError

CONF = Path(__file__).resolve().parents[1] / "conf"
PATHS = ("dataset.path", "dataset.root", *LISTS, WEIGHTS)  # keys whose values are paths
DETECTION = "detection"  # the evaluation of a detector, where none is named
_PLAIN = re.compile(r"([A-Za-z_][\w.]*)=([\w./+-]+)")
_WORDS = {"null": None, "true": True, "false": False}
_INTERPOLATION = re.compile(r"\$\{([\w.]+)\}")
_WHOLE = re.compile(r'"\$\{[\w.]+\}"')


def compose(request: Request) -> dict[str, Any]:
    """The resolved configuration: group contents, the profile's changes laid over them, then the overrides.

    Raises:
        UserError: an unknown group, choice or key, or an interpolation that leads nowhere.
    """
    for group, choice in request.choices.items():
        _check_choice(group, choice, request.folders)
    choices = _replaced(_with_defaults(dict(request.choices), request.folders), request.folders)
    base = _composed(tuple(sorted(choices.items())), request.folders)
    if any(_related(key, target) for key in request.overrides for target in base.interpolated):
        raw = json.loads(base.raw)
        for key, value in request.overrides.items():
            set_value(raw, key, value)
        config = _resolve(raw)
    else:
        config = json.loads(base.resolved)
        for key, value in request.overrides.items():
            set_value(config, key, value)
    check_seed(config["seed"])
    return config


@cache
def available(group: str, folders: tuple[Path, ...] = ()) -> list[str]:
    """The choices of a group, sorted."""
    return sorted({path.stem for folder in (*folders, CONF) for path in (folder / group).glob("*.yaml")})


def parse(arguments: Sequence[str]) -> list[tuple[Request, list[str]]]:
    """Command-line overrides in Hydra's syntax, sweeps expanded: ``seed=0,1`` gives two requests.

    Returns:
        One (request, the overrides that it alone has) for each combination.

    Raises:
        UserError: not Hydra's override syntax.
    """
    plain = [plain_override(argument) for argument in arguments]
    if all(found is not None for found in plain):
        for found in plain:
            refuse_hydras_own(found[0], f"{found[0]}={found[1]}") if found else None
        return [(split_request(dict(found for found in plain if found)), [])]
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import OverrideParseException

    try:
        overrides = OverridesParser.create().parse_overrides([_quoted(argument) for argument in arguments])
    except OverrideParseException as error:
        raise UserError(f"{str(error).splitlines()[0]}; write overrides as key=value, for example seed=1") from error
    requests: list[tuple[dict[str, Any], list[str]]] = [({}, [])]
    for override in overrides:
        key = override.get_key_element().lstrip("+~")
        refuse_hydras_own(key, str(override.input_line))
        if override.is_delete():
            raise UserError(f"~{key}: keys cannot be deleted; set them to null")
        if override.is_sweep_override():
            parsed = values_of(override, key, lambda group: available(group) if group in GROUPS else [])
        else:
            parsed = [override.value()]
        requests = [
            ({**known, key: _plain(value)}, [*name, f"{key}={value}"] if len(parsed) > 1 else name)
            for known, name in requests
            for value in parsed
        ]
    return [(split_request(values), name) for values, name in requests]


def plain_override(argument: str) -> tuple[str, Any] | None:
    """``key=value`` with a plain word or number, read as Hydra reads it; else None: importing it takes long."""
    found = _PLAIN.fullmatch(argument)
    if found is None:
        return None
    text = found[2]
    if found[1] in PATHS:
        return (found[1], text) if re.fullmatch(r"[\w./-]+", text) and text.lower() not in _WORDS else None
    if text.lower() in _WORDS:
        return found[1], _WORDS[text.lower()]
    if re.fullmatch(r"[+-]?(0|[1-9]\d*)", text):
        return found[1], int(text)
    if re.fullmatch(r"[+-]?(0|[1-9]\d*)\.\d+", text):
        return found[1], float(text)
    return (found[1], text) if re.fullmatch(r"[A-Za-z_]\w*", text) and text.lower() not in ("nan", "inf") else None


def _quoted(argument: str) -> str:
    """An override whose value is a path in Hydra's quotes: blanks, brackets, commas and ``=`` are part of a name.

    Commas that separate paths (a multirun) stay what they are.
    """
    key, separator, value = argument.partition("=")
    several = "," in value and not Path(value).exists()
    if key not in PATHS or not separator or value[:1] in ("", "'", '"') or several or value == "null":
        return argument
    return f"{key}='" + value.replace("'", "\\'") + "'"


def _replaced(choices: dict[str, str], folders: tuple[Path, ...]) -> dict[str, str]:
    """The choices, with those that the profile replaces by cheaper ones (``replace: {evaluation: {long: short}}``)."""
    for group, table in _replacements(choices.get("profile", "paper"), folders).items():
        if choices.get(group) in table:
            choices[group] = table[choices[group]]
    return choices


@cache
def _replacements(profile: str, folders: tuple[Path, ...]) -> dict[str, dict[str, str]]:
    for folder in (*folders, CONF):
        path = folder / "profile" / f"{profile}.yaml"
        if path.is_file():
            content = read_group("profile", profile, (*folders, CONF)) or {}
            replace = content.get("replace") or {}
            if not isinstance(replace, dict) or not all(isinstance(table, dict) for table in replace.values()):
                raise UserError(f"{path}: `replace` maps groups to {{choice: cheaper choice}}")
            return replace
    return {}


@dataclass(frozen=True)
class _Composed:
    """One combination of groups as JSON texts (cheap to copy), and the keys that interpolations read."""

    raw: str
    resolved: str
    interpolated: tuple[str, ...]


@cache
def _composed(choices: tuple[tuple[str, str], ...], folders: tuple[Path, ...]) -> _Composed:
    """Assemble the groups' contents.

    A group file means the same whatever stands beside it, so it is read once; Hydra is asked where a file uses features
    that only it has.
    """
    chosen = dict(choices)
    known = _contents(folders)
    for group, choice in chosen.items():
        content = None if (group, choice) in known else read_group(group, choice, (*folders, CONF))
        if content is not None:
            known[group, choice] = json.dumps(content)
    if any(pair not in known for pair in chosen.items()):
        compose_by_hydra(chosen, folders, known)
    raw = {name: value for name, value in _main_file().items() if name != "defaults"}
    for pair in chosen.items():
        raw[pair[0]] = json.loads(known[pair])
    _lay_profile(raw)
    text = json.dumps(raw)
    return _Composed(text, json.dumps(_resolve(raw)), tuple(sorted(set(_INTERPOLATION.findall(text)))))


@cache
def _contents(folders: tuple[Path, ...]) -> dict[tuple[str, str], str]:
    """(group, choice) -> its unresolved content as JSON."""
    return {}


def compose_by_hydra(chosen: Mapping[str, str], folders: tuple[Path, ...], known: dict[tuple[str, str], str]) -> None:
    """Enter the contents of the chosen group files into ``known``, as Hydra composes them."""
    import hydra
    from hydra.core.global_hydra import GlobalHydra
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    overrides = [f"{group}={choice}" for group, choice in chosen.items()]
    if folders:
        overrides.append("hydra.searchpath=[" + ",".join(f"file://{folder.resolve()}" for folder in folders) + "]")
    try:
        GlobalHydra.instance().clear()
        with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
            raw = OmegaConf.to_container(hydra.compose("run", overrides), resolve=False)
    except (HydraException, OmegaConfBaseException, yaml.YAMLError) as error:
        named = ", ".join(f"{group}={choice}" for group, choice in chosen.items())
        raise UserError(f"{named}: cannot be composed: {' '.join(str(error).split())}") from error
    assert isinstance(raw, dict)
    for group, choice in chosen.items():
        known[group, choice] = json.dumps(raw.pop(group))


def _with_defaults(choices: dict[str, str], folders: tuple[Path, ...]) -> dict[str, str]:
    """The choices, completed from the defaults list of run.yaml; ``${group}`` there stands for another choice."""
    for entry in _defaults():
        [(group, default)] = entry.items()
        if group not in choices:
            choices[group] = re.sub(r"\$\{(\w+)\}", lambda found: choices[found[1]], str(default))
            if group == "evaluation" and not _segments(choices["backbone"], folders):
                choices[group] = DETECTION
            _check_choice(group, choices[group], folders)
    return choices


@cache
def _segments(backbone: str, folders: tuple[Path, ...]) -> bool:
    """Whether a backbone has a head for segmentation, or none that says what it is for."""
    try:
        tasks = (read_group("backbone", backbone, (*folders, CONF)) or {}).get("task")
    except UserError:  # composing it says what is wrong with it
        return True
    return not (isinstance(tasks, dict) and "detection" in tasks and "segmentation" not in tasks)


@cache
def _defaults() -> tuple[dict[str, str], ...]:
    return tuple(entry for entry in _main_file()["defaults"] if isinstance(entry, dict))


@cache
def _main_text() -> str:
    return json.dumps(yaml.safe_load((CONF / "run.yaml").read_text(encoding="utf-8")))


def _main_file() -> dict[str, Any]:
    return json.loads(_main_text())


def _lay_profile(config: dict[str, Any]) -> None:
    """Lay the profile's changes over the groups.

    ``override`` applies where the key exists (and to ``steps``), ``backbones.<name>`` and the like to one choice.
    """
    profile = config.get("profile") or {}
    layers = [("", profile.pop("override", None) or {}, True)]
    for plural, group in (
        ("backbones", "backbone"),
        ("datasets", "dataset"),
        ("recipes", "recipe"),
        ("pretrains", "pretrain"),
        ("evaluations", "evaluation"),
    ):
        own = (profile.pop(plural, None) or {}).get((config.get(group) or {}).get("name"))
        layers.append((group, own or {}, False))
    for group, layer, only_known in layers:
        flat: dict[str, Any] = {}
        for name, value in layer.items():
            dotted(f"{group}.{name}" if group else name, value, flat)
        for key, value in flat.items():
            if _reachable(config, key, only_known and not key.endswith(".steps")):
                set_value(config, key, value)


def _reachable(config: Mapping[str, Any], path: str, known: bool) -> bool:
    """Whether the section that a profile changes is there at all, or, if ``known``, the key.

    ``pretrain=none``, say, has no method.
    """
    *parents, last = path.split(".")
    here: Any = config
    for name in parents:
        if not isinstance(here, Mapping) or not isinstance(here.get(name), Mapping):
            return False
        here = here[name]
    return last in here or not known


def _resolve(raw: dict[str, Any]) -> dict[str, Any]:
    """Replace interpolations. Whole values such as ``${a.b}`` are looked up here; anything richer goes to OmegaConf.

    With OmegaConf for all of them the plan of profile study takes 5.3 s of processor time in place of 2.9 s.
    """
    if "${" in _WHOLE.sub("", json.dumps(raw)):
        return _resolve_by_omegaconf(raw)

    def filled(value: Any, depth: int = 0) -> Any:
        if isinstance(value, dict):
            return {str(key): filled(item, depth) for key, item in value.items()}
        if isinstance(value, list):
            return [filled(item, depth) for item in value]
        found = _INTERPOLATION.fullmatch(value) if isinstance(value, str) else None
        if found is None:
            return value
        if depth > 20:
            raise UserError(f"${{{found[1]}}}: interpolations run in a circle")
        here: Any = raw
        for name in found[1].split("."):
            if not isinstance(here, dict) or name not in here:
                raise UserError(f"${{{found[1]}}}: there is no such key to take the value from")
            here = here[name]
        return filled(here, depth + 1)

    return {str(key): filled(value) for key, value in raw.items()}


def _resolve_by_omegaconf(raw: dict[str, Any]) -> dict[str, Any]:
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        resolved = OmegaConf.to_container(OmegaConf.create(raw), resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        raise UserError(f"{getattr(error, 'full_key', '')}: {' '.join(str(error).split())}") from error
    assert isinstance(resolved, dict)
    return {str(key): value for key, value in resolved.items()}


@cache
def _check_choice(group: str, choice: str, folders: tuple[Path, ...]) -> None:
    if group not in GROUPS:
        raise UserError(f"{group}={choice}: there is no group {group!r}{did_you_mean(group, GROUPS)}")
    known = available(group, folders)
    if choice not in known:
        raise UserError(
            f"{group}={choice}: there is no such file{did_you_mean(choice, known)}; choose one of {', '.join(known)}"
        )


def _related(key: str, target: str) -> bool:
    return key == target or key.startswith(f"{target}.") or target.startswith(f"{key}.")


def _text(value: Any) -> str:
    return str(value)


def _plain(value: Any) -> Any:
    """Hydra's parsed values as plain Python."""
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if type(value).__name__ == "QuotedString":
        return value.text
    return value


def strip_machine(config: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Split a composed configuration into what moves numbers and what does not.

    Returns:
        (configuration for the key, machine settings laid over it when the run starts).
    """
    kept = json.loads(json.dumps(config))
    local: dict[str, Any] = {"machine": kept.pop("machine", {})}
    for group in ("launcher", "profile"):
        kept.pop(group, None)
    dataset = kept.get("dataset", {})
    moved = {name: dataset.pop(name) for name in ("root", "raw", "path", "skip_broken") if name in dataset}
    if moved:
        local["dataset"] = moved
    return kept, local
