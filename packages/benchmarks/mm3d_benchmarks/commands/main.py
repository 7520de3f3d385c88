"""``mm3d``: the one command.

Each subcommand's parser stands here; what it does stands in the files beside this one and is imported late.
"""

from __future__ import annotations

import argparse
import importlib
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from mm3d_benchmarks.commands.parsing import command, flag, group_folders, profile, store_place, sweep_names
from mm3d_benchmarks.commands.using import add_features, add_import, add_predict, add_view
from mm3d_benchmarks.store.sharing import share_with_group
from mm3d_core.errors import UserError

_OVERRIDES = "group choices and values in Hydra's syntax, such as backbone=votenet seed=1 pretrain.method.csd_weight=0"


#: Options that people know from Hydra, and what they are called here.
_INSTEAD = {
    "--cfg": "--dry-run",
    "-c": "--dry-run",
    "--resolve": "--dry-run",
    "--info": "--dry-run",
    "--config-dir": "--conf",
    "-cd": "--conf",
    "--config-path": "--conf",
    "-cp": "--conf",
    "--config-name": "a file in sweeps/ and `mm3d sweep`",
    "-cn": "a file in sweeps/ and `mm3d sweep`",
    "--hydra-help": "--help",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one subcommand; bad input ends with its message and status 1, Ctrl-C with 130."""
    parser = make_parser()
    options, rest = parser.parse_known_args(arguments)
    words = next(
        (found for name in ("settings", "overrides") if (found := getattr(options, name, None)) is not None), None
    )
    if words is not None and all("=" in word and not word.startswith("-") for word in rest):
        words += rest  # settings behind an option, where a remedy is appended
        rest = []
    if rest:
        instead = _INSTEAD.get(rest[0].partition("=")[0])
        help_ = f"here it is {instead}" if instead else f"see mm3d {options.command or ''} --help"
        (options.parser or parser).error(f"unknown option {rest[0]}; {help_}")
    if not options.command:
        parser.print_help()
        return 2
    before = signal.signal(signal.SIGTERM, _as_interrupt)
    module, _, function = options.function.partition(":")
    if getattr(options, "store", None) is not None:
        share_with_group(options.store)
    try:
        with _own_modules(getattr(options, "conf", None) or []):
            return int(getattr(importlib.import_module(f"mm3d_benchmarks.commands.{module}"), function)(options) or 0)
    except UserError as error:
        print(f"mm3d {options.command}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"mm3d {options.command}: interrupted; the same command goes on where this one stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:  # `mm3d status | head`
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115
        return 128 + signal.SIGPIPE
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _own_modules(folders: Sequence[Path]) -> Iterator[None]:
    """Let a ``_target_`` name a module in the current folder or in one of ``--conf``, here and in runs' processes.

    Here they come last, so that no file of a user's hides a library; the processes of runs start in the current folder.
    """
    path, named = list(sys.path), os.environ.get("PYTHONPATH")
    own = [str(folder.resolve()) for folder in folders]
    sys.path += [folder for folder in (*own, str(Path.cwd())) if folder not in sys.path]
    if own:
        os.environ["PYTHONPATH"] = os.pathsep.join([*([named] if named else []), *own])
    try:
        yield
    finally:
        sys.path[:] = path
        if own:
            os.environ.pop("PYTHONPATH", None)
            os.environ.update({"PYTHONPATH": named} if named else {})


def _as_interrupt(*_: object) -> None:
    """SIGTERM ends like Ctrl-C: what runs here is asked to stop at a checkpoint."""
    raise KeyboardInterrupt


def make_parser() -> argparse.ArgumentParser:
    """The whole command line."""
    parser = argparse.ArgumentParser(
        prog="mm3d",
        description="3D scene pre-training, from raw scans to the tables of the paper.",
        epilog="`mm3d COMMAND --help` explains each command. Settings for all: $MM3D_STORE (run store, default runs), "
        "$MM3D_PROFILE, $MM3D_LAUNCHER, $MM3D_MACHINE (file with your cluster's settings).",
    )
    parser.set_defaults(command="", parser=None)
    parser.add_argument("--version", action=_Version, nargs=0, help="print the versions of this suite and of pointops")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    for add in (
        _generate, _prepare, _plan, _run, _sweep, _collect, _report, _complete, _status, _store, _info, add_view,
        add_features, add_predict, add_import, _doctor, _completion,
    ):  # fmt: skip
        add(commands)
    return parser


class _Version(argparse.Action):
    """``--version``; the versions are looked up only when somebody asks."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib.metadata import PackageNotFoundError, version

        found = []
        for name in ("mm3dscene", "mm3d-pointops", "torch"):
            try:
                found.append(f"{name} {version(name)}")
            except PackageNotFoundError:
                found.append(f"{name} not installed")
        print(", ".join(found))
        parser.exit(0)


def _carry_on(parser: argparse.ArgumentParser) -> None:
    flag(
        parser,
        "--carry-on",
        "as a stage of the pipeline: record what fails and succeed; `mm3d complete`, its last stage, fails then",
    )


def _sweeps_folder(parser: argparse.ArgumentParser) -> None:
    text = "folder of the sweep files (default: sweeps, else the paper's in the package)"
    parser.add_argument("--sweeps", type=Path, help=text)


def _places(parser: argparse.ArgumentParser) -> None:
    store_place(parser)
    parser.add_argument("--plans", type=Path, default=Path("plan"), help="folder of the plans (default: %(default)s)")
    parser.add_argument(
        "--results", type=Path, default=Path("results"), help="folder of the results (default: %(default)s)"
    )


def _launching(parser: argparse.ArgumentParser, default: str, otherwise: str = "") -> None:
    """``default`` is the launcher where none is named; empty: decided later, and ``otherwise`` says how."""
    default = os.environ.get("MM3D_LAUNCHER", default)
    parser.add_argument("--launcher", default=default, help=f"local, slurm or debug (default: {default or otherwise})")
    parser.add_argument(
        "--machine", type=Path, default=os.environ.get("MM3D_MACHINE"), metavar="FILE",
        help="YAML with `launcher:` and `machine:` settings of this computer or cluster; they enter no key",
    )  # fmt: skip
    parser.add_argument("--max-parallel", type=int, metavar="N", help="runs at once")
    flag(parser, "--again", "also try runs again that failed too often")


def _generate(commands) -> None:
    text = "generate the synthetic scenes, in the raw formats of the official data sets"
    for name, said in (("generate", text), ("embed", "the former name of `mm3d generate`, for one more release")):
        parser = command(commands, name, "data:generate", said)
        profile(parser)
        parser.add_argument("--dataset", action="append", help="only this data set (repeatable)")
        parser.add_argument("--seed", type=int, default=0)
        parser.add_argument("--workers", type=int, default=None, help="processes (default: all cores)")
        parser.add_argument(
            "--room", type=Path, metavar="FILE.ply", help="one room as a scan of your own, and nothing else"
        )
        parser.add_argument(
            "--kind", default="office", help="of --room: office, living, kitchen, ... (default: office)"
        )


def _prepare(commands) -> None:
    parser = command(
        commands, "prepare", "data:prepare", "turn a raw data set into prepared scenes",
        "examples:\n  mm3d prepare dataset=scannet raw=/data/scannet\n"
        '  mm3d prepare dataset=folder raw=my_scans columns="x y z r g b" scale=0.001',
    )  # fmt: skip
    parser.add_argument(
        "settings",
        nargs="*",
        metavar="KEY=VALUE",
        help="dataset=NAME, raw=FOLDER, out=FOLDER and options of the data set's reader",
    )
    profile(parser)
    flag(parser, "--skip-broken", "leave damaged scenes out and list them in the manifest")
    flag(parser, "--again", "read every raw file anew, whatever is prepared already")
    flag(parser, "--check-raw", "list all that is missing of a download, with counts, and read nothing")
    flag(parser, "--check", "verify what is prepared and print its statistics beside the published ones")
    parser.add_argument("--workers", type=int, default=None, help="processes (default: all cores)")


def _plan(commands) -> None:
    parser = command(commands, "plan", "sweep:plan", "compose every run of the sweeps once and write plan/<profile>/")
    sweep_names(parser)
    profile(parser)
    _places(parser)


def _run(commands) -> None:
    parser = command(
        commands, "run", "run:run", "one run by hand (and what it starts from), or a Hydra multirun with -m",
        "examples:\n  mm3d run kind=pretrain backbone=point_transformer dataset=s3dis pretrain=mm3dscene\n"
        "  mm3d run kind=pretrain dataset=folder dataset.path=my_scans recipe.pretrain.max_points=20000\n"
        "  mm3d run -m pretrain=none,mm3dscene seed=0,1,2 --launcher slurm",
    )  # fmt: skip
    parser.add_argument("overrides", nargs="*", metavar="OVERRIDE", help=_OVERRIDES)
    parser.add_argument("-m", "--multirun", action="store_true", help="expand a=1,2 into one run for each combination")
    group_folders(parser)
    profile(parser)
    _places(parser)
    _launching(parser, "", "debug, in this process, for one chain of runs; else local")
    flag(parser, "--dry-run", "print the configuration and the keys, run nothing")
    parser.add_argument(
        "--force", nargs="?", const="last", choices=("last", "chain"),
        help="forget the run's result and compute it again; `chain`: also what it starts from",
    )  # fmt: skip


def _sweep(commands) -> None:
    parser = command(
        commands, "sweep", "sweep:sweep", "make sure that every run of some sweeps has a result",
        "examples:\n  mm3d sweep table_07 --dry-run\n  mm3d sweep table_07 table_08 --launcher slurm "
        "--machine cluster.yaml",
    )  # fmt: skip
    sweep_names(parser)
    profile(parser)
    _places(parser)
    _launching(parser, "local")
    parser.add_argument("--kind", choices=("pretrain", "finetune", "evaluate"), help="only runs of this kind")
    flag(parser, "--planned", "read plan/<profile>/ instead of composing the sweeps again")
    flag(parser, "--dry-run", "say what would be done: runs to do, shared, done, and estimated hours")
    flag(parser, "--partial", "collect and report what there is, even if runs failed")
    _carry_on(parser)
    parser.add_argument(
        "--where", action="append", default=[], metavar="KEY=VALUE",
        help="only cells whose configuration has this value, such as task=segmentation, or row='scratch / probe'; can "
        "be repeated: every key must hold, of several values for one key one is enough",
    )  # fmt: skip


def _collect(commands) -> None:
    parser = command(
        commands, "collect", "sweep:collect", "write one input CSV for each table from the results of the runs"
    )
    sweep_names(parser)
    profile(parser)
    _places(parser)
    flag(parser, "--partial", "missing values are no error")
    _carry_on(parser)


def _report(commands) -> None:
    parser = command(commands, "report", "report:report", "build tables, figures and the page from what was collected")
    parser.add_argument(
        "name", nargs="?", help="one table or figure, or the beginning of its name (default: all, and the page)"
    )
    profile(parser)
    _places(parser)
    _sweeps_folder(parser)
    flag(parser, "--partial", "missing cells are shown but are no error")
    _carry_on(parser)
    flag(parser, "--paper-only", "print what the paper printed, with sources")


def _complete(commands) -> None:
    parser = command(
        commands, "complete", "complete:complete", "the pipeline's last stage: fail where a run or a cell is missing"
    )
    profile(parser)
    _places(parser)
    _sweeps_folder(parser)


def _doctor(commands) -> None:
    parser = command(
        commands,
        "doctor",
        "doctor:doctor",
        "what this machine can do, and what is wrong with it; status 1 if a GPU is here that runs would not use",
    )
    _places(parser)
    flag(parser, "--json", "for programs")


def _status(commands) -> None:
    parser = command(
        commands, "status", "status:status", "what is queued, running, done and failed, for each sweep and in total"
    )
    sweep_names(parser)
    profile(parser)
    _places(parser)
    flag(parser, "--watch", "a live table, until Ctrl-C")
    flag(parser, "--json", "for programs")


def _store(commands) -> None:
    parser = command(commands, "store", "store.actions:store", "look into the run store, clean it, re-key results")
    _places(parser)
    actions = parser.add_subparsers(title="actions", dest="action", metavar="ACTION", required=True)
    listing = actions.add_parser("ls", help="all runs: key, kind, state, what it is")
    listing.add_argument("--kind", choices=("pretrain", "finetune", "evaluate"))
    show = actions.add_parser("show", help="one run: configuration, result, provenance, end of its log")
    show.add_argument("key", help="a key or its beginning")
    remove = actions.add_parser("rm", help="delete one run")
    remove.add_argument("key")
    garbage = actions.add_parser("gc", help="list runs that nobody asks for any more, with the reason; --yes deletes")
    flag(garbage, "--yes", "delete them")
    flag(garbage, "--unrecorded", "also those that nobody is on record for")
    garbage.add_argument(
        "--forget", type=Path, metavar="DIR", help="drop what the working folder DIR, gone for good, asked for"
    )
    describe = actions.add_parser("describe", help="let older weights describe themselves, as new runs' weights do")
    describe.add_argument("key", nargs="*", help="runs by key, or none for all finished ones")
    describe.add_argument("--file", type=Path, help="a copy of the weights of the one run that is named")
    pruning = actions.add_parser(
        "prune", help="list checkpoints of finished runs and folders of ended jobs; --yes deletes"
    )
    flag(pruning, "--yes", "delete them")
    adopt = actions.add_parser("adopt", help="re-key finished runs after a change of code that cannot move numbers")
    adopt.add_argument(
        "key", nargs="*", help="runs to re-key, or none for all that differ from the plan in their code alone"
    )
    adopt.add_argument("--why", required=True, help="the reason; it is kept in the run's folder")
    adopt.add_argument("--who", default=os.environ.get("USER", "unknown"))
    adopt.add_argument("--dry-run", action="store_true")


def _info(commands) -> None:
    parser = command(commands, "info", "info:info", "what a run would train: modules, shapes, parameters")
    parser.add_argument("overrides", nargs="*", metavar="OVERRIDE", help=_OVERRIDES)
    profile(parser)
    parser.add_argument(
        "--memory", type=_gigabytes, nargs="?", const=0.0, metavar="GB",
        help="estimate what a training step holds and, given a device's memory, the accumulation that fits",
    )  # fmt: skip
    flag(parser, "--json", "for programs")
    flag(parser, "--tensors", "every tensor with its shape, not only the modules")
    group_folders(parser)


def _gigabytes(text: str) -> float:
    """A device's memory; argparse prints the message."""
    with suppress(ValueError):
        if 0 < (value := float(text)) < float("inf"):
            return value
    raise argparse.ArgumentTypeError(f"{text}: give the device's memory in gigabytes, such as 24")


def _completion(commands) -> None:
    parser = command(
        commands, "completion", "completion:completion", "print a script that completes commands, groups and sweeps",
        'example: eval "$(mm3d completion bash)"',
    )  # fmt: skip
    parser.add_argument("shell", nargs="?", default="bash", choices=("bash", "zsh", "fish"))
    parser.add_argument("--words", metavar="LINE", help=argparse.SUPPRESS)


if __name__ == "__main__":
    sys.exit(main())
